//! How far a long run is, on standard error: what it prints is for others to read.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::out;

const GAP: Duration = Duration::from_secs(1);

/// Says how far it is and how long it may still take, once a second at most.
pub(super) fn progress(doing: &'static str, what: &'static str) -> impl Fn(i64, i64) {
    let began = Instant::now();
    let said = Cell::new(began);
    move |done, all| {
        if done < all && said.get().elapsed() >= GAP {
            said.set(Instant::now());
            out::aside(format_args!("{}", line(doing, what, done, all, began.elapsed())));
        }
    }
}

fn line(doing: &str, what: &str, done: i64, all: i64, took: Duration) -> String {
    let left = took.as_secs_f64() / done.max(1) as f64 * (all - done).max(0) as f64;
    let left = humantime::format_duration(Duration::from_secs(left.round() as u64));
    format!("{doing}: {done} of {all} {what}, about {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_by_the_pace_so_far() {
        let told = |done, all, seconds| line("replaying", "clusters", done, all, Duration::from_secs(seconds));
        assert_eq!(told(200, 1_000, 20), "replaying: 200 of 1000 clusters, about 1m 20s left");
        assert_eq!(told(999, 1_000, 7), "replaying: 999 of 1000 clusters, about 0s left");
        assert_eq!(told(0, 5, 1), "replaying: 0 of 5 clusters, about 5s left");
    }
}
