//! Commands about clusters: launch, list, show, scale, stop, logs.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::options::DatabaseOptions;
use super::out::tell;
use super::profiles::ProfilesOptions;
use super::{connect, operate, table};
use crate::clock::Clock;
use crate::domain::line::Place;
use crate::domain::{
    Cluster, ClusterId, Command, Engine, Event, Profile, ProfileName, Repository, RoutePath, StopReason, Subject,
    WorkerCount, story,
};
use crate::runtime::local::logs;
use crate::runtime::local::part::Part;
use crate::service::Service;
use crate::service::line::SharedLine;
use crate::store::clusters::{ClusterRow, Whose};
use crate::store::events::Position;
use crate::up;

#[derive(Debug, Args)]
pub(super) struct Launch {
    /// Number of workers
    #[arg(long)]
    workers: Option<WorkerCount>,
    /// Git repository to clone, like https://host/course.git@2026; may be repeated
    #[arg(long, value_name = "REPOSITORY")]
    materials: Option<Vec<Repository>>,
    /// Whose it is to be, as the audit shows it [default: cli:<user>]
    #[arg(long)]
    owner: Option<Subject>,
    /// The profile to launch [default: the first]
    #[arg(long, value_name = "NAME")]
    profile: Option<ProfileName>,
    #[command(flatten)]
    profiles: ProfilesOptions,
    /// Return at once instead of following the launch
    #[arg(long)]
    no_wait: bool,
    #[arg(long)]
    json: bool,
}

impl Launch {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        let actor = connect::operator();
        let owner = self.owner.unwrap_or_else(|| actor.clone());
        let profiles = self.profiles.load()?;
        let wanted = |profile: &&Profile| self.profile.as_ref().is_none_or(|name| profile.name == *name);
        let profile = profiles.iter().find(wanted).with_context(|| {
            let names: Vec<_> = profiles.iter().map(|profile| profile.name.as_str()).collect();
            format!("there is no such profile: name one of {}", names.join(", "))
        })?;
        let launch = profile.launch(owner, self.workers, self.materials);
        anyhow::ensure!(!launch.owner.is_pool(), "nobody can be {}: name another --owner", launch.owner);
        let pool = profile.pool_for(&launch);
        let launched = service.claim_or_launch(launch, pool, actor, None).await?.cluster;
        let id = launched.id;
        operate::wake(&service).await;
        if launched.claimed {
            return show(&service, options, id, self.json).await;
        }
        if self.json || self.no_wait {
            if !self.no_wait {
                wait_until_ready(&service, id, |_| {}).await?;
            }
            return show(&service, options, id, self.json).await;
        }
        tell!("{id}");
        wait_until_ready(&service, id, |line| tell!("{line}")).await?;
        show(&service, options, id, false).await
    }
}

/// Follows a launch to its end, good or bad.
async fn wait_until_ready(service: &Service, id: ClusterId, say: impl Fn(&str)) -> anyhow::Result<()> {
    let (mut position, mut began) = (Position::default(), None);
    let line = SharedLine::new(service.store().clone());
    let (mut waits, mut told) = (true, None);
    loop {
        for recorded in service.store().stream_after(id, position).await? {
            position = recorded.position;
            let since = *began.get_or_insert(recorded.recorded_at);
            let elapsed = (recorded.recorded_at - since).num_milliseconds() as f64 / 1000.0;
            say(&format!("{elapsed:>7.1} s  {}", story::sentence(&recorded.event)));
            match recorded.event {
                Event::BecameReady(_) => return Ok(()),
                Event::LaunchFailed { why } => bail!("the launch failed: {why}"),
                Event::StopRequested { .. } => bail!("{id} was stopped before it was ready"),
                Event::Admitted {} => waits = false,
                Event::LaunchRequested { .. }
                | Event::Claimed { .. }
                | Event::StepReached { .. }
                | Event::ScaleRequested { .. }
                | Event::Scaled { .. }
                | Event::AccessSet { .. }
                | Event::Shared { .. }
                | Event::Unshared { .. }
                | Event::Parked { .. }
                | Event::Requeued { .. }
                | Event::Removed {} => {}
            }
        }
        sleep(Duration::from_millis(100)).await;
        let place = if waits { line.place(id).await? } else { None };
        if place.is_some() && place != told {
            told = place;
            say(&format!("           {}", place.map(Place::sentence).unwrap_or_default()));
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Also those that ended, for as long as the log knows
    #[arg(long)]
    all: bool,
    /// Only this owner's
    #[arg(long)]
    owner: Option<Subject>,
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        let whose = self.owner.as_ref().map_or(Whose::Everyones, Whose::Of);
        let now = Clock::system().now();
        let ended_since = if self.all { chrono::DateTime::UNIX_EPOCH } else { now + TimeDelta::days(1) };
        let rows: Vec<Value> = store.clusters(whose, ended_since, 100_000).await?.iter().map(as_json).collect();
        let headings = ["CLUSTER", "STATUS", "WORKERS", "OWNER", "LAUNCHED", "LAST ACTIVITY", "WHY ENDED"];
        table::print(self.json, &rows, &headings, |row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let workers = format!("{}/{}", row["workers"]["ready"], row["workers"]["wanted"]);
            vec![
                text("id"),
                text("status"),
                workers,
                text("owner"),
                text("launched_at"),
                text("last_activity"),
                text("reason"),
            ]
        })
    }
}

