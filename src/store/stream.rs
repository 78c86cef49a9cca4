//! One stream: what its events add up to, from its beginning or from where that was kept.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use super::events::{Position, Recorded, Row};
use super::snapshot::history;
use super::tx::Tx;
use super::{Store, StoreError};
use crate::domain::cluster::evolve;
use crate::domain::{Cluster, ClusterId, Event};

/// A stream's state and its version.
#[derive(Debug, Clone)]
pub struct Stream {
    pub cluster: Option<Cluster>,
    pub version: i64,
    /// Set with the first and last event.
    pub span: Option<Span>,
}

/// The ends of a stream that is not empty.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub launched_at: DateTime<Utc>,
    pub admitted_at: Option<DateTime<Utc>>,
    /// Of what its owner did: the launch, or the claim.
    pub correlation: Uuid,
    pub last_event: Uuid,
}

/// What a stream adds up to at one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    pub cluster: Cluster,
    pub version: i64,
    pub times: Times,
    /// Of what its owner did: the launch, or the claim.
    pub correlation: Uuid,
    pub last_event: Uuid,
}

/// When what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub launched_at: DateTime<Utc>,
    pub admitted_at: Option<DateTime<Utc>>,
    /// First.
    pub ready_at: Option<DateTime<Utc>>,
    /// Last.
    pub routed_at: Option<DateTime<Utc>>,
    /// By its owner, of a pool that had launched it.
    pub claimed_at: Option<DateTime<Utc>>,
    /// Failed, or asked to stop.
    pub ended_at: Option<DateTime<Utc>>,
    pub gone_at: Option<DateTime<Utc>>,
    /// The last event of all.
    pub changed_at: DateTime<Utc>,
}

/// A stream as it is read: what it had come to where reading begins, and the events since.
#[derive(Debug, Clone)]
pub struct History {
    pub(super) id: ClusterId,
    pub(super) base: Option<Replayed>,
    /// What is read of it, in order.
    pub events: Vec<Recorded>,
}

/// How much of a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// All that is not in the archive.
    Beginning,
    /// Its snapshot, if it has one that this build can go on from.
    Snapshot,
}

impl Times {
    fn from(at: DateTime<Utc>) -> Self {
        let never = None;
        Self {
            launched_at: at,
            admitted_at: never,
            ready_at: never,
            routed_at: never,
            claimed_at: never,
            ended_at: never,
            gone_at: never,
            changed_at: at,
        }
    }

    fn with(mut self, event: &Event, at: DateTime<Utc>) -> Self {
        self.changed_at = at;
        match event {
            Event::Admitted {} => drop(self.admitted_at.get_or_insert(at)),
            Event::BecameReady(_) => {
                self.ready_at.get_or_insert(at);
                self.routed_at = Some(at);
            }
            Event::Claimed { .. } => drop(self.claimed_at.get_or_insert(at)),
            Event::LaunchFailed { .. } | Event::StopRequested { .. } => drop(self.ended_at.get_or_insert(at)),
            Event::Removed {} => drop(self.gone_at.get_or_insert(at)),
            Event::LaunchRequested { .. }
            | Event::StepReached { .. }
            | Event::ScaleRequested { .. }
            | Event::Scaled { .. }
            | Event::AccessSet { .. }
            | Event::Shared { .. }
            | Event::Unshared { .. }
            | Event::Parked { .. }
            | Event::Requeued { .. } => {}
        }
        self
    }
}

impl History {
    /// Whether its first events are left out, and how many.
    pub fn left_out(&self) -> i64 {
        self.base.as_ref().map_or(0, |base| base.version)
    }

    /// What it adds up to, up to a time; `None` if it had not begun.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when an event cannot follow those before it; [`StoreError::Archived`] when that time is in
    /// the archive.
    pub fn fold(&self, until: Option<DateTime<Utc>>) -> Result<Option<Replayed>, StoreError> {
        let counts = |at| until.is_none_or(|until| at <= until);
        match &self.base {
            Some(base) if !counts(base.times.launched_at) => Ok(None),
            Some(base) if !counts(base.times.changed_at) => {
                Err(StoreError::Archived { what: format!("what {} was then", self.id) })
            }
            _ => self.fold_those(|one| counts(one.recorded_at)),
        }
    }

