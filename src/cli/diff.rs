//! `slipway diff`: what changed between two times, from the log alone.

use anyhow::ensure;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::log::moment;
use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, table};
use crate::clock::Clock;
use crate::domain::difference::{Change, difference};
use crate::domain::{ClusterId, Subject};
use crate::store::StoreError;

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The earlier time, or how long ago, like 90m
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: DateTime<Utc>,
    /// The later time [default: now]
    #[arg(long, value_parser = moment, value_name = "TIME")]
    to: Option<DateTime<Utc>>,
    #[arg(long)]
    json: bool,
}

/// A cluster that was not the same at both times.
#[derive(Serialize)]
struct Row {
    cluster: ClusterId,
    owner: Subject,
    changes: Vec<Change>,
}

impl Diff {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let (from, to) = (self.from, self.to.unwrap_or_else(|| Clock::system().now()));
        ensure!(from <= to, "--from {} is later than --to {}", table::time(from), table::time(to));
        let store = connect::checked(options).await?;
        if store.archive_end().await?.is_some_and(|end| from < end.newest_at) {
            let what = format!("some of what happened after {}", table::time(from));
            return Err(StoreError::Archived { what }.into());
        }
        let mut rows = vec![];
        for id in store.streams_changed(from, to).await? {
            let history = store.history(id).await?;
            let then = |until| history.fold(Some(until));
            let (before, after) = (then(from)?, then(to)?);
            let changes =
                difference(before.as_ref().map(|then| &then.cluster), after.as_ref().map(|then| &then.cluster));
            let owner = after.map(|then| then.cluster.owner);
            rows.extend(owner.filter(|_| !changes.is_empty()).map(|owner| Row { cluster: id, owner, changes }));
        }
        table::print(self.json, &rows, &["CLUSTER", "OWNER", "WHAT CHANGED"], |row| {
            let changes: Vec<String> = row.changes.iter().map(Change::to_string).collect();
            vec![row.cluster.to_string(), row.owner.to_string(), changes.join("; ")]
        })?;
        if !self.json {
            let count = |is: fn(&Change) -> bool| rows.iter().filter(|row| row.changes.iter().any(is)).count();
            let came = count(|change| matches!(change, Change::Came { .. }));
            let went = count(|change| matches!(change, Change::Went { .. }));
            tell!("{} clusters differ: {came} came, {went} went", rows.len());
        }
        Ok(())
    }
}
