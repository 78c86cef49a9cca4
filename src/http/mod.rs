//! What people and programs talk to: the page, the API, live events.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use crate::clock::Clock;
use crate::domain::{Keyring, Profile};
use crate::service::Service;
use crate::service::feed::Feed;
use crate::service::line::SharedLine;
use crate::service::people::Forgotten;

mod body;
mod clusters;
mod events;
mod health;
mod identity;
mod openapi;
mod page;
mod problem;
mod session;
mod shares;
mod trail;
mod view;
mod visit;
mod watched;

pub use identity::AccessCode;
pub use openapi::document as openapi_document;
use problem::Problem;
pub use visit::Origins;
pub use watched::serve_health;

/// What the handlers need.
pub struct Api {
    pub service: Service,
    pub feed: Feed,
    pub line: SharedLine,
    pub keyring: Keyring,
    pub profiles: Vec<Profile>,
    /// Asked of every browser before its first launch.
    pub access_code: Option<AccessCode>,
    pub origins: Origins,
    /// Whose cookies count no more.
    pub forgotten: Forgotten,
    pub clock: Clock,
    /// Set when live streams are to end.
    pub stop: watch::Receiver<bool>,
}

/// Serves until `api.stop` is set and the requests under way are answered.
pub async fn serve(listener: TcpListener, api: Arc<Api>) {
    let mut stop = api.stop.clone();
    warp::serve(routes(api))
        .incoming(listener)
        .graceful(async move {
            // An error means that whoever could stop us is gone.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .run()
        .await;
}

/// All routes, with every failure turned into a [`Problem`].
pub fn routes(api: Arc<Api>) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    session::routes(&api)
        .or(clusters::routes(&api))
        .unify()
        .or(shares::routes(&api))
        .unify()
        .or(events::routes(&api))
        .unify()
        .or(trail::routes(&api))
        .unify()
        .or(health::routes(&api))
        .unify()
        .or(openapi::routes())
        .unify()
        .or(page::routes())
        .unify()
        .recover(rejected)
        .unify()
        .with(warp::filters::log::custom(|info| {
            tracing::debug!(
                method = %info.method(), path = info.path(), status = info.status().as_u16(),
                elapsed_us = info.elapsed().as_micros() as u64, "request"
            );
        }))
}

/// Gives a filter the shared state.
fn with(api: &Arc<Api>) -> impl Filter<Extract = (Arc<Api>,), Error = Infallible> + Clone + use<> {
    let api = Arc::clone(api);
    warp::any().map(move || Arc::clone(&api))
}

/// What a handler comes to, as warp wants it.
type Answer = Result<Response, Infallible>;

fn answer(outcome: Result<Response, Problem>) -> Answer {
    Ok(outcome.unwrap_or_else(Reply::into_response))
}

/// Requests that no route took.
async fn rejected(rejection: Rejection) -> Answer {
    let problem = if rejection.is_not_found() {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address")
            .action("See /api/openapi.json for what there is")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This address does not take that method",
        )
        .action("See /api/openapi.json for the methods it takes")
    } else {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            format!("The request is not understood: {rejection:?}"),
        )
        .action("See /api/openapi.json for what is expected")
    };
    Ok(problem.into_response())
}
