//! The events of one cluster, as they are recorded.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, interval};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;
use warp::sse::Event as Message;
use warp::{Filter, Rejection, Reply};

use super::clusters::own;
use super::problem::{ErrorBody, Problem};
use super::session::with_cookie;
use super::view::{EventView, QueueView};
use super::{Answer, Api, answer, with};
use crate::domain::{ClusterId, Event, Phase};
use crate::error_chain::chain;
use crate::service::line::{FRESH, SharedLine};
use crate::store::Store;
use crate::store::clusters::ClusterRow;
use crate::store::events::{Position, Recorded};

/// A comment is sent so often, so that proxies and browsers keep a quiet stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client whose stream broke off comes back after so long.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn routes(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    warp::path!("api" / "clusters" / String / "events")
        .and(warp::get())
        .and(with(api))
        .and(warp::header::headers_cloned())
        .and_then(follow)
}

/// The cluster's events from its launch on, but for those in the archive, live, as server-sent events; ends when the
/// cluster is gone. Each message's data is an EventView; its id resumes the stream, which begins anew where the log has lost that event.
/// While the launch waits in line,
/// messages of the type `queue`, which have no id, tell its place as it changes: their data is a QueueView.
#[utoipa::path(get, path = "/api/clusters/{id}/events", tag = "events",
    params(("id" = String, Path), ("Last-Event-ID" = Option<String>, Header, description = "resume after this")),
    responses((status = 200, content_type = "text/event-stream", body = EventView),
              (status = 204, description = "the cluster is gone, and all was sent before or is in the archive"),
              (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn follow(id: String, api: Arc<Api>, headers: HeaderMap) -> Answer {
    answer(
        async {
            let caller = api.known_only(&Method::GET, &headers).await?;
            let row = own(&api, &caller, &id).await?;
            let after = last_event_id(&headers)?;
            if matches!(row.cluster.phase, Phase::Gone { .. }) && nothing_is_left(&api, &row, after).await {
                // Nor will anything follow. This status keeps an EventSource from asking again.
                return Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), None));
            }
            let live = Live::new(&api, &row, after);
            let keep_alive = warp::sse::keep_alive().interval(KEEP_ALIVE);
            let response = warp::sse::reply(keep_alive.stream(live.messages())).into_response();
            Ok(with_cookie(response, None))
        }
        .await,
    )
}

/// Whether all events are in the archive that were not sent before. What cannot be told breaks the stream off.
async fn nothing_is_left(api: &Api, row: &ClusterRow, after: Position) -> bool {
    api.service.store().stream_after(row.cluster.id, after).await.is_ok_and(|events| events.is_empty())
}

fn last_event_id(headers: &HeaderMap) -> Result<Position, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(Position::default());
    };
    value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_last_event_id", "The Last-Event-ID is none of a message")
            .action("Send the id of the last message that you got, or none")
    })
}

/// What a client is told.
enum Told {
    Event(Box<Recorded>),
    Queue(QueueView),
}

/// One client's place in a cluster's stream.
struct Live {
    store: Store,
    id: ClusterId,
    /// When its owner asked for it; what a pool did before is not the owner's affair.
    asked_at: DateTime<Utc>,
    claimed: bool,
    /// Up to where all was sent.
    sent: Position,
    /// Of the last event sent; 0 before the first.
    version: i64,
    pending: VecDeque<Recorded>,
    /// Set while the launch waits: looks at the line.
    waiting: Option<Interval>,
    line: SharedLine,
    /// Its place as last sent.
    place: Option<QueueView>,
    feed: broadcast::Receiver<Arc<Recorded>>,
    /// What the feed cannot tell is yet to be read from the log.
    behind: bool,
    over: bool,
    /// Of the log, as soon as that is known.
    epoch: Option<i16>,
    stop: watch::Receiver<bool>,
}

impl Live {
    fn new(api: &Api, row: &ClusterRow, sent: Position) -> Self {
        Self {
            store: api.service.store().clone(),
            id: row.cluster.id,
            asked_at: row.asked_at(),
            claimed: row.claimed_at.is_some(),
            sent,
            version: 0,
            pending: VecDeque::new(),
            waiting: (row.cluster.phase == Phase::Waiting).then(|| interval(FRESH)),
            line: api.line.clone(),
            place: None,
            // Before the log is read, so that nothing falls between the two.
            feed: api.feed.subscribe(),
            behind: true,
            over: false,
            epoch: api.feed.epoch(),
            stop: api.stop.clone(),
        }
    }

