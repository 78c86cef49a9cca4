//! `slipway explain`: the whole story of one cluster, and what it is waiting for.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, table};
use crate::clock::Clock;
use crate::domain::explanation::{details, is_trouble, now, took, waiting_for};
use crate::domain::line::Place;
use crate::domain::{Cluster, ClusterId, Phase, story};
use crate::service::line::SharedLine;
use crate::store::Store;
use crate::store::events::Recorded;
use crate::store::standing::Work;
use crate::store::stream::Replayed;

#[derive(Debug, Args)]
pub(super) struct Explain {
    id: ClusterId,
    #[arg(long)]
    json: bool,
}

/// All that is known of one cluster.
#[derive(Serialize)]
struct Explanation {
    cluster: Cluster,
    now: String,
    /// Since the last event.
    since: DateTime<Utc>,
    /// So many events before its story are in the archive.
    archived: i64,
    story: Vec<Chapter>,
    waiting_for: Option<String>,
    work: Option<Work>,
}

/// One event, and what led to it.
#[derive(Serialize)]
struct Chapter {
    version: i64,
    recorded_at: DateTime<Utc>,
    /// After the event before it.
    after: Option<String>,
    by: String,
    r#type: &'static str,
    what: String,
    details: Vec<String>,
    /// Something went wrong, or did not go on.
    trouble: bool,
    /// The version of the event that made somebody act.
    because_of: Option<i64>,
    /// The version of the first event that the same act has led to.
    part_of: i64,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
}

impl Explain {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let explanation = explain(&connect::checked(options).await?, self.id).await?;
        if self.json {
            tell!("{}", serde_json::to_string_pretty(&explanation)?);
        } else {
            explanation.print(Clock::system().now());
        }
        Ok(())
    }
}

async fn explain(store: &Store, id: ClusterId) -> anyhow::Result<Explanation> {
    let history = store.history(id).await?;
    let Replayed { cluster, times, .. } = history.fold(None)?.with_context(|| format!("there is no {id}"))?;
    let mut waiting_for = waiting_for(&cluster);
    if cluster.phase == Phase::Waiting
        && let Some(place) = SharedLine::new(store.clone()).place(id).await?.map(Place::sentence)
    {
        waiting_for = waiting_for.map(|what| format!("{what}. {place}"));
    }
    Ok(Explanation {
        now: now(&cluster),
        since: times.changed_at,
        archived: history.left_out(),
        story: chapters(&history.events),
        waiting_for,
        work: store.work(id).await?,
        cluster,
    })
}

fn chapters(events: &[Recorded]) -> Vec<Chapter> {
    let versions: HashMap<Uuid, i64> = events.iter().map(|event| (event.event_id, event.version)).collect();
    let mut acts: HashMap<Uuid, i64> = HashMap::new();
    let mut before: Option<DateTime<Utc>> = None;
    events
        .iter()
        .map(|event| Chapter {
            version: event.version,
            recorded_at: event.recorded_at,
            after: before.replace(event.recorded_at).map(|before| took(event.recorded_at - before)),
            by: event.actor.to_string(),
            r#type: event.event.kind(),
            what: story::sentence(&event.event),
            details: details(&event.event),
            trouble: is_trouble(&event.event),
            because_of: event.causation.and_then(|cause| versions.get(&cause).copied()),
            part_of: *acts.entry(event.correlation).or_insert(event.version),
            correlation_id: event.correlation,
            causation_id: event.causation,
        })
        .collect()
}

impl Chapter {
    fn print(&self) {
        let cause = match (self.because_of, self.causation_id) {
            (Some(version), _) => format!(", because of {version}"),
            (None, Some(event)) => format!(", because of the event {event}"),
            (None, None) if self.part_of != self.version => format!(", with {}", self.part_of),
            (None, None) => String::new(),
        };
        let time = self.recorded_at.format("%Y-%m-%d %H:%M:%S%.3f");
        let after = self.after.as_ref().map(|after| format!("+{after}")).unwrap_or_default();
        let mark = if self.trouble { "!" } else { " " };
        tell!("{:>4}  {time}  {after:>12} {mark} {} ({}{cause})", self.version, self.what, self.by);
        for detail in &self.details {
            tell!("{:47}{detail}", "");
        }
    }
}

impl Explanation {
    fn print(&self, at: DateTime<Utc>) {
        let Cluster { id, owner, .. } = &self.cluster;
        tell!("{id} of {owner}: {}", self.now);
        tell!("");
        if self.archived > 0 {
            tell!(
                "Its first {} events are in the archive: `slipway archive attach` brings them back",
                self.archived
            );
        }
        self.story.iter().for_each(Chapter::print);
        tell!("");
        tell!("So for {}.", took(at - self.since));
        match &self.waiting_for {
            Some(what) => tell!("Waiting for {what}"),
            None => tell!("Nothing is waited for"),
        }
        if let Some(work) = &self.work {
            tell!("{}", standing(work, at));
        }
    }
}

/// What the queue is about to do.
fn standing(work: &Work, at: DateTime<Utc>) -> String {
    let time = |time: DateTime<Utc>| format!("{} UTC", table::time(time));
    let next = match (&work.worker, work.parked_at, work.due_at) {
        (Some(worker), _, Some(until)) => format!("{worker} is at it, until {} at the latest", time(until)),
        (_, Some(since), _) => format!("nobody since {}, until it is requeued", time(since)),
        (_, None, Some(due)) if due > at => format!("the next look is at {}, in {}", time(due), took(due - at)),
        (_, None, Some(due)) => format!("it is due since {}", time(due)),
        (_, None, None) => "there is nothing to do".to_owned(),
    };
    let tries = if work.attempts > 0 {
        format!("; tries since it last went well: {}", work.attempts)
    } else {
        String::new()
    };
    let error = work.last_error.as_ref().map(|error| format!("; the last error: {error}")).unwrap_or_default();
    format!("Work: {next}{tries}{error}")
}
