//! Which profiles there are, and `slipway profiles`, which checks a file of them.

use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveTime;
use clap::Args;
use serde_json::{Value, json};

use super::options::ProfileOptions;
use super::{profile_file, table};
use crate::domain::pool::Period;
use crate::domain::shape::Resources;
use crate::domain::{Pool, Profile};

/// What may be launched: the profiles of a file, or one that is described by options.
#[derive(Debug, Clone, Args)]
pub struct ProfilesOptions {
    /// TOML file of the profiles on offer, instead of one profile made of options
    #[arg(
        long,
        env = "SLIPWAY_PROFILES",
        value_name = "FILE",
        conflicts_with_all = ["default_workers", "max_workers", "idle_limit", "lifetime", "default_materials", "access"]
    )]
    profiles: Option<PathBuf>,
    #[command(flatten)]
    one: ProfileOptions,
}

impl ProfilesOptions {
    /// At least one; the first is that of a launch which names none.
    ///
    /// # Errors
    /// When the file or the options make no sense, with what to change.
    pub fn load(&self) -> anyhow::Result<Vec<Profile>> {
        match &self.profiles {
            Some(path) => profile_file::load(path),
            None => Ok(vec![self.one.profile()?]),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Profiles {
    /// The file to check
    #[arg(env = "SLIPWAY_PROFILES")]
    file: PathBuf,
    #[arg(long)]
    json: bool,
}

impl Profiles {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let rows: Vec<Value> = profile_file::load(&self.file)?.iter().map(as_json).collect();
        let headings = [
            "PROFILE",
            "TITLE",
            "WORKERS",
            "EACH",
            "IDLE LIMIT",
            "LIFETIME",
            "ACCESS",
            "READY",
            "IMAGE",
            "MATERIALS",
        ];
        table::print(self.json, &rows, &headings, |row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let requests = &row["worker"]["requests"];
            let size = |name: &str| requests[name].as_str().unwrap_or_default();
            let materials: Vec<_> =
                row["materials"].as_array().into_iter().flatten().map(Value::to_string).collect();
            vec![
                text("name"),
                text("title"),
                format!("{} of {}", row["workers"]["default"], row["workers"]["most"]),
                format!("{} cpu, {}", size("cpu"), size("memory")),
                text("idle_limit"),
                text("lifetime"),
                text("access"),
                pooled(&row["pool"]),
                text("image"),
                if materials.is_empty() { "-".to_owned() } else { materials.join(" ").replace('"', "") },
            ]
        })
    }
}

/// How many are kept ready, and how many at the most.
fn pooled(pool: &Value) -> String {
    let Some(ready) = pool["ready"].as_u64() else { return "-".to_owned() };
    let most =
        pool["schedule"].as_array().into_iter().flatten().filter_map(|period| period["ready"].as_u64()).max();
    most.map_or_else(|| ready.to_string(), |most| format!("{ready}, at times {most}"))
}

fn as_json(profile: &Profile) -> Value {
    let Profile { name, title, description, workers, materials, limits, access, shape, pool } = profile;
    json!({
        "name": name,
        "title": title,
        "description": description,
        "workers": {"default": workers, "most": limits.workers},
        "idle_limit": duration(limits.idle_seconds),
        "lifetime": duration(limits.lifetime_seconds),
        "materials": materials,
        "access": access,
        "pool": pool.as_ref().map(pool_as_json),
        "image": shape.image,
        "scheduler": amounts(&shape.scheduler),
        "worker": amounts(&shape.worker),
        "engines": {"ipyparallel": shape.engines.ipyparallel, "spark": shape.engines.spark},
        "ports": shape.ports,
        "node_selector": shape.node_selector,
        "tolerations": shape.tolerations.iter().map(|taint| {
            json!({"key": taint.key, "value": taint.value, "effect": taint.effect})
        }).collect::<Vec<_>>(),
        "priority_class": shape.priority_class,
    })
}

fn pool_as_json(pool: &Pool) -> Value {
    let periods = pool.schedule.iter().map(|Period { days, from, to, ready }| {
        let days: Vec<String> = days.iter().map(|day| day.to_string().to_lowercase()).collect();
        let time = |time: &NaiveTime| time.format("%H:%M").to_string();
        json!({"days": days, "from": time(from), "to": time(to), "ready": ready})
    });
    json!({"ready": pool.ready, "timezone": pool.timezone.name(), "schedule": periods.collect::<Vec<_>>()})
}

fn amounts(resources: &Resources) -> Value {
    let Resources { requests, limits } = resources;
    json!({
        "requests": {"cpu": requests.cpu, "memory": requests.memory},
        "limits": {"cpu": limits.cpu, "memory": limits.memory},
    })
}

fn duration(seconds: u32) -> String {
    match seconds {
        0 => "never".to_owned(),
        seconds => humantime::format_duration(Duration::from_secs(seconds.into())).to_string(),
    }
}
