//! A second look at what looks at the work queue have passed over, a little at a time.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError};

/// From one look at the newest part to the next, and from one at the same older part to the next, at the least.
const ROUND: Duration = Duration::from_secs(1);
/// How long a look should take: who waits for a claim waits for it.
const LOOK: Duration = Duration::from_millis(4);
/// Looks take this part of the time at most, however much there is to go over.
const SHARE: u32 = 20;
/// So much before the frontier is in the newest part at the least: what becomes visible late is mostly there.
const RECENT: TimeDelta = TimeDelta::seconds(10);
/// Seconds in a part at the least.
const SHORTEST: i64 = 1;
/// What ended so long ago is one part.
const LONG_AGO: TimeDelta = TimeDelta::days(365);

/// Goes over the queue from the beginning to where a worker looks on. Between them may lie what became visible late, or was another's who
/// has left it as it was, among all the dead rows that the oldest snapshot of anybody's keeps. Where looks take long, the time is cut
/// into parts: the newest is looked at each second, of the others one after another.
#[derive(Debug)]
pub(super) struct Sweep {
    cuts: Vec<Cut>,
    /// The older part that is next.
    older: usize,
    newest_at: Instant,
    /// The last look was at the newest part: then an older one comes first.
    was_newest: bool,
    /// When the older parts may be gone through anew.
    round_at: Instant,
    next_at: Instant,
}

/// The end of a part and the beginning of the next one, by the database's clock.
#[derive(Debug)]
struct Cut {
    at: DateTime<Utc>,
    /// By the last look at the part that ends here.
    took: Duration,
}

/// A part to look at; without a beginning, from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    number: usize,
    from: Option<DateTime<Utc>>,
    upto: DateTime<Utc>,
}

impl Sweep {
    pub(super) fn new(now: Instant) -> Self {
        let next_at = now + ROUND;
        Self { cuts: vec![], older: 0, newest_at: next_at, was_newest: false, round_at: next_at, next_at }
    }

    /// What to look at now, if anything.
    fn next(&mut self, frontier: DateTime<Utc>, now: Instant) -> Option<Part> {
        if now < self.next_at {
            return None;
        }
        let older = self.older > 0 || now >= self.round_at && !self.cuts.is_empty();
        let newest = now >= self.newest_at;
        self.was_newest = newest && !(older && self.was_newest);
        let number = if self.was_newest {
            self.newest_at = now + ROUND;
            self.cuts.len()
        } else if older {
            if self.older == 0 {
                self.round_at = now + ROUND;
            }
            self.older
        } else {
            return None;
        };
        let from = number.checked_sub(1).map(|before| self.cuts[before].at);
        Some(Part { number, from, upto: self.cuts.get(number).map_or(frontier, |cut| cut.at) })
    }

    /// The part has just been looked at, which took the database so long.
    fn looked(&mut self, part: Part, frontier: DateTime<Utc>, took: Duration, now: Instant) {
        self.rest(took, now);
        let Part { number, from, upto } = part;
        if number == self.cuts.len() {
            let at = frontier - RECENT;
            if took > LOOK && from.is_none_or(|from| at > from) {
                self.cuts.push(Cut { at, took });
            }
        } else {
            self.cuts[number].took = took;
            self.older = number + 1;
            if took > LOOK * 2 {
                let parts = cut(from, upto, frontier, took);
                self.older += parts.len();
                self.cuts.splice(number..number, parts);
            }
        }
        let little = |before: usize| self.cuts[before].took + took < LOOK / 2;
        if let Some(before) = number.checked_sub(1).filter(|before| little(*before)) {
            self.cuts.remove(before);
            self.older = self.older.saturating_sub(1);
        }
        if self.older >= self.cuts.len() {
            self.older = 0;
        }
    }

    /// What has taken so long is not done again at once.
    pub(super) fn rest(&mut self, took: Duration, now: Instant) {
        self.next_at = self.next_at.max(now + took * SHARE);
    }
}

