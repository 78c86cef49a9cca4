//! The drop-in for configurable-http-proxy: its routes in memory, or in the log where there is a database.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Base;
use super::unwritten::Unwritten;
use crate::chp::{Book, Bound, Entry, Plan};
use crate::error_chain::chain;
use crate::service::posted::{Ledger, News};
use crate::store::{Store, listen};

/// So many changes go into the log at once, at most.
const MOST_AT_ONCE: usize = 1_000;
const SHARE: Duration = Duration::from_secs(2);
/// Activity that others have written down late is looked for as far back.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);

/// Serves until told to stop.
///
/// # Errors
/// When something cannot be opened or served, or the routes cannot be read at the start.
pub async fn run(plan: Plan, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let Some(url) = plan.database.clone() else {
        return Bound::new(plan, None).await?.serve(stop).await;
    };
    let base = Base::connect(&url, 4, true).await?;
    let (sender, changes) = mpsc::channel(MOST_AT_ONCE);
    let bound = Bound::new(plan, Some(sender)).await?;
    let book = Arc::clone(&bound.book);
    let (ledger, known) = Ledger::open(base.store.clone()).await?;
    tracing::info!(routes = known.len(), "the routes are kept in the log");
    for (posted, used) in known {
        book.apply(posted, used);
    }
    tokio::select! {
        outcome = bound.serve(stop) => outcome,
        () = keep(ledger, &book, changes, base.bell.clone()) => anyhow::bail!("the routes are no longer kept"),
        () = share_activity(&base.store, &book) => anyhow::bail!("the activity is no longer kept"),
    }
}

/// Records what is posted here, and takes over what is posted elsewhere. Changes that come while others are being
/// written go into the log together.
async fn keep(mut ledger: Ledger, book: &Book, mut changes: mpsc::Receiver<Entry>, mut bell: watch::Receiver<()>) {
    let mut batch = vec![];
    loop {
        let news = tokio::select! {
            biased;
            count = changes.recv_many(&mut batch, MOST_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                let recorded = batch.iter().map(|entry: &Entry| entry.change.clone()).collect();
                ledger.record(recorded).await
            }
            () = listen::wait(&mut bell) => {
                bell.borrow_and_update();
                ledger.news().await
            }
        };
        match news {
            Ok(news) => {
                match news {
                    News::Changes(changes) => {
                        let now = book.now();
                        changes.into_iter().for_each(|change| book.apply(change, now));
                    }
                    News::All(routes) => {
                        tracing::warn!(
                            routes = routes.len(),
                            "the log has lost what was read of it: the routes are those that it has"
                        );
                        book.replace(routes);
                    }
                }
                for entry in batch.drain(..) {
                    // Whoever has asked may be gone.
                    let _ = entry.recorded.send(());
                }
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "cannot reach the log; routes stay as they are");
                batch.clear();
            }
        }
    }
}

/// Tells the other proxies which routes are used here, and takes over theirs.
async fn share_activity(store: &Store, book: &Book) {
    let unwritten = Unwritten::default();
    let mut since = DateTime::UNIX_EPOCH;
    loop {
        sleep(SHARE).await;
        book.take_activity().into_iter().for_each(|(path, at)| unwritten.owe(path, at));
        let seen = unwritten.all();
        match store.share_posted_activity(&seen, since).await {
            Ok(used) => {
                unwritten.settle(seen);
                for (path, at) in used {
                    since = since.max(at - OVERLAP);
                    if let Ok(path) = path.parse() {
                        book.used(&path, at);
                    }
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot write activity down; keeping it"),
        }
    }
}
