//! Processes of this machine as `/proc` shows them: which are still the same, and which belong to a cluster.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::domain::ClusterId;

/// Every process of a cluster inherits these, so that it can be found whatever group or session it is in.
pub(super) const ROOT_MARK: &str = "SLIPWAY_ROOT";
pub(super) const CLUSTER_MARK: &str = "SLIPWAY_CLUSTER";
pub(super) const SPAWN_MARK: &str = "SLIPWAY_SPAWN";

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub pid: i32,
    /// In clock ticks since the machine's start.
    pub start_time: u64,
}

struct Stat {
    state: u8,
    parent: i32,
    start_time: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last parenthesis is the program's choice and may hold anything.
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    Some(Stat {
        state: fields.first()?.bytes().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

impl ProcessId {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, start_time: stat(pid)?.start_time })
    }

    /// Whether this very process still runs. One that has ended and waits to be reaped does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|seen| seen.start_time == self.start_time && !matches!(seen.state, b'Z' | b'X'))
    }

    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may have ended in between, which is what any signal is for.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// To the process and the group it leads.
    pub fn signal_group(self, signal: Signal) {
        if self.is_alive() {
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
    }
}

/// A process that carries our marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub id: ProcessId,
    pub cluster: ClusterId,
    pub spawn: String,
}

/// All live processes that were started for clusters under this root, and what those started.
pub(super) fn marked(root: &Path) -> Vec<Marked> {
    pids().filter_map(|pid| marks(root, pid)).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

fn marks(root: &Path, pid: i32) -> Option<Marked> {
    // Unreadable for processes of others, which are then not ours either.
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    if value(ROOT_MARK)? != root.as_os_str().as_bytes() {
        return None;
    }
    let cluster = std::str::from_utf8(value(CLUSTER_MARK)?).ok()?.parse().ok()?;
    let spawn = std::str::from_utf8(value(SPAWN_MARK)?).ok()?.to_owned();
    let seen = stat(pid)?;
    let alive = !matches!(seen.state, b'Z' | b'X');
    alive.then_some(Marked { id: ProcessId { pid, start_time: seen.start_time }, cluster, spawn })
}

/// The given processes and all their descendants, also those that dropped the marks.
pub(super) fn with_descendants(roots: &[ProcessId]) -> Vec<ProcessId> {
    let all: Vec<(i32, Stat)> = pids().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found: HashSet<i32> = roots.iter().filter(|id| id.is_alive()).map(|id| id.pid).collect();
    loop {
        let before = found.len();
        found.extend(
            all.iter().filter(|(_, seen)| found.contains(&seen.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    all.iter()
        .filter(|(pid, seen)| found.contains(pid) && !matches!(seen.state, b'Z' | b'X'))
        .map(|(pid, seen)| ProcessId { pid: *pid, start_time: seen.start_time })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_later_one_with_its_number_would_not_be_it() {
        let me = ProcessId::of(std::process::id()).expect("this process is in /proc");
        assert!(me.is_alive());
        assert!(!ProcessId { start_time: me.start_time + 1, ..me }.is_alive());
    }

    #[test]
    fn a_process_that_ended_but_was_not_reaped_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().expect("true starts");
        let id = ProcessId::of(child.id()).expect("a child not yet reaped is in /proc");
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while id.is_alive() {
            assert!(std::time::Instant::now() < patience, "true never ended");
            std::thread::yield_now();
        }
        child.wait().expect("it can be reaped");
    }
}
