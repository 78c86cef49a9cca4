//! A server of its own for each test.

use std::net::SocketAddr;
use std::sync::Arc;

use slipway::clock::Clock;
use slipway::domain::{ClusterId, Command, Endpoint, Engine, Keyring, Observation, Profile, Shape};
use slipway::http::{AccessCode, Api, Origins, serve};
use slipway::service::Service;
use slipway::service::feed::Feed;
use slipway::service::line::SharedLine;
use slipway::service::people::Forgotten;
use slipway::store::append::Caps;
use slipway::store::tokens::Bearer;
use slipway::store::{Store, listen};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::client::Client;
use crate::harness::{NO_CAPS, database, launch, meta, subject, writer};

pub struct Server {
    pub address: SocketAddr,
    /// As the API has it.
    pub store: Store,
    /// As who may do anything.
    pub owner: Store,
    pub pool: PgPool,
    /// The database's, for programs.
    pub url: String,
    /// What its live listeners are shown.
    pub feed: Feed,
    /// Records what a worker would, past the API.
    pub service: Service,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
}

pub fn profile() -> Profile {
    let asked = launch("nobody");
    Profile {
        name: asked.profile,
        title: "Jupyter and Dask".to_owned(),
        description: "For tests".to_owned(),
        workers: asked.workers,
        materials: vec!["https://example.org/course.git".parse().expect("a valid repository")],
        limits: asked.limits,
        access: asked.access,
        shape: Shape::default(),
        pool: None,
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(NO_CAPS, None).await
    }

    pub async fn with(caps: Caps, access_code: Option<&str>) -> Self {
        Self::offering(vec![profile()], caps, access_code).await
    }

    pub async fn offering(profiles: Vec<Profile>, caps: Caps, access_code: Option<&str>) -> Self {
        let (pool, url) = database().await;
        let (store, owner) = (writer(&pool), Store::over(pool.clone()));
        let (stop, stopping) = watch::channel(false);
        let (feed, forgotten) = (Feed::default(), Forgotten::default());
        let api = Arc::new(Api {
            service: Service::new(store.clone(), caps),
            feed: feed.clone(),
            line: SharedLine::new(store.clone()),
            keyring: Keyring::new(vec![7; 32]).expect("32 bytes"),
            profiles,
            access_code: access_code.map(|code| AccessCode::new(code.to_owned())),
            origins: Origins { trusted: vec!["127.0.0.0/8".parse().expect("a network")], kept: true },
            forgotten: forgotten.clone(),
            clock: Clock::system(),
            stop: stopping,
        });
        let (bell, heard) = watch::channel(());
        tokio::spawn(listen::announce(store.clone()));
        tokio::spawn(listen::listen(store.clone(), bell));
        let log = store.clone();
        let filled = feed.clone();
        tokio::spawn(async move { filled.run(&log, heard).await });
        let log = store.clone();
        tokio::spawn(async move { forgotten.learn_on(&log).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let serving = tokio::spawn(serve(listener, api));
        let service = Service::new(store.clone(), NO_CAPS);
        Self { address, store, owner, pool, url, feed, service, stop, serving }
    }

    /// Somebody whom the server has not seen.
    pub fn stranger(&self) -> Client {
        Client::new(self.address)
    }

    /// A browser that has opened the page.
    pub async fn browser(&self) -> Client {
        self.stranger().known().await
    }

    pub async fn admin(&self) -> Client {
        let bearer = Bearer { subject: subject("token:organiser"), admin: true };
        self.token("organiser", &bearer).await;
        self.stranger().bearer("organiser")
    }

    pub async fn token(&self, token: &str, bearer: &Bearer) -> Uuid {
        let id = Uuid::new_v4();
        self.store.create_token(id, "for a test", bearer, token, None).await.expect("a token");
        id
    }

    pub async fn report(&self, id: &str, seen: Observation) {
        let id: ClusterId = id.parse().expect("a valid id");
        self.service.execute(id, &Command::Report(seen), &meta("worker:test"), None).await.expect("a report");
    }

    pub async fn make_ready(&self, id: &str, workers_ready: u16) {
        let endpoint = Endpoint {
            address: [127, 0, 0, 1].into(),
            ports: Engine::ALL.into_iter().zip(8_080..).collect(),
            named: [].into(),
        };
        self.report(id, Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready }).await;
    }
}
