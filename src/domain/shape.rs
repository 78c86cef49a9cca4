//! What a cluster's pods are made of, where clusters are pods.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{Invalid, text_type};
use super::port::Ports;

/// Image, size and place of a cluster's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// A reference as a container runtime takes it: `registry/name:tag` or `name@sha256:…`.
    pub image: String,
    /// Of the pod with the notebook server and the schedulers.
    pub scheduler: Resources,
    /// Of each worker's pod.
    pub worker: Resources,
    /// Started beside Dask, which is always there.
    pub engines: Extras,
    /// Of the scheduler's pod, for whatever the student starts there.
    pub ports: Ports,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub priority_class: Option<String>,
}

/// What runs beside the notebook and Dask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Extras {
    pub ipyparallel: bool,
    pub spark: bool,
}

/// What a container is promised, and the most it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resources {
    pub requests: Amount,
    pub limits: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub cpu: Cpu,
    pub memory: Memory,
}

/// Thousandths of a core, from 1 to 1,024 cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u32);

/// Mebibytes, from 1 MiB to 16 TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(u32);

/// A taint that the pods put up with. The fields are those of a Kubernetes toleration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Toleration {
    /// Every taint if absent.
    pub key: Option<String>,
    /// Any value of the key if absent.
    pub value: Option<String>,
    /// Any effect if absent.
    pub effect: Option<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Cpu {
    const MOST: u32 = 1_024_000;
    const RULE: &str = "write cores like 2 or 0.5, or thousandths of one like 500m, up to 1024";

    /// So many thousandths of a core, if within the range.
    pub fn from_millis(millis: u32) -> Option<Self> {
        (1..=Self::MOST).contains(&millis).then_some(Self(millis))
    }

    pub fn millis(self) -> u32 {
        self.0
    }

    /// Threads that can make use of it: whole cores, at least one.
    pub fn threads(self) -> u32 {
        (self.0 / 1000).max(1)
    }
}

impl Memory {
    const MOST: u32 = 16 << 20;
    const RULE: &str = "write it like 512Mi, 2Gi or 1.5Gi, up to 16Ti";

    /// So many mebibytes, if within the range.
    pub fn from_mebibytes(mebibytes: u32) -> Option<Self> {
        (1..=Self::MOST).contains(&mebibytes).then_some(Self(mebibytes))
    }

    pub fn mebibytes(self) -> u32 {
        self.0
    }

    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

/// As Kubernetes itself writes the quantity, so that what it stored compares equal.
pub fn cpu_quantity(millis: u64) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// As Kubernetes itself writes the quantity, so that what it stored compares equal.
pub fn memory_quantity(mebibytes: u64) -> String {
    let (mut amount, mut unit) = (mebibytes, "Mi");
    for larger in ["Gi", "Ti", "Pi"] {
        if amount == 0 || !amount.is_multiple_of(1024) {
            break;
        }
        (amount, unit) = (amount / 1024, larger);
    }
    format!("{amount}{unit}")
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&cpu_quantity(self.0.into()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&memory_quantity(self.0.into()))
    }
}

impl FromStr for Cpu {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let millis = match text.strip_suffix('m') {
            Some(millis) => millis.parse().ok(),
            None => scaled(text, 1000),
        };
        millis.and_then(Self::from_millis).ok_or_else(|| Invalid::new("amount of CPU", text, Self::RULE))
    }
}

impl FromStr for Memory {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let units = [("Mi", 1), ("Gi", 1 << 10), ("Ti", 1 << 20)];
        units
            .iter()
            .find_map(|(unit, factor)| scaled(text.strip_suffix(unit)?, *factor))
            .and_then(Self::from_mebibytes)
            .ok_or_else(|| Invalid::new("amount of memory", text, Self::RULE))
    }
}

text_type!(Cpu);
text_type!(Memory);

/// A decimal number times the factor, if it comes out whole.
fn scaled(number: &str, factor: u32) -> Option<u32> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let tens = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let parts = fraction.parse::<u64>().ok()? * u64::from(factor);
    if parts % tens != 0 {
        return None;
    }
    let all = whole.parse::<u64>().ok()?.checked_mul(u64::from(factor))?.checked_add(parts / tens)?;
    u32::try_from(all).ok()
}

impl Default for Shape {
    fn default() -> Self {
        let amount = |cpu, memory| Amount { cpu: Cpu(cpu), memory: Memory(memory) };
        Self {
            image: concat!("localhost/slipway-cluster:", env!("CARGO_PKG_VERSION")).to_owned(),
            scheduler: Resources { requests: amount(250, 1024), limits: amount(2000, 3072) },
            worker: Resources { requests: amount(250, 1024), limits: amount(1000, 2048) },
            engines: Extras { ipyparallel: true, spark: true },
            ports: Ports::new(),
            node_selector: BTreeMap::new(),
            tolerations: vec![],
            priority_class: None,
        }
    }
}
