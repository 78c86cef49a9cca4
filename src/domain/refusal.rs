//! Why a command has no effect.

use super::access::{MOST_SHARES, ShareId};
use super::ids::{ClusterId, WorkerCount};

/// Why a command has no effect. Each is a sentence for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} already exists")]
    Exists(ClusterId),
    #[error("there is no {0}")]
    Unknown(ClusterId),
    #[error("{0} has been stopped; launch a new cluster")]
    Stopped(ClusterId),
    #[error("{asked} workers are more than the {most} that this cluster may have; ask for {most} or fewer")]
    TooManyWorkers { asked: WorkerCount, most: WorkerCount },
    #[error("{0} has {MOST_SHARES} share links, as many as it may; revoke one first")]
    TooManyShares(ClusterId),
    #[error("{cluster} has no share {share}; it may have been revoked")]
    NoSuchShare { cluster: ClusterId, share: ShareId },
    #[error("{0} waits in line, where nobody works on it; stop it if it is not wanted")]
    InLine(ClusterId),
    #[error("{0} is gone: nothing of it is left to work on")]
    Gone(ClusterId),
    #[error("{0} is kept ready for whoever launches next; it can be stopped, but not changed")]
    Unclaimed(ClusterId),
    #[error("{0} cannot be claimed: it is somebody's, or not ready")]
    NotClaimable(ClusterId),
}
