//! The line of launches that wait to be admitted: who is where in it, and for how long.

use std::collections::HashMap;

use super::ids::ClusterId;

/// How many launches may be under way, and how many may begin in a second; 0 for any number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    pub at_once: u32,
    pub per_second: f64,
}

impl Throttle {
    /// Everybody is admitted at once.
    pub const FREE: Self = Self { at_once: 0, per_second: 0.0 };
}

/// A launch that is not ready yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launching {
    pub id: ClusterId,
    /// As it is in the log: only who is the same counts here.
    pub owner: String,
    /// For nobody yet: a pool is to have it ready.
    pub stock: bool,
    pub stands: Stands,
}

/// How a launch that is not ready stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    InLine,
    Admitted,
    /// Admitted, and put aside by hand since.
    Aside,
}

/// In which order those who wait are admitted, out of all that are not ready, oldest first. Owners take turns: the first
/// launch of each goes before the second of any, so that one who launches fifty holds up nobody who launches one.
/// Launches under way count among their owner's, but for what was put aside: that may stay so for days. What is for a pool
/// comes after everybody.
pub fn in_turn(launching: &[Launching]) -> Vec<ClusterId> {
    let mut ahead: HashMap<&str, usize> = HashMap::new();
    for launch in launching.iter().filter(|launch| launch.stands == Stands::Admitted) {
        *ahead.entry(&launch.owner).or_default() += 1;
    }
    let mut line: Vec<((bool, usize), ClusterId)> = Vec::new();
    for launch in launching.iter().filter(|launch| launch.stands == Stands::InLine) {
        let ahead = ahead.entry(&launch.owner).or_default();
        line.push(((launch.stock, *ahead), launch.id));
        *ahead += 1;
    }
    // Stable: within a turn, first come, first served.
    line.sort_by_key(|(turn, _)| *turn);
    line.into_iter().map(|(_, id)| id).collect()
}

/// Who waits, in order, and what is known of how fast it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub waiting: Vec<ClusterId>,
    /// Admitted and not ready yet.
    pub launching: u32,
    pub throttle: Throttle,
    /// What the last launches took from their admission until they were ready, in seconds.
    pub recent: Vec<f64>,
}

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first is 1.
    pub position: u32,
    /// Until it is ready; `None` while no launch is known to go by.
    pub seconds: Option<u32>,
}

impl Line {
    /// `None` for those who do not wait.
    pub fn place(&self, id: ClusterId) -> Option<Place> {
        let ahead = u32::try_from(self.waiting.iter().position(|waiting| *waiting == id)?).ok()?;
        Some(Place { position: ahead + 1, seconds: self.typical().map(|launch| self.wait(ahead, launch)) })
    }

    /// In the middle of the recent launches: one that hung does not count for more than another.
    fn typical(&self) -> Option<f64> {
        let mut recent = self.recent.clone();
        recent.sort_by(f64::total_cmp);
        recent.get(recent.len() / 2).copied()
    }

    /// Places become free one after the other, `at_once` of them in the time of a launch, and no faster are they
    /// filled than the pace allows; then comes the launch itself.
    fn wait(&self, ahead: u32, launch: f64) -> u32 {
        let Throttle { at_once, per_second } = self.throttle;
        let turn = f64::from(ahead) + 1.0;
        let free = f64::from(at_once) - f64::from(self.launching);
        let for_place =
            if at_once > 0 { (turn - free.max(0.0)).max(0.0) * launch / f64::from(at_once) } else { 0.0 };
        let for_pace = if per_second > 0.0 { turn / per_second } else { 0.0 };
        // From a float it saturates, which is as good as any answer of a century.
        (for_place.max(for_pace) + launch).ceil() as u32
    }
}

impl Place {
    /// For the person who waits.
    pub fn sentence(self) -> String {
        match self.seconds {
            Some(seconds) => format!("You are number {} in line, {}", self.position, roughly(seconds)),
            None => format!("You are number {} in line", self.position),
        }
    }
}

/// No more exact than an estimate can be.
fn roughly(seconds: u32) -> String {
    let minutes = seconds.div_ceil(60);
    match seconds {
        0..=44 => "less than a minute".to_owned(),
        45..=90 => "about a minute".to_owned(),
        91..=600 => format!("about {minutes} minutes"),
        601..=3_300 => format!("about {} minutes", minutes.next_multiple_of(5)),
        3_301..=5_400 => "about an hour".to_owned(),
        5_401.. => format!("about {} hours", minutes.div_ceil(60)),
    }
}
