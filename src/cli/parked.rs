//! Commands about work that nobody does: dead, requeue, park.

use clap::Args;

use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, operate, table, text};
use crate::domain::{ClusterId, Command, ParkReason};

#[derive(Debug, Args)]
pub(super) struct Dead {
    #[arg(long)]
    json: bool,
}

impl Dead {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let letters = connect::checked(options).await?.dead_letters().await?;
        let headings = ["CLUSTER", "STATUS", "SINCE", "TRIES", "BY", "WHY", "LAST ERROR"];
        table::print(self.json, &letters, &headings, |letter| {
            vec![
                letter.cluster.to_string(),
                letter.status.clone(),
                table::or_dash(letter.since.map(table::time)),
                letter.attempts.to_string(),
                table::or_dash(letter.by.as_ref()),
                table::or_dash(letter.why.as_ref()),
                table::or_dash(letter.last_error.as_ref()),
            ]
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Requeue {
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<ClusterId>,
    /// All that `slipway dead` lists
    #[arg(long)]
    all: bool,
    /// Why it may go well now, for the log
    #[arg(long, value_name = "TEXT", value_parser = text::line::<500>)]
    why: Option<String>,
}

impl Requeue {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        let ids = if self.all {
            service.store().dead_letters().await?.iter().map(|letter| letter.cluster).collect()
        } else {
            self.ids
        };
        if ids.is_empty() {
            tell!("there is nothing that was given up or put aside");
        }
        let requeue = Command::Requeue { why: self.why };
        operate::execute_all(&service, &ids, &requeue, |_| "worked on again".to_owned(), "requeued").await
    }
}

#[derive(Debug, Args)]
pub(super) struct Park {
    id: ClusterId,
    /// Why, for the log and for whoever looks at it next
    #[arg(long, value_name = "TEXT", value_parser = text::line::<500>)]
    why: String,
}

impl Park {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        let command = Command::Park { reason: ParkReason::Admin { why: self.why } };
        operate::execute(&service, self.id, &command).await?;
        tell!("{0} is put aside until `slipway requeue {0}`, or until it is scaled or stopped", self.id);
        Ok(())
    }
}
