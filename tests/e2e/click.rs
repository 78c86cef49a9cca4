//! From the click to the notebook, through a whole session, to the end.

use std::time::Instant;

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::browser::Browser;
use super::installation::{Installation, program, until};
use super::kernel::Kernel;
use super::student::Student;

const LINES: &str = "return [...document.querySelectorAll('[data-testid=progress-line]')].map(l => l.innerText)";

/// Each task tells where it ran and notes that it did, so that one that ran twice shows.
const SETUP: &str = "\
import os, time
from dask.distributed import Client, as_completed, get_worker
client = Client()
here = os.getcwd()
def slow(x):
    time.sleep(0.2)
    with open(os.path.join(here, 'ran.txt'), 'a') as ran:
        ran.write(f'{x}\\n')
    return x, get_worker().name
def spread(most=60):
    names, began = set(), time.time()
    while time.time() - began < most:
        yield names
        names |= {name for _, name in client.gather(client.map(slow, range(8), pure=False))}
def ran():
    return len(open('ran.txt').readlines())
client.wait_for_workers(2, timeout=60)";

#[tokio::test(flavor = "multi_thread")]
async fn from_the_button_to_the_notebook_through_scaling_to_nothing_left() {
    let mut installation = Installation::started("click", &[]).await;
    let browser = Browser::open("click").await;
    let id = press_the_button(&installation, &browser).await;
    look_at_a_panel(&browser).await;
    browser.tab().await;
    let student = Student::with_cookie(installation.listen, browser.cookie(&installation.address()).await);
    let mut kernel = student.kernel(&id).await;
    kernel.run(SETUP).await;
    let two = kernel
        .run("print(sorted({name for _, name in client.gather(client.map(slow, range(16), pure=False))}))")
        .await;
    assert_eq!(two, "['worker-1', 'worker-2']", "both workers took part");

    browser.goto(&installation.address()).await;
    let card = format!("[data-testid=cluster-card][data-id={id}]");
    scale_while_jobs_run(&browser, &card, &mut kernel).await;
    browser.picture("running").await;
    let line = browser.shown(&format!("{card} [data-testid=client-line]")).await;
    let begin = format!("Client(\"ws://{}/{id}_9000?token=", installation.listen);
    assert!(line.starts_with(&begin), "{line}");
    compute_from_outside(&installation, &line).await;
    drop(kernel);
    look_at_the_dashboard(&installation, &browser, &student, &id).await;

    browser.goto(&installation.address()).await;
    browser.click(&format!("{card} [data-testid=stop]")).await;
    browser.click("[data-testid=confirm-stop]").await;
    let ended = browser.shown(&format!(".gone[data-id={id}]")).await;
    assert!(ended.contains("Stopped"), "{ended}");
    until("the cluster to be gone", async || {
        let gone = installation.events(&id).last()?["event"]["type"] == "Removed";
        gone.then_some(())
    })
    .await;
    assert_eq!(installation.routes().await, json!({}), "its routes are gone");
    assert_eq!(student.get(&format!("/{id}/api")).await, 404);
    let left = installation.processes().into_iter().filter(|(_, line)| line.contains(&id)).collect::<Vec<_>>();
    assert_eq!(left, [], "its processes are gone");
    browser.close().await;
    installation.stop().await;
}

/// Presses it, watches the progress and arrives in JupyterLab.
async fn press_the_button(installation: &Installation, browser: &Browser) -> String {
    browser.goto(&installation.address()).await;
    browser.until("the button", "return !document.querySelector('[data-testid=launch]').disabled").await;
    browser.picture("start").await;
    let pressed = Instant::now();
    browser.click("[data-testid=launch]").await;
    let lines = until("three lines of progress", async || {
        let lines = browser.run(LINES).await;
        (lines.as_array().is_some_and(|lines| lines.len() >= 3)).then_some(lines)
    })
    .await;
    browser.picture("launching").await;
    eprintln!("progress: {lines}");

    browser.until("the way to the notebook", "return location.pathname.includes('/lab')").await;
    let url = browser.page.current_url().await.expect("an address");
    let id = url.path().split('/').nth(1).expect("a cluster").to_owned();
    browser.shown("#jp-main-dock-panel").await;
    browser.shown(".jp-Launcher, .jp-Notebook").await;
    eprintln!("from the click to JupyterLab: {:.1} s", pressed.elapsed().as_secs_f64());
    browser.picture("jupyterlab").await;
    assert_eq!(browser.complaints().await, [""; 0], "every request was answered");
    let text = browser.shown("body").await;
    for wrong in ["403", "Forbidden", "Invalid credentials", "Password or token"] {
        assert!(!text.contains(wrong), "{wrong}: {text}");
    }
    id
}