/// Where to cut a part that takes so long: into such that take as long as they may, if what is in it lies evenly. Without a beginning, so
/// long before its end as that is before the frontier.
fn cut(from: Option<DateTime<Utc>>, upto: DateTime<Utc>, frontier: DateTime<Utc>, took: Duration) -> Vec<Cut> {
    match from {
        None if frontier - upto < LONG_AGO => {
            vec![Cut { at: upto - (frontier - upto).max(RECENT), took }]
        }
        None => vec![],
        Some(from) => {
            let parts =
                (took.as_millis() / LOOK.as_millis()).min(((upto - from).num_seconds() / SHORTEST).max(1) as u128);
            let parts = i32::try_from(parts).unwrap_or(i32::MAX);
            (1..parts)
                .map(|part| Cut { at: from + (upto - from) / parts * part, took: took / parts.cast_unsigned() })
                .collect()
        }
    }
}

/// From where a worker looks on in the queue: for what is asked for, and for the rest (`None`: from the beginning).
pub(super) type Frontiers = (DateTime<Utc>, Option<DateTime<Utc>>);

impl Store {
    /// Looks at the next part of what lies before the frontiers, if it is time to: from where to look on instead, if anything is due there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn look_behind(
        &self,
        sweep: &mut Sweep,
        (asked, unasked): Frontiers,
    ) -> Result<Option<Frontiers>, StoreError> {
        let began = Instant::now();
        let Some(part) = sweep.next(asked, began) else { return Ok(None) };
        let query = sqlx::query!(
            r#"SELECT a.due_at AS asked, u.due_at AS unasked,
                      (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint AS "micros!"
                 FROM (SELECT min(due_at) AS due_at FROM slipway.work
                        WHERE asked AND due_at >= coalesce($1::timestamptz, '-infinity') AND due_at < $2::timestamptz) a,
                      (SELECT min(due_at) AS due_at FROM slipway.work
                        WHERE NOT asked AND due_at >= coalesce($1::timestamptz, '-infinity') AND due_at < least($2, $3)) u"#,
            part.from,
            part.upto,
            unasked,
        );
        let found = self.working.run(async |connection| query.fetch_one(connection).await).await;
        let found = found.map_err(StoreError::database("look for work that was passed over"))?;
        let took = Duration::from_micros(found.micros.try_into().unwrap_or(0)).min(began.elapsed());
        sweep.looked(part, asked, took, Instant::now());
        if found.asked.is_none() && found.unasked.is_none() {
            return Ok(None);
        }
        Ok(Some((found.asked.unwrap_or(asked), unasked.map(|unasked| found.unasked.unwrap_or(unasked)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue whose dead rows lie between two times.
    struct World {
        sweep: Sweep,
        /// Of a look at a second of them.
        cost: Duration,
        start: Instant,
        now: Duration,
        dead: Option<(TimeDelta, TimeDelta)>,
        /// Since the last question.
        looks: Vec<Look>,
    }

    /// Where the frontier was, from when and up to when it looked, and how long that took.
    #[derive(Debug, Clone, Copy)]
    struct Look {
        frontier: TimeDelta,
        from: Option<TimeDelta>,
        upto: TimeDelta,
        took: Duration,
    }

    const EPOCH: DateTime<Utc> = DateTime::UNIX_EPOCH;
    const SECOND: TimeDelta = TimeDelta::seconds(1);

    impl World {
        fn new(dead: Option<(TimeDelta, TimeDelta)>) -> Self {
            let start = Instant::now();
            Self {
                sweep: Sweep::new(start),
                cost: Duration::from_millis(1),
                start,
                now: Duration::ZERO,
                dead,
                looks: vec![],
            }
        }

        /// Turns of 5 ms, as a worker's are.
        fn pass(&mut self, seconds: u64) -> Vec<Look> {
            let upto = self.now + Duration::from_secs(seconds);
            while self.now < upto {
                self.now += Duration::from_millis(5);
                let (now, frontier) = (self.start + self.now, EPOCH + self.now);
                let Some(part) = self.sweep.next(frontier, now) else { continue };
                let (from, upto) = (part.from.map(|from| from - EPOCH), part.upto - EPOCH);
                let within = |(first, last)| upto.min(last) - from.unwrap_or(first).max(first);
                let took = self.dead.map_or(0.0, |dead| within(dead).as_seconds_f64().max(0.0));
                let took = self.cost.mul_f64(took);
                self.looks.push(Look { frontier: frontier - EPOCH, from, upto, took });
                self.now += took;
                self.sweep.looked(part, frontier, took, self.start + self.now);
            }
            std::mem::take(&mut self.looks)
        }
    }

    #[test]
    fn where_there_is_little_all_of_it_is_looked_at_each_second() {
        let looks = World::new(Some((TimeDelta::zero(), SECOND))).pass(60);
        assert!((58..=60).contains(&looks.len()), "{looks:?}");
        assert!(looks.iter().all(|look| look.from.is_none()));
    }

    #[test]
    fn however_much_was_done_no_look_is_long_and_the_newest_is_looked_at_each_second() {
        let looks = World::new(Some((TimeDelta::zero(), TimeDelta::days(1)))).pass(1200);
        let longest = looks.iter().map(|look| look.took).max().expect("looks");
        assert!(longest < Duration::from_millis(25), "{longest:?}");
        let all: Duration = looks.iter().map(|look| look.took).sum();
        assert!(all < Duration::from_secs(1200) / SHARE, "{all:?}");
        let newest: Vec<&Look> = looks.iter().filter(|look| look.upto == look.frontier).collect();
        for pair in newest.windows(2) {
            assert!(pair[1].frontier - pair[0].frontier < SECOND * 3 / 2, "{pair:?}");
            assert!(pair[1].from.is_none_or(|from| pair[1].upto - from >= RECENT), "{pair:?}");
        }
    }

    #[test]
    fn a_round_leaves_nothing_out() {
        let mut world = World::new(Some((TimeDelta::zero(), TimeDelta::days(1))));
        world.pass(1200);
        let mut parts: Vec<_> = world.pass(60).iter().map(|look| (look.from, look.upto)).collect();
        parts.sort_unstable();
        let covered = parts.iter().fold(
            None,
            |covered, (from, upto)| {
                if *from <= covered { covered.max(Some(*upto)) } else { covered }
            },
        );
        assert!(covered > Some(SECOND * 1258), "{parts:?}");
    }

    #[test]
    fn the_older_parts_have_their_turn_however_long_the_newest_takes() {
        let mut world = World::new(Some((TimeDelta::zero(), TimeDelta::days(1))));
        world.cost = Duration::from_millis(10);
        world.pass(300);
        let looks = world.pass(300);
        let older = looks.iter().filter(|look| look.upto < look.frontier).count();
        assert!(older * 3 > looks.len(), "{older} of {}", looks.len());
    }

    #[test]
    fn who_begins_when_there_is_much_is_slow_a_few_times() {
        let mut world = World::new(Some((SECOND * -1000, SECOND * 10)));
        let slow = |looks: Vec<Look>| looks.iter().filter(|look| look.took > Duration::from_millis(20)).count();
        let first = slow(world.pass(300));
        assert!((1..20).contains(&first), "{first}");
        assert_eq!(slow(world.pass(300)), 0);
    }

    #[test]
    fn parts_come_together_when_the_dead_are_gone() {
        let mut world = World::new(Some((TimeDelta::zero(), SECOND * 600)));
        world.pass(700);
        assert!(world.sweep.cuts.len() > 20, "{}", world.sweep.cuts.len());
        world.dead = None;
        world.pass(60);
        assert_eq!(world.sweep.cuts.len(), 0);
    }
}
