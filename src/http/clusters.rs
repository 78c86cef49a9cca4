//! Launch, look at, scale and stop clusters.

use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{Instrument, Span, debug_span};
use utoipa::ToSchema;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::identity::Caller;
use super::problem::{ErrorBody, Problem};
use super::session::with_cookie;
use super::view::ClusterView;
use super::visit::{Head, head};
use super::{Answer, Api, answer, body, with};
use crate::domain::profile::{MOST_MATERIALS, can_be_cloned};
use crate::domain::{ClusterId, Command, Phase, ProfileName, Repository, StopReason, WorkerCount};
use crate::spans::SPANS;
use crate::store::append::{Meta, RequestKey};
use crate::store::clusters::{ClusterRow, Whose};

/// Ended clusters are listed for so long.
const ENDED_HOURS: i64 = 24;
/// The most clusters in one answer.
const MOST_LISTED: i64 = 1_000;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchRequest {
    /// One of those that GET /api/session lists; the first if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "default")]
    profile: Option<ProfileName>,
    #[serde(default)]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 1000, example = 2)]
    workers: Option<WorkerCount>,
    /// Git repositories to clone into the notebook's folder, each `https://host/path` and maybe `@branch`,
    /// `@tag` or `@commit`; the profile's if absent.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 10)]
    materials: Option<Vec<Repository>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleRequest {
    #[schema(value_type = u16, minimum = 1, maximum = 1000)]
    workers: WorkerCount,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterList {
    clusters: Vec<ClusterView>,
}

pub(super) fn routes(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let headers = warp::header::headers_cloned;
    let all = warp::path!("api" / "clusters");
    let one = warp::path!("api" / "clusters" / String);
    let launch = all.and(warp::post()).and(with(api)).and(head()).and(body::bytes()).and_then(launch);
    let list = all.and(warp::get()).and(with(api)).and(headers()).and_then(list);
    let show = one.and(warp::get()).and(with(api)).and(headers()).and_then(show);
    let scale = one.and(warp::patch()).and(with(api)).and(head()).and(body::bytes()).and_then(scale);
    let stop = one.and(warp::delete()).and(with(api)).and(head()).and_then(stop);
    launch.or(list).unify().or(show).unify().or(scale).unify().or(stop).unify()
}

/// Launches a cluster, or gives one that is kept ready: its status is then `running` at once. With the same Idempotency-Key again, answers with the one launched before.
#[utoipa::path(post, path = "/api/clusters", tag = "clusters", request_body = LaunchRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 200 visible characters, new for each launch")),
    responses((status = 202, body = ClusterView, headers(("Location" = String, description = "the cluster"))),
              (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 409, body = ErrorBody),
              (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody),
              (status = 503, body = ErrorBody)))]
pub(super) async fn launch(api: Arc<Api>, head: Head, body: Result<Bytes, Problem>) -> Answer {
    answer(
        async {
            let request: LaunchRequest = body::json(&head.headers, &body?)?;
            let key = request_key(&head.headers, &request)?;
            let caller = api.known_or_new(&Method::POST, &head.headers).await?;
            let profile = match &request.profile {
                None => api.profiles.first(),
                Some(name) => api.profiles.iter().find(|profile| profile.name == *name),
            };
            let profile = profile.ok_or_else(|| no_such_profile(&request))?;
            check_materials(request.materials.as_deref().unwrap_or_default())?;
            let launch = profile.launch(caller.subject.clone(), request.workers, request.materials);
            let pool = profile.pool_for(&launch);
            let act = api.act(&caller, &head);
            let span = click("launch", &act);
            let done = api.service.claim_or_launch(launch, pool, act, key.as_ref()).instrument(span).await?;
            let response = changed(&api, done.cluster.id).await?;
            Ok(with_cookie(response, Some(&caller)))
        }
        .await,
    )
}

/// The caller's clusters, newest first; everyone's for an administrator. Those that ended stay for a day.
#[utoipa::path(get, path = "/api/clusters", tag = "clusters",
    responses((status = 200, body = ClusterList), (status = 401, body = ErrorBody)))]
pub(super) async fn list(api: Arc<Api>, headers: HeaderMap) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::GET, &headers).await?;
            let whose = if caller.admin { Whose::Everyones } else { Whose::Of(&caller.subject) };
            let since = api.clock.now() - TimeDelta::hours(ENDED_HOURS);
            let rows = api.service.store().clusters(whose, since, MOST_LISTED).await?;
            let clusters = views(&api, &rows).await?;
            let response = warp::reply::json(&ClusterList { clusters }).into_response();
            Ok(with_cookie(response, None))
        }
        .await,
    )
}

#[utoipa::path(get, path = "/api/clusters/{id}", tag = "clusters", params(("id" = String, Path)),
    responses((status = 200, body = ClusterView), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn show(id: String, api: Arc<Api>, headers: HeaderMap) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::GET, &headers).await?;
            let row = own(&api, &caller, &id).await?;
            shown(&api, row, StatusCode::OK).await
        }
        .await,
    )
}

