//! Events as they happen, as a browser's EventSource gets them.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use slipway::domain::Observation;
use tokio::time::timeout;
use warp::http::Method;

use crate::client::Client;
use crate::harness::{begin_epoch, eventually};
use crate::server::Server;

pub struct Stream {
    body: Incoming,
    read: String,
}

#[derive(Debug)]
pub struct Message {
    pub id: String,
    retry: Option<String>,
    pub data: Value,
}

impl Message {
    pub fn version(&self) -> String {
        self.data["version"].to_string()
    }
}

/// What `next` gives.
enum Kind {
    Event,
    Place,
}

impl Stream {
    pub async fn open(client: &Client, id: &str) -> Self {
        let response = client.open(Method::GET, &format!("/api/clusters/{id}/events"), None).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), read: String::new() }
    }

    /// The next event; `None` at the stream's end.
    pub async fn next(&mut self) -> Option<Message> {
        self.next_of(Kind::Event).await
    }

    /// The next place in line; `None` at the stream's end.
    pub async fn place(&mut self) -> Option<Value> {
        Some(self.next_of(Kind::Place).await?.data)
    }

    async fn next_of(&mut self, kind: Kind) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = message.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    lines.map(str::trim).next().map(str::to_owned)
                };
                let parsed = field("data").map(|data| Message {
                    id: field("id").unwrap_or_default(),
                    retry: field("retry"),
                    data: serde_json::from_str(&data).expect("each message is JSON"),
                });
                let wanted = match kind {
                    Kind::Event => field("event").is_none(),
                    Kind::Place => field("event").as_deref() == Some("queue"),
                };
                self.read = rest.to_owned();
                match parsed.filter(|_| wanted) {
                    Some(message) => {
                        assert_eq!(message.id.is_empty(), matches!(kind, Kind::Place), "events have ids");
                        return Some(message);
                    }
                    None => continue, // a comment, or of the other kind
                }
            }
            let frame = timeout(Duration::from_secs(20), self.body.frame()).await.expect("something in time")?;
            let data = frame.expect("the stream is whole").into_data().unwrap_or_default();
            self.read.push_str(std::str::from_utf8(&data).expect("it is text"));
        }
    }

    /// The versions and types of all that comes until its end.
    pub async fn rest(mut self) -> Vec<(String, String)> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push((message.version(), message.data["type"].as_str().expect("a type").to_owned()));
        }
        messages
    }
}

fn listed(messages: &[(&str, &str)]) -> Vec<(String, String)> {
    messages.iter().map(|(id, kind)| ((*id).to_owned(), (*kind).to_owned())).collect()
}

async fn launched(server: &Server) -> (Client, String) {
    let browser = server.browser().await;
    let id = browser.post("/api/clusters", json!({})).await.is(202).id();
    (browser, id)
}

async fn end(server: &Server, browser: &Client, id: &str) {
    browser.delete(&format!("/api/clusters/{id}")).await.is(202);
    server.report(id, Observation::Absent).await;
}

#[tokio::test]
async fn history_comes_first_then_what_happens_until_the_cluster_is_gone() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    let mut stream = Stream::open(&browser, &id).await;
    let first = stream.next().await.expect("the launch");
    assert_eq!(
        (first.id.as_str(), first.retry.as_deref()),
        (first.data["position"].as_str().expect("it"), Some("1000"))
    );
    assert_eq!((&first.data["type"], &first.data["version"]), (&json!("LaunchRequested"), &json!(1)));
    assert_eq!(first.data["summary"], "Launch requested, with 2 workers");
    assert_eq!(first.data["elapsed_seconds"], 0.0);
    server.make_ready(&id, 2).await;
    let ready = stream.next().await.expect("the notebook");
    assert_eq!((ready.data["type"].as_str(), ready.retry), (Some("BecameReady"), None));
    assert_eq!(stream.next().await.expect("the workers").data["summary"], "2 workers connected");
    end(&server, &browser, &id).await;
    assert_eq!(stream.rest().await, listed(&[("4", "StopRequested"), ("5", "Removed")]));
}

