//! The audit trail: every event of every cluster, for administrators.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::problem::{ErrorBody, Problem};
use super::session::with_cookie;
use super::view::EventView;
use super::{Answer, Api, answer, with};
use crate::store::events::Position;

const MOST: i64 = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// A position from an earlier answer; from the beginning if absent.
    after: Option<String>,
    /// 1 to 1000; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Leave out what is in the archive, instead of answering 410 when some of what is asked for is there.
    skip_archived: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrailView {
    events: Vec<EventView>,
    /// Give this as `after` for what comes next.
    next: String,
}

pub(super) fn routes(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::path!("api" / "events")
        .and(warp::get())
        .and(with(api))
        .and(warp::header::headers_cloned())
        .and(query)
        .and_then(trail)
}

/// All events in the log's order, each exactly once over repeated calls.
#[utoipa::path(get, path = "/api/events", tag = "events", params(Page),
    responses((status = 200, body = TrailView), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 403, body = ErrorBody), (status = 410, body = ErrorBody)))]
pub(super) async fn trail(api: Arc<Api>, headers: HeaderMap, query: String) -> Answer {
    answer(
        async {
            api.admin_only(&Method::GET, &headers).await?;
            let bad = |why: String| {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_query", why)
                    .action("Send ?after= with a position from an earlier answer and ?limit= from 1 to 1000")
            };
            let page: Page = serde_urlencoded::from_str(&query).map_err(|error| bad(error.to_string()))?;
            let after = match page.after.as_deref() {
                None | Some("") => Position::default(),
                Some(text) => text.parse().map_err(|invalid| bad(format!("The {invalid}")))?,
            };
            let limit = page.limit.unwrap_or(100);
            if !(1..=MOST).contains(&limit) {
                return Err(bad(format!("The limit {limit} is not between 1 and {MOST}")));
            }
            let store = api.service.store();
            let events = match page.skip_archived {
                Some(true) => store.read_attached_after(after, limit).await?,
                Some(false) | None => store.read_after(after, limit).await?,
            };
            let next = events.last().map_or(after, |last| last.position).to_string();
            let events = events.iter().map(|recorded| EventView::of(recorded, None)).collect();
            Ok(with_cookie(warp::reply::json(&TrailView { events, next }).into_response(), None))
        }
        .await,
    )
}
