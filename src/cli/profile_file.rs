//! The file of profiles: what a class may launch, as whoever runs it writes it. `ops/profiles.toml` shows all of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::pool_file::{self, Pooled};
use crate::domain::object_names::{ImageReference, LabelKey, LabelValue, PriorityClass};
use crate::domain::profile::{MOST_MATERIALS, can_be_cloned};
use crate::domain::shape::{Amount, Cpu, Effect, Extras, Memory, Resources, Toleration};
use crate::domain::{
    Access, Limits, Port, PortName, Prefix, Profile, ProfileName, Repository, Shape, WorkerCount,
};

const LONGEST_TITLE: usize = 80;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Mistake {
    pub line: usize,
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    profile: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: Spanned<ProfileName>,
    title: Spanned<String>,
    #[serde(default)]
    description: String,
    image: Option<ImageReference>,
    workers: Option<Spanned<Workers>>,
    idle_limit: Option<Seconds>,
    lifetime: Option<Seconds>,
    materials: Option<Spanned<Vec<Repository>>>,
    #[serde(default)]
    access: Access,
    engines: Option<Vec<Extra>>,
    #[serde(default)]
    ports: BTreeMap<PortName, Opened>,
    scheduler: Option<Spanned<Sizes>>,
    worker: Option<Spanned<Sizes>>,
    #[serde(default)]
    node_selector: BTreeMap<LabelKey, LabelValue>,
    #[serde(default)]
    tolerations: Vec<Spanned<Tolerated>>,
    priority_class: Option<PriorityClass>,
    pool: Option<Spanned<Pooled>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { default = 2, most = 16 }")]
struct Workers {
    default: WorkerCount,
    most: WorkerCount,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Extra {
    Ipyparallel,
    Spark,
}

/// What stands for itself where the other is not given.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with requests and limits")]
struct Sizes {
    #[serde(default)]
    requests: Size,
    #[serde(default)]
    limits: Size,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { cpu = \"500m\", memory = \"1Gi\" }")]
struct Size {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { key = \"dedicated\", effect = \"NoSchedule\" }")]
struct Tolerated {
    key: Option<LabelKey>,
    value: Option<LabelValue>,
    effect: Option<Effect>,
}

/// A port, or a port and whether the path is handed on with the cluster's name in front.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "a port from 1024 to 65535, or a table like { port = 8501, prefix = \"keep\" }")]
enum Opened {
    Short(Unprivileged),
    Long { port: Unprivileged, prefix: Prefix },
}

/// The pods' processes may listen on no lower one.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u16")]
struct Unprivileged(u16);

impl TryFrom<u16> for Unprivileged {
    type Error = &'static str;

    fn try_from(port: u16) -> Result<Self, Self::Error> {
        if port < 1024 { Err("take a port from 1024 to 65535") } else { Ok(Self(port)) }
    }
}

impl From<Opened> for Port {
    fn from(opened: Opened) -> Self {
        match opened {
            Opened::Short(Unprivileged(port)) => Self { port, prefix: Prefix::Strip },
            Opened::Long { port: Unprivileged(port), prefix } => Self { port, prefix },
        }
    }
}

/// A duration as people write it: `90m`, `1h 30m`.
struct Seconds(u32);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let invalid =
            |what: &str| de::Error::custom(format!("{what}: write it like \"90m\" or \"1h 30m\"; \"0s\": never"));
        let text = String::deserialize(deserializer).map_err(|_| invalid("a time is a text"))?;
        let parsed = humantime::parse_duration(&text).ok();
        let seconds = parsed.and_then(|duration| u32::try_from(duration.as_secs()).ok());
        seconds.map(Self).ok_or_else(|| invalid(&format!("time {text:?} is not valid")))
    }
}

/// Reads the profiles of a file, in the order of the page.
///
/// # Errors
/// When the file cannot be read, or with the first mistake in it, after the file's name and the line.
pub fn load(path: &Path) -> anyhow::Result<Vec<Profile>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the profiles in {}", path.display()))?;
    parse(&text).map_err(|Mistake { line, what }| anyhow::anyhow!("{}:{line}: {what}", path.display()))
}

/// # Errors
/// The first mistake.
pub fn parse(text: &str) -> Result<Vec<Profile>, Mistake> {
    let File { profile: entries } = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
    if entries.is_empty() {
        return Err(Mistake {
            line: 1,
            what: "there is no profile: begin one with [[profile]], then give it a name and a title".to_owned(),
        });
    }
    let mut profiles: Vec<Profile> = Vec::new();
    for entry in entries {
        let (name, span) = (entry.name.get_ref().clone(), entry.name.span());
        let profile = entry.profile().map_err(|(span, what)| mistake(text, span, format!("{name}: {what}")))?;
        if profiles.iter().any(|other| other.name == profile.name) {
            return Err(mistake(text, span, format!("{name}: a profile above has this name: give it another")));
        }
        profiles.push(profile);
    }
    Ok(profiles)
}

fn mistake(text: &str, span: Range<usize>, what: String) -> Mistake {
    Mistake { line: line_at(text, span.start), what }
}

fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// The parser's own words, after the key that they are about.
fn unreadable(text: &str, error: &toml::de::Error) -> Mistake {
    let at = error.span().map_or(0, |span| span.start);
    let what = match key_before(text, at) {
        Some(key) if !error.message().contains(key) => format!("{key}: {}", error.message()),
        Some(_) | None => error.message().to_owned(),
    };
    Mistake { line: line_at(text, at), what }
}

/// The key whose value begins here.
fn key_before(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?.trim_end().strip_suffix('=')?.trim_end();
    let key = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "-_\"./".contains(c))).next()?;
    (!key.is_empty()).then_some(key)
}

pub(super) type Wrong = (Range<usize>, String);

impl Entry {
    fn profile(self) -> Result<Profile, Wrong> {
        let title = self.title.get_ref().trim();
        if title.is_empty() || title.chars().count() > LONGEST_TITLE {
            let what = format!("title: write 1 to {LONGEST_TITLE} characters for the page");
            return Err((self.title.span(), what));
        }
        let (workers, most) = workers(self.workers.as_ref())?;
        Ok(Profile {
            name: self.name.get_ref().clone(),
            title: title.to_owned(),
            description: self.description.trim().to_owned(),
            workers,
            materials: materials(self.materials.as_ref())?,
            limits: Limits {
                workers: most,
                idle_seconds: self.idle_limit.as_ref().map_or(DEFAULT_IDLE_SECONDS, |limit| limit.0),
                lifetime_seconds: self.lifetime.as_ref().map_or(DEFAULT_LIFETIME_SECONDS, |lifetime| lifetime.0),
            },
            access: self.access,
            pool: self.pool.as_ref().map(pool_file::pool).transpose()?,
            shape: self.shape()?,
        })
    }

    fn shape(self) -> Result<Shape, Wrong> {
        let base = Shape::default();
        let engines = match &self.engines {
            None => base.engines,
            Some(named) => {
                Extras { ipyparallel: named.contains(&Extra::Ipyparallel), spark: named.contains(&Extra::Spark) }
            }
        };
        Ok(Shape {
            image: self.image.map_or(base.image, String::from),
            scheduler: resources("scheduler", self.scheduler.as_ref(), base.scheduler)?,
            worker: resources("worker", self.worker.as_ref(), base.worker)?,
            engines,
            ports: self.ports.into_iter().map(|(name, opened)| (name, opened.into())).collect(),
            node_selector: self.node_selector.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            tolerations: self.tolerations.into_iter().map(toleration).collect::<Result<_, _>>()?,
            priority_class: self.priority_class.map(String::from),
        })
    }
}

/// As the options of a single profile have them.
const DEFAULT_IDLE_SECONDS: u32 = 3_600;
const DEFAULT_LIFETIME_SECONDS: u32 = 43_200;

fn workers(given: Option<&Spanned<Workers>>) -> Result<(WorkerCount, WorkerCount), Wrong> {
    let Some(given) = given else {
        let count = |n: i64| WorkerCount::try_from(n).expect("a small number is a valid count");
        return Ok((count(2), count(16)));
    };
    let Workers { default, most } = *given.get_ref();
    if default > most {
        let what =
            format!("workers: default = {default} is more than most = {most}: lower the one or raise the other");
        return Err((given.span(), what));
    }
    Ok((default, most))
}

fn materials(given: Option<&Spanned<Vec<Repository>>>) -> Result<Vec<Repository>, Wrong> {
    let Some(given) = given else {
        return Ok(vec![]);
    };
    if !can_be_cloned(given.get_ref()) {
        let what = format!(
            "materials: at most {MOST_MATERIALS} repositories can be cloned, each into a folder of its own: \
             name fewer, or such with different last parts"
        );
        return Err((given.span(), what));
    }
    Ok(given.get_ref().clone())
}

fn resources(part: &str, given: Option<&Spanned<Sizes>>, base: Resources) -> Result<Resources, Wrong> {
    let Some(given) = given else {
        return Ok(base);
    };
    let or = |size: &Size, base: Amount| Amount {
        cpu: size.cpu.unwrap_or(base.cpu),
        memory: size.memory.unwrap_or(base.memory),
    };
    let Sizes { requests, limits } = given.get_ref();
    let (requests, limits) = (or(requests, base.requests), or(limits, base.limits));
    let above = |what: &str, request: &dyn ToString, limit: &dyn ToString| {
        let (request, limit) = (request.to_string(), limit.to_string());
        let what = format!(
            "{part}: the {what} limit {limit} is below the request {request}: raise limits or lower requests"
        );
        Err((given.span(), what))
    };
    if requests.cpu > limits.cpu {
        return above("cpu", &requests.cpu, &limits.cpu);
    }
    if requests.memory > limits.memory {
        return above("memory", &requests.memory, &limits.memory);
    }
    Ok(Resources { requests, limits })
}

fn toleration(given: Spanned<Tolerated>) -> Result<Toleration, Wrong> {
    let span = given.span();
    let Tolerated { key, value, effect } = given.into_inner();
    if key.is_none() && value.is_some() {
        return Err((span, "tolerations: a value needs its key: add key, or leave the value out".to_owned()));
    }
    Ok(Toleration { key: key.map(String::from), value: value.map(String::from), effect })
}
