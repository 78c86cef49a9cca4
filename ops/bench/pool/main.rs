//! From a click to the answer with a cluster that runs, when a class clicks at once. `ops/bench/pool/run` runs it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and may panic"
)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use slipway::clock::Clock;
use slipway::domain::{
    Access, Command, Endpoint, Engine, Keyring, Limits, Observation, Pool, Profile, Shape, StopReason, Subject,
};
use slipway::http::{Api, Origins, serve};
use slipway::service::Service;
use slipway::service::feed::Feed;
use slipway::service::line::SharedLine;
use slipway::service::people::Forgotten;
use slipway::store::Store;
use slipway::store::append::{Caps, Meta};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Prints a line of JSON for each class of each round.
#[derive(Parser)]
struct Options {
    database: String,
    #[arg(long)]
    clicks: u32,
    #[arg(long)]
    rounds: u32,
}

struct House {
    service: Service,
    keyring: Keyring,
    address: SocketAddr,
    profile: Profile,
    /// The API serves for as long as this is there.
    _stop: watch::Sender<bool>,
}

/// When those of a round click, and whether anything is ready for them.
#[derive(Clone, Copy, PartialEq)]
struct Class {
    name: &'static str,
    within: Duration,
    ready: bool,
}

#[tokio::main]
async fn main() {
    let Options { database, clicks, rounds } = Options::parse();
    let house = House::open(&database).await;
    let second = Duration::from_secs(1);
    let classes = [
        Class { name: "ready, within a second", within: second, ready: true },
        Class { name: "ready, at one instant", within: Duration::ZERO, ready: true },
        Class { name: "none ready, within a second: into the line", within: second, ready: false },
        Class { name: "none ready, at one instant: into the line", within: Duration::ZERO, ready: false },
    ];
    for round in 0..=rounds {
        for class in classes {
            let took: Vec<f64> = house.click(class, clicks).await.iter().map(Duration::as_secs_f64).collect();
            // The first round warms up.
            if round > 0 {
                println!("{}", json!({"class": class.name, "seconds": took}));
            }
        }
    }
}

impl House {
    async fn open(database: &str) -> Self {
        let store = Store::connect(database, 32).await.unwrap();
        store.migrate().await.unwrap();
        let keyring = Keyring::new(vec![7; 32]).unwrap();
        let limits = Limits { workers: 8.try_into().unwrap(), idle_seconds: 3_600, lifetime_seconds: 43_200 };
        let profile = Profile {
            name: "default".parse().unwrap(),
            title: "Dask".to_owned(),
            description: String::new(),
            workers: 2.try_into().unwrap(),
            materials: vec![],
            limits,
            access: Access::Owner,
            shape: Shape::default(),
            pool: Some(Pool { ready: 0, timezone: chrono_tz::UTC, schedule: vec![] }),
        };
        let service = Service::new(store.clone(), Caps { clusters_per_owner: 2, total_workers: 10_000 });
        let stop = watch::Sender::new(false);
        let api = Arc::new(Api {
            service: service.clone(),
            feed: Feed::default(),
            line: SharedLine::new(store.clone()),
            keyring: keyring.clone(),
            profiles: vec![profile.clone()],
            access_code: None,
            origins: Origins { trusted: vec!["127.0.0.0/8".parse().unwrap()], kept: true },
            forgotten: Forgotten::default(),
            clock: Clock::system(),
            stop: stop.subscribe(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, api));
        tokio::spawn(slipway::store::listen::announce(store));
        Self { service, keyring, address, profile, _stop: stop }
    }

    /// One click of each, and how long each answer took; everything is taken away afterwards.
    async fn click(&self, class: Class, clicks: u32) -> Vec<Duration> {
        if class.ready {
            join_all((0..clicks).map(|_| self.keep_one())).await;
            self.settle().await;
        }
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        // As browsers that have opened the page.
        join_all((0..clicks).map(|n| self.ask(&client, n, "GET", "/api/session"))).await;
        let began = Instant::now() + Duration::from_millis(50);
        let answers = join_all((0..clicks).map(|n| {
            let at = began + class.within * n / clicks;
            let client = &client;
            async move {
                sleep_until(at).await;
                let cluster = self.ask(client, n, "POST", "/api/clusters").await;
                (at.elapsed(), cluster)
            }
        }))
        .await;
        let mut ids = HashSet::new();
        let mut took = Vec::new();
        for (time, cluster) in answers {
            assert_eq!(cluster["status"], if class.ready { "running" } else { "launching" }, "{cluster}");
            assert!(ids.insert(cluster["id"].as_str().unwrap().to_owned()), "{cluster}");
            took.push(time);
        }
        let stop = Command::Stop { reason: StopReason::Admin };
        let meta = Meta::by(subject("bench"));
        join_all(ids.iter().map(|id| self.service.execute(id.parse().unwrap(), &stop, &meta, None))).await;
        self.settle().await;
        took
    }

    async fn keep_one(&self) {
        let meta = Meta::by(subject("keeper"));
        let launched = self.service.launch(self.profile.stock(), meta.clone(), None).await.unwrap();
        let id = launched.cluster.id;
        let address = [127, 0, 0, 1].into();
        let endpoint = Endpoint { address, ports: [(Engine::Notebook, 9_999)].into(), named: [].into() };
        let seen = Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 2 };
        for command in [Command::Admit, Command::Report(seen)] {
            self.service.execute(id, &command, &meta, None).await.unwrap();
        }
    }

    async fn settle(&self) {
        let store = self.service.store();
        loop {
            let leases = store.claim("bench", 1_000, Duration::from_secs(60)).await.unwrap();
            if leases.is_empty() {
                return;
            }
            join_all(leases.iter().map(|lease| store.finish(lease))).await;
        }
    }

    async fn ask(
        &self,
        client: &Client<HttpConnector, Full<Bytes>>,
        browser: u32,
        method: &str,
        path: &str,
    ) -> Value {
        let cookie = self.keyring.sign_cookie(&subject(&format!("browser:{browser:032x}")));
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("cookie", format!("slipway={cookie}"))
            .header("content-type", "application/json")
            .body(Full::from(if method == "POST" { "{}" } else { "" }))
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }
}

fn subject(name: &str) -> Subject {
    name.parse().unwrap()
}
