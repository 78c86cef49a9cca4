//! A worker that is a process of its own: this test binary, started once more.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slipway::clock::Clock;
use slipway::domain::ClusterId;
use slipway::parts::Base;
use slipway::service::Service;
use slipway::service::worker::{Worker, WorkerConfig};
use slipway::store::append::Caps;
use tokio::sync::watch;

use crate::folder_world::{Fate, FolderWorld};
use crate::harness::{eventually, subject};

/// How long the leases last of those who are to lose them.
pub const LEASE: Duration = Duration::from_secs(1);

pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start(folder: &Path, url: &str, name: &str, fate: Fate) -> Self {
        let log = folder.join(format!("{name}.log"));
        let (fate, at) = match fate {
            Fate::Lives => ("lives", 0),
            Fate::Killed { at } => ("killed", at),
            Fate::Stopped { at } => ("stopped", at),
            Fate::Hangs => ("hangs", 0),
        };
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "process::the_worker", "--ignored", "--nocapture"]);
        command.env("SLIPWAY_TEST_WORKER", format!("{fate} {at} {name} {url}")).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log"));
        Self { child: command.spawn().expect("it starts"), log }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it is there");
    }

    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_some()
    }

    /// Until it has stopped itself.
    pub async fn is_stopped(&self) {
        let place = format!("/proc/{}/stat", self.child.id());
        eventually("a process that stands still", async || {
            let stat = std::fs::read_to_string(&place).expect("it is there");
            (stat.rsplit(") ").next()?.starts_with('T')).then_some(())
        })
        .await;
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }
}

/// What [`Process`] runs; the world is its working folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is no test: the others start it as a process"]
async fn the_worker() {
    let Ok(task) = std::env::var("SLIPWAY_TEST_WORKER") else { return };
    let mut words = task.splitn(4, ' ');
    let mut word = || words.next().expect("four words");
    let (fate, at) = (word(), word().parse().expect("a number"));
    let fate = match fate {
        "killed" => Fate::Killed { at },
        "stopped" => Fate::Stopped { at },
        "hangs" => Fate::Hangs,
        _ => Fate::Lives,
    };
    let (name, url) = (word(), word());
    slipway::cli::start_logging(false, "warn,slipway=info");
    let base = Base::connect(url, 4, false).await.expect("Postgres answers");
    let folder = std::env::current_dir().expect("a folder");
    work(&base, name, Arc::new(FolderWorld::new(folder, fate))).await;
}

/// Works for good.
pub async fn work(base: &Base, name: &str, world: Arc<FolderWorld>) {
    let mut config = WorkerConfig::new(subject(name));
    config.lease = LEASE;
    config.concurrency = 128;
    let service = Service::new(base.store.clone(), Caps::NONE);
    let worker = Worker::new(service, world, Clock::system(), config);
    let (_never, stop) = watch::channel(false);
    worker.run(base.bell.clone(), stop).await;
}

/// The events of a cluster, by their names.
pub async fn kinds(service: &Service, id: ClusterId) -> Vec<&'static str> {
    let events = service.store().stream(id).await.expect("events");
    events.iter().map(|recorded| recorded.event.kind()).collect()
}
