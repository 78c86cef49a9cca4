//! The text form of Prometheus (0.0.4): how what is counted is shown.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The media type of a [`Page`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper ends of a histogram's buckets, in microseconds. What takes longer is in one more bucket.
const BUCKETS: [u64; 19] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

/// Durations, counted without waiting for anybody.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Each duration is in one of these.
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|&end| us <= end).unwrap_or(BUCKETS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// Metrics as text, all of one program: their names begin alike.
#[derive(Debug)]
pub struct Page {
    text: String,
    prefix: &'static str,
}

impl Page {
    /// An empty page of metrics that are called `prefix` and a name of their own.
    pub fn new(prefix: &'static str) -> Self {
        Self { text: String::with_capacity(8 * 1024), prefix }
    }

    /// What the lines that follow are: `kind` is `counter`, `gauge` or `histogram`.
    pub fn about(&mut self, name: &str, kind: &str, help: &str) {
        let prefix = self.prefix;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}");
    }

    /// `labels` are empty, or in braces.
    pub fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "{}{name}{labels} {value}", self.prefix);
    }

    /// A metric without labels.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.about(name, kind, help);
        self.line(name, "", value);
    }

    /// A gauge of whole milliseconds, shown in seconds.
    pub fn seconds(&mut self, name: &str, help: &str, time: Duration) {
        self.one(name, "gauge", help, format_args!("{}.{:03}", time.as_secs(), time.subsec_millis()));
    }

    /// The sum of all the parts, in seconds.
    pub fn histogram<'a>(&mut self, name: &str, help: &str, parts: impl Iterator<Item = &'a Histogram> + Clone) {
        self.about(name, "histogram", help);
        let sum = |of: &dyn Fn(&Histogram) -> &AtomicU64| -> u64 {
            parts.clone().map(|part| of(part).load(Ordering::Relaxed)).sum()
        };
        let mut below = 0;
        for bucket in 0..=BUCKETS.len() {
            below += sum(&|part| &part.counts[bucket]);
            let end = BUCKETS.get(bucket).map_or("+Inf".to_owned(), |us| decimal(*us));
            self.line(name, &format!("_bucket{{le=\"{end}\"}}"), below);
        }
        self.line(name, "_sum", decimal(sum(&|part| &part.sum_us)));
        self.line(name, "_count", below);
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// Microseconds as seconds, without trailing zeros.
fn decimal(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_duration_once_and_shows_how_many_are_below() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for ms in [0, 3, 700_000] {
            one.record(Duration::from_millis(ms));
        }
        other.record(Duration::from_micros(500));
        let mut page = Page::new("x_");
        page.histogram("wait_seconds", "How long.", [&one, &other].into_iter());
        let text = page.finish();
        for line in [
            "# TYPE x_wait_seconds histogram\n",
            "x_wait_seconds_bucket{le=\"0.0005\"} 2\n",
            "x_wait_seconds_bucket{le=\"0.0025\"} 2\n",
            "x_wait_seconds_bucket{le=\"0.005\"} 3\n",
            "x_wait_seconds_bucket{le=\"600\"} 3\n",
            "x_wait_seconds_bucket{le=\"+Inf\"} 4\n",
            "x_wait_seconds_sum 700.0035\n",
            "x_wait_seconds_count 4\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
