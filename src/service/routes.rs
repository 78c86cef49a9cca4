//! The route table of the log, kept up to date for whoever serves by it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::Level;
use uuid::Uuid;

use super::follow::Follower;
use super::patience::{Patience, is_away, is_changing};
use crate::domain::{ClusterId, Event, Placed, RouteChange, RouteTable};
use crate::error_chain::chain;
use crate::spans::SPANS;
use crate::store::events::{Position, Recorded};
use crate::store::{Store, StoreError};

/// How often to ask whether the server is still the one that the table was read from. Its connections are made anew
/// unseen, and it may have been put back to an earlier day meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// The table as of a place in the log.
#[derive(Debug, Default)]
pub struct Router(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    table: RouteTable,
    position: Position,
    revision: u64,
    /// Start of the server that the table was read from.
    server: Option<DateTime<Utc>>,
    /// Those that have become somebody's and were not asked for anything yet, while anybody wants to be told.
    arrivals: HashMap<ClusterId, Uuid>,
}

/// The log of these routes has been replaced by another, or could not be read for a while.
#[derive(Debug)]
enum Torn {
    Epoch,
    Restart,
    Away(StoreError),
    /// It has what only a newer slipway can read; the read models have what that comes to.
    Unreadable(StoreError),
}

impl Router {
    /// Takes the table up from where another process left it; what has happened since is found out by
    /// [`follow`](Self::follow).
    pub fn take_up(
        &self,
        placed: HashMap<ClusterId, Placed>,
        position: Position,
        mut apply: impl FnMut(Vec<RouteChange>),
    ) {
        let mut known = self.known();
        apply(known.table.restart_at(placed));
        known.position = position;
    }

    /// Reads all routes that there are now, and applies the difference to what was known.
    ///
    /// # Errors
    /// When the database does not answer, its schema is another build's, or a pooler is in between that is not of use.
    pub async fn load(&self, store: &Store, mut apply: impl FnMut(Vec<RouteChange>)) -> Result<(), StoreError> {
        store.check_sessions().await?;
        store.check().await?;
        // Asked before, so that a restart meanwhile is not missed.
        let server = store.server_started().await?;
        let (placed, position) = store.routed().await?;
        let mut known = self.known();
        let changes = known.table.restart_at(placed);
        known.revision += 1;
        known.position = position;
        known.server = Some(server);
        apply(changes);
        Ok(())
    }

    /// Applies every change as it is recorded, and tells of each time that the log was reached, until it is dropped.
    /// After an interruption the routes are read anew, as the database may be one that was restored meanwhile.
    /// `loaded` says whether they just were.
    ///
    /// They are read anew as well when there is an event that this build cannot read: going on without it would be wrong.
    ///
    /// # Errors
    /// When the log is damaged.
    pub async fn follow(
        &self,
        store: &Store,
        bell: watch::Receiver<()>,
        loaded: bool,
        mut apply: impl FnMut(Vec<RouteChange>),
        reached: impl Fn(),
    ) -> Result<(), StoreError> {
        let mut torn = !loaded;
        loop {
            if std::mem::replace(&mut torn, true) {
                self.reload(store, &mut apply).await?;
                reached();
            }
            match self.follow_on(store, bell.clone(), &mut apply, &reached).await? {
                Torn::Restart => tracing::info!("the database was started anew: reading the routes again"),
                Torn::Epoch => tracing::warn!("the log goes on in another epoch: reading the routes anew"),
                Torn::Unreadable(error) => {
                    tracing::error!(error = %chain(&error), "reading the routes anew instead");
                    // Whoever records one such event may record many.
                    sleep(LOOK).await;
                }
                Torn::Away(error) => {
                    tracing::warn!(error = %chain(&error), "cannot read the log; serving the routes that are known");
                }
            }
        }
    }

    async fn reload(&self, store: &Store, apply: &mut impl FnMut(Vec<RouteChange>)) -> Result<(), StoreError> {
        let mut patience = Patience::to("read the routes");
        loop {
            match self.load(store, &mut *apply).await {
                Err(error) if is_changing(&error) => patience.wait(&error).await,
                outcome => {
                    outcome?;
                    tracing::info!(position = %self.position(), "the routes are those of the log again");
                    return Ok(());
                }
            }
        }
    }

    async fn follow_on(
        &self,
        store: &Store,
        bell: watch::Receiver<()>,
        apply: &mut impl FnMut(Vec<RouteChange>),
        reached: &impl Fn(),
    ) -> Result<Torn, StoreError> {
        let begin = self.position();
        let mut looked = Instant::now();
        let mut log = Follower::new(store, bell, begin);
        loop {
            let batch = match log.poll().await {
                Ok(mut batch) => match batch.unreadable.pop() {
                    Some(error) => return Ok(Torn::Unreadable(error)),
                    None => batch.recorded,
                },
                Err(error) if is_away(&error) => return Ok(Torn::Away(error)),
                // Asleep for so long that what it has missed went to the archive.
                Err(error @ StoreError::Archived { .. }) => return Ok(Torn::Unreadable(error)),
                Err(fatal) => return Err(fatal),
            };
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                match store.server_started().await {
                    Ok(started) if Some(started) == self.known().server => {}
                    Ok(_) => return Ok(Torn::Restart),
                    Err(error) => return Ok(Torn::Away(error)),
                }
            }
            if batch.iter().any(|recorded| recorded.position.epoch() != begin.epoch()) {
                return Ok(Torn::Epoch);
            }
            let mut known = self.known();
            let Known { table, position, revision, server: _, arrivals } = &mut *known;
            let mut changes = vec![];
            for recorded in batch {
                let event = &recorded.event;
                note_arrival(arrivals, &recorded);
                changes.extend(table.apply(recorded.cluster, recorded.version, event, recorded.recorded_at));
                *position = recorded.position;
            }
            if !changes.is_empty() {
                *revision += 1;
                apply(changes);
            }
            drop(known);
            reached();
        }
    }

    /// The correlation of what made a cluster ready, for whoever asks first.
    pub fn arrival(&self, cluster: ClusterId) -> Option<Uuid> {
        self.known().arrivals.remove(&cluster)
    }

    /// Where in the log the table stands.
    pub fn position(&self) -> Position {
        self.known().position
    }

    /// Another number after each change of the table.
    pub fn revision(&self) -> u64 {
        self.known().revision
    }

    /// The clusters that have routes, for a later [`take_up`](Self::take_up).
    pub fn placed(&self) -> (HashMap<ClusterId, Placed>, Position, u64) {
        let known = self.known();
        let placed = known.table.placed().map(|(id, placed)| (id, placed.clone())).collect();
        (placed, known.position, known.revision)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note_arrival(arrivals: &mut HashMap<ClusterId, Uuid>, recorded: &Recorded) {
    if !tracing::enabled!(target: SPANS, Level::DEBUG) {
        return;
    }
    match recorded.event {
        Event::BecameReady(_) | Event::Claimed { .. } => {
            tracing::debug!(target: SPANS, cluster = %recorded.cluster, correlation = %recorded.correlation, "routed");
            arrivals.insert(recorded.cluster, recorded.correlation);
        }
        Event::Removed {} => drop(arrivals.remove(&recorded.cluster)),
        _ => {}
    }
}
