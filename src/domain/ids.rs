//! Names that cross a boundary, parsed once and carried as types.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct Invalid {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl Invalid {
    pub(crate) fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        // Echo enough to recognise the input, never a megabyte of it.
        let value = value.chars().take(80).collect();
        Self { what, value, rule }
    }
}

/// Gives a string-like type the conversions that keep its rule in one place, `FromStr`.
macro_rules! text_type {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(value: String) -> Result<Self, Invalid> {
                value.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}
pub(crate) use text_type;

/// A cluster's name, its stream, its namespace and the first segment of its address:
/// `cluster-` and a number of six to twelve digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(u64);

impl ClusterId {
    const SMALLEST: u64 = 100_000;
    const LARGEST: u64 = 999_999_999_999;

    /// The cluster with this number, if it has six to twelve digits.
    pub fn from_number(number: u64) -> Option<Self> {
        (Self::SMALLEST..=Self::LARGEST).contains(&number).then_some(Self(number))
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster-{}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.strip_prefix("cluster-")
            .filter(|digits| (6..=12).contains(&digits.len()))
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            // One spelling each: with a leading zero it would be another text for the same cluster.
            .filter(|digits| !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok())
            .and_then(Self::from_number)
            .ok_or_else(|| {
                Invalid::new(
                    "cluster id",
                    text,
                    "write it as cluster- and six to twelve digits, like cluster-678343",
                )
            })
    }
}

text_type!(ClusterId);

/// Who asks or owns: an opaque subject without personal data, such as `browser:1f0c…`,
/// `token:…`, `cli:root` or `keeper`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

/// How the owners of clusters begin that nobody has yet.
const POOL: &str = "pool:";

impl Subject {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The owner of the clusters of one recipe that a profile's pool keeps ready: `pool:large:1f0c5a9be24d7713`.
    pub fn of_pool(profile: &ProfileName, recipe: [u8; 8]) -> Self {
        Self(format!("{POOL}{profile}:{}", hex::encode(recipe)))
    }

    /// Nobody can be such a subject: no cookie and no token is made for it.
    pub fn is_pool(&self) -> bool {
        self.0.starts_with(POOL)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Subject {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("subject", text, "use 1 to 64 letters, digits or any of . _ : @ -"))
        }
    }
}

text_type!(Subject);

/// The name of a launch profile: a DNS label, as Kubernetes would have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

impl ProfileName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProfileName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let valid = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("profile", text, "use 1 to 40 lower-case letters, digits or inner hyphens"))
        }
    }
}

text_type!(ProfileName);

/// How many workers a cluster is asked to have: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct WorkerCount(u16);

impl WorkerCount {
    pub const MOST: u16 = 1_000;

    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<i64> for WorkerCount {
    type Error = Invalid;

    fn try_from(count: i64) -> Result<Self, Invalid> {
        u16::try_from(count)
            .ok()
            .filter(|n| (1..=Self::MOST).contains(n))
            .map(Self)
            .ok_or_else(|| Invalid::new("worker count", &count.to_string(), "ask for 1 to 1000 workers"))
    }
}

impl From<WorkerCount> for i64 {
    fn from(count: WorkerCount) -> i64 {
        count.0.into()
    }
}

impl FromStr for WorkerCount {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let count: i64 =
            text.parse().map_err(|_| Invalid::new("worker count", text, "ask for 1 to 1000 workers"))?;
        count.try_into()
    }
}
