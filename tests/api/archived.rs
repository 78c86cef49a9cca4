//! What is told of events that are in the archive.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use slipway::domain::{Observation, RouteChange};
use slipway::service::routes::Router;
use slipway::store::partitions::Standing;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::client::Client;
use crate::harness::eventually;
use crate::live::Stream;
use crate::server::Server;

/// The life of a cluster that has ended, and many events of one that goes on, in partitions of five: all that are full are in files.
struct Shelved {
    server: Server,
    admin: Client,
    owner: Client,
    ended: String,
    busy: String,
    /// A proxy's routes, as of when only the first of the two ran.
    asleep: Router,
    /// Both clusters as they were told before.
    clusters: [Value; 2],
    /// Every event as it was told before, and the position to go on from after it.
    log: Vec<(Value, String)>,
    /// How many of them are in the archive.
    gone: usize,
    folder: TempDir,
}

async fn trail(admin: &Client, query: &str) -> (Vec<Value>, String) {
    let page = admin.get(&format!("/api/events?{query}")).await.is(200).json();
    let events = page["events"].as_array().expect("a list").clone();
    (events, page["next"].as_str().expect("a position").to_owned())
}

/// All there is, in pages.
async fn all(admin: &Client, limit: usize, more: &str) -> Vec<(Value, String)> {
    let (mut log, mut after) = (Vec::new(), String::new());
    loop {
        let (events, next) = trail(admin, &format!("limit={limit}&after={after}{more}")).await;
        if events.is_empty() {
            return log;
        }
        log.extend(events.into_iter().map(|event| (event, next.clone())));
        after = next;
    }
}

