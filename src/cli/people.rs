//! `slipway people` and `slipway forget`

use std::io::IsTerminal;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::options::DatabaseOptions;
use super::out::{aside, tell};
use super::{connect, operate, table, text};
use crate::domain::{ClusterId, Command, StopReason, Subject};
use crate::store::clusters::Whose;

/// The most clusters that one person can have.
const MOST: i64 = 100_000;

#[derive(Debug, Subcommand)]
pub(super) enum People {
    /// List whoever has acted by the API or has a token or a name
    List(List),
    /// List those in whose subject, name, tokens' names or last address a text occurs
    Find(Find),
    /// Note what a subject is called
    Name(Name),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Find {
    text: String,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    subject: Subject,
    /// A name, an address, or whatever else tells who it is
    #[arg(value_parser = text::line::<200>)]
    name: String,
}

impl People {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        match self {
            Self::List(list) => print(options, None, list.json).await,
            Self::Find(find) => print(options, Some(&find.text), find.json).await,
            Self::Name(Name { subject, name }) => {
                let named = connect::checked(options).await?.name_person(&subject, &name).await?;
                anyhow::ensure!(named, "nobody is known as {subject}; see `slipway people list`");
                tell!("{subject} is {name}");
                Ok(())
            }
        }
    }
}

async fn print(options: &DatabaseOptions, find: Option<&str>, json: bool) -> anyhow::Result<()> {
    let people = connect::checked(options).await?.people(find).await?;
    let headings = ["SUBJECT", "NAME", "TOKENS", "FIRST SEEN", "LAST SEEN", "LAST ADDRESS", "LAUNCHES"];
    let time = |time: Option<DateTime<Utc>>| table::or_dash(time.map(table::time));
    table::print(json, &people, &headings, |person| {
        vec![
            person.subject.clone(),
            table::or_dash(person.name.as_ref()),
            if person.tokens.is_empty() { "-".to_owned() } else { person.tokens.join(", ") },
            time(person.first_seen),
            time(person.last_seen),
            table::or_dash(person.last_address.as_ref()),
            person.launches.to_string(),
        ]
    })
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// As `slipway people find` shows it
    subject: Subject,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Forget {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        let subject = self.subject;
        anyhow::ensure!(!subject.is_pool(), "{subject} is nobody: change the pool of the profile instead");
        let known = service.store().people(Some(subject.as_str())).await?;
        let known = known.into_iter().find(|person| person.subject == subject.as_str());
        let clusters = service.store().clusters(Whose::Of(&subject), DateTime::UNIX_EPOCH, MOST).await?;
        let again = service.store().forgotten().await?.contains(&subject);
        anyhow::ensure!(
            known.is_some() || again || !clusters.is_empty(),
            "nobody is known as {subject}; see `slipway people list`"
        );
        let live: Vec<ClusterId> =
            clusters.iter().map(|row| &row.cluster).filter(|it| it.phase.is_live()).map(|it| it.id).collect();
        if !self.yes {
            let name = known.and_then(|person| person.name).map(|name| format!(" ({name})")).unwrap_or_default();
            confirm(&format!("Forget {subject}{name} for good, and stop {} of their clusters?", live.len()))?;
        }
        let erasure = service.store().forget(&subject, &connect::operator()).await?;
        tell!(
            "{subject} is forgotten since {} by {}: {}, {} addresses, {} tokens and {} request keys removed now",
            table::time(erasure.erased_at),
            erasure.erased_by,
            if erasure.named { "a name" } else { "no name" },
            erasure.addresses,
            erasure.tokens,
            erasure.keys,
        );
        // Nobody can enter them any more.
        let stop = Command::Stop { reason: StopReason::Admin };
        operate::execute_all(&service, &live, &stop, |_| "being stopped".to_owned(), "stopped").await
    }
}

fn confirm(question: &str) -> anyhow::Result<()> {
    anyhow::ensure!(std::io::stdin().is_terminal(), "this cannot be undone: say --yes");
    aside(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was changed");
    Ok(())
}
