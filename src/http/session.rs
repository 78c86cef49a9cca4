//! Who the browser is, and what it may launch.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::{HeaderMap, Method, header};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::identity::Caller;
use super::problem::{ErrorBody, Problem};
use super::{Answer, Api, answer, body, with};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// Absent until the access code has been given.
    subject: Option<String>,
    access_code_required: bool,
    profiles: Vec<ProfileView>,
    limits: LimitsView,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProfileView {
    name: String,
    title: String,
    description: String,
    workers: ProfileWorkers,
    materials: Vec<String>,
    /// Without use for so long, a cluster is stopped; 0: never.
    idle_seconds: u32,
    /// So long after its launch a cluster is stopped; 0: never.
    lifetime_seconds: u32,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProfileWorkers {
    default: u16,
    most: u16,
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitsView {
    clusters_per_owner: u16,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessRequest {
    access_code: String,
}

pub(super) fn routes(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let show = warp::path!("api" / "session")
        .and(warp::get())
        .and(with(api))
        .and(warp::header::headers_cloned())
        .and_then(show);
    let enter = warp::path!("api" / "session")
        .and(warp::post())
        .and(with(api))
        .and(warp::header::headers_cloned())
        .and(body::bytes())
        .and_then(enter);
    show.or(enter).unify()
}

/// Who asks and what may be launched; makes a new browser known where no access code is asked for.
#[utoipa::path(get, path = "/api/session", tag = "session", responses((status = 200, body = SessionView)))]
pub(super) async fn show(api: Arc<Api>, headers: HeaderMap) -> Answer {
    answer(
        async {
            let mut caller = api.known(&Method::GET, &headers).await?;
            if let Some(caller) = caller.as_mut().filter(|_| !headers.contains_key(header::AUTHORIZATION)) {
                // Again, so that half a year is counted from here, and one that was for /api only is for all.
                caller.cookie = Some(api.cookie(&caller.subject, &headers));
            }
            if caller.is_none() && api.access_code.is_none() {
                caller = Some(api.newcomer(&headers)?);
            }
            Ok(session(&api, caller))
        }
        .await,
    )
}

/// Gives the class's access code.
#[utoipa::path(post, path = "/api/session", tag = "session", request_body = AccessRequest,
    responses((status = 200, body = SessionView), (status = 403, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn enter(api: Arc<Api>, headers: HeaderMap, body: Result<Bytes, Problem>) -> Answer {
    answer(
        async {
            let request: AccessRequest = body::json(&headers, &body?)?;
            if let Some(code) = &api.access_code {
                code.check(&request.access_code)?;
            }
            let caller = match api.known(&Method::POST, &headers).await? {
                Some(caller) => caller,
                None => api.newcomer(&headers)?,
            };
            Ok(session(&api, Some(caller)))
        }
        .await,
    )
}

fn session(api: &Api, caller: Option<Caller>) -> Response {
    let profiles = api.profiles.iter().map(|profile| ProfileView {
        name: profile.name.to_string(),
        title: profile.title.clone(),
        description: profile.description.clone(),
        workers: ProfileWorkers { default: profile.workers.get(), most: profile.limits.workers.get() },
        materials: profile.materials.iter().map(ToString::to_string).collect(),
        idle_seconds: profile.limits.idle_seconds,
        lifetime_seconds: profile.limits.lifetime_seconds,
    });
    let view = SessionView {
        subject: caller.as_ref().map(|caller| caller.subject.to_string()),
        access_code_required: api.access_code.is_some(),
        profiles: profiles.collect(),
        limits: LimitsView { clusters_per_owner: api.service.caps().clusters_per_owner },
    };
    with_cookie(warp::reply::json(&view).into_response(), caller.as_ref())
}

/// Hands a newcomer its cookie along with the answer.
pub(super) fn with_cookie(mut response: Response, caller: Option<&Caller>) -> Response {
    if let Some(cookie) = caller.and_then(|caller| caller.cookie.clone()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