    /// What it had come to at a version; `None` if that is not read.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when an event cannot follow those before it.
    pub(super) fn fold_to(&self, version: i64) -> Result<Option<Replayed>, StoreError> {
        let folded = self.fold_those(|one| one.version <= version)?;
        Ok(folded.filter(|folded| folded.version == version))
    }

    fn fold_those(&self, counts: impl Fn(&Recorded) -> bool) -> Result<Option<Replayed>, StoreError> {
        let events = self.events.iter().filter(|one| counts(one));
        events.into_iter().try_fold(self.base.clone(), |state, one| Replayed::then(state, one).map(Some))
    }
}

impl Replayed {
    /// What a stream adds up to with one event more.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when that cannot follow.
    pub(super) fn then(before: Option<Self>, next: &Recorded) -> Result<Self, StoreError> {
        let (at, id) = (next.recorded_at, next.cluster);
        let (state, times, correlation) = match before {
            Some(before) => (Some(before.cluster), before.times, before.correlation),
            None => (None, Times::from(at), next.correlation),
        };
        let correlation = if matches!(next.event, Event::Claimed { .. }) { next.correlation } else { correlation };
        let cluster = evolve(id, state, &next.event)
            .map_err(|source| StoreError::Corrupt { stream: id.to_string(), source })?;
        let times = times.with(&next.event, at);
        Ok(Self { cluster, version: next.version, times, correlation, last_event: next.event_id })
    }
}

impl Store {
    /// The state of a cluster, replayed from its events, or from its snapshot and those since.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Unreadable`] when the log does not add up; [`StoreError::Archived`] when
    /// its beginning is in the archive, with a state that another build has folded.
    pub async fn load(&self, id: ClusterId) -> Result<Stream, StoreError> {
        let replayed = history(&self.pool, id, From::Snapshot).await?.fold(None)?;
        Ok(replayed.map_or(Stream { cluster: None, version: 0, span: None }, |replayed| {
            let Replayed { cluster, version, times, correlation, last_event } = replayed;
            let Times { launched_at, admitted_at, .. } = times;
            let span = Some(Span { launched_at, admitted_at, correlation, last_event });
            Stream { cluster: Some(cluster), version, span }
        }))
    }

    /// All events of a cluster that are not in the archive, and what those had come to.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn history(&self, id: ClusterId) -> Result<History, StoreError> {
        history(&self.pool, id, From::Beginning).await
    }

    /// Folds a stream up to a time: the state as it was then. `None` if it did not exist yet.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`StoreError::Archived`] when that time is in the archive.
    pub async fn replay(
        &self,
        id: ClusterId,
        until: Option<DateTime<Utc>>,
    ) -> Result<Option<Replayed>, StoreError> {
        self.history(id).await?.fold(until)
    }

    /// All events of one cluster, in order, without those in the archive.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for an event that this build does not know.
    pub async fn stream(&self, id: ClusterId) -> Result<Vec<Recorded>, StoreError> {
        self.stream_after(id, Position::default()).await
    }

    /// Those after an event of it, by its position; all of them if it is not there: what was recorded in the place of events that a server has
    /// lost may have their versions.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub async fn stream_after(&self, id: ClusterId, after: Position) -> Result<Vec<Recorded>, StoreError> {
        let (epoch, tx, pos) = after.parts();
        sqlx::query_as!(
            Row,
            r#"SELECT epoch, tx AS "tx!: Tx", pos, stream_id, version, event_id, type AS kind, schema_version,
                      data AS "data!: Json<Box<RawValue>>", actor, correlation_id, causation_id, recorded_at
                 FROM slipway.event
                WHERE stream_id = $1
                  AND version > coalesce((SELECT e.version FROM slipway.event e WHERE e.stream_id = $1
                                             AND e.epoch = $2 AND e.tx = $3::text::xid8 AND e.pos = $4), 0)
                  AND pos >= (SELECT coalesce(min(s.first_pos), 0) FROM slipway.stream s WHERE s.stream_id = $1)
                ORDER BY version"#,
            id.to_string(),
            epoch,
            tx.to_string(),
            pos,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read a stream"))?
        .into_iter()
        .map(Recorded::try_from)
        .collect()
    }
}
