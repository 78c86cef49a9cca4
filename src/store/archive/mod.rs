//! The log, or a partition of it, as lines of JSON: written out from one snapshot, and read back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;

mod attach;
mod columns;
mod detach;
mod export;
mod import;
mod kept;
mod sequence;

pub use attach::Attach;
pub use detach::{Detach, Detached};
pub use export::Export;
pub use import::Import;
pub use sequence::Flaw;

use super::StoreError;
use super::events::Position;
use crate::domain::ids::text_type;
use crate::domain::{ClusterId, Invalid, RoutePath, Subject};

/// Of the lines themselves; what an event holds has a version of its own.
const FORMAT: u32 = 1;

/// One line of an exported log, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Log(Header),
    Event(Box<EventLine>),
    Route(Box<RouteLine>),
    End(End),
}

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Of the lines that follow.
    pub format: u32,
    /// The version of slipway that wrote it.
    pub slipway: String,
    /// Of the log at that time.
    pub epoch: i16,
    pub events: i64,
    /// Changes of posted routes.
    pub routes: i64,
    /// If the file holds no more than this of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Bounds>,
}

/// The positions that a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    pub first: i64,
    /// Not in it any more.
    pub until: i64,
}

/// One event of a cluster, whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    pub position: Position,
    pub stream: ClusterId,
    pub version: i64,
    pub event_id: Uuid,
    pub r#type: String,
    pub schema_version: i16,
    /// Letter by letter, as it is hashed.
    pub data: Box<RawValue>,
    pub actor: Subject,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub recorded_at: DateTime<Utc>,
    pub hash: Hash,
}

/// One change of a posted route.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteLine {
    pub version: i64,
    pub path: RoutePath,
    /// None: the route was removed.
    pub data: Option<Box<RawValue>>,
    pub recorded_at: DateTime<Utc>,
    pub hash: Hash,
}

/// What the last line says: without it the file is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub events: i64,
    pub routes: i64,
    /// SHA-256 over the hashes of all lines in their order: the same for the same log wherever it stands.
    pub digest: Hash,
}

/// 32 bytes, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    fn of_row(bytes: &[u8]) -> Result<Self, StoreError> {
        let hash = bytes.try_into().map(Self);
        hash.map_err(|_| StoreError::Stored { what: "hash", value: hex::encode(bytes) })
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for Hash {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| Invalid::new("hash", text, "it is 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

text_type!(Hash);

/// Why a log could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the log has {events} events and {routes} changes of routes: name a new database, whose log is empty")]
    NotEmpty { events: i64, routes: i64 },
    #[error("line {line}")]
    Line {
        line: u64,
        #[source]
        flaw: Flaw,
    },
    #[error("the partition from {first} on is not in the archive")]
    NotArchived { first: i64 },
    #[error(
        "the partition from {next} on has to come back first: they come in the order in which they went, the last one first"
    )]
    NotNext { next: i64 },
    #[error(
        "the events are not those that were taken out, or not all: find the file that was written then, its digest is {digest}"
    )]
    OtherFile { digest: String },
    #[error("{event}: its hash does not match what it holds and what came before it")]
    Flawed { event: String },
    #[error("the log was being read or changed all the time: try again, when no export is under way")]
    Busy(#[source] sqlx::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The limits of other transactions are for those that hold somebody up; this one takes as long as its file.
async fn without_hurry(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        r#"SELECT set_config('statement_timeout', '0', true) AS "statement!",
                  set_config('idle_in_transaction_session_timeout', '0', true) AS "idle!""#
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("lift the limits of a transaction"))?;
    Ok(())
}