fn as_json(row: &ClusterRow) -> Value {
    json!({
        "id": row.cluster.id,
        "status": row.cluster.phase.status(),
        "workers": {"wanted": row.cluster.workers, "ready": row.cluster.phase.workers_ready(), "most": row.cluster.limits.workers},
        "owner": row.cluster.owner,
        "profile": row.cluster.profile,
        "materials": row.cluster.materials,
        "access": row.cluster.access,
        "launched_at": table::time(row.asked_at()),
        "claimed": row.cluster.claimed,
        "ready_at": row.ready_at.map(table::time),
        "last_activity": row.last_activity.map(table::time),
        "ended_at": row.ended_at.map(table::time),
        "reason": story::ending(&row.cluster.phase),
    })
}

#[derive(Debug, Args)]
pub(super) struct Show {
    id: ClusterId,
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        show(&connect::service(options).await?, options, self.id, self.json).await
    }
}

async fn show(service: &Service, options: &DatabaseOptions, id: ClusterId, json: bool) -> anyhow::Result<()> {
    let row = service.store().cluster(id).await?.with_context(|| format!("there is no {id}"))?;
    let mut view = as_json(&row);
    if row.cluster.phase.endpoint().is_some() && !row.cluster.is_unclaimed() {
        let data_dir = options.data_dir()?;
        let address = std::fs::read_to_string(up::address_file(&data_dir)).unwrap_or_default();
        if let Ok(keyring) = up::load_key(&data_dir) {
            let claimant = row.cluster.claimant();
            view["url"] = format!("{address}{}", keyring.notebook_path(id, claimant)).into();
            let scheduler = keyring.scheduler_path(id, claimant);
            view["scheduler_url"] = format!("{}{scheduler}", address.replacen("http", "ws", 1)).into();
        }
        let dashboard = RoutePath::of(id, Engine::DaskDashboard);
        view["dashboard_url"] = format!("{address}{dashboard}/status").into();
    }
    if json {
        tell!("{}", serde_json::to_string_pretty(&view)?);
        return Ok(());
    }
    for (name, value) in view.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        tell!("{name:<14} {text}");
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct Scale {
    id: ClusterId,
    workers: WorkerCount,
}

impl Scale {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        operate::execute(&service, self.id, &Command::Scale { workers: self.workers }).await?;
        tell!("{} is asked for {} workers", self.id, self.workers);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    #[arg(required = true)]
    ids: Vec<ClusterId>,
}

impl Stop {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let service = connect::service(options).await?;
        let stop = Command::Stop { reason: StopReason::Admin };
        let status = |cluster: &Cluster| cluster.phase.status().to_owned();
        operate::execute_all(&service, &self.ids, &stop, status, "stopped").await
    }
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    id: ClusterId,
    /// notebook, scheduler, materials or worker-N; all if absent
    #[arg(long)]
    part: Option<Part>,
    /// Lines of each
    #[arg(long, default_value_t = 20)]
    lines: usize,
    /// Go on printing what is added
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let root = options.data_dir()?.join("clusters");
        let logs = logs::Logs::of(&root, self.id);
        let parts =
            logs.parts().with_context(|| format!("there are no logs of {} in {}", self.id, root.display()))?;
        let parts: Vec<Part> =
            parts.into_iter().filter(|part| self.part.is_none_or(|only| only == *part)).collect();
        anyhow::ensure!(!parts.is_empty(), "{} has no such part", self.id);
        let mut following = Vec::new();
        for part in parts {
            for line in logs.tail(part, self.lines)? {
                tell!("{part:<10} | {line}");
            }
            following.push((part, logs.follow(part)?));
        }
        if !self.follow {
            return Ok(());
        }
        loop {
            for (part, follow) in &mut following {
                for line in follow.more()? {
                    tell!("{part:<10} | {line}");
                }
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}
