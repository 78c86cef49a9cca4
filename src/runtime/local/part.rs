//! The parts of a cluster, each a process of this machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One process of a cluster. The order is that in which they are started and listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Part {
    Notebook,
    Scheduler,
    /// Numbered from 1; the number is never reused while its process lives.
    Worker(u16),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With the width that a table asks for.
            Self::Notebook => f.pad("notebook"),
            Self::Scheduler => f.pad("scheduler"),
            Self::Worker(number) => f.pad(&format!("worker-{number}")),
        }
    }
}

/// The text names no part of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no part of a cluster; the parts are notebook, scheduler, worker-1, worker-2 and so on")]
pub struct NoSuchPart(String);

impl FromStr for Part {
    type Err = NoSuchPart;

    fn from_str(text: &str) -> Result<Self, NoSuchPart> {
        match text {
            "notebook" => Ok(Self::Notebook),
            "scheduler" => Ok(Self::Scheduler),
            _ => text
                .strip_prefix("worker-")
                .filter(|digits| !digits.starts_with(['0', '+']))
                .and_then(|digits| digits.parse().ok())
                .map(Self::Worker)
                .ok_or_else(|| NoSuchPart(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Part {
    type Error = NoSuchPart;

    fn try_from(text: String) -> Result<Self, NoSuchPart> {
        text.parse()
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.to_string()
    }
}
