//! A student's session on a real node, in real containers.

use std::time::Instant;

use serde_json::json;

use super::browser::Browser;
use super::cluster::{get, namespace_exists, node_address};
use super::git;
use super::house::{House, REAL, real_turn, within};
use super::kernel::Kernel;
use super::processes;
use super::student::Student;

const DASK: &str = "\
import socket, time, uuid
from dask.distributed import Client
client = Client()
client.wait_for_workers(2, timeout=60)
def where(x):
    time.sleep(0.2)
    return socket.gethostname()
print(len(set(client.gather(client.map(where, range(20), pure=False)))))";

const IPYTHON: &str = "\
import ipyparallel
engines = ipyparallel.Client()
engines.wait_for_engines(2, timeout=60)
print(len(set(engines[:].apply_sync(lambda: __import__('socket').gethostname()))))";

const SPARK: &str = "\
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
def host(x):
    import socket, time
    time.sleep(0.2)
    return socket.gethostname()
hosts = spark.sparkContext.parallelize(range(40), 20).map(host).distinct().collect()
spark.stop()
print(len(hosts))";

/// What a student starts on a port that the profile names.
const APP: &str = "\
import http.server, threading
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(('the app at ' + self.path).encode())
    def log_message(self, *about): pass
server = http.server.ThreadingHTTPServer(('', 8501), App)
threading.Thread(target=server.serve_forever, daemon=True).start()";

/// A result that no second run of the task would have.
const JOB: &str = "\
def once(x):
    time.sleep(0.4)
    return x, uuid.uuid4().hex, socket.gethostname()
job = client.map(once, range(120), pure=False)";

#[tokio::test(flavor = "multi_thread")]
async fn from_the_button_to_three_engines_and_back_to_nothing() {
    let _turn = real_turn().await;
    let node = node_address();
    let profile = REAL.replace("title = ", "ports = { app = 8501 }\ntitle = ");
    let house = House::new("computing", &profile, &["--reachable", &node.to_string()]).await;
    let browser = Browser::open("kubernetes").await;
    let id = press_the_button(&house, &browser).await;
    let student = Student::with_cookie(house.proxy, browser.cookie(&house.address()).await);
    house.settled(&student, &id, 2).await;
    let mut kernel = student.kernel(&id).await;
    assert_eq!(kernel.run(DASK).await, "2", "Dask computes in both workers' pods");
    assert_eq!(kernel.run(IPYTHON).await, "2", "so does IPython Parallel");
    assert_eq!(kernel.run(SPARK).await, "2", "so does Spark");
    kernel.run(APP).await;
    browser.goto(&format!("{}/{id}_app/here?x=1", house.address())).await;
    assert_eq!(browser.shown("body").await, "the app at /here?x=1", "a named port is reached without the prefix");
    browser.complaints().await;
    scale_during_a_job(&house, &student, &id, &mut kernel).await;
    look_at_the_dashboards(&house, &browser, &id).await;
    drop(kernel);
    student.stop(&id).await;
    within(60, "the namespace to be gone", async || (!namespace_exists(&id)).then_some(())).await;
    assert_eq!(house.routes().await, json!({}), "its routes are gone");
    browser.close().await;
    house.close().await;
}

/// Presses it, watches the progress and arrives in JupyterLab.
async fn press_the_button(house: &House, browser: &Browser) -> String {
    browser.goto(&house.address()).await;
    browser.until("the button", "return !document.querySelector('[data-testid=launch]').disabled").await;
    let pressed = Instant::now();
    browser.click("[data-testid=launch]").await;
    browser.until("the way to the notebook", "return location.pathname.includes('/lab')").await;
    let url = browser.page.current_url().await.expect("an address");
    let id = url.path().split('/').nth(1).expect("a cluster").to_owned();
    browser.shown(".jp-Launcher, .jp-Notebook").await;
    eprintln!("from the click to JupyterLab in a pod: {:.1} s", pressed.elapsed().as_secs_f64());
    browser.picture("kubernetes-jupyterlab").await;
    assert_eq!(browser.complaints().await, [""; 0], "every request was answered");
    id
}

