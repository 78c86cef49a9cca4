//! Where an event stands in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::Invalid;
use crate::domain::ids::text_type;

/// A place in the log's order, opaque to everyone else. Between two positions may lie any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Position {
    epoch: i16,
    tx: u64,
    pos: i64,
}

impl Position {
    pub(super) fn new(epoch: i16, tx: u64, pos: i64) -> Self {
        Self { epoch, tx, pos }
    }

    pub(super) fn parts(&self) -> (i16, u64, i64) {
        (self.epoch, self.tx, self.pos)
    }

    /// Counts how often the database was restored, or went on from an earlier state of itself: positions of two epochs tell nothing of each other's events.
    pub fn epoch(&self) -> i16 {
        self.epoch
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.tx, self.pos)
    }
}

impl FromStr for Position {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let mut parts = text.splitn(3, '.');
            let position = Self {
                epoch: parts.next()?.parse().ok()?,
                tx: parts.next()?.parse().ok()?,
                pos: parts.next()?.parse().ok()?,
            };
            (position.epoch >= 0 && position.pos >= 0).then_some(position)
        };
        parse().ok_or_else(|| Invalid::new("position", text, "give one that slipway gave you, like 1.742.12"))
    }
}

text_type!(Position);
