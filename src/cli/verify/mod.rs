//! `slipway verify`: whether the log is sound, and the rest what it says.

mod findings;
mod listing;
mod world;

use std::time::Duration;

use anyhow::ensure;
use clap::{ArgGroup, Args};
use serde_json::json;

use self::findings::Finding;
use self::world::World;
use super::kubernetes::KubernetesOptions;
use super::log::all_streams;
use super::options::DatabaseOptions;
use super::out::tell;
use super::profiles::ProfilesOptions;
use super::progress::progress;
use super::{KeyOptions, connect};
use crate::domain::ClusterId;
use crate::error_chain::chain;
use crate::runtime::kubernetes::Settings;
use crate::runtime::kubernetes::inspect::Inspector;
use crate::store::Store;
use crate::up;

/// Checks hash chains, order and read models. With --kubernetes and --routes, also whether the clusters are there as
/// the log says, and nothing else is. What is being worked on is told as under way, which is not wrong.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("compared").args(["kubernetes", "routes"]).multiple(true)))]
pub(super) struct Verify {
    /// Compare with the Kubernetes that runs the clusters; takes the options of the worker
    #[arg(long)]
    kubernetes: bool,
    /// Compare with the routes of the proxy that lists them at this address, like http://127.0.0.1:8001
    #[arg(long, value_name = "URL")]
    routes: Option<listing::Listing>,
    /// The proxy's admin token, if it asks for one
    #[arg(long, env = "SLIPWAY_ADMIN_TOKEN", hide_env_values = true, requires = "routes", value_name = "TOKEN")]
    routes_token: Option<String>,
    /// Wait so long at most until nothing is under way; what then still is, is wrong
    #[arg(long, requires = "compared", value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// The installation key [default: that of the data folder]
    #[arg(long, env = "SLIPWAY_KEY", hide_env_values = true)]
    key: Option<String>,
    #[command(flatten)]
    profiles: ProfilesOptions,
    #[command(flatten)]
    on: KubernetesOptions,
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        // Before the long part, so that a mistake in the options costs nobody any time.
        let mut world = self.world(&store, options).await?;
        let (mut wrong, streams) = self.log(&store).await?;
        let found = world.settled(self.wait.unwrap_or_default()).await?;
        wrong.extend(found.wrong.iter().map(Finding::to_string));
        let under_way: Vec<String> = found.under_way.iter().map(Finding::to_string).collect();
        let (_, events) = store.log_size().await?;
        let archived = store.archive_end().await?.map_or(0, |end| end.events);
        if self.json {
            let found = json!({"clusters": streams, "events": events, "archived_events": archived, "wrong": wrong,
                "under_way": under_way});
            tell!("{found}");
        } else {
            wrong.iter().for_each(|line| tell!("{line}"));
            under_way.iter().for_each(|line| tell!("under way: {line}"));
        }
        ensure!(wrong.is_empty(), "{} things are wrong among {streams} clusters and {events} events", wrong.len());
        if let Some(wait) = self.wait {
            let wait = humantime::format_duration(wait);
            ensure!(under_way.is_empty(), "{} things are still under way after {wait}", under_way.len());
        }
        if !self.json {
            tell!("all is right: {streams} clusters, {events} events, {}", self.checked());
            if archived > 0 {
                tell!("not looked at: {archived} events in the archive");
            }
        }
        Ok(())
    }

    async fn world(&self, store: &Store, options: &DatabaseOptions) -> anyhow::Result<World> {
        let kubernetes = if self.kubernetes {
            let keyring = match &self.key {
                Some(key) => KeyOptions::from(key.clone()).keyring()?,
                None => up::load_key(&options.data_dir()?)?,
            };
            let (connection, tuning) = self.on.find().await?;
            Some(Inspector::new(connection, Settings::new(keyring, &self.profiles.load()?, tuning))?)
        } else {
            None
        };
        let listing = self.routes.clone().map(|listing| listing.with_token(self.routes_token.clone()));
        Ok(World::new(store.clone(), kubernetes, listing))
    }

    /// What is wrong with the log and the read models, and how many clusters were looked at.
    async fn log(&self, store: &Store) -> anyhow::Result<(Vec<String>, i64)> {
        let mut wrong = store.broken_chains().await?;
        wrong.extend(store.broken_posts().await?);
        wrong.extend(store.wrong_posts().await?);
        let check = async |ids: &[ClusterId]| {
            for id in ids {
                match store.check_read_model(*id).await {
                    Ok(found) => wrong.extend(found),
                    Err(error) => wrong.push(chain(&error).to_string()),
                }
            }
            Ok(())
        };
        let streams = all_streams(store, None, check, progress("verifying", "clusters")).await?;
        wrong.extend(store.wrong_usage().await?);
        Ok((wrong, streams))
    }

    fn checked(&self) -> String {
        let mut checked = "chains, order, read models".to_owned();
        checked.push_str(if self.kubernetes { ", Kubernetes" } else { "" });
        checked.push_str(if self.routes.is_some() { ", routes" } else { "" });
        checked
    }
}
