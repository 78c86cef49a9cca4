//! Leaves out of a history what it does not need to fail.

use std::time::{Duration, Instant};

/// How often a shorter history is tried before it counts as one that does not fail: who is first is up to chance.
const TRIES: usize = 3;

/// The places of the operations without which it does not fail any more; `fails` is asked of shorter and shorter lists
/// of places, until `within` has passed.
pub fn shrink(length: usize, within: Duration, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let deadline = Instant::now() + within;
    let mut kept: Vec<usize> = (0..length).collect();
    let mut chunk = length.div_ceil(2);
    while chunk > 0 {
        let (mut start, mut shorter) = (0, false);
        while start < kept.len() && Instant::now() < deadline {
            let end = (start + chunk).min(kept.len());
            let without = [&kept[..start], &kept[end..]].concat();
            if (0..TRIES).any(|_| fails(&without)) {
                (kept, shorter) = (without, true);
            } else {
                start = end;
            }
        }
        // A single one that was needed may not be, once others are gone.
        chunk = if chunk == 1 && shorter { 1 } else { chunk / 2 };
    }
    kept
}

#[test]
fn what_is_needed_is_what_is_left() {
    let needed = [3, 17, 18];
    let mut asked = 0;
    let kept = shrink(40, Duration::from_secs(60), |kept| {
        asked += 1;
        needed.iter().all(|place| kept.contains(place))
    });
    assert_eq!(kept, needed);
    assert!(asked < 200, "{asked}");
}
