//! Who may enter a cluster: its access, and links that let others in for a while.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::clusters::{change, own};
use super::problem::{ErrorBody, Problem};
use super::session::with_cookie;
use super::view::{ClusterView, time};
use super::visit::{Head, head};
use super::{Answer, Api, answer, body, with};
use crate::domain::access::LONGEST_SHARE;
use crate::domain::{Access, Cluster, ClusterId, Command, Engine, Keyring, RoutePath, ShareId};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessChange {
    #[schema(value_type = String, example = "class", pattern = "^(owner|class|public)$")]
    access: Access,
}

/// One of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareRequest {
    /// From now on, at most a year.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 31_536_000, example = 28_800)]
    seconds: Option<i64>,
    #[serde(default)]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShareView {
    #[schema(example = "1f0c5a9be24d7713")]
    id: String,
    until: String,
    /// Opens the notebook to whoever has it.
    #[schema(example = "/cluster-678343/lab?share=…")]
    url: String,
    /// The same for programs: `Client("ws://host/cluster-678343_9000?share=…")`.
    scheduler_url: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShareList {
    shares: Vec<ShareView>,
}

pub(super) fn routes(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let headers = warp::header::headers_cloned;
    let access = warp::path!("api" / "clusters" / String / "access");
    let all = warp::path!("api" / "clusters" / String / "shares");
    let one = warp::path!("api" / "clusters" / String / "shares" / String);
    let open = access.and(warp::put()).and(with(api)).and(head()).and(body::bytes()).and_then(open);
    let share = all.and(warp::post()).and(with(api)).and(head()).and(body::bytes()).and_then(share);
    let list = all.and(warp::get()).and(with(api)).and(headers()).and_then(list);
    let revoke = one.and(warp::delete()).and(with(api)).and(head()).and_then(revoke);
    open.or(share).unify().or(list).unify().or(revoke).unify()
}

/// Opens a cluster to others, or closes it again. Whoever may enter may use its notebook, and so do anything in it.
#[utoipa::path(put, path = "/api/clusters/{id}/access", tag = "shares", params(("id" = String, Path)),
    request_body = AccessChange,
    responses((status = 202, body = ClusterView), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn open(id: String, api: Arc<Api>, head: Head, body: Result<Bytes, Problem>) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::PUT, &head.headers).await?;
            let row = own(&api, &caller, &id).await?;
            let AccessChange { access } = body::json(&head.headers, &body?)?;
            change(&api, &api.act(&caller, &head), row.cluster.id, Command::SetAccess { access }).await
        }
        .await,
    )
}

/// Makes a link that lets whoever has it enter the cluster until it ends or is revoked.
#[utoipa::path(post, path = "/api/clusters/{id}/shares", tag = "shares", params(("id" = String, Path)),
    request_body = ShareRequest,
    responses((status = 201, body = ShareView), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn share(id: String, api: Arc<Api>, head: Head, body: Result<Bytes, Problem>) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::POST, &head.headers).await?;
            let id = own(&api, &caller, &id).await?.cluster.id;
            let now = api.clock.now();
            let until = body::json::<ShareRequest>(&head.headers, &body?)?.end(now)?;
            let share = ShareId::from_number(rand::random());
            let command = Command::Share { id: share, until, now };
            api.service.execute(id, &command, &api.act(&caller, &head), None).await?;
            let view = ShareView::of(id, share, until, &api.keyring);
            Ok(reply(&view, StatusCode::CREATED))
        }
        .await,
    )
}

/// The cluster's share links that count, those that end first before the others.
#[utoipa::path(get, path = "/api/clusters/{id}/shares", tag = "shares", params(("id" = String, Path)),
    responses((status = 200, body = ShareList), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn list(id: String, api: Arc<Api>, headers: HeaderMap) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::GET, &headers).await?;
            let row = own(&api, &caller, &id).await?;
            Ok(reply(&ShareList::of(&row.cluster, &api), StatusCode::OK))
        }
        .await,
    )
}

/// Revokes a share link: a second later it opens nothing. Answers with those that are left.
#[utoipa::path(delete, path = "/api/clusters/{id}/shares/{share}", tag = "shares",
    params(("id" = String, Path), ("share" = String, Path)),
    responses((status = 200, body = ShareList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn revoke(id: String, share: String, api: Arc<Api>, head: Head) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::DELETE, &head.headers).await?;
            let id = own(&api, &caller, &id).await?.cluster.id;
            let share = share.parse().map_err(|invalid| {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_id", format!("The {invalid}"))
                    .action("Look at GET /api/clusters/ID/shares for the ids that there are")
            })?;
            let meta = api.act(&caller, &head);
            let done = api.service.execute(id, &Command::Unshare { id: share }, &meta, None).await?;
            Ok(reply(&ShareList::of(&done.cluster, &api), StatusCode::OK))
        }
        .await,
    )
}

impl ShareRequest {
    /// When the share ends, to the millisecond.
    fn end(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
        let problem = |what: &str| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", what)
                .action("Send either \"seconds\" from 1 to 31536000 or \"until\", a time within the year to come")
        };
        let seconds = match (self.seconds, self.until) {
            (Some(seconds), None) => seconds,
            // Rounded up, so that it does not end before its time.
            (None, Some(until)) => (until - now + TimeDelta::milliseconds(999)).num_seconds(),
            (Some(_), Some(_)) | (None, None) => {
                return Err(problem("A share ends after \"seconds\" or at \"until\""));
            }
        };
        if !(1..=LONGEST_SHARE).contains(&seconds) {
            return Err(problem("A share lasts from one second to a year"));
        }
        Ok(self.until.unwrap_or(now + TimeDelta::seconds(seconds)).trunc_subsecs(3))
    }
}

impl ShareView {
    fn of(id: ClusterId, share: ShareId, until: DateTime<Utc>, keyring: &Keyring) -> Self {
        let token = keyring.share_token(id, share);
        Self {
            id: share.to_string(),
            until: time(until),
            url: format!("{}/lab?share={token}", RoutePath::of(id, Engine::Notebook)),
            scheduler_url: format!("{}?share={token}", RoutePath::of(id, Engine::DaskScheduler)),
        }
    }
}

impl ShareList {
    fn of(cluster: &Cluster, api: &Api) -> Self {
        let now = api.clock.now();
        let live = cluster.phase.is_live();
        let mut shares: Vec<_> = cluster.shares.iter().filter(|(_, until)| live && now < **until).collect();
        shares.sort_by_key(|(_, until)| **until);
        let view =
            |(share, until): (&ShareId, &DateTime<Utc>)| ShareView::of(cluster.id, *share, *until, &api.keyring);
        Self { shares: shares.into_iter().map(view).collect() }
    }
}

fn reply(view: &impl Serialize, status: StatusCode) -> Response {
    with_cookie(warp::reply::with_status(warp::reply::json(view), status).into_response(), None)
}
