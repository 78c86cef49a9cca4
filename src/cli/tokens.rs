//! `slipway token`

use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, table, text};
use crate::clock::Clock;
use crate::domain::Subject;
use crate::store::tokens::Bearer;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; it is shown once and stored nowhere
    Create(Create),
    /// List tokens, without the tokens themselves
    List(List),
    /// Make a token invalid at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What it is for; forgotten with the subject
    #[arg(long, value_parser = text::line::<100>)]
    name: String,
    /// Let it see and stop everyone's clusters and read the audit trail
    #[arg(long)]
    admin: bool,
    /// Whom it stands for, so that two tokens can own the same clusters; goes into the log for good, so name nobody [default: token:<id>]
    #[arg(long)]
    subject: Option<Subject>,
    /// Valid for so long, like 90d; for good if absent
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    expires_in: Option<Duration>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    id: Uuid,
}

impl Token {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        match self {
            Self::Create(create) => {
                let id = Uuid::new_v4();
                let subject = match create.subject {
                    Some(subject) => subject,
                    None => format!("token:{}", id.simple()).parse()?,
                };
                anyhow::ensure!(!subject.is_pool(), "nobody can be {subject}: name another --subject");
                let expires_at = create
                    .expires_in
                    .map(|valid| TimeDelta::from_std(valid).map(|valid| Clock::system().now() + valid))
                    .transpose()?;
                let secret: [u8; 32] = rand::random();
                let token = format!("slipway_{}", hex::encode(secret));
                let bearer = Bearer { subject, admin: create.admin };
                store.create_token(id, &create.name, &bearer, &token, expires_at).await?;
                if create.json {
                    tell!(
                        "{}",
                        json!({"id": id, "token": token, "subject": bearer.subject, "admin": bearer.admin})
                    );
                } else {
                    tell!("{token}");
                }
                Ok(())
            }
            Self::List(list) => {
                let headings = ["ID", "NAME", "SUBJECT", "ADMIN", "CREATED", "EXPIRES", "REVOKED"];
                table::print(list.json, &store.tokens().await?, &headings, |row| {
                    vec![
                        row.id.to_string(),
                        row.name.clone(),
                        row.subject.clone(),
                        if row.admin { "yes" } else { "no" }.to_owned(),
                        table::time(row.created_at),
                        table::or_dash(row.expires_at.map(table::time)),
                        table::or_dash(row.revoked_at.map(table::time)),
                    ]
                })
            }
            Self::Revoke(revoke) => {
                anyhow::ensure!(
                    store.revoke_token(revoke.id).await?,
                    "there is no valid token {}; see `slipway token list`",
                    revoke.id
                );
                tell!("revoked");
                Ok(())
            }
        }
    }
}
