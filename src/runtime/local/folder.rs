//! The folder that holds all there is of one cluster, and what is recorded in it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::part::Part;
use super::process::ProcessId;
use crate::domain::{ClusterId, Repository};

/// Paths inside `<root>/cluster-678343`.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new(root: &Path, id: ClusterId) -> Self {
        Self { path: root.join(id.to_string()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The student's files: the notebook's root, and `$HOME` of all parts.
    pub fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub fn log(&self, part: Part) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    /// Configuration that slipway writes and the parts read.
    pub fn etc(&self) -> PathBuf {
        self.path.join("etc")
    }

    /// What the parts write for slipway and each other, and scratch space.
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Dask's own file, from which workers learn where the scheduler is.
    pub fn scheduler_file(&self) -> PathBuf {
        self.run().join("scheduler.json")
    }

    /// Where the scheduler's preload tells its ports.
    pub fn scheduler_place(&self) -> PathBuf {
        self.run().join("place.json")
    }

    /// Where a notebook server of this process number tells its port.
    pub fn notebook_place(&self, pid: i32) -> PathBuf {
        self.run().join(format!("jpserver-{pid}.json"))
    }

    fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    pub fn exists(&self) -> bool {
        self.state().exists()
    }

    /// What is recorded of the cluster; `None` when there is none. A file that cannot be understood counts
    /// as empty: its processes are then nobody's, and ended before new ones start.
    pub fn load(&self) -> io::Result<Option<Recorded>> {
        match std::fs::read(self.state()) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %self.state().display(), %error, "the recorded state is damaged; starting anew");
                Recorded::default()
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn save(&self, recorded: &Recorded) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(recorded)?;
        write_atomically(&self.state(), &text)
    }
}

/// A reader sees the old content or the new, never a part of it.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // Left by a writer that was interrupted, perhaps with other permissions.
    if let Err(error) = std::fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    std::fs::write(&new, content)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)
}

/// What has to outlive slipway's own process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    #[serde(default)]
    pub processes: BTreeMap<Part, Started>,
    /// Kept when a process ends, so that the next one can have the same.
    #[serde(default)]
    pub ports: Ports,
    #[serde(default)]
    pub materials: Vec<Material>,
}

/// A process that was started and is not known to have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Started {
    /// Recorded before the process starts, and carried in its environment: one that started just
    /// before slipway was killed is found by it.
    pub spawn: String,
    pub id: Option<ProcessId>,
    /// Set when it was asked to leave; it is ended at this time if it has not.
    #[serde(default)]
    pub leaves_by: Option<DateTime<Utc>>,
}

impl Started {
    pub fn is_alive(&self) -> bool {
        self.id.is_some_and(ProcessId::is_alive)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    pub notebook: Option<u16>,
    /// Dask's comm over TCP, for the workers and kernels of this machine.
    pub comm: Option<u16>,
    /// The dashboard, and Dask's comm over WebSocket.
    pub web: Option<u16>,
}

/// How the cloning of a repository went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Material {
    pub repository: Repository,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Cloned { commit: String },
    Failed { why: String },
}