/// Changes the number of workers, also while a computation runs.
#[utoipa::path(patch, path = "/api/clusters/{id}", tag = "clusters", params(("id" = String, Path)),
    request_body = ScaleRequest,
    responses((status = 202, body = ClusterView), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn scale(id: String, api: Arc<Api>, head: Head, body: Result<Bytes, Problem>) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::PATCH, &head.headers).await?;
            let row = own(&api, &caller, &id).await?;
            let ScaleRequest { workers } = body::json(&head.headers, &body?)?;
            change(&api, &api.act(&caller, &head), row.cluster.id, Command::Scale { workers }).await
        }
        .await,
    )
}

/// Stops a cluster. No error if it is stopped already.
#[utoipa::path(delete, path = "/api/clusters/{id}", tag = "clusters", params(("id" = String, Path)),
    responses((status = 202, body = ClusterView), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn stop(id: String, api: Arc<Api>, head: Head) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::DELETE, &head.headers).await?;
            let row = own(&api, &caller, &id).await?;
            let is_owner = row.cluster.owner == caller.subject;
            let reason = if is_owner { StopReason::Owner } else { StopReason::Admin };
            change(&api, &api.act(&caller, &head), row.cluster.id, Command::Stop { reason }).await
        }
        .await,
    )
}

/// The cluster, if this caller may see it. Others are told that there is none.
pub(super) async fn own(api: &Api, caller: &Caller, id: &str) -> Result<ClusterRow, Problem> {
    let parsed: ClusterId = id.parse().map_err(|invalid| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_id", format!("The {invalid}"))
            .action("Look at GET /api/clusters for the ids that there are")
    })?;
    let row = api.service.store().cluster(parsed).await?;
    row.filter(|row| caller.admin || row.cluster.owner == caller.subject)
        .ok_or_else(|| Problem::no_such_cluster(id))
}

pub(super) async fn change(api: &Api, meta: &Meta, id: ClusterId, command: Command) -> Result<Response, Problem> {
    api.service.execute(id, &command, meta, None).instrument(click("change", meta)).await?;
    changed(api, id).await
}

/// All that comes of what somebody asks for is in the log under this correlation.
fn click(what: &str, meta: &Meta) -> Span {
    debug_span!(target: SPANS, "click", what, correlation = %meta.correlation)
}

/// The cluster as it is after a change.
async fn changed(api: &Api, id: ClusterId) -> Result<Response, Problem> {
    let row = api.service.store().cluster(id).await?.ok_or_else(|| Problem::no_such_cluster(&id.to_string()))?;
    let mut response = shown(api, row, StatusCode::ACCEPTED).await?;
    let location = HeaderValue::try_from(format!("/api/clusters/{id}")).expect("ids are plain ASCII");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

async fn shown(api: &Api, row: ClusterRow, status: StatusCode) -> Result<Response, Problem> {
    let body = warp::reply::json(&views(api, &[row]).await?.remove(0));
    Ok(with_cookie(warp::reply::with_status(body, status).into_response(), None))
}

/// The line is looked at only if somebody here stands in it.
async fn views(api: &Api, rows: &[ClusterRow]) -> Result<Vec<ClusterView>, Problem> {
    let waiting: Vec<ClusterId> =
        rows.iter().filter(|row| row.cluster.phase == Phase::Waiting).map(|row| row.cluster.id).collect();
    let line = if waiting.is_empty() { None } else { Some(api.line.holding(&waiting).await?) };
    let place = |row: &ClusterRow| line.as_ref().and_then(|line| line.place(row.cluster.id));
    Ok(rows.iter().map(|row| ClusterView::of(row, place(row), &api.keyring)).collect())
}

fn request_key(headers: &HeaderMap, request: &LaunchRequest) -> Result<Option<RequestKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| (1..=200).contains(&key.len())).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", "The Idempotency-Key cannot be used")
            .action("Send 1 to 200 visible ASCII characters, best a new UUID")
    })?;
    // Of the parsed request, so that white space and the order of fields do not count.
    let canonical = serde_json::to_vec(request).unwrap_or_default();
    Ok(Some(RequestKey { key: key.to_owned(), fingerprint: Sha256::digest(canonical).into() }))
}

fn no_such_profile(request: &LaunchRequest) -> Problem {
    let name = request.profile.as_ref().map_or("", ProfileName::as_str);
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_such_profile", format!("There is no profile {name:?}"))
        .action("Look at GET /api/session for those on offer")
}

fn check_materials(materials: &[Repository]) -> Result<(), Problem> {
    if !can_be_cloned(materials) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_materials",
            format!("At most {MOST_MATERIALS} repositories can be cloned, each into a folder of its own"),
        )
        .action("Name fewer, or such with different names"));
    }
    Ok(())
}
