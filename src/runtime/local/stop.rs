//! Ending a cluster's processes, all of them, and putting its folder away.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::LocalConfig;
use super::cluster::Cluster;
use super::part::Part;
use super::process::{ProcessId, marked, with_descendants};
use crate::domain::ClusterId;
use crate::runtime::RuntimeError;

const STEP: Duration = Duration::from_millis(20);
/// How long the system may take to take away a process that was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// Ends every process of the cluster. Only the notebook server is asked first, as it has its kernels end in
/// order; Dask's parts hold nothing that outlives the cluster, and wait for each other when asked.
pub(super) async fn stop(config: &LocalConfig, cluster: &mut Cluster) -> Result<(), RuntimeError> {
    for (_, fetching) in cluster.fetching.drain() {
        fetching.abort();
    }
    let mut leaders = BTreeMap::new();
    for (part, started) in cluster.recorded.iter().flat_map(|recorded| &recorded.processes) {
        leaders.extend(started.id.map(|id| (*part, id)));
    }
    let notebook = leaders.get(&Part::Notebook).copied();
    // Taken now: who is whose child cannot be seen any more once the parent has ended.
    let mut all = everything(config, cluster.id, &leaders.values().copied().collect::<Vec<_>>());
    for (part, leader) in &leaders {
        leader.signal_group(if *part == Part::Notebook { Signal::SIGTERM } else { Signal::SIGKILL });
    }
    let patience = Instant::now() + config.stop_within;
    while notebook.is_some_and(ProcessId::is_alive) && Instant::now() < patience {
        tokio::time::sleep(STEP).await;
    }
    let patience = Instant::now() + KILLED_WITHIN;
    loop {
        all.retain(|id| id.is_alive());
        all.extend(everything(config, cluster.id, &all));
        if all.is_empty() {
            break;
        }
        if Instant::now() >= patience {
            let doing = format!("could not end process {} of {}", all[0].pid, cluster.id);
            return Err(RuntimeError::Temporary { doing, source: None });
        }
        for id in &all {
            id.signal(Signal::SIGKILL);
        }
        tokio::time::sleep(STEP).await;
    }
    if let Some(recorded) = &mut cluster.recorded {
        recorded.processes.clear();
    }
    Ok(())
}

fn everything(config: &LocalConfig, id: ClusterId, known: &[ProcessId]) -> Vec<ProcessId> {
    let of_cluster =
        marked(&config.root).into_iter().filter(|marked| marked.cluster == id).map(|marked| marked.id);
    let roots: Vec<ProcessId> = of_cluster.chain(known.iter().copied()).collect();
    with_descendants(&roots)
}

/// Moves the folder out of the clusters' root, so that none is there any more, and keeps of it what is the
/// student's or may tell what happened: `home` and `logs`.
pub(super) async fn put_away(config: &LocalConfig, cluster: &Cluster) -> io::Result<()> {
    let from = cluster.folder.path();
    if !from.exists() {
        return Ok(());
    }
    let ended = config.ended();
    std::fs::create_dir_all(&ended)?;
    let to = unused(&ended, cluster.id);
    std::fs::rename(from, &to)?;
    for name in ["etc", "run"] {
        ignore_absent(tokio::fs::remove_dir_all(to.join(name)).await)?;
    }
    ignore_absent(std::fs::remove_file(to.join("state.json")))
}

fn unused(ended: &Path, id: ClusterId) -> PathBuf {
    let plain = ended.join(id.to_string());
    let numbered = (2_u32..).map(|n| ended.join(format!("{id}.{n}")));
    std::iter::once(plain.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(plain)
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
