//! The local runtime with real processes: a notebook server, a scheduler and workers of this machine.
//!
//! `SLIPWAY_TEST_STACK` names a Python environment to use; without it one is made, which takes minutes once.
#![expect(clippy::print_stderr, reason = "how long each part takes is shown with --nocapture")]

#[path = "local_runtime/git.rs"]
mod git;
#[path = "local_runtime/kernel.rs"]
mod kernel;
#[path = "local_runtime/machine.rs"]
mod machine;

use std::time::Instant;

use kernel::Kernel;
use machine::{Machine, blueprint, id, ready, until};
use slipway::domain::{Engine, Observation, Step};
use slipway::runtime::{Runtime, RuntimeError};

const CONNECT: &str = "from dask.distributed import Client; client = Client()";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one cluster's day, since each launch takes seconds")]
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
    assert_eq!(
        kernel.run("import os; print('CARGO' in os.environ, 'JUPYTER_TOKEN' in os.environ)").await,
        "False False"
    );
    assert!(!machine.processes().iter().any(|(_, line)| line.contains(&machine.token())), "the token is secret");
    kernel.run(CONNECT).await;
    // As through the proxy, which takes the route's path away.
    let ws = endpoint.ports[&Engine::DaskScheduler];
    let far = format!(
        "far = Client('ws://127.0.0.1:{ws}', set_as_default=False); print(far.submit(pow, 2, 5).result()); far.close()"
    );
    assert_eq!(kernel.run(&far).await, "32");
    let sum = kernel.run("print(client.submit(sum, client.map(lambda x: x * x, range(100))).result())").await;
    assert_eq!(sum, "328350");

    let pages = format!(
        "import json, urllib.request, urllib.error\n\
         def get(path):\n    \
             try:\n        return urllib.request.urlopen(path).read().decode()\n    \
             except urllib.error.HTTPError as error:\n        return error.code\n\
         lab = 'http://127.0.0.1:{}/{id}/lab/api/settings/dask-labextension:plugin?token={}'\n\
         print(json.loads(get(lab))['schema']['properties']['defaultURL']['default'])\n\
         web = 'http://127.0.0.1:{ws}'\n\
         print('Bokeh' in get(web + '/{id}_9001/status'))\n\
         print([get(web + path) for path in ['/{id}_9001/proxy/22/127.0.0.1/', '/{id}_9001/api/v1/retire_workers']])",
        endpoint.ports[&Engine::Notebook],
        machine.token(),
        id = id(),
    );
    assert_eq!(kernel.run(&pages).await, "/cluster-678343_9001\nTrue\n[404, 404]");

    runtime.apply(&blueprint(4, &[])).await.expect("a scale-up");
    let scaled = Instant::now();
    ready(&runtime, 4).await;
    eprintln!("two more workers ready after {} ms", scaled.elapsed().as_millis());
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
    let scaled = Instant::now();
    runtime.apply(&blueprint(2, &[])).await.expect("a scale-down");
    assert_eq!(kernel.finish(&cell).await, "820 780");
    ready(&runtime, 2).await;
    until("the retired workers to end", async || {
        let workers = machine.processes().into_iter().filter(|(_, line)| line.contains(" worker ")).count();
        (workers == 2).then_some(())
    })
    .await;
    eprintln!("two workers have left after {} ms", scaled.elapsed().as_millis());
    machine.pid_of("--name worker-1 ");
    machine.pid_of("--name worker-2 ");

    let stopped = Instant::now();
    runtime.delete(id()).await.expect("an end");
    eprintln!("all gone after {} ms", stopped.elapsed().as_millis());
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

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_and_the_next_slipway_adopts_what_runs() {
    let machine = Machine::new("adopted").await;
    let runtime = machine.runtime().await;
    let mut changes = runtime.changes();
    runtime.apply(&blueprint(2, &[])).await.expect("a launch");
    let endpoint = ready(&runtime, 2).await;
    assert_eq!(changes.recv().await, Some(id()), "a hint came");
    let mut kernel = Kernel::start(id(), &endpoint, &machine.token()).await;
    assert_eq!(kernel.run("x = 41; print(x)").await, "41");

    let killed = machine.pid_of("--name worker-2 ");
    kill(killed);
    until("another worker 2", async || {
        machine
            .processes()
            .iter()
            .any(|(pid, line)| line.contains("--name worker-2 ") && *pid != killed)
            .then_some(())
    })
    .await;
    ready(&runtime, 2).await;

    let before = pids(&machine);
    // Nothing is told to end, as when slipway is killed.
    drop(runtime);
    let runtime = machine.runtime().await;
    assert_eq!(ready(&runtime, 2).await, endpoint);
    runtime.apply(&blueprint(2, &[])).await.expect("the same again");
    assert_eq!(ready(&runtime, 2).await, endpoint);
    assert_eq!(pids(&machine), before, "nothing ended and nothing has a twin");
    assert_eq!(kernel.run("print(x + 1)").await, "42", "the student noticed nothing");

    // As when slipway is killed after it started a worker and before it could record that.
    drop(runtime);
    let unknown = machine.pid_of("--name worker-2 ");
    machine.forget("worker-2");
    let runtime = machine.runtime().await;
    runtime.apply(&blueprint(2, &[])).await.expect("the same again");
    until("the unknown worker to be replaced", async || {
        let workers = machine.processes().into_iter().filter(|(_, line)| line.contains("--name worker-2 "));
        let workers: Vec<i32> = workers.map(|(pid, _)| pid).collect();
        (workers.len() == 1 && workers[0] != unknown).then_some(())
    })
    .await;
    assert_eq!(ready(&runtime, 2).await, endpoint);

    // An adopted process is watched too, and keeps its port.
    kill(machine.pid_of("dask scheduler "));
    until("the scheduler to be missed", async || {
        matches!(machine::seen(&runtime).await, Ok(Observation::Present { endpoint: None, .. })).then_some(())
    })
    .await;
    assert_eq!(ready(&runtime, 2).await, endpoint);

    // As after Ctrl-C, and the next start.
    runtime.shutdown().await.expect("a shutdown");
    assert_eq!(machine.processes(), []);
    drop(runtime);
    let runtime = machine.runtime().await;
    assert!(matches!(
        machine::seen(&runtime).await,
        Ok(Observation::Present { endpoint: None, workers_ready: 0, .. })
    ));
    runtime.apply(&blueprint(1, &[])).await.expect("a relaunch");
    assert_eq!(ready(&runtime, 1).await, endpoint);
    runtime.delete(id()).await.expect("an end");
    assert_eq!(machine.processes(), []);
}

