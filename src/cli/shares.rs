//! Commands about who may enter a cluster.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, operate, table};
use crate::clock::Clock;
use crate::domain::access::LONGEST_SHARE;
use crate::domain::{Access, ClusterId, Command, Engine, Keyring, RoutePath, ShareId};
use crate::up;

#[derive(Debug, Args)]
pub(super) struct SetAccess {
    id: ClusterId,
    #[arg(value_name = "WHO")]
    access: Access,
}

impl SetAccess {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        operate::execute(&service, self.id, &Command::SetAccess { access: self.access }).await?;
        tell!("{}: {}", self.id, self.access);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Share {
    id: ClusterId,
    /// For how long, at most a year
    #[arg(long = "for", default_value = "8h", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasts: Duration,
    #[arg(long)]
    json: bool,
}

impl Share {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let links = Links::of(options)?;
        let seconds = i64::try_from(self.lasts.as_secs()).unwrap_or(i64::MAX);
        anyhow::ensure!((1..=LONGEST_SHARE).contains(&seconds), "--for: a share lasts from one second to a year");
        let now = Clock::system().now();
        let (id, until) =
            (ShareId::from_number(rand::random()), (now + TimeDelta::seconds(seconds)).trunc_subsecs(3));
        let service = connect::service(options).await?;
        operate::execute(&service, self.id, &Command::Share { id, until, now }).await?;
        let row = links.row(self.id, id, until);
        match self.json {
            true => tell!("{}", serde_json::to_string_pretty(&row)?),
            false => tell!("{}", row["url"].as_str().unwrap_or_default()),
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    id: ClusterId,
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let links = Links::of(options)?;
        let store = connect::checked(options).await?;
        let cluster = store.cluster(self.id).await?.with_context(|| format!("there is no {}", self.id))?.cluster;
        let now = Clock::system().now();
        let shares = cluster.shares.iter().filter(|(_, until)| cluster.phase.is_live() && now < **until);
        let rows: Vec<Value> = shares.map(|(share, until)| links.row(self.id, *share, *until)).collect();
        table::print(self.json, &rows, &["SHARE", "UNTIL", "LINK"], |row| {
            ["id", "until", "url"].iter().map(|name| row[name].as_str().unwrap_or("-").to_owned()).collect()
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Unshare {
    id: ClusterId,
    share: ShareId,
}

impl Unshare {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        operate::execute(&service, self.id, &Command::Unshare { id: self.share }).await?;
        tell!("revoked");
        Ok(())
    }
}

/// Makes links that lead to the installation of the data folder.
struct Links {
    address: String,
    keyring: Keyring,
}

impl Links {
    fn of(options: &DatabaseOptions) -> anyhow::Result<Self> {
        let data_dir = options.data_dir()?;
        let address = std::fs::read_to_string(up::address_file(&data_dir)).unwrap_or_default();
        Ok(Self { address, keyring: up::load_key(&data_dir)? })
    }

    fn row(&self, cluster: ClusterId, share: ShareId, until: DateTime<Utc>) -> Value {
        let token = self.keyring.share_token(cluster, share);
        let path = |engine| RoutePath::of(cluster, engine);
        let (notebook, scheduler) = (path(Engine::Notebook), path(Engine::DaskScheduler));
        json!({
            "id": share,
            "until": table::time(until),
            "url": format!("{}{notebook}/lab?share={token}", self.address),
            "scheduler_url": format!("{}{scheduler}?share={token}", self.address.replacen("http", "ws", 1)),
        })
    }
}