    /// The messages, made by a task of their own that ends with its reader: warp wants a stream that is
    /// `Sync`, which a query under way is not.
    fn messages(mut self) -> impl Stream<Item = Result<Message, Infallible>> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let reader = sender.clone();
            tokio::select! {
                () = reader.closed() => {}
                () = self.send_all(sender) => {}
            }
        });
        stream::unfold(receiver, async |mut receiver| Some((Ok(receiver.recv().await?), receiver)))
    }

    async fn send_all(&mut self, sender: mpsc::Sender<Message>) {
        let mut retry = Some(RETRY);
        while let Some(told) = self.next().await {
            let mut message = Message::default();
            if let Some(retry) = retry.take() {
                message = message.retry(retry);
            }
            let message = match told {
                Told::Event(recorded) => message
                    .id(recorded.position.to_string())
                    .json_data(EventView::of(&recorded, Some(self.asked_at))),
                Told::Queue(place) => message.event("queue").json_data(place),
            };
            if sender.send(message.unwrap_or_default()).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Option<Told> {
        loop {
            if self.over || *self.stop.borrow() {
                return None;
            }
            if let Some(recorded) = self.pending.pop_front() {
                (self.sent, self.version) = (recorded.position, recorded.version);
                self.over = matches!(recorded.event, Event::Removed {});
                if leaves_line(&recorded.event) {
                    self.waiting = None;
                }
                return Some(Told::Event(Box::new(recorded)));
            }
            if self.behind {
                match self.store.stream_after(self.id, self.sent).await {
                    Ok(events) => {
                        let is_told = |event: &Recorded| !self.claimed || event.recorded_at >= self.asked_at;
                        self.pending.extend(events.into_iter().filter(is_told));
                    }
                    Err(error) => {
                        // The client comes back by itself, with the id of its last message.
                        tracing::warn!(cluster = %self.id, error = %chain(&error), "a stream of events breaks off");
                        return None;
                    }
                }
                self.behind = false;
                continue;
            }
            tokio::select! {
                _ = self.stop.changed() => {}
                received = self.feed.recv() => self.receive(received),
                () = tick(&mut self.waiting) => {
                    let place = self.line.place(self.id).await.inspect_err(|error| {
                        tracing::warn!(cluster = %self.id, error = %chain(error), "cannot tell its place in line");
                    });
                    let place = place.ok().flatten().map(QueueView::from);
                    if place.is_some() && place != self.place {
                        self.place.clone_from(&place);
                        return place.map(Told::Queue);
                    }
                }
            }
        }
    }

    fn receive(&mut self, received: Result<Arc<Recorded>, RecvError>) {
        if let Ok(recorded) = &received {
            let epoch = recorded.position.epoch();
            // What was sent, and whose the cluster is, may have been lost: the client comes back, and is told anew.
            self.over |= *self.epoch.get_or_insert(epoch) != epoch;
        }
        match received {
            Ok(recorded) if recorded.cluster != self.id || recorded.position <= self.sent => {}
            Ok(recorded) if recorded.version == self.version + 1 => {
                self.pending.push_back(Recorded::clone(&recorded));
            }
            Ok(_) | Err(RecvError::Lagged(_)) => self.behind = true,
            Err(RecvError::Closed) => self.over = true,
        }
    }
}

/// The next time to look at the line; never for who does not wait.
async fn tick(waiting: &mut Option<Interval>) {
    match waiting {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn leaves_line(event: &Event) -> bool {
    match event {
        Event::LaunchRequested { .. }
        | Event::ScaleRequested { .. }
        | Event::AccessSet { .. }
        | Event::Shared { .. }
        | Event::Unshared { .. }
        | Event::Parked { .. }
        | Event::Requeued { .. } => false,
        Event::Admitted {}
        | Event::Claimed { .. }
        | Event::StepReached { .. }
        | Event::BecameReady(_)
        | Event::LaunchFailed { .. }
        | Event::Scaled { .. }
        | Event::StopRequested { .. }
        | Event::Removed {} => true,
    }
}