async fn scale_during_a_job(house: &House, student: &Student, id: &str, kernel: &mut Kernel) {
    kernel.run(JOB).await;
    assert_eq!(student.scale(id, 6).await.0, 202);
    house.settled(student, id, 6).await;
    let hosts = "first = client.gather(job); print(len(first), len({host for _, _, host in first}) > 2)";
    let hosts = kernel.run(hosts).await;
    assert!(hosts.starts_with("120 "), "{hosts}");
    let spread = "more = client.gather(client.map(where, range(60), pure=False)); print(len(set(more)))";
    assert_eq!(kernel.run(spread).await, "6", "all six take part");
    kernel.run("job2 = client.map(once, range(60), pure=False)").await;
    assert_eq!(student.scale(id, 2).await.0, 202);
    let whole = "again = client.gather(job); second = client.gather(job2); print(again == first, len(second))";
    assert_eq!(kernel.run(whole).await, "True 60", "no result was lost, none computed again");
    house.settled(student, id, 2).await;
    within(120, "two workers' pods", async || {
        (get(&["pods", "-n", id, "-l", "app.kubernetes.io/component=workers"]).len() == 2).then_some(())
    })
    .await;
    assert_eq!(kernel.run("print(client.gather(job) == first, client.gather(job2) == second)").await, "True True");
}

async fn look_at_the_dashboards(house: &House, browser: &Browser, id: &str) {
    browser.goto(&format!("{}/{id}_9001/status", house.address())).await;
    browser
        .until("Dask's dashboard", "return document.querySelectorAll('.bk-Figure, [class*=bk-]').length > 0")
        .await;
    browser.picture("kubernetes-dask").await;
    assert_eq!(browser.complaints().await, [""; 0], "every request of Dask's dashboard was answered");
    browser.goto(&format!("{}/{id}_9002/", house.address())).await;
    let page = browser.shown("body").await;
    assert!(page.contains("Spark Master"), "{page}");
    assert_eq!(browser.complaints().await, [""; 0], "its styles and scripts are found behind the prefix");
    browser.click("a[href*='worker-']").await;
    browser.until("a worker's page", "return document.body.innerText.includes('Spark Worker at')").await;
    assert_eq!(browser.complaints().await, [""; 0], "also those of a worker's page");
    browser.goto(&format!("{}/{id}_9002/", house.address())).await;
    browser.picture("kubernetes-spark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn materials_are_there_and_those_that_cannot_be_had_are_told() {
    let _turn = real_turn().await;
    let folder = processes::folder("k8s-git");
    let node = node_address();
    let (place, commit) = git::serve(&folder, node).await;
    let profile = format!(
        "{}\n",
        REAL.replace(
            "title = ",
            &format!("materials = [\"http://{place}/other.git@v1\", \"http://{place}/absent.git\"]\nengines = []\ntitle = ")
        )
    );
    let house = House::new("materials", &profile, &["--reachable", &node.to_string()]).await;
    let student = house.student().await;
    let id = house.running(&student, 1).await;
    let told = house.events(&id);
    let steps: Vec<_> = told.iter().map(|event| &event["event"]["data"]["step"]).collect();
    assert!(steps.iter().any(|step| step["name"] == "materials_cloned" && step["commit"] == commit), "{told:#?}");
    let failed = steps.iter().find(|step| step["name"] == "materials_failed").expect("the absent one is told");
    assert!(failed["repository"].as_str().is_some_and(|name| name.ends_with("absent.git")), "{failed}");
    let mut kernel = student.kernel(&id).await;
    assert_eq!(kernel.run("print(open('other/lesson.txt').read())").await, "one", "as the tag has it");
    drop(kernel);
    house.close().await;
    std::fs::remove_dir_all(folder).expect("the test's own folder");
}
