//! A world that several processes share: a folder, with a file for each cluster that is there.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use slipway::domain::{Blueprint, ClusterId, Endpoint, Engine, Observation, Step};
use slipway::runtime::engines::EngineActivity;
use slipway::runtime::{Pace, Runtime, RuntimeError};
use tokio::sync::mpsc;

/// What becomes of the process that has made so many steps: one before and one after each effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lives,
    Killed {
        at: u32,
    },
    Stopped {
        at: u32,
    },
    /// It begins, and never ends.
    Hangs,
}

pub struct FolderWorld {
    folder: PathBuf,
    fate: Fate,
    steps: AtomicU32,
}

impl FolderWorld {
    pub fn new(folder: PathBuf, fate: Fate) -> Self {
        Self { folder, fate, steps: AtomicU32::new(0) }
    }

    pub fn workers(&self, id: ClusterId) -> Option<u16> {
        fs::read_to_string(self.folder.join(id.to_string())).ok()?.parse().ok()
    }

    /// How often the cluster was begun.
    pub fn built(&self, id: ClusterId) -> usize {
        let built = fs::read_to_string(self.folder.join("built")).unwrap_or_default();
        built.lines().filter(|line| *line == id.to_string()).count()
    }

    fn build(&self, blueprint: &Blueprint) -> std::io::Result<()> {
        let (id, place) = (blueprint.id.to_string(), self.folder.join(blueprint.id.to_string()));
        if !place.exists() {
            let mut built = fs::File::options().create(true).append(true).open(self.folder.join("built"))?;
            writeln!(built, "{id}")?;
        }
        // Whole or not at all, as its process may end at any time.
        let beside = self.folder.join(format!("{id}.{}", std::process::id()));
        fs::write(&beside, blueprint.workers.to_string())?;
        fs::rename(beside, place)
    }

    fn step(&self) {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let signal = match self.fate {
            Fate::Killed { at } if at == step => Signal::SIGKILL,
            Fate::Stopped { at } if at == step => Signal::SIGSTOP,
            _ => return,
        };
        raise(signal).expect("a signal to oneself");
    }

    fn call<T>(&self, effect: impl FnOnce() -> T) -> T {
        self.step();
        let done = effect();
        self.step();
        done
    }
}

fn failed(source: std::io::Error) -> RuntimeError {
    RuntimeError::Temporary { doing: "write into the world".to_owned(), source: Some(source.into()) }
}

impl Runtime for FolderWorld {
    async fn apply(&self, blueprint: &Blueprint) -> Result<(), RuntimeError> {
        if self.fate == Fate::Hangs {
            std::future::pending::<()>().await;
        }
        self.call(|| self.build(blueprint)).map_err(failed)
    }

    async fn delete(&self, id: ClusterId) -> Result<(), RuntimeError> {
        self.call(|| match fs::remove_file(self.folder.join(id.to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        })
    }

    async fn observe(&self, id: ClusterId) -> Result<Observation, RuntimeError> {
        let workers = self.call(|| self.workers(id));
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let endpoint = Endpoint { address, ports: [(Engine::Notebook, 9_999)].into(), named: [].into() };
        Ok(workers.map_or(Observation::Absent, |workers_ready| Observation::Present {
            steps: vec![Step::Prepared],
            endpoint: Some(endpoint),
            workers_ready,
        }))
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        let names = fs::read_dir(&self.folder).map_err(failed)?.flatten();
        Ok(names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    async fn activity(&self, _: ClusterId, _: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        Ok(None)
    }

    fn changes(&self) -> mpsc::Receiver<ClusterId> {
        mpsc::channel(1).1
    }

    fn pace(&self) -> Pace {
        let soon = Duration::from_millis(100);
        Pace { launching: soon, running: soon, ending: soon }
    }
}