fn slipway(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_slipway"))
        .args(arguments)
        .args(["--database-url", &server.url])
        .output()
        .expect("slipway runs");
    assert!(output.status.success(), "slipway {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

impl Shelved {
    async fn new() -> Self {
        let server = Server::start().await;
        slipway(&server, &["archive", "size", "5"]);
        let skip = "SELECT setval('slipway.event_pos', (SELECT max(until) - 1 FROM slipway.partition))";
        sqlx::query(skip).execute(&server.pool).await.expect("those that there are lie behind");
        let (owner, admin) = (server.browser().await, server.admin().await);
        let [ended, busy] =
            [owner.post("/api/clusters", json!({})).await, owner.post("/api/clusters", json!({})).await]
                .map(|answer| answer.is(202).id());
        server.make_ready(&ended, 2).await;
        let asleep = Router::default();
        asleep.load(&server.store, |_| ()).await.expect("the routes");
        owner.delete(&format!("/api/clusters/{ended}")).await.is(202);
        server.report(&ended, Observation::Absent).await;
        server.make_ready(&busy, 2).await;
        for workers in (0..20).map(|n| 3 + n % 4) {
            owner.patch(&format!("/api/clusters/{busy}"), json!({"workers": workers})).await.is(202);
        }
        eventually("the full partitions to be sealed", async || {
            server.owner.extend_log().await.expect("kept");
            let partitions = server.owner.partitions().await.expect("a list");
            partitions.iter().all(|one| one.standing != Standing::Full).then_some(())
        })
        .await;
        let log = eventually("the end of the log", async || {
            let log = all(&admin, 1, "").await;
            (log.len() == 28).then_some(log)
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut shelved =
            Self { server, admin, owner, ended, busy, asleep, clusters: Default::default(), log, gone: 0, folder };
        shelved.clusters = shelved.shown().await;
        let to = shelved.folder.path().to_str().expect("a name").to_owned();
        slipway(&shelved.server, &["archive", "detach", "--to", &to, "--before", "0s"]);
        let lines = |path| std::fs::read_to_string(path).expect("a file").lines().count();
        shelved.gone = shelved.files().into_iter().map(|file| lines(file) - 2).sum();
        assert!((20..28).contains(&shelved.gone), "{} of 28", shelved.gone);
        shelved
    }

    /// Of the archive, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }

    fn attach(&self, files: &[PathBuf]) {
        let files = files.iter().map(|file| file.to_str().expect("a name"));
        slipway(&self.server, &["archive", "attach"].into_iter().chain(files).collect::<Vec<_>>());
    }

    async fn shown(&self) -> [Value; 2] {
        let show = async |id: &str| self.owner.get(&format!("/api/clusters/{id}")).await.is(200).json();
        [show(&self.ended).await, show(&self.busy).await]
    }

    /// Places before the end of the archive: none, the log's beginning, and those of events.
    fn too_early(&self) -> impl Iterator<Item = &str> {
        ["", "0.0.0"].into_iter().chain(self.log[..self.gone - 1].iter().map(|(_, next)| next.as_str()))
    }

    /// Of an event of one of the clusters.
    fn place(&self, cluster: &str, version: i64) -> String {
        let event = self
            .log
            .iter()
            .map(|(event, _)| event)
            .find(|event| event["cluster"] == cluster && event["version"] == version);
        event.expect("there is one")["position"].as_str().expect("a position").to_owned()
    }

    fn left(&self) -> Vec<&Value> {
        self.log[self.gone..].iter().map(|(event, _)| event).collect()
    }
}

#[tokio::test]
async fn who_would_skip_events_in_the_archive_is_told_so_and_what_to_do() {
    let shelved = Shelved::new().await;
    let ask = async |query: &str| shelved.admin.get(&format!("/api/events{query}")).await;
    for after in shelved.too_early() {
        for more in ["", "&limit=1", "&limit=1000", "&skip_archived=false"] {
            let refused = ask(&format!("?after={after}{more}")).await.refused(410, "archived").json();
            assert_eq!(refused["error"]["message"], "Some of what comes after this position is in the archive");
            let action =
                "Ask with skip_archived=true for the rest, or ask the operator for `slipway archive attach`";
            assert_eq!(refused["error"]["action"], action);
        }
    }
    ask("").await.refused(410, "archived");
    for (at, (_, after)) in shelved.log.iter().enumerate().skip(shelved.gone - 1) {
        let (events, _) = trail(&shelved.admin, &format!("after={after}")).await;
        let later: Vec<&Value> = shelved.log[at + 1..].iter().map(|(event, _)| event).collect();
        assert_eq!(events.iter().collect::<Vec<_>>(), later, "nothing is missing after {after}");
    }
    for query in ["?skip_archived=yes", "?skip_archived=", "?skip_archived=true&skip_archived=true"] {
        ask(query).await.refused(400, "invalid_query");
    }
    let document = shelved.admin.get("/api/openapi.json").await.is(200).json();
    let described = &document["paths"]["/api/events"]["get"];
    assert!(described["responses"]["410"].is_object(), "{described}");
    let mut parameters = described["parameters"].as_array().expect("a list").iter();
    assert!(parameters.any(|one| one["name"] == "skip_archived" && one["required"] == false), "{described}");
    shelved.owner.get("/api/events").await.refused(403, "admins_only");
    shelved.owner.get("/api/events?skip_archived=true").await.refused(403, "admins_only");
}

#[tokio::test]
async fn skip_archived_leaves_out_what_is_in_the_archive_and_nothing_else() {
    let shelved = Shelved::new().await;
    let (admin, left) = (&shelved.admin, shelved.left());
    for limit in [1, 2, 3, 1_000] {
        let read = all(admin, limit, "&skip_archived=true").await;
        assert_eq!(read.iter().map(|(event, _)| event).collect::<Vec<_>>(), left, "in pages of {limit}");
    }
    for after in shelved.too_early() {
        let (events, _) = trail(admin, &format!("after={after}&skip_archived=true")).await;
        assert_eq!(events.iter().collect::<Vec<_>>(), left, "after {after}");
    }
    for (_, after) in &shelved.log[shelved.gone - 1..] {
        let skipping = trail(admin, &format!("after={after}&skip_archived=true")).await;
        assert_eq!(skipping, trail(admin, &format!("after={after}")).await, "nothing is to be skipped");
    }
    // Who has skipped once goes on as ever.
    let (_, after) = trail(admin, "limit=1&skip_archived=true").await;
    shelved.owner.delete(&format!("/api/clusters/{}", shelved.busy)).await.is(202);
    eventually("what comes next", async || {
        let (events, _) = trail(admin, &format!("after={after}")).await;
        let stopped = events.last().is_some_and(|event| event["type"] == "StopRequested");
        (stopped && events.len() == left.len()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_comes_back_from_the_archive_is_told_as_it_was() {
    let shelved = Shelved::new().await;
    let (admin, files) = (&shelved.admin, shelved.files());
    let (newest, older) = files.split_last().expect("files");
    shelved.attach(std::slice::from_ref(newest));
    admin.get("/api/events").await.refused(410, "archived");
    let back = std::fs::read_to_string(newest).expect("a file").lines().count() - 2;
    assert!(back > 0, "an empty partition shows nothing");
    let (events, _) = trail(admin, "skip_archived=true").await;
    let there: Vec<&Value> = shelved.log[shelved.gone - back..].iter().map(|(event, _)| event).collect();
    assert_eq!(events.iter().collect::<Vec<_>>(), there);
    shelved.attach(older);
    assert_eq!(all(admin, 1, "").await, shelved.log, "to the letter, positions too");
}

#[tokio::test]
async fn owners_are_told_of_their_clusters_as_before_but_for_the_events_in_the_archive() {
    let shelved = Shelved::new().await;
    let (owner, busy) = (&shelved.owner, &shelved.busy);
    assert_eq!(shelved.shown().await, shelved.clusters);
    // All of this one is there: an EventSource that gets this asks no more.
    let stream = format!("/api/clusters/{}/events", shelved.ended);
    let seen = |cluster, version| owner.with("last-event-id", &shelved.place(cluster, version));
    for client in [owner.clone(), seen(&shelved.ended, 2), seen(&shelved.ended, 5)] {
        client.get(&stream).await.is(204);
    }
    // Of this one the beginning is; it goes on.
    let versions: Vec<String> = shelved.left().iter().map(|event| event["version"].to_string()).collect();
    let mut streams = vec![Stream::open(owner, busy).await];
    streams.push(Stream::open(&seen(busy, 4), busy).await);
    for stream in &mut streams {
        for version in &versions {
            assert_eq!(&stream.next().await.expect("what there is").version(), version);
        }
    }
    owner.delete(&format!("/api/clusters/{busy}")).await.is(202);
    shelved.server.report(busy, Observation::Absent).await;
    for stream in streams {
        let kinds: Vec<String> = stream.rest().await.into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, ["StopRequested", "Removed"]);
    }
}

#[tokio::test]
async fn a_proxy_that_slept_while_its_place_went_to_the_archive_reads_the_routes_anew() {
    let Shelved { server, asleep, ended, busy, .. } = Shelved::new().await;
    let slept_at = asleep.position();
    let (sender, mut changes) = mpsc::unbounded_channel();
    let apply = move |changes: Vec<RouteChange>| {
        changes.into_iter().for_each(|change| sender.send(change).expect("somebody listens"));
    };
    let (_bell, heard) = watch::channel(());
    let told = timeout(Duration::from_secs(20), async {
        let (mut opened, mut closed) = (false, false);
        while !(opened && closed) {
            match changes.recv().await.expect("it goes on") {
                RouteChange::Put { path, .. } => opened |= path.to_string() == format!("/{busy}"),
                RouteChange::Remove { path } => closed |= path.to_string() == format!("/{ended}"),
                RouteChange::Door { .. } => {}
            }
        }
    });
    tokio::select! {
        outcome = asleep.follow(&server.store, heard, true, apply, || ()) => panic!("it must go on: {outcome:?}"),
        told = told => told.expect("in time"),
    }
    assert!(asleep.position() > slept_at);
    let (placed, ..) = asleep.placed();
    let open: Vec<String> =
        placed.into_iter().filter(|(_, one)| one.endpoint.is_some()).map(|(id, _)| id.to_string()).collect();
    assert_eq!(open, [busy]);
}
