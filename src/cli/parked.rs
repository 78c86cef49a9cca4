//! Commands about work that nobody does: dead, requeue, park.

use clap::Args;

use super::clusters::by_operator;
use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, table};
use crate::domain::{ClusterId, Command, ParkReason};

/// The longest reason, in characters.
const LONGEST: usize = 500;

/// Why somebody does something, for those who read it later.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        return Err(format!("write why on one line, in at most {LONGEST} characters"));
    }
    Ok(text.to_owned())
}

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
    #[arg(long, value_name = "TEXT", value_parser = reason)]
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
        let command = Command::Requeue { why: self.why };
        let mut failed = 0;
        for id in &ids {
            match service.execute(*id, &command, &by_operator(), None).await {
                Ok(_) => tell!("{id} is worked on again"),
                Err(error) => {
                    failed += 1;
                    tell!("{id}: {error}");
                }
            }
        }
        service.store().notify().await?;
        anyhow::ensure!(failed == 0, "{failed} of {} could not be requeued", ids.len());
        if ids.is_empty() {
            tell!("there is nothing that was given up or put aside");
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Park {
    id: ClusterId,
    /// Why, for the log and for whoever looks at it next
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: String,
}

impl Park {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        let command = Command::Park { reason: ParkReason::Admin { why: self.why } };
        service.execute(self.id, &command, &by_operator(), None).await?;
        service.store().notify().await?;
        tell!("{0} is put aside until `slipway requeue {0}`, or until it is scaled or stopped", self.id);
        Ok(())
    }
}
