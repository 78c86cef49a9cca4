//! The log's one door: a decision is recorded whole, or not at all.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::code;
use super::events::parse_id;
use super::listen::CHANNEL;
use super::partitions::is_out_of_room;
use super::{Store, StoreError};
use crate::domain::event::SCHEMA_VERSION;
use crate::domain::fold::FOLD;
use crate::domain::{Cluster, ClusterId, Event, Subject};

/// Who acts, and what the act belongs to.
#[derive(Debug, Clone)]
pub struct Meta {
    pub actor: Subject,
    /// The same for all that one click has led to.
    pub correlation: Uuid,
    /// The event that made a worker act.
    pub causation: Option<Uuid>,
    pub visit: Option<Visit>,
}

/// Somebody acts by the API: what is noted of it, outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// From where, if that is to be kept.
    pub address: Option<IpAddr>,
}

impl Meta {
    /// What `actor` does of its own accord: nothing led to it, and more may follow.
    pub fn by(actor: Subject) -> Self {
        Self { actor, correlation: Uuid::now_v7(), causation: None, visit: None }
    }
}

impl From<Subject> for Meta {
    fn from(actor: Subject) -> Self {
        Self::by(actor)
    }
}

/// The client's name for its request, so that a repetition is answered and not done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub key: String,
    /// SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
}

/// What is enforced in the transaction of the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub clusters_per_owner: u16,
    pub total_workers: u32,
}

impl Caps {
    /// Binds nobody: for operators, and for workers, who launch nothing.
    pub const NONE: Self = Self { clusters_per_owner: u16::MAX, total_workers: u32::MAX };
}

/// One decision, to be recorded whole or not at all.
#[derive(Debug)]
pub struct Append<'a> {
    pub id: ClusterId,
    /// The version of the stream that the decision was made on; 0 for a new stream.
    pub expected: i64,
    pub events: &'a [Event],
    pub before: Option<&'a Cluster>,
    pub after: &'a Cluster,
    pub meta: &'a Meta,
    /// Whether a worker has to see to it.
    pub wake: bool,
    pub caps: Caps,
    pub key: Option<&'a RequestKey>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    At {
        version: i64,
        recorded_at: DateTime<Utc>,
    },
    /// The same request was answered before, by this cluster; nothing was written.
    Repeated {
        of: ClusterId,
    },
}

/// What an owner of this cluster is charged for.
fn charge(cluster: Option<&Cluster>) -> (i32, i32) {
    match cluster {
        Some(cluster) if cluster.phase.is_live() => (1, cluster.workers.get().into()),
        _ => (0, 0),
    }
}

/// An append as it is sent, without what its caller has lent.
#[derive(Debug)]
pub(super) struct Decision {
    pub stream: String,
    pub expected: i64,
    pub ids: Vec<Uuid>,
    pub kinds: Vec<String>,
    pub data: Vec<Value>,
    pub actor: String,
    pub correlation: Uuid,
    pub causation: Option<Uuid>,
    visit: Option<Visit>,
    pub state: Value,
    pub status: &'static str,
    pub owner: String,
    pub live: bool,
    pub workers: i32,
    pub wake: bool,
    more_clusters: i32,
    more_workers: i32,
    caps: Caps,
    key: Option<RequestKey>,
    touches_others: bool,
    /// Whether the others are told in the same transaction.
    pub rings: bool,
}

/// What the database says of an append.
#[derive(Debug)]
pub(super) struct Written {
    pub version: i64,
    pub recorded_at: DateTime<Utc>,
    /// The others have been told.
    pub rang: bool,
    /// By whose stream it was answered before.
    pub answered_by: Option<String>,
}

impl Decision {
    fn of(append: Append<'_>, rings: bool) -> Self {
        let Append { id, expected, events, before, after, meta, wake, caps, key } = append;
        let (clusters_before, workers_before) = charge(before);
        let (clusters_after, workers_after) = charge(Some(after));
        let (more_clusters, more_workers) = (clusters_after - clusters_before, workers_after - workers_before);
        let is_shared = |event: &Event| matches!(event, Event::Admitted {} | Event::Claimed { .. });
        Self {
            stream: id.to_string(),
            expected,
            ids: events.iter().map(|_| Uuid::now_v7()).collect(),
            kinds: events.iter().map(|event| event.kind().to_owned()).collect(),
            data: events.iter().map(Event::data).collect(),
            actor: meta.actor.as_str().to_owned(),
            correlation: meta.correlation,
            causation: meta.causation,
            visit: meta.visit,
            state: encode_state(after),
            status: after.phase.status(),
            owner: after.owner.as_str().to_owned(),
            live: after.phase.is_live(),
            workers: after.workers.get().into(),
            wake,
            more_clusters,
            more_workers,
            caps,
            key: key.cloned(),
            touches_others: (more_clusters, more_workers) != (0, 0)
                || key.is_some()
                || meta.visit.is_some()
                || events.iter().any(is_shared),
            rings,
        }
    }

