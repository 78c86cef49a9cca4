//! Commands about the log: events, audit, replay, state.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::options::DatabaseOptions;
use super::out::{self, tell};
use super::progress::progress;
use super::{connect, table};
use crate::clock::Clock;
use crate::domain::{ClusterId, story};
use crate::error_chain::chain;
use crate::shutdown;
use crate::store::Store;
use crate::store::events::{Position, Recorded};
use crate::store::rebuild::TOGETHER;

/// Streams looked at in one go.
const BATCH: i64 = 200;

/// A moment: RFC 3339, or so long ago.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "write a time like 2026-11-24T13:00:00Z, or how long ago, like 90m or 2d".to_owned())?;
    let ago = TimeDelta::from_std(ago).map_err(|error| error.to_string())?;
    Ok(Clock::system().now() - ago)
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only this cluster's
    id: Option<ClusterId>,
    /// Only those after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    /// Go on printing what is recorded
    #[arg(long, short)]
    follow: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        let mut after = self.after.unwrap_or_default();
        if self.after.is_none() {
            tell_of_archive(&store, None).await?;
        }
        loop {
            // Who names no position wants what there is.
            let batch = match self.after {
                Some(_) => store.read_after(after, 500).await?,
                None => store.read_attached_after(after, 500).await?,
            };
            for recorded in &batch {
                after = recorded.position;
                if self.id.is_none_or(|id| id == recorded.cluster) {
                    print_event(recorded, self.json)?;
                }
            }
            if batch.is_empty() {
                if !self.follow {
                    return Ok(());
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn print_event(recorded: &Recorded, json: bool) -> anyhow::Result<()> {
    if json {
        let event = json!({
            "position": recorded.position.to_string(), "cluster": recorded.cluster, "version": recorded.version,
            "recorded_at": recorded.recorded_at, "actor": recorded.actor, "correlation_id": recorded.correlation,
            "causation_id": recorded.causation, "event_id": recorded.event_id, "event": recorded.event,
        });
        tell!("{}", serde_json::to_string(&event)?);
    } else {
        let time = recorded.recorded_at.format("%Y-%m-%d %H:%M:%S%.3f");
        let sentence = story::sentence(&recorded.event);
        tell!(
            "{time}  {:<15} {:>3}  {:<15} {sentence}",
            recorded.cluster,
            recorded.version,
            recorded.event.kind()
        );
    }
    Ok(())
}

/// Says on standard error what is not shown because it is in the archive, if anything after that time is.
async fn tell_of_archive(store: &Store, since: Option<DateTime<Utc>>) -> anyhow::Result<()> {
    if let Some(end) = store.archive_end().await?.filter(|end| since.is_none_or(|since| since <= end.newest_at)) {
        out::aside(format_args!(
            "not shown: {} events up to {}, which are in the archive; `slipway archive attach` brings them back",
            end.events,
            table::time(end.newest_at)
        ));
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Launches since this time, or from so long ago
    #[arg(long, default_value = "7d", value_parser = moment, value_name = "TIME")]
    since: DateTime<Utc>,
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        tell_of_archive(&store, Some(self.since)).await?;
        let rows = store.launches(self.since, 100_000).await?;
        let headings = [
            "CLUSTER",
            "OWNER",
            "PERSON",
            "FROM",
            "REQUESTED",
            "IN LINE",
            "READY AFTER",
            "OUTCOME",
            "WHY",
            "WORKERS",
            "WORKER HOURS",
        ];
        table::print(self.json, &rows, &headings, |row| {
            vec![
                row.cluster.clone(),
                row.owner.clone(),
                table::or_dash(row.person.as_ref()),
                table::or_dash(row.address.as_ref()),
                table::time(row.requested_at),
                table::or_dash(row.seconds_in_line.map(|seconds| format!("{seconds:.1} s"))),
                table::or_dash(row.seconds_to_ready.map(|seconds| format!("{seconds:.1} s"))),
                row.outcome.clone(),
                table::or_dash(row.stop_reason.as_ref()),
                row.workers_peak.to_string(),
                format!("{:.3}", row.worker_hours),
            ]
        })
    }
}

/// Calls `each` with every stream of the log whose name sorts after the given one, in batches, and `progress` in
/// between.
pub(super) async fn all_streams(
    store: &Store,
    after: Option<ClusterId>,
    mut each: impl AsyncFnMut(&[ClusterId]) -> anyhow::Result<()>,
    progress: impl Fn(i64, i64),
) -> anyhow::Result<i64> {
    let mut after = after.map(|id| id.to_string()).unwrap_or_default();
    let (streams, mut done) = (store.count_streams_after(&after).await?, 0);
    loop {
        let ids = store.streams_after(&after, BATCH).await?;
        let Some(last) = ids.last() else { return Ok(done) };
        after = last.to_string();
        each(&ids).await?;
        done += ids.len() as i64;
        progress(done, streams.max(done));
    }
}

/// Each cluster's read model is written whole, or not at all, while nobody appends to it: the system may run, and what
/// was done when this breaks off stays done.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Go on after this cluster, where an earlier replay broke off
    #[arg(long, value_name = "CLUSTER")]
    after: Option<ClusterId>,
}

impl Replay {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        let stop = shutdown::on_signal()?;
        let began = Instant::now();
        let mut last = self.after;
        let mut failed = Vec::new();
        let each = async |ids: &[ClusterId]| {
            for together in ids.chunks(TOGETHER) {
                ensure!(!*stop.borrow(), "told to stop");
                if store.rebuild(together).await.is_ok() {
                    last = together.last().copied().or(last);
                    continue;
                }
                for id in together {
                    ensure!(!*stop.borrow(), "told to stop");
                    match store.rebuild(&[*id]).await {
                        // Its read model stays as a newer slipway has written it.
                        Err(error) if error.is_unreadable() || error.is_archived() => {
                            failed.push(chain(&error).to_string())
                        }
                        outcome => outcome?,
                    }
                    last = Some(*id);
                }
            }
            Ok(())
        };
        let seen = all_streams(&store, self.after, each, progress("replaying", "clusters")).await;
        let seen = seen.with_context(|| match last {
            Some(id) => format!("all up to {id} are rebuilt, go on with `slipway replay --after {id}`"),
            None => "none is rebuilt".to_owned(),
        })?;
        let rebuilt = seen - failed.len() as i64;
        store.finish_rebuild().await?;
        let routes = store.rebuild_posted().await?;
        let took = began.elapsed().as_secs_f64();
        tell!("rebuilt the read models of {rebuilt} clusters and {routes} posted routes in {took:.1} s");
        ensure!(failed.is_empty(), "{} clusters were left as they are: {}", failed.len(), failed.join("; "));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct State {
    /// Only this cluster
    id: Option<ClusterId>,
    /// The time, or how long ago, like 90m [default: now]
    #[arg(long, value_parser = moment, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
    /// Also clusters that were gone by then
    #[arg(long)]
    all: bool,
    #[arg(long)]
    json: bool,
}

impl State {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        let at = self.at.unwrap_or_else(|| Clock::system().now());
        let mut rows: Vec<Value> = Vec::new();
        let mut add = async |ids: &[ClusterId]| {
            for id in ids {
                let Some(then) = store.replay(*id, Some(at)).await? else { continue };
                let live = then.cluster.phase.is_live() || self.all || self.id.is_some();
                if live {
                    rows.push(json!({
                        "version": then.version, "launched_at": table::time(then.times.launched_at),
                        "changed_at": table::time(then.times.changed_at), "status": then.cluster.phase.status(),
                        "cluster": then.cluster,
                    }));
                }
            }
            Ok(())
        };
        match self.id {
            Some(id) => add(&[id]).await?,
            None => drop(all_streams(&store, None, add, |_, _| {}).await?),
        }
        if let (Some(id), true) = (self.id, rows.is_empty()) {
            return Err(anyhow::anyhow!("there was no {id} at {}", table::time(at))).context("nothing to show");
        }
        let headings = ["CLUSTER", "STATUS", "WORKERS", "OWNER", "LAUNCHED", "LAST CHANGE"];
        table::print(self.json, &rows, &headings, |row| {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            vec![
                text(&row["cluster"]["id"]),
                text(&row["status"]),
                text(&row["cluster"]["workers"]),
                text(&row["cluster"]["owner"]),
                text(&row["launched_at"]),
                text(&row["changed_at"]),
            ]
        })
    }
}
