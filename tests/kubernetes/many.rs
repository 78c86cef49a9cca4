//! A student who wants all there is: real workers' pods until the node is full of them.

use std::time::Instant;

use super::cluster::get;
use super::house::{House, REAL, real_turn, within};
use super::kernel::Kernel;

/// A hundred Python processes start one after the other on two cores.
const PATIENCE: u64 = 1_800;
const SETUP: &str = "\
import socket, time, uuid
from dask.distributed import Client
client = Client()
def once(x):
    time.sleep(3)
    return x, uuid.uuid4().hex, socket.gethostname()
def where(x):
    time.sleep(0.5)
    return socket.gethostname()
job = client.map(once, range(4000), pure=False)";

async fn done(kernel: &mut Kernel, job: &str) {
    within(PATIENCE, &format!("all of {job}"), async || {
        (kernel.run(&format!("print(all(task.done() for task in {job}))")).await == "True").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a quarter of an hour and 16 GB: ops/check --test kubernetes -- --ignored many"]
async fn from_8_to_100_workers_and_back_while_a_job_runs() {
    let _turn = real_turn().await;
    let profile = REAL
        .replace("title = ", "engines = []\ntitle = ")
        .replace("most = 8", "most = 100")
        .replace("memory = \"1536Mi\"", "memory = \"512Mi\"")
        // Else one of a hundred and one that share two cores.
        .replace("cpu = \"10m\", memory = \"256Mi\"", "cpu = \"500m\", memory = \"256Mi\"");
    let house = House::new("many", &profile, &[]).await;
    let student = house.student().await;
    let began = Instant::now();
    let id = house.running(&student, 8).await;
    eprintln!("8 workers after {:.0} s", began.elapsed().as_secs_f64());
    let mut kernel = student.kernel(&id).await;
    kernel.run(SETUP).await;
    let began = Instant::now();
    assert_eq!(student.scale(&id, 100).await.0, 202);
    let ready = async || student.cluster(&id).await["workers"]["ready"].as_u64();
    let (mut seen, mut counts) = (8, vec![]);
    // The kernel is asked all along, as by a notebook that shows how far it is: who says nothing to the proxy's pings is cut off.
    let progress = "print(sum(not task.done() for task in job))";
    within(PATIENCE, "100 workers", async || {
        let (left, now) = (kernel.run(progress).await, ready().await?);
        if now != seen {
            seen = now;
            counts.push(format!("{now} ({left})"));
        }
        (now == 100).then_some(())
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    eprintln!("100 workers {took:.0} s later, by way of (with tasks to be done): {}", counts.join(", "));
    done(&mut kernel, "job").await;
    let whole = "first = client.gather(job); print(sorted(x for x, _, _ in first) == list(range(4000)))";
    assert_eq!(kernel.run(whole).await, "True");
    let spread = "print(len(set(client.gather(client.map(where, range(1000), pure=False)))))";
    assert_eq!(kernel.run(spread).await, "100", "all take part");

    kernel.run("job2 = client.map(once, range(600), pure=False)").await;
    let began = Instant::now();
    assert_eq!(student.scale(&id, 8).await.0, 202);
    done(&mut kernel, "job2").await;
    kernel.run("second = client.gather(job2)").await;
    within(PATIENCE, "8 workers' pods", async || {
        kernel.run(progress).await;
        let pods = get(&["pods", "-n", &id, "-l", "app.kubernetes.io/component=workers"]).len();
        (pods == 8 && ready().await == Some(8)).then_some(())
    })
    .await;
    let kept = "print(client.gather(job) == first, client.gather(job2) == second, len(second))";
    assert_eq!(kernel.run(kept).await, "True True 600", "no result was lost, none computed again");
    eprintln!("8 workers again {:.0} s later", began.elapsed().as_secs_f64());
    drop(kernel);
    house.close().await;
}