    /// Records it, in a transaction of its own.
    pub async fn write(&self, connection: &mut PgConnection, rings: bool) -> Result<Written, sqlx::Error> {
        let row = sqlx::query!(
            r#"SELECT a.version AS "version?", a.recorded_at AS "recorded_at?", a.answered_by,
                      CASE WHEN $22 AND a.answered_by IS NULL THEN slipway.see($3, $4, $23::text::inet, a.recorded_at) END AS seen,
                      CASE WHEN $24 THEN pg_notify($25, '') END AS rang
                 FROM slipway.append(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) AS a"#,
            self.stream,
            self.expected,
            self.actor,
            self.correlation,
            self.causation,
            &self.ids,
            &self.kinds,
            SCHEMA_VERSION,
            &self.data,
            self.state,
            self.status,
            self.owner,
            self.live,
            self.workers,
            self.wake,
            self.more_clusters,
            i32::from(self.caps.clusters_per_owner),
            self.more_workers,
            i32::try_from(self.caps.total_workers).unwrap_or(i32::MAX),
            self.key.as_ref().map(|key| key.key.as_str()),
            self.key.as_ref().map(|key| key.fingerprint.as_slice()),
            self.visit.is_some(),
            self.visit.and_then(|visit| visit.address).map(|address| address.to_string()),
            rings,
            CHANNEL,
        )
        .fetch_one(connection)
        .await?;
        Ok(Written {
            version: row.version.unwrap_or(self.expected),
            recorded_at: row.recorded_at.unwrap_or_default(),
            rang: rings,
            answered_by: row.answered_by,
        })
    }
}

impl Store {
    /// Records a decision, its read model, the work it causes, its limits and who came to ask for it, in one transaction;
    /// together with others under way, if none of them can be in the way of another.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the stream is no longer at `expected`; [`StoreError::KeyReused`],
    /// [`StoreError::OverLimit`] and [`StoreError::Forgotten`] as they say. Nothing is written then; but when the connection was lost
    /// as the transaction ended, a conflict may be with this very decision.
    pub async fn append(&self, append: Append<'_>) -> Result<Appended, StoreError> {
        let under_way = self.bell.begin();
        let decision = Arc::new(Decision::of(append, under_way.rings));
        let mut written = self.write(&decision).await;
        if written.as_ref().is_err_and(is_out_of_room) {
            // Nobody has kept the log for a million events.
            self.extend_log().await?;
            written = self.write(&decision).await;
        }
        let written = written.map_err(StoreError::append)?;
        if let Some(stream) = written.answered_by {
            return Ok(Appended::Repeated { of: parse_id(&stream)? });
        }
        if !written.rang {
            self.bell.owe();
        }
        Ok(Appended::At { version: written.version, recorded_at: written.recorded_at })
    }

    async fn write(&self, decision: &Arc<Decision>) -> Result<Written, sqlx::Error> {
        if !decision.touches_others {
            return self.together.write(Arc::clone(decision)).await;
        }
        let write =
            async |rings| self.appending.run(async |connection| decision.write(connection, rings).await).await;
        match write(decision.rings).await {
            Err(error) if code(&error).as_deref() == Some(PROGRAM_LIMIT_EXCEEDED) => write(false).await,
            outcome => outcome,
        }
    }
}

/// Somebody else is at one of the streams, or holds up all who ring.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// The server keeps no more of what it is to tell those who listen, as one of them does not.
const PROGRAM_LIMIT_EXCEEDED: &str = "54000";

/// Alone and without ringing it may be written.
pub(super) fn is_hindered(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some(LOCK_NOT_AVAILABLE | PROGRAM_LIMIT_EXCEEDED))
}

/// With the version of the fold that it comes from, so that no other build's goes on from it.
pub(super) fn encode_state(cluster: &Cluster) -> Value {
    let mut state = serde_json::to_value(cluster).expect("a cluster has a JSON form");
    state["fold"] = FOLD.into();
    state
}
