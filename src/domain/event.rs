//! What has happened. Names are in the past tense; a variant once written is never changed,
//! only joined by a newer one. `tests/golden/` pins the JSON of each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::access::{Access, ShareId};
use super::ids::{ProfileName, Subject, WorkerCount};
use super::materials::Repository;
use super::park::ParkReason;
use super::port::Ports;

/// Version of the events' JSON that this build writes, and the newest it can read.
pub const SCHEMA_VERSION: i16 = 1;

/// A fact in the life of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    LaunchRequested {
        owner: Subject,
        profile: ProfileName,
        workers: WorkerCount,
        materials: Vec<Repository>,
        limits: Limits,
    },
    /// Its turn has come: the launch begins.
    Admitted {},
    /// A cluster that a pool kept ready has got its owner.
    Claimed {
        owner: Subject,
    },
    /// The launch got one step further; shown to whoever waits for it.
    StepReached {
        step: Step,
    },
    /// The notebook and the scheduler answer at these places. Recorded again when they move.
    BecameReady(Endpoint),
    LaunchFailed {
        why: String,
    },
    ScaleRequested {
        workers: WorkerCount,
    },
    /// So many workers are connected to the scheduler now.
    Scaled {
        workers: u16,
    },
    StopRequested {
        reason: StopReason,
    },
    /// From now on it is open to these; until then to its owner.
    AccessSet {
        access: Access,
    },
    /// Whoever has the link of this share may enter until then.
    Shared {
        id: ShareId,
        until: DateTime<Utc>,
    },
    /// The share's link opens nothing any more.
    Unshared {
        id: ShareId,
    },
    /// Nobody works on it for now.
    Parked {
        reason: ParkReason,
    },
    /// It is worked on again, as if for the first time.
    Requeued {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Nothing of the cluster is left.
    Removed {},
}

impl Event {
    /// The variant's name, as stored in the log's `type` column.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LaunchRequested { .. } => "LaunchRequested",
            Self::Admitted {} => "Admitted",
            Self::Claimed { .. } => "Claimed",
            Self::StepReached { .. } => "StepReached",
            Self::BecameReady(_) => "BecameReady",
            Self::LaunchFailed { .. } => "LaunchFailed",
            Self::ScaleRequested { .. } => "ScaleRequested",
            Self::Scaled { .. } => "Scaled",
            Self::StopRequested { .. } => "StopRequested",
            Self::AccessSet { .. } => "AccessSet",
            Self::Shared { .. } => "Shared",
            Self::Unshared { .. } => "Unshared",
            Self::Parked { .. } => "Parked",
            Self::Requeued { .. } => "Requeued",
            Self::Removed {} => "Removed",
        }
    }

    /// What the variant holds, as stored in the log's `data` column.
    pub fn data(&self) -> serde_json::Value {
        let mut tagged = serde_json::to_value(self).expect("an event has a JSON form");
        tagged["data"].take()
    }

    /// The event of this name that holds this: what [`kind`](Self::kind) and [`data`](Self::data) say, read back.
    ///
    /// # Errors
    /// When this build knows no such event.
    pub fn read(kind: &str, data: &RawValue) -> Result<Self, serde_json::Error> {
        #[derive(Serialize)]
        struct Tagged<'a> {
            r#type: &'a str,
            data: &'a RawValue,
        }
        serde_json::from_str(&serde_json::to_string(&Tagged { r#type: kind, data })?)
    }
}

/// The rules a cluster was launched under; later changes of the configuration do not reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The most workers it may be scaled to.
    pub workers: WorkerCount,
    /// Culled after so many seconds without activity; 0 means never.
    pub idle_seconds: u32,
    /// Stopped so many seconds after its launch was admitted, busy or not; 0 means never.
    pub lifetime_seconds: u32,
}

/// A stage of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Step {
    /// Its folder or namespace exists.
    Prepared,
    MaterialsCloned {
        repository: Repository,
        commit: String,
    },
    /// The launch goes on without them.
    MaterialsFailed {
        repository: Repository,
        why: String,
    },
    /// The Dask scheduler answers.
    SchedulerStarted,
    /// Something outside slipway keeps it from getting further, such as a full house.
    Held {
        why: String,
    },
}

/// Where a running cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: IpAddr,
    pub ports: BTreeMap<Engine, u16>,
    /// Beside those of the engines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: Ports,
}

/// A part of a cluster that listens on a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    Notebook,
    DaskScheduler,
    DaskDashboard,
    SparkUi,
}

impl Engine {
    pub const ALL: [Self; 4] = [Self::Notebook, Self::DaskScheduler, Self::DaskDashboard, Self::SparkUi];
}

/// Why a cluster is being taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StopReason {
    Owner,
    Admin,
    /// Nobody used it; the evidence is what the keeper saw when it decided.
    Idle(IdleEvidence),
    /// Its lifetime was over.
    Expired {
        /// When the launch was admitted: the time in line is none of its life. Or when it was claimed.
        launched_at: DateTime<Utc>,
        lifetime_seconds: u32,
    },
    Failed {
        why: String,
    },
    /// Nobody has claimed it, and its pool needs fewer.
    Surplus,
    /// Nobody has claimed it, and its pool has, or is to have, newer ones.
    Outdated,
}

impl StopReason {
    /// Why a pool stops what is nobody's.
    pub fn is_a_pools(&self) -> bool {
        match self {
            Self::Surplus | Self::Outdated => true,
            Self::Owner | Self::Admin | Self::Idle(_) | Self::Expired { .. } | Self::Failed { .. } => false,
        }
    }

    /// One word, as in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Idle(_) => "idle",
            Self::Expired { .. } => "expired",
            Self::Failed { .. } => "failed",
            Self::Surplus => "surplus",
            Self::Outdated => "outdated",
        }
    }
}

/// What was known of a cluster's use when it was culled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleEvidence {
    pub last_activity: DateTime<Utc>,
    pub limit_seconds: u32,
    /// Kernels that Jupyter reported, all of them idle.
    pub kernels: u32,
    /// Tasks that the Dask scheduler reported in flight: 0, or it would not have been culled.
    /// Absent when the engines could not be asked because they no longer run.
    pub tasks_in_flight: Option<u64>,
}
