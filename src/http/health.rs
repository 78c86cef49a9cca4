//! Whether the server is there, and whether it can do its work.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::problem::{ErrorBody, Problem};
use super::{Answer, Api, answer, with};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

pub(super) fn routes(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let alive = warp::path!("healthz").and(warp::get()).map(alive);
    let ready = warp::path!("readyz").and(warp::get()).and(with(api)).and_then(ready);
    alive.or(ready).unify()
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)))]
pub(super) fn alive() -> Response {
    warp::reply::json(&Health { status: "ok" }).into_response()
}

/// The database answers too, with the schema that this build needs.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = ErrorBody)))]
pub(super) async fn ready(api: Arc<Api>) -> Answer {
    let outcome = api.service.store().check().await.map_err(Problem::from);
    answer(outcome.map(|()| warp::reply::json(&Health { status: "ready" }).into_response()))
}
