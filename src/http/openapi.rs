//! The API's description, generated from the handlers and their types.

use utoipa::OpenApi;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::{clusters, events, health, session, shares, trail};

#[derive(OpenApi)]
#[openapi(
    info(title = "slipway", description = "Push a button, get a cluster."),
    paths(
        session::show,
        session::enter,
        clusters::launch,
        clusters::list,
        clusters::show,
        clusters::scale,
        clusters::stop,
        shares::open,
        shares::share,
        shares::list,
        shares::revoke,
        events::follow,
        trail::trail,
        describe,
        health::alive,
        health::ready,
    )
)]
struct Description;

/// The OpenAPI 3.1 document as JSON.
pub fn document() -> serde_json::Value {
    serde_json::to_value(Description::openapi()).expect("the description has a JSON form")
}

pub(super) fn routes() -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    warp::path!("api" / "openapi.json").and(warp::get()).map(describe)
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health",
    responses((status = 200, content_type = "application/json", body = Object)))]
fn describe() -> Response {
    warp::reply::json(&document()).into_response()
}
