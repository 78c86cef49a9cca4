//! The routes in a file, so that a proxy can start while the database is away.
//!
//! Its first line names the format and the SHA-256 of all that follows, which is JSON.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::Endless;
use super::activity::Uses;
use crate::clock::Clock;
use crate::domain::{ClusterId, Placed};
use crate::proxy::Proxy;
use crate::service::routes::Router;
use crate::store::events::Position;

const NAME: &str = "slipway-routes";
const FORMAT: &str = "1";
/// At most so often it is written, and at most a twentieth of the time goes into it.
const EVERY: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;
/// So often also when only activity has changed, while the database does not take it.
const WHILE_OWING: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub written_at: DateTime<Utc>,
    /// Where in the log the routes stand.
    position: String,
    clusters: Vec<Cluster>,
    uses: Vec<Use>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cluster {
    id: ClusterId,
    #[serde(flatten)]
    placed: Placed,
}

/// The last use of a route, and whether the database has yet to be told.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Use {
    path: String,
    at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unwritten: bool,
}

impl Snapshot {
    fn of(router: &Router, proxy: &Proxy, uses: &Uses<'_>, now: DateTime<Utc>) -> (Self, u64) {
        let (placed, position, revision) = router.placed();
        let unwritten: HashMap<_, _> = uses.unwritten.all().into_iter().collect();
        let used = |entry: &crate::proxy::Entry| Use {
            path: entry.path().to_string(),
            at: entry.last_activity(),
            unwritten: unwritten.contains_key(entry.path()),
        };
        let snapshot = Self {
            written_at: now,
            position: position.to_string(),
            clusters: placed.into_iter().map(|(id, placed)| Cluster { id, placed }).collect(),
            uses: proxy.routes.list().iter().map(|entry| used(entry)).collect(),
        };
        (snapshot, revision)
    }

    /// Takes over what the database does not know; all of it where the database is away.
    pub(super) fn take_up(&self, router: &Router, proxy: &Proxy, uses: &Uses<'_>, away: bool) -> Position {
        // Checked when it was read.
        let position = self.position.parse().unwrap_or_default();
        if away {
            let placed = self.clusters.iter().map(|cluster| (cluster.id, cluster.placed.clone())).collect();
            router.take_up(placed, position, |changes| proxy.routes.apply(changes));
        }
        for Use { path, at, unwritten } in &self.uses {
            uses.record(path, *at);
            if let Some(entry) = proxy.routes.get(path).filter(|_| *unwritten) {
                uses.unwritten.owe(entry.path().clone(), *at);
            }
        }
        position
    }