#[tokio::test]
async fn what_was_seen_before_is_not_sent_again() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    server.make_ready(&id, 2).await;
    let mut before = Stream::open(&browser, &id).await;
    before.next().await.expect("the launch");
    let seen = before.next().await.expect("the notebook").id;
    let mut stream = Stream::open(&browser.with("last-event-id", &seen), &id).await;
    assert_eq!(stream.next().await.expect("the workers").version(), "3");
    end(&server, &browser, &id).await;
    assert_eq!(stream.rest().await, listed(&[("4", "StopRequested"), ("5", "Removed")]));
}

#[tokio::test]
async fn the_stream_of_a_cluster_that_is_gone_ends() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    end(&server, &browser, &id).await;
    let history = [("1", "LaunchRequested"), ("2", "StopRequested"), ("3", "Removed")];
    assert_eq!(Stream::open(&browser, &id).await.rest().await, listed(&history));
    let mut stream = Stream::open(&browser, &id).await;
    let mut last = stream.next().await.expect("the launch").id;
    while let Some(message) = stream.next().await {
        last = message.id;
    }
    let again = browser.with("last-event-id", &last).get(&format!("/api/clusters/{id}/events")).await;
    again.is(204); // an EventSource then asks no more
}

#[tokio::test]
async fn when_the_log_goes_on_in_another_epoch_streams_end_and_are_asked_for_again() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    let mut stream = Stream::open(&browser, &id).await;
    let seen = stream.next().await.expect("the launch").id;
    let (_, other) = launched(&server).await;
    let followed = async || server.feed.epoch().filter(|epoch| *epoch == 1);
    eventually("the feed", followed).await;
    begin_epoch(&server.pool).await;
    server.make_ready(&other, 1).await;
    assert_eq!(stream.rest().await, [], "whatever it was that happened");
    server.make_ready(&id, 1).await;
    let mut again = Stream::open(&browser.with("last-event-id", &seen), &id).await;
    assert_eq!(again.next().await.expect("the notebook").version(), "2", "it goes on");
    let lost = "1.9999999.9999999";
    let mut anew = Stream::open(&browser.with("last-event-id", lost), &id).await;
    assert_eq!(anew.next().await.expect("the launch").version(), "1", "the log has no such event");
}

#[tokio::test]
async fn many_watch_one_cluster_and_each_gets_everything() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(Stream::open(&browser, &id).await);
    }
    server.make_ready(&id, 1).await;
    end(&server, &browser, &id).await;
    for stream in streams {
        let kinds: Vec<_> = stream.rest().await.into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, ["LaunchRequested", "BecameReady", "Scaled", "StopRequested", "Removed"]);
    }
}

#[tokio::test]
async fn nobody_sees_events_of_another_cluster() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    let (other, other_id) = launched(&server).await;
    let stream = Stream::open(&browser, &id).await;
    end(&server, &other, &other_id).await;
    end(&server, &browser, &id).await;
    assert_eq!(stream.rest().await.len(), 3);
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    for wrong in ["x", "-1", "1.5", "", "2", "1.2.-3", "1.2.3.4", "1.99999999999999999999.1"] {
        let answer = browser.with("last-event-id", wrong).get(&format!("/api/clusters/{id}/events")).await;
        answer.refused(400, "invalid_last_event_id");
    }
}

#[tokio::test]
async fn streams_end_and_the_server_with_them_when_it_is_told_to_stop() {
    let server = Server::start().await;
    let (browser, id) = launched(&server).await;
    let mut stream = Stream::open(&browser, &id).await;
    stream.next().await.expect("the launch");
    server.stop.send_replace(true);
    assert_eq!(stream.rest().await, []);
    timeout(Duration::from_secs(10), server.serving).await.expect("the server ends").expect("and well");
}
