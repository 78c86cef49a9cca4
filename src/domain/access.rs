//! Who may enter a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::event::Event;
use super::ids::{Invalid, Subject, text_type};
use super::refusal::Refusal;

/// For whom a cluster is open beside those with a share link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Access {
    #[default]
    Owner,
    /// Whoever is signed in here: has a cookie or a token of this installation.
    Class,
    /// Anybody with its address.
    Public,
}

impl Access {
    pub const ALL: [Self; 3] = [Self::Owner, Self::Class, Self::Public];

    /// The word by which it is written everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Class => "class",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Access {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|access| access.word() == text)
            .ok_or_else(|| Invalid::new("access", text, "write owner, class or public"))
    }
}

text_type!(Access);

/// The name of one share of a cluster: 16 hexadecimal digits. It is no secret; the link's signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShareId(u64);

impl ShareId {
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ShareId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        Some(text)
            .filter(|text| text.len() == 16 && text.bytes().all(digit))
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .map(Self)
            .ok_or_else(|| Invalid::new("share", text, "use the 16 hexadecimal digits that slipway gave it"))
    }
}

text_type!(ShareId);

/// The most shares of one cluster at a time.
pub const MOST_SHARES: usize = 50;
/// The longest that a share may last, in seconds: a year.
pub const LONGEST_SHARE: i64 = 31_536_000;

/// All that has to be known of a cluster to tell who may enter it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    pub owner: Subject,
    pub access: Access,
    /// The shares that were not revoked, and when each ends.
    pub shares: BTreeMap<ShareId, DateTime<Utc>>,
    /// Its owner has it from a pool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
}

/// What somebody has proved who wants to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor<'a> {
    Stranger,
    /// Signed in as this subject, by cookie or token.
    Known(&'a Subject),
    /// Has a token that sees everyone's clusters.
    Admin,
    /// Has the pass that only the owner is told.
    Pass,
    /// Has the link of this share.
    Guest(ShareId),
}

impl Door {
    /// The door of a cluster that is wanted and somebody's; others have none.
    pub fn of(cluster: &Cluster) -> Option<Self> {
        (cluster.phase.is_live() && !cluster.is_unclaimed()).then(|| Self {
            owner: cluster.owner.clone(),
            access: cluster.access,
            shares: cluster.shares.clone(),
            claimed: cluster.claimed,
        })
    }

    /// The door that the first event of a cluster's stream, or its claim, gives to its owner.
    pub(super) fn new(owner: Subject, claimed: bool) -> Option<Self> {
        (!owner.is_pool()).then(|| Self { owner, access: Access::default(), shares: BTreeMap::new(), claimed })
    }

    /// Who has claimed it.
    pub fn claimant(&self) -> Option<&Subject> {
        self.claimed.then_some(&self.owner)
    }

    /// Whether the visitor may enter now. A share has ended at its time.
    pub fn admits(&self, visitor: Visitor<'_>, now: DateTime<Utc>) -> bool {
        match (self.access, visitor) {
            (Access::Public, _) | (Access::Owner | Access::Class, Visitor::Admin | Visitor::Pass) => true,
            (Access::Owner | Access::Class, Visitor::Stranger) => false,
            (Access::Class, Visitor::Known(_)) => true,
            (Access::Owner, Visitor::Known(subject)) => *subject == self.owner,
            (Access::Owner | Access::Class, Visitor::Guest(share)) => {
                self.shares.get(&share).is_some_and(|until| now < *until)
            }
        }
    }

    /// When what the visitor has ends by itself.
    pub fn ends(&self, visitor: Visitor<'_>) -> Option<DateTime<Utc>> {
        match visitor {
            Visitor::Guest(share) => self.shares.get(&share).copied(),
            Visitor::Stranger | Visitor::Known(_) | Visitor::Admin | Visitor::Pass => None,
        }
    }
}

pub(super) fn decide_access(cluster: &Cluster, access: Access) -> Result<Vec<Event>, Refusal> {
    if !cluster.phase.is_live() {
        return Err(Refusal::Stopped(cluster.id));
    }
    Ok((cluster.access != access).then_some(Event::AccessSet { access }).into_iter().collect())
}

/// Shares that have ended make room first.
pub(super) fn decide_share(
    cluster: &Cluster,
    id: ShareId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, Refusal> {
    if !cluster.phase.is_live() {
        return Err(Refusal::Stopped(cluster.id));
    }
    if cluster.shares.contains_key(&id) {
        return Ok(vec![]);
    }
    let ended = cluster.shares.iter().filter(|(_, until)| **until <= now);
    let mut events: Vec<Event> = ended.map(|(id, _)| Event::Unshared { id: *id }).collect();
    if cluster.shares.len() - events.len() >= MOST_SHARES {
        return Err(Refusal::TooManyShares(cluster.id));
    }
    events.push(Event::Shared { id, until });
    Ok(events)
}

pub(super) fn decide_unshare(cluster: &Cluster, id: ShareId) -> Result<Vec<Event>, Refusal> {
    if !cluster.phase.is_live() {
        return Err(Refusal::Stopped(cluster.id));
    }
    if !cluster.shares.contains_key(&id) {
        return Err(Refusal::NoSuchShare { cluster: cluster.id, share: id });
    }
    Ok(vec![Event::Unshared { id }])
}
