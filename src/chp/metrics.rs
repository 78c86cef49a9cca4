//! What configurable-http-proxy counts, under its names, before what slipway's proxy counts under its own.
//!
//! `find_target_for_req` and `last_activity_updating`, which time a look-up in a table, are missing: to read the clock
//! twice would take longer than the look-up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::api::Api;
use super::serve::{Answer, Service, text, with_type};
use crate::exposition::{CONTENT_TYPE, Page};
use crate::proxy::{Proxy, Statuses, metrics};

/// What the REST API counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    asked: AtomicU64,
    added: AtomicU64,
    removed: AtomicU64,
    statuses: Statuses,
}

impl Tally {
    /// A request for routes that was understood and allowed.
    pub(super) fn served(&self, method: &Method) {
        let count = match *method {
            Method::POST => &self.added,
            Method::DELETE => &self.removed,
            _ => &self.asked,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: StatusCode) {
        self.statuses.count(status.as_u16());
    }
}

#[derive(Debug)]
pub(super) struct Metrics {
    pub proxy: Arc<Proxy>,
    pub api: Arc<Api>,
}

impl Service for Metrics {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.uri().path() != "/metrics" {
            return text(StatusCode::NOT_FOUND, "The metrics are at /metrics");
        }
        with_type(StatusCode::OK, CONTENT_TYPE, self.text())
    }
}

impl Metrics {
    fn text(&self) -> String {
        let (stats, tally) = (&self.proxy.stats, &self.api.tally);
        let statuses = stats.statuses();
        let (upgrades, plain) = stats.requests();
        let mut page = Page::new("");
        let mut counter = |name: &str, help: &str, values: &[(String, u64)]| {
            page.about(name, "counter", help);
            for (labels, value) in values {
                page.line(name, labels, value);
            }
        };
        let one = |count: u64| [(String::new(), count)];
        let by_status = |counts: &BTreeMap<u16, u64>| -> Vec<_> {
            counts.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count)).collect()
        };
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        counter("api_route_get", "Requests to read routes.", &one(load(&tally.asked)));
        counter("api_route_add", "Requests to add a route.", &one(load(&tally.added)));
        counter("api_route_delete", "Requests to delete a route.", &one(load(&tally.removed)));
        counter("requests_api", "Answers of the REST API by status.", &by_status(&tally.statuses.all().collect()));
        counter("requests_ws", "Requests for a WebSocket.", &one(upgrades));
        counter("requests_web", "Other requests to the public side.", &one(plain));
        counter("requests_proxy", "Answers of the public side by status.", &by_status(&statuses));
        page.finish() + &metrics(&self.proxy)
    }
}