    /// What the file holds; none if there is no file.
    ///
    /// # Errors
    /// When it cannot be read, is of another format, or is damaged.
    pub(super) async fn read(path: PathBuf) -> anyhow::Result<Option<Self>> {
        tokio::task::spawn_blocking(move || read(&path)).await.context("the snapshot was not read")?
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Snapshot>> {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read the snapshot {shown}")),
    };
    decode(&bytes).map(Some).with_context(|| format!("the snapshot {shown} cannot be used"))
}

fn decode(bytes: &[u8]) -> anyhow::Result<Snapshot> {
    let end = bytes.iter().position(|&b| b == b'\n').context("it has no first line")?;
    let head = std::str::from_utf8(&bytes[..end]).context("its first line is no text")?;
    let content = &bytes[end + 1..];
    let words: Vec<_> = head.split(' ').collect();
    let [NAME, format, sum] = words[..] else { bail!("it is no snapshot of routes") };
    if format != FORMAT {
        bail!("its format is {format}, and this slipway reads format {FORMAT}");
    }
    if sum != checksum(content) {
        bail!("it is damaged: its checksum is another");
    }
    let snapshot: Snapshot = serde_json::from_slice(content).context("its content is another than expected")?;
    snapshot.position.parse::<Position>().context("its place in the log is none")?;
    Ok(snapshot)
}

fn encode(snapshot: &Snapshot) -> anyhow::Result<Vec<u8>> {
    let content = serde_json::to_vec(snapshot).context("the routes have no JSON form")?;
    let mut bytes = format!("{NAME} {FORMAT} {}\n", checksum(&content)).into_bytes();
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

fn checksum(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// Either the whole new file is there afterwards, or the whole old one, whatever ends the process or the machine.
fn write(path: &Path, snapshot: &Snapshot) -> anyhow::Result<()> {
    let bytes = encode(snapshot)?;
    // Of this process alone: another may run beside it for a while. Written again, it is the same file.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let mut file = File::create(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).context("cannot write it")?;
    std::fs::rename(&unfinished, path).context("cannot put it in place")?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).context("cannot settle its folder")
}

/// Keeps the file up to date.
pub(super) struct Keeper<'a> {
    path: Option<PathBuf>,
    router: &'a Router,
    proxy: &'a Proxy,
    uses: &'a Uses<'a>,
    clock: Clock,
    /// The revision of the routes that the file holds, once it holds any of this process's.
    written: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl<'a> Keeper<'a> {
    pub(super) fn new(path: Option<PathBuf>, router: &'a Router, proxy: &'a Proxy, uses: &'a Uses<'a>) -> Self {
        Self { path, router, proxy, uses, clock: Clock::system(), written: AtomicU64::new(NEVER) }
    }

    pub(super) async fn keep(&self) -> Endless {
        let mut last = Instant::now();
        loop {
            let owing = last.elapsed() >= WHILE_OWING && !self.uses.unwritten.is_empty();
            let mut took = Duration::ZERO;
            if owing || self.router.revision() != self.written.load(Ordering::Relaxed) {
                let begun = Instant::now();
                self.write().await;
                (last, took) = (Instant::now(), begun.elapsed());
            }
            sleep(EVERY.max(took * SHARE)).await;
        }
    }

    /// Writes it now, if there is to be one. A failure is told: the proxy serves without it.
    pub(super) async fn write(&self) {
        let Some(path) = self.path.clone() else { return };
        let now = self.clock.now();
        let (snapshot, revision) = Snapshot::of(self.router, self.proxy, self.uses, now);
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || write(&path, &snapshot)).await;
        match written.context("it was not finished").and_then(|written| written) {
            Ok(()) => {
                self.written.store(revision, Ordering::Relaxed);
                self.proxy.standing.snapshot_written(now.timestamp_millis());
            }
            Err(error) => tracing::warn!("cannot write the snapshot {shown}: {error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Endpoint, Engine};

    fn snapshot() -> Snapshot {
        let at = DateTime::from_timestamp_millis(1_700_000_000_123).expect("a time");
        let endpoint =
            Endpoint { address: [10, 0, 0, 1].into(), ports: [(Engine::Notebook, 8888)].into(), named: [].into() };
        let id = ClusterId::from_number(678_343).expect("six digits");
        Snapshot {
            written_at: at,
            position: "2.742.12".to_owned(),
            clusters: vec![Cluster {
                id,
                placed: Placed { version: 5, endpoint: Some(endpoint), door: None, since: at },
            }],
            uses: vec![Use { path: "/cluster-678343".to_owned(), at, unwritten: true }],
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_later_write_replaces_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("routes.snapshot");
        assert_eq!(read(&path).expect("no error"), None, "no file is no snapshot");
        write(&path, &Snapshot { clusters: vec![], ..snapshot() }).expect("written");
        write(&path, &snapshot()).expect("written");
        assert_eq!(read(&path).expect("readable"), Some(snapshot()));
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    }

    #[test]
    fn whatever_byte_is_another_it_is_refused() {
        let whole = encode(&snapshot()).expect("encoded");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&whole[..at]).is_err(), "cut after {at}");
        }
    }

    #[test]
    fn another_format_is_named() {
        let text = String::from_utf8(encode(&snapshot()).expect("encoded")).expect("text");
        let newer = text.replacen("slipway-routes 1 ", "slipway-routes 2 ", 1);
        let error = decode(newer.as_bytes()).expect_err("refused").to_string();
        assert_eq!(error, "its format is 2, and this slipway reads format 1");
    }
}