/// Those of slipway's own parts and the kernels; not what a library starts for a moment.
fn pids(machine: &Machine) -> Vec<i32> {
    let python = |line: &str| line.contains("jupyter-lab") || line.contains("dask ") || line.contains("ipykernel");
    machine.processes().into_iter().filter(|(_, line)| python(line)).map(|(pid, _)| pid).collect()
}

fn kill(pid: i32) {
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("a process that we started");
}

#[tokio::test(flavor = "multi_thread")]
async fn materials_are_there_before_the_notebook_is_and_a_bad_repository_stops_nothing() {
    let machine = Machine::new("materials").await;
    let (server, commit) = git::serve(&machine.data, std::net::Ipv4Addr::LOCALHOST.into()).await;
    let good = format!("http://{server}/course.git");
    let tagged = format!("http://{server}/other.git@v1");
    let bad = format!("http://{server}/missing.git");
    let runtime = machine.runtime().await;
    runtime.apply(&blueprint(1, &[&good, &bad, &tagged])).await.expect("a launch");
    ready(&runtime, 1).await;
    let Observation::Present { steps, .. } = machine::seen(&runtime).await.expect("a look") else {
        panic!("the cluster is there")
    };
    let home = machine.folder().join("home");
    assert_eq!(std::fs::read_to_string(home.join("course/lesson.txt")).expect("the lesson"), "one\n");
    assert_eq!(std::fs::read_to_string(home.join("other/lesson.txt")).expect("the lesson"), "one\n");
    let cloned =
        |text: &str| Step::MaterialsCloned { repository: text.parse().expect("valid"), commit: commit.clone() };
    assert_eq!(steps.first(), Some(&Step::Prepared));
    assert_eq!(steps.last(), Some(&Step::SchedulerStarted));
    assert!(steps.contains(&cloned(&good)) && steps.contains(&cloned(&tagged)), "{steps:#?}");
    let failed = steps.iter().any(|step| {
        matches!(step, Step::MaterialsFailed { repository, why } if repository.to_string() == bad && why.contains("not found"))
    });
    assert!(failed, "{steps:#?}");

    drop(runtime);
    let runtime = machine.runtime().await;
    let Ok(Observation::Present { steps: after, .. }) = machine::seen(&runtime).await else {
        panic!("the cluster is there")
    };
    assert_eq!(after, steps, "reported the same by the next slipway");
    runtime.delete(id()).await.expect("an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notebook_server_that_keeps_ending_is_given_up_with_its_last_words() {
    let stack = std::env::temp_dir().join(format!("slipway-broken-stack-{}", std::process::id()));
    std::fs::create_dir_all(stack.join("bin")).expect("a folder");
    let python = stack.join("bin/python");
    std::fs::write(&python, "#!/bin/sh\necho 'no space left on the moon'\nexit 1\n").expect("a script");
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let machine = Machine::with_stack("broken", stack.clone());
    let runtime = machine.runtime().await;
    let why = until("a permanent error", async || match runtime.apply(&blueprint(1, &[])).await {
        Err(RuntimeError::Permanent { why }) => Some(why),
        Ok(()) | Err(RuntimeError::Temporary { .. } | RuntimeError::Unavailable { .. }) => None,
    })
    .await;
    assert!(why.contains("no space left on the moon"), "{why}");
    runtime.delete(id()).await.expect("an end");
    assert_eq!(machine.processes(), []);
    std::fs::remove_dir_all(stack).expect("the script can be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_of_a_slipway_run_by_root_can_belong_to_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start processes of others");
        return;
    }
    const NOBODY: u32 = 65534;
    let mut machine = Machine::new("other-user").await;
    let mut python = std::process::Command::new(machine.config.stack.join("bin/python"));
    if std::os::unix::process::CommandExt::uid(python.arg("-V"), NOBODY).status().is_err() {
        eprintln!("skipped: the stack's Python is in a folder that others cannot enter");
        return;
    }
    let (server, _) = git::serve(&machine.data, std::net::Ipv4Addr::LOCALHOST.into()).await;
    machine.config.run_as = Some((NOBODY, NOBODY));
    let runtime = machine.runtime().await;
    let course = format!("http://{server}/course.git");
    runtime.apply(&blueprint(1, &[&course])).await.expect("a launch");
    let endpoint = ready(&runtime, 1).await;
    let mut kernel = Kernel::start(id(), &endpoint, &machine.token()).await;
    let told = kernel
        .run("import os; open('mine.txt', 'w').close(); print(os.getuid(), os.getgid(), os.getgroups())")
        .await;
    assert_eq!(told, "65534 65534 []");
    kernel.run(CONNECT).await;
    assert_eq!(kernel.run("print(client.submit(os.getuid).result())").await, "65534");
    let owner = |path: &str| {
        let metadata = std::fs::metadata(machine.folder().join("home").join(path)).expect("it is there");
        std::os::unix::fs::MetadataExt::uid(&metadata)
    };
    assert_eq!([owner("mine.txt"), owner("welcome-dask.ipynb"), owner("course/lesson.txt")], [NOBODY; 3]);
    runtime.delete(id()).await.expect("an end");
    assert_eq!(machine.processes(), []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tells how long a launch takes on this machine"]
async fn measured() {
    let machine = Machine::new("measured").await;
    let runtime = machine.runtime().await;
    for workers in [1, 2, 8] {
        let mut changes = runtime.changes();
        let begun = Instant::now();
        runtime.apply(&blueprint(workers, &[])).await.expect("a launch");
        let applied = begun.elapsed().as_millis();
        let mut notebook = None;
        let all = loop {
            changes.recv().await;
            let Ok(Observation::Present { endpoint: Some(_), workers_ready, .. }) = machine::seen(&runtime).await
            else {
                continue;
            };
            let now = begun.elapsed().as_millis();
            notebook.get_or_insert(now);
            if i64::from(workers_ready) == workers {
                break now;
            }
        };
        let stopped = Instant::now();
        runtime.delete(id()).await.expect("an end");
        let gone = stopped.elapsed().as_millis();
        eprintln!(
            "{workers} workers: applied {applied} ms, notebook {notebook:?} ms, all workers {all} ms, gone {gone} ms"
        );
    }
}
