//! What to do next for a cluster, as pure functions over what is recorded and what is wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::folder::Started;
use super::part::Part;

/// The parts to start, and the workers to ask to leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub start: Vec<Part>,
    pub retire: Vec<Part>,
}

/// `processes` are those that are alive. Workers on their way out count for nothing but their number.
pub(super) fn plan(processes: &BTreeMap<Part, Started>, workers: u16) -> Plan {
    let mut plan = Plan::default();
    plan.start.extend([Part::Notebook, Part::Scheduler].into_iter().filter(|part| !processes.contains_key(part)));
    let staying: Vec<Part> = processes
        .iter()
        .filter(|(part, started)| matches!(part, Part::Worker(_)) && started.leaves_by.is_none())
        .map(|(part, _)| *part)
        .collect();
    let wanted = usize::from(workers);
    if staying.len() < wanted {
        let free = (1..=u16::MAX).map(Part::Worker).filter(|part| !processes.contains_key(part));
        plan.start.extend(free.take(wanted - staying.len()));
    } else {
        // The order of parts is that of their numbers.
        plan.retire.extend(staying.into_iter().skip(wanted).rev());
    }
    plan
}

/// How many ends within [`WINDOW`] are a loop.
pub(super) const LOOP: usize = 5;
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// How long to wait before a part is started again that ended so many times within [`WINDOW`].
pub(super) fn backoff(ends: usize) -> Duration {
    match ends {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(250 << ends.min(7)).min(Duration::from_secs(20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(parts: &[Part]) -> BTreeMap<Part, Started> {
        parts.iter().map(|part| (*part, Started { spawn: String::new(), id: None, leaves_by: None })).collect()
    }

    const ALL: [Part; 5] = [Part::Notebook, Part::Scheduler, Part::Worker(1), Part::Worker(2), Part::Worker(3)];

    #[test]
    fn a_new_cluster_starts_all_its_parts() {
        assert_eq!(plan(&running(&[]), 3), Plan { start: ALL.to_vec(), retire: vec![] });
    }

    #[test]
    fn nothing_is_done_to_a_cluster_that_is_as_wanted() {
        assert_eq!(plan(&running(&ALL), 3), Plan::default());
    }

    #[test]
    fn the_highest_numbers_leave_first() {
        let expected = Plan { start: vec![], retire: vec![Part::Worker(3), Part::Worker(2)] };
        assert_eq!(plan(&running(&ALL), 1), expected);
    }

    #[test]
    fn a_gap_is_filled() {
        let mut processes = running(&ALL);
        processes.remove(&Part::Worker(2));
        assert_eq!(plan(&processes, 3).start, [Part::Worker(2)]);
    }

    #[test]
    fn a_worker_on_its_way_out_does_not_come_back_under_its_number() {
        let mut processes = running(&ALL);
        processes.get_mut(&Part::Worker(3)).expect("it is there").leaves_by = Some(chrono::DateTime::UNIX_EPOCH);
        assert_eq!(plan(&processes, 2), Plan::default());
        assert_eq!(plan(&processes, 3).start, [Part::Worker(4)]);
    }

    #[test]
    fn a_part_that_keeps_ending_is_started_less_and_less_often() {
        let waits: Vec<u128> = (0..9).map(|ends| backoff(ends).as_millis()).collect();
        assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
    }
}
