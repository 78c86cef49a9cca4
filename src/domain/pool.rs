//! How many clusters of a profile are kept ready, and what has to be launched and stopped for that.

use std::cmp::Reverse;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;

use super::event::StopReason;
use super::ids::ClusterId;

/// The most clusters that one pool keeps ready.
pub const MOST_READY: u16 = 1_000;

/// How many are to be ready, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Whenever no period of the schedule holds.
    pub ready: u16,
    /// In which the schedule is told.
    pub timezone: Tz,
    /// The first that holds counts.
    pub schedule: Vec<Period>,
}

/// A time of certain days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// On which it begins.
    pub days: Vec<Weekday>,
    pub from: NaiveTime,
    /// Until then; on the next day if that is not after its beginning.
    pub to: NaiveTime,
    pub ready: u16,
}

impl Period {
    fn holds(&self, day: Weekday, time: NaiveTime) -> bool {
        let Self { days, from, to, ready: _ } = self;
        if from < to {
            return days.contains(&day) && (*from..*to).contains(&time);
        }
        (days.contains(&day) && time >= *from) || (days.contains(&day.pred()) && time < *to)
    }
}

impl Pool {
    /// How many are to be ready now.
    pub fn wanted(&self, now: DateTime<Utc>) -> u16 {
        let local = now.with_timezone(&self.timezone);
        let (day, time) = (local.weekday(), local.time());
        self.schedule.iter().find(|period| period.holds(day, time)).map_or(self.ready, |period| period.ready)
    }
}

/// A cluster that nobody has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclaimed {
    pub id: ClusterId,
    /// Else it is in line or being launched.
    pub is_ready: bool,
    /// It was launched by the profile as that is now.
    pub is_current: bool,
    pub launched_at: DateTime<Utc>,
}

/// What has to be done for a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upkeep {
    pub launch: u16,
    pub stop: Vec<(ClusterId, StopReason)>,
}

/// What is to be done when so many are wanted, these are there, and none is to be older than the age in seconds (0: of any age).
///
/// What is too old stays until a newer one is ready in its place, so that the pool is never empty for being renewed.
pub fn upkeep(wanted: u16, there: &[Unclaimed], oldest_seconds: u32, now: DateTime<Utc>) -> Upkeep {
    let is_old = |cluster: &Unclaimed| {
        oldest_seconds > 0 && now - cluster.launched_at >= TimeDelta::seconds(oldest_seconds.into())
    };
    let (current, outdated): (Vec<_>, Vec<_>) = there.iter().partition(|cluster| cluster.is_current);
    let (mut old, mut fresh): (Vec<_>, Vec<_>) = current.into_iter().partition(|cluster| is_old(cluster));
    // Those come first that are worth most: what is ready, then what will be soonest.
    fresh.sort_by_key(|cluster| (!cluster.is_ready, cluster.launched_at));
    old.sort_by_key(|cluster| (!cluster.is_ready, Reverse(cluster.launched_at)));
    let wanted = usize::from(wanted);
    let ready = fresh.iter().take(wanted).filter(|cluster| cluster.is_ready).count();
    let stop = |clusters: &[&Unclaimed], reason: &StopReason| -> Vec<(ClusterId, StopReason)> {
        clusters.iter().map(|cluster| (cluster.id, reason.clone())).collect()
    };
    let kept = fresh.len().min(wanted);
    let renewed = old.len().min(wanted - ready);
    Upkeep {
        launch: u16::try_from(wanted - kept).unwrap_or(u16::MAX),
        stop: [
            stop(&outdated, &StopReason::Outdated),
            stop(&old[renewed..], &StopReason::Outdated),
            stop(&fresh[kept..], &StopReason::Surplus),
        ]
        .concat(),
    }
}

/// How long to wait for the next launch after so many of the pool's launches have failed within the hour: whatever is wrong,
/// it is not put right by launching as fast as one can.
pub fn pause(failures: u32) -> TimeDelta {
    if failures == 0 { TimeDelta::zero() } else { TimeDelta::seconds((5 << failures.min(7)).min(600)) }
}