async fn scale_while_jobs_run(browser: &Browser, card: &str, kernel: &mut Kernel) {
    let slider = format!("{card} [data-testid=workers-slider]");
    let ready = format!("{card} [data-testid=workers-ready]");
    let steps = async |key: Key| {
        browser.shown(&slider).await;
        let slider = browser.page.find(Locator::Css(&slider)).await.expect("a slider");
        let key = char::from(key).to_string();
        slider.send_keys(&key.repeat(2)).await.expect("it takes keys");
    };
    let settled = async |words: &str| {
        until(words, async || (browser.shown(&ready).await == words).then_some(())).await;
    };
    settled("2 of 2 ready").await;
    let job = kernel
        .begin(
            "for names in spread():\n    if len(names) == 2: print('two', flush=True)\n    \
             if len(names) == 4: break\nprint(sorted(names))",
        )
        .await;
    steps(Key::Right).await;
    let told = kernel.finish(&job).await;
    assert!(told.starts_with("two\n"), "it ran before the new workers came: {told}");
    assert!(told.ends_with("['worker-1', 'worker-2', 'worker-3', 'worker-4']"), "{told}");
    settled("4 of 4 ready").await;

    // Results that lie on all four, then tasks that need them, while two leave.
    kernel
        .run(
            "kept = client.map(lambda x: x + 1, range(40), pure=False); client.gather(kept)\n\
             client.rebalance(kept); before = ran()",
        )
        .await;
    let job = kernel
        .begin(
            "more = client.map(lambda x: slow(x)[0], kept, pure=False)\n\
             print(sum(client.gather(more)), sum(client.gather(kept)), ran() - before)",
        )
        .await;
    steps(Key::Left).await;
    assert_eq!(kernel.finish(&job).await, "820 820 40", "nothing is lost, and nothing ran twice");
    settled("2 of 2 ready").await;
    let names = kernel.run("print(sorted(w['name'] for w in client.scheduler_info()['workers'].values()))").await;
    assert_eq!(names, "['worker-1', 'worker-2']");
}

/// The line that the card shows, in a Python that is not part of the cluster.
async fn compute_from_outside(installation: &Installation, line: &str) {
    let code =
        format!("from dask.distributed import Client\nclient = {line}\nprint(client.submit(pow, 2, 10).result())");
    let mut python = program(installation.python());
    python.args(["-c", &code]).current_dir("/");
    let output = tokio::task::spawn_blocking(move || python.output().expect("Python runs")).await;
    let output = output.expect("no panic");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.trim(), "1024", "{}", String::from_utf8_lossy(&output.stderr));
}

/// Bokeh draws into shadow roots.
const COUNT: &str = "\
const count = (root) => [...root?.querySelectorAll('*') ?? []].reduce(
    (n, e) => n + (e.tagName === 'CANVAS' && e.width > 0) + (e.shadowRoot ? count(e.shadowRoot) : 0), 0);";

/// A panel of the Dask extension, in JupyterLab.
async fn look_at_a_panel(browser: &Browser) {
    browser.click(".jp-SideBar [data-id=dask-dashboard-launcher]").await;
    browser.click(".dask-DashboardListing-item button[value='Task Stream']:enabled").await;
    let frame = "document.querySelector('.dask-DaskDashboard-widget iframe')?.contentDocument";
    browser.until("a panel in JupyterLab", &format!("{COUNT} return count({frame})")).await;
    browser.picture("panel").await;
    assert_eq!(browser.complaints().await, [""; 0], "every request was answered");
}

async fn look_at_the_dashboard(installation: &Installation, browser: &Browser, student: &Student, id: &str) {
    browser.tab().await;
    browser.complaints().await;
    let cluster = student.cluster(id).await;
    let path = cluster["dashboard_url"].as_str().expect("a dashboard");
    assert_eq!(path, format!("/{id}_9001/status"));
    browser.goto(&format!("{}{path}", installation.address())).await;
    browser.until("the dashboard's figures", &format!("{COUNT} return count(document)")).await;
    let roots: Value = browser.run("return Bokeh.documents.flatMap(d => d.roots()).length").await;
    assert!(roots.as_u64() > Some(3), "{roots} parts of the dashboard");
    browser.picture("dashboard").await;
    assert_eq!(browser.complaints().await, [""; 0], "every request was answered");
}
