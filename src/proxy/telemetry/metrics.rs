//! What is counted, in the text form of Prometheus (0.0.4). Collected when somebody asks.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::{BUCKETS, Counters};
use super::standing::{Phase, Standing};
use crate::proxy::Proxy;

/// Of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric of which each listener has a part.
struct Part(&'static str, &'static str, &'static str, fn(&Counters) -> &AtomicU64);

#[rustfmt::skip]
const PARTS: [Part; 8] = [
    Part("connections_total", "counter", "Connections accepted.", |lane| &lane.accepted),
    Part("connections", "gauge", "Connections of clients that are open, with those of tunnels.", |lane| &lane.connections),
    Part("upgrades_total", "counter", "Requests to change the protocol: WebSocket mostly.", |lane| &lane.upgrades),
    Part("tunnels", "gauge", "Open connections that speak another protocol by now: WebSocket mostly.", |lane| &lane.tunnels),
    Part("pool_hits_total", "counter", "Requests that went over a kept connection.", |lane| &lane.pool_hits),
    Part("pool_misses_total", "counter", "Requests for which there was none.", |lane| &lane.pool_misses),
    Part("pool_idle", "gauge", "Kept connections that wait for a request.", |lane| &lane.pool_idle),
    Part("connect_failures_total", "counter", "Connections that a target did not accept.", |lane| &lane.connect_failures),
];

/// Everything that the proxy counts.
pub fn text(proxy: &Proxy) -> String {
    let lanes = proxy.stats.all();
    let mut out = Page(String::with_capacity(8 * 1024));
    out.requests(proxy, &lanes);
    for Part(name, kind, help, of) in PARTS {
        out.one(name, kind, help, lanes.iter().map(|lane| of(lane).load(Ordering::Relaxed)).sum());
    }
    out.one("routes", "gauge", "Routes in the table.", proxy.routes.len() as u64);
    out.standing(&proxy.standing, proxy.clock.now_ms());
    if let Some(log) = &proxy.access_log {
        out.one(
            "access_log_dropped_total",
            "counter",
            "Lines that the access log had no room for.",
            log.dropped(),
        );
    }
    out.0
}

struct Page(String);

impl Page {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP slipway_proxy_{name} {help}\n# TYPE slipway_proxy_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "slipway_proxy_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.about(name, kind, help);
        self.line(name, "", value);
    }

    fn seconds(&mut self, name: &str, help: &str, ms: u64) {
        self.about(name, "gauge", help);
        self.line(name, "", format_args!("{}.{:03}", ms / 1000, ms % 1000));
    }

    fn standing(&mut self, standing: &Standing, now_ms: i64) {
        let ready = standing.phase() == Phase::Serving;
        self.one("ready", "gauge", "1 while requests should be sent here.", u64::from(ready));
        let help = "Events in the log that are not in the table, when last looked; counted to 1000.";
        self.one("log_lag_events", "gauge", help, standing.lag_events());
        if let Some(ms) = standing.lag_ms(now_ms) {
            self.seconds("log_lag_seconds", "How old the table may be. Missing until the log was read.", ms);
        }
        self.one(
            "activity_pending",
            "gauge",
            "Routes whose last use is not written down yet.",
            standing.pending(),
        );
        if let Some(ms) = standing.snapshot_age_ms(now_ms) {
            self.seconds(
                "snapshot_age_seconds",
                "Since the snapshot was written; it is when the table changes.",
                ms,
            );
        }
    }

    fn requests(&mut self, proxy: &Proxy, lanes: &[Arc<Counters>]) {
        let help = "Requests by the class of their status; those that the client gave up are 4xx.";
        self.about("requests_total", "counter", help);
        let statuses = proxy.stats.statuses();
        for class in 1..=5 {
            let count: u64 = statuses.range(class * 100..(class + 1) * 100).map(|(_, count)| count).sum();
            self.line("requests_total", &format!("{{class=\"{class}xx\"}}"), count);
        }
        let name = "request_duration_seconds";
        self.about(name, "histogram", "From the head of a request to the last byte of its answer.");
        let mut below = 0;
        for bucket in 0..=BUCKETS.len() {
            below += lanes.iter().map(|lane| lane.took[bucket].load(Ordering::Relaxed)).sum::<u64>();
            let end = BUCKETS.get(bucket).map_or("+Inf".to_owned(), |us| decimal(*us));
            self.line(name, &format!("_bucket{{le=\"{end}\"}}"), below);
        }
        let us = lanes.iter().map(|lane| lane.took_us.load(Ordering::Relaxed)).sum();
        self.line(name, "_sum", decimal(us));
        self.line(name, "_count", below);
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
    use std::time::Duration;

    #[test]
    fn what_the_listeners_count_is_added_up() {
        let proxy = Proxy::new(Arc::default(), None);
        let (one, other) = (proxy.stats.open(), proxy.stats.open());
        one.request(200, Duration::from_micros(700));
        other.request(204, Duration::from_micros(300));
        other.request(499, Duration::from_secs(100));
        other.request(999, Duration::ZERO);
        let text = text(&proxy);
        for line in [
            "slipway_proxy_requests_total{class=\"2xx\"} 2\n",
            "slipway_proxy_requests_total{class=\"4xx\"} 1\n",
            "slipway_proxy_requests_total{class=\"5xx\"} 1\n",
            "slipway_proxy_request_duration_seconds_bucket{le=\"0.0005\"} 2\n",
            "slipway_proxy_request_duration_seconds_bucket{le=\"0.001\"} 3\n",
            "slipway_proxy_request_duration_seconds_bucket{le=\"60\"} 3\n",
            "slipway_proxy_request_duration_seconds_bucket{le=\"+Inf\"} 4\n",
            "slipway_proxy_request_duration_seconds_sum 100.001\n",
            "slipway_proxy_request_duration_seconds_count 4\n",
            "slipway_proxy_ready 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("log_lag_seconds"), "the log was never read");
    }

    #[test]
    fn every_metric_is_described_once_and_every_line_is_one() {
        let text = text(&Proxy::new(Arc::default(), None));
        let described: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = name.split('{').next().unwrap_or_default();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert_eq!(described.iter().filter(|d| d.split(' ').next() == Some(base)).count(), 1, "{line}");
        }
    }
}
