//! The pool of a profile, as whoever runs it writes it.

use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::profile_file::Wrong;
use crate::domain::Pool;
use crate::domain::pool::{MOST_READY, Period};

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table like { ready = 2, timezone = \"Europe/Berlin\", schedule = [] }"
)]
pub(super) struct Pooled {
    ready: u16,
    #[serde(default = "utc")]
    timezone: Zone,
    #[serde(default)]
    schedule: Vec<Spanned<Scheduled>>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table like { days = [\"mon\"], from = \"08:45\", to = \"10:00\", ready = 20 }"
)]
struct Scheduled {
    days: Option<Vec<Day>>,
    from: TimeOfDay,
    to: TimeOfDay,
    ready: u16,
}

struct Zone(Tz);

fn utc() -> Zone {
    Zone(Tz::UTC)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

struct TimeOfDay(NaiveTime);

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            de::Error::custom(format!(
                "time zone {text:?} is not known: write it like \"Europe/Berlin\" or \"UTC\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let invalid = |what: &str| de::Error::custom(format!("{what}: write it like \"08:45\""));
        let text = String::deserialize(deserializer).map_err(|_| invalid("a time of day is a text"))?;
        let parsed = NaiveTime::parse_from_str(&text, "%H:%M").ok();
        parsed.map(Self).ok_or_else(|| invalid(&format!("time of day {text:?} is not valid")))
    }
}

impl From<Day> for Weekday {
    fn from(day: Day) -> Self {
        match day {
            Day::Mon => Self::Mon,
            Day::Tue => Self::Tue,
            Day::Wed => Self::Wed,
            Day::Thu => Self::Thu,
            Day::Fri => Self::Fri,
            Day::Sat => Self::Sat,
            Day::Sun => Self::Sun,
        }
    }
}

/// # Errors
/// More than a pool may have, or a period that never is.
pub(super) fn pool(given: &Spanned<Pooled>) -> Result<Pool, Wrong> {
    let Pooled { ready, timezone, schedule } = given.get_ref();
    let too_many =
        |span, ready: u16| Err((span, format!("pool: ready = {ready} is more than {MOST_READY}: lower it")));
    if *ready > MOST_READY {
        return too_many(given.span(), *ready);
    }
    let mut periods = Vec::new();
    for period in schedule {
        let Scheduled { days, from, to, ready } = period.get_ref();
        if *ready > MOST_READY {
            return too_many(period.span(), *ready);
        }
        let days: Vec<Weekday> = match days {
            None => {
                [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun].map(Weekday::from).into()
            }
            Some(days) if days.is_empty() => {
                let what = "pool: days is empty: name some, or leave it out for all";
                return Err((period.span(), what.to_owned()));
            }
            Some(days) => days.iter().copied().map(Weekday::from).collect(),
        };
        periods.push(Period { days, from: from.0, to: to.0, ready: *ready });
    }
    Ok(Pool { ready: *ready, timezone: timezone.0, schedule: periods })
}
