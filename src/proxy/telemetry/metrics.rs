//! What the proxy counts, collected when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counters::Counters;
use super::standing::{Phase, Standing};
use crate::exposition::Page;
use crate::proxy::Proxy;

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
    let mut out = Page::new("slipway_proxy_");
    requests(&mut out, proxy, &lanes);
    for Part(name, kind, help, of) in PARTS {
        out.one(name, kind, help, lanes.iter().map(|lane| of(lane).load(Ordering::Relaxed)).sum::<u64>());
    }
    out.one("routes", "gauge", "Routes in the table.", proxy.routes.len());
    standing(&mut out, &proxy.standing, proxy.clock.now_ms());
    if let Some(log) = &proxy.access_log {
        let help = "Lines that the access log had no room for.";
        out.one("access_log_dropped_total", "counter", help, log.dropped());
    }
    out.finish()
}

fn requests(page: &mut Page, proxy: &Proxy, lanes: &[Arc<Counters>]) {
    let help = "Requests by the class of their status; those that the client gave up are 4xx.";
    page.about("requests_total", "counter", help);
    let statuses = proxy.stats.statuses();
    for class in 1..=5 {
        let count: u64 = statuses.range(class * 100..(class + 1) * 100).map(|(_, count)| count).sum();
        page.line("requests_total", &format!("{{class=\"{class}xx\"}}"), count);
    }
    let help = "From the head of a request to the last byte of its answer.";
    page.histogram("request_duration_seconds", help, lanes.iter().map(|lane| &lane.took));
}

fn standing(page: &mut Page, standing: &Standing, now_ms: i64) {
    let ready = standing.phase() == Phase::Serving;
    page.one("ready", "gauge", "1 while requests should be sent here.", u64::from(ready));
    let help = "Events in the log that are not in the table, when last looked; counted to 1000.";
    page.one("log_lag_events", "gauge", help, standing.lag_events());
    if let Some(ms) = standing.lag_ms(now_ms) {
        page.seconds(
            "log_lag_seconds",
            "How old the table may be. Missing until the log was read.",
            Duration::from_millis(ms),
        );
    }
    let help = "Routes whose last use is not written down yet.";
    page.one("activity_pending", "gauge", help, standing.pending());
    if let Some(ms) = standing.snapshot_age_ms(now_ms) {
        let help = "Since the snapshot was written; it is when the table changes.";
        page.seconds("snapshot_age_seconds", help, Duration::from_millis(ms));
    }
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
