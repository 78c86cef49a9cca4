//! The local runtime with real processes: a notebook server, a scheduler and workers of this machine.
//!
//! `SLIPWAY_TEST_STACK` names a Python environment to use; without it one is made, which takes minutes once.

#[path = "local_runtime/kernel.rs"]
mod kernel;
#[path = "local_runtime/machine.rs"]
mod machine;

use std::time::Instant;

use kernel::Kernel;
use machine::{Machine, blueprint, id, ready, until};
use slipway::domain::{Observation, Step};
use slipway::runtime::{Runtime, RuntimeError};

const CONNECT: &str = "from dask.distributed import Client; client = Client()";

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_computes_and_nothing_is_lost_when_it_is_scaled_during_a_job() {
    let machine = Machine::new("scaled").await;
    let runtime = machine.runtime().await;
    let begun = Instant::now();
    runtime.apply(&blueprint(2, &[])).await.expect("a launch");
    runtime.apply(&blueprint(2, &[])).await.expect("the same launch again");
    let endpoint = ready_at_all(&runtime).await;
    eprintln!("notebook ready after {} ms", begun.elapsed().as_millis());
    ready(&runtime, 2).await;
    eprintln!("both workers ready after {} ms", begun.elapsed().as_millis());

    let mut kernel = Kernel::start(id(), &endpoint, &machine.token()).await;
    kernel.run(CONNECT).await;
    let sum = kernel.run("print(client.submit(sum, client.map(lambda x: x * x, range(100))).result())").await;
    assert_eq!(sum, "328350");

    runtime.apply(&blueprint(4, &[])).await.expect("a scale-up");
    ready(&runtime, 4).await;
    kernel.run("held = client.scatter(list(range(40)), broadcast=False); kept = client.map(lambda x: x + 1, held, pure=False)").await;
    let cell = kernel
        .begin(
            "import time\n\
             def slow(x):\n    time.sleep(0.3)\n    return x\n\
             print(sum(client.gather(client.map(slow, kept, pure=False))), sum(client.gather(held)))",
        )
        .await;
    until("tasks to run", async || {
        let activity = runtime.engines().activity(&endpoint, &machine.token(), id()).await.ok()?;
        (activity.tasks_in_flight > 0 && activity.busy_kernels == 1).then_some(())
    })
    .await;
    runtime.apply(&blueprint(2, &[])).await.expect("a scale-down");
    assert_eq!(kernel.finish(&cell).await, "820 780");
    ready(&runtime, 2).await;
    until("the retired workers to end", async || {
        let workers = machine.processes().into_iter().filter(|(_, line)| line.contains(" worker ")).count();
        (workers == 2).then_some(())
    })
    .await;
    machine.pid_of("--name worker-1 ");
    machine.pid_of("--name worker-2 ");

    runtime.delete(id()).await.expect("an end");
    runtime.delete(id()).await.expect("the same end again");
    assert_eq!(machine.processes(), []);
    assert!(!machine.folder().exists());
    assert!(machine.data.join("ended").join(machine::ID).join("home/welcome-dask.ipynb").exists());
    assert_eq!(machine::seen(&runtime).await.expect("a look"), Observation::Absent);
    assert_eq!(runtime.list().await.expect("a list"), []);
}

async fn ready_at_all(runtime: &slipway::runtime::local::LocalRuntime) -> slipway::domain::Endpoint {
    until("an endpoint", async || match machine::seen(runtime).await {
        Ok(Observation::Present { endpoint, .. }) => endpoint,
        Ok(Observation::Absent) | Err(_) => None,
    })
    .await
}
