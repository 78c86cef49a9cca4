//! For those who watch over a part, at an address of their own: whether it is alive, and what it counts.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use warp::Filter;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

use super::health::alive;
use crate::exposition::{self, Page};
use crate::service::Service;
use crate::service::feed::Feed;
use crate::store::Store;
use crate::store::backlog::Backlog;
use crate::store::pools::Stock;

/// What this process has counted is of use without the database, too.
const DATABASE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Answers those who watch a part, until `stop` comes: `/healthz` with 200 while it is alive and then 503, and `/metrics`,
/// with how far the feed is behind the log if the part has one.
pub async fn serve_health(
    listener: TcpListener,
    is_alive: impl Fn() -> bool + Clone + Send + Sync + 'static,
    service: Service,
    feed: Option<Feed>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let health = warp::path!("healthz")
        .and(warp::get())
        .map(move || if is_alive() { alive() } else { StatusCode::SERVICE_UNAVAILABLE.into_response() });
    let counted = warp::path!("metrics").and(warp::get()).then(move || metrics(service.clone(), feed.clone()));
    warp::serve(health.or(counted)).incoming(listener).graceful(stop).run().await;
}

async fn metrics(service: Service, feed: Option<Feed>) -> Response {
    let mut page = Page::new("slipway_");
    service.meters().show(&mut page);
    let answer = timeout(DATABASE_ANSWERS_WITHIN, service.store().backlog()).await;
    let backlog = answer.ok().and_then(Result::ok);
    page.one("database_up", "gauge", "1 while the database answers.", u8::from(backlog.is_some()));
    if let Some(backlog) = backlog {
        show(&backlog, &mut page);
        show_pools(service.store(), &mut page).await;
        if let Some(feed) = feed {
            show_lag(&feed, service.store(), &mut page).await;
        }
    }
    let mut response = page.finish().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
    response
}

/// By profile; the same from every process. Left out when it cannot be told.
async fn show_pools(store: &Store, page: &mut Page) {
    let Ok(Ok(stocks)) = timeout(DATABASE_ANSWERS_WITHIN, store.stocks()).await else { return };
    let mut gauge = |name: &str, help: &str, value: fn(&Stock) -> i64| {
        page.about(name, "gauge", help);
        for stock in &stocks {
            page.line(name, &format!("{{profile=\"{}\"}}", stock.profile), value(stock));
        }
    };
    gauge("pool_wanted", "Clusters that are to be ready for whoever launches next.", |stock| stock.wanted.into());
    gauge("pool_ready", "Those that are.", |stock| stock.ready);
    gauge("pool_others", "Others that nobody has claimed: to come, or to go.", |stock| stock.others);
}

/// Left out when it cannot be told.
async fn show_lag(feed: &Feed, store: &Store, page: &mut Page) {
    if let Ok(Ok(Some(behind))) = timeout(DATABASE_ANSWERS_WITHIN, feed.behind(store)).await {
        let help = "Events that live listeners have not been shown yet, counted to a thousand.";
        page.one("log_lag_events", "gauge", help, behind.events);
        page.seconds("log_lag_seconds", "For how long the first of them has been in the log.", behind.age);
    }
}

/// The same from every process of an installation.
fn show(backlog: &Backlog, page: &mut Page) {
    let mut gauge = |name: &str, help: &str, value: i64| page.one(name, "gauge", help, value);
    gauge("launches_in_line", "Launches that wait for their turn.", backlog.in_line);
    gauge("work_due", "Clusters that a worker should look at now and none has taken.", backlog.due);
    gauge("work_leased", "Clusters that a worker is at.", backlog.leased);
    gauge("work_parked", "Clusters given up after too many failures, or put aside: dead letters.", backlog.parked);
    gauge("clusters_live", "Clusters that are wanted.", backlog.live);
    gauge("workers_wanted", "Workers of those clusters, as asked for.", backlog.workers);
    page.seconds("launches_in_line_seconds", "How long the first in line has waited.", backlog.in_line_for);
    page.seconds("work_due_seconds", "For how long the first of them has been due.", backlog.due_for);
}
