//! Places in the log's order.

use std::fmt;
use std::str::FromStr;

use crate::domain::Invalid;

/// A place in the log's order, opaque to everyone else. Between two positions may lie any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub(super) epoch: i16,
    pub(super) tx: u64,
    pub(super) pos: i64,
}

impl Position {
    /// Counts how often the database was restored: positions of two epochs tell nothing of each other's events.
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
