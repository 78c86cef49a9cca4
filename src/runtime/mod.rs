//! Where clusters really run. A runtime makes the world match a [`Blueprint`] and says what it sees;
//! it never records anything: what it saw becomes a fact only through `domain::cluster::decide`.

pub mod engines;
pub mod kubernetes;
pub mod local;

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::{Blueprint, ClusterId, Endpoint, Observation};

use engines::EngineActivity;

/// The effects that slipway has on the world. Each is idempotent, may be interrupted at any point,
/// and is then simply called again.
pub trait Runtime: Send + Sync + 'static {
    /// Creates what is missing of the cluster, repairs what is broken and scales it to the wanted workers.
    /// Returns once all that is under way: [`observe`](Self::observe) tells when it is there.
    fn apply(&self, blueprint: &Blueprint) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes the cluster and all it holds; may return before it is gone. No error if there is none.
    fn delete(&self, id: ClusterId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    fn observe(&self, id: ClusterId) -> impl Future<Output = Result<Observation, RuntimeError>> + Send;

    /// Every cluster of which something exists here, wanted or not.
    fn list(&self) -> impl Future<Output = Result<Vec<ClusterId>, RuntimeError>> + Send;

    /// What the cluster's engines are at, asked now; `None` when they do not run.
    ///
    /// # Errors
    /// When they run but do not tell: assume that they are busy.
    fn activity(
        &self,
        id: ClusterId,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<Option<EngineActivity>, RuntimeError>> + Send;

    /// A hint, soon after it happens, that a cluster's observation may have changed. May miss some, and
    /// repeat some; correctness never depends on it. The channel is bounded: a full one drops hints.
    fn changes(&self) -> mpsc::Receiver<ClusterId>;

    /// How soon to look again at what is under way, should no hint come.
    fn pace(&self) -> Pace;
}

/// How long to wait for a hint about a cluster in each of its phases.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub launching: Duration,
    /// While it is not as wanted.
    pub running: Duration,
    pub ending: Duration,
}

/// Why an effect did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Worth another try: the machine is busy, a server is away.
    #[error("{doing}")]
    Temporary {
        doing: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Nothing can be done for any cluster at the moment, and that is none's fault: it does not count as a failed try.
    #[error("{what} does not answer as it should")]
    Unavailable {
        what: &'static str,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Trying again cannot help; the sentence is for the person who waits for the cluster.
    #[error("{why}")]
    Permanent { why: String },
}

impl RuntimeError {
    pub(crate) fn temporary(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Temporary { doing: doing.into(), source: Some(source.into()) }
    }
}
