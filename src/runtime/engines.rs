//! Questions to a cluster's notebook server and Dask scheduler, wherever they run.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;

use crate::domain::{ClusterId, Endpoint, Engine, Repository, RoutePath, Step};

/// Asks; connections are kept for the next question.
#[derive(Debug, Clone)]
pub struct Engines {
    client: Client<HttpConnector, Empty<Bytes>>,
    patience: Duration,
}

/// What a cluster is doing, as its engines tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineActivity {
    pub kernels: u32,
    /// Kernels that execute a cell now. One that starts is not: its last activity is recent, and Jupyter says
    /// so for ever of a kernel that nobody ever connected to.
    pub busy_kernels: u32,
    /// When a kernel last sent or received anything.
    pub last_kernel_activity: Option<DateTime<Utc>>,
    pub terminals: u32,
    pub last_terminal_activity: Option<DateTime<Utc>>,
    /// Dask tasks that run, or wait for others, for a worker or for their turn.
    pub tasks_in_flight: u64,
}

/// A worker that is connected to the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaskWorker {
    pub name: String,
    /// It was asked to leave and takes no more tasks.
    pub leaving: bool,
}

/// How far the cluster's materials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Materials {
    /// Whether all have been fetched, or given up.
    pub done: bool,
    pub steps: Vec<Step>,
}

/// Why an engine's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens there, or the cluster has no such engine.
    #[error("{engine:?} of {id} is not running")]
    NotRunning {
        id: ClusterId,
        engine: Engine,
        #[source]
        source: Option<hyper_util::client::legacy::Error>,
    },
    /// It may be overloaded, or on its way up or down.
    #[error("{engine:?} of {id} did not answer within {} ms", patience.as_millis())]
    Silent { id: ClusterId, engine: Engine, patience: Duration },
    #[error("the connection to {engine:?} of {id} broke")]
    Broken {
        id: ClusterId,
        engine: Engine,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{engine:?} of {id} answered {status}")]
    Refused { id: ClusterId, engine: Engine, status: StatusCode },
    #[error("{engine:?} of {id} answered what cannot be understood")]
    Unclear {
        id: ClusterId,
        engine: Engine,
        #[source]
        source: serde_json::Error,
    },
}

/// A thousand workers with their metrics are 2 MB.
const LARGEST_ANSWER: usize = 16 << 20;

impl Engines {
    pub fn new(patience: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(patience));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        Self { client, patience }
    }

    /// Everything that is known of the use of a cluster.
    ///
    /// # Errors
    /// The first engine's that gave no answer: what one does not tell must not be taken for idleness.
    pub async fn activity(
        &self,
        endpoint: &Endpoint,
        token: &str,
        id: ClusterId,
    ) -> Result<EngineActivity, EngineError> {
        let notebook = place(endpoint, Engine::Notebook, id)?;
        let dashboard = place(endpoint, Engine::DaskDashboard, id)?;
        let (kernels, terminals, counts) = tokio::join!(
            self.ask::<Vec<Kernel>>(id, Engine::Notebook, notebook, "/api/kernels", Some(token)),
            self.ask::<Vec<Terminal>>(id, Engine::Notebook, notebook, "/api/terminals", Some(token)),
            self.ask::<Counts>(id, Engine::DaskDashboard, dashboard, "/json/counts.json", None),
        );
        let (kernels, counts) = (kernels?, counts?);
        let terminals = match terminals {
            Ok(terminals) => terminals,
            // A server without terminals.
            Err(EngineError::Refused { status: StatusCode::NOT_FOUND, .. }) => vec![],
            Err(error) => return Err(error),
        };
        Ok(EngineActivity {
            kernels: count(kernels.len()),
            busy_kernels: count(kernels.iter().filter(|kernel| kernel.execution_state == "busy").count()),
            last_kernel_activity: kernels.iter().map(|kernel| kernel.last_activity).max(),
            terminals: count(terminals.len()),
            last_terminal_activity: terminals.iter().filter_map(|terminal| terminal.last_activity).max(),
            tasks_in_flight: counts.in_flight(),
        })
    }

    /// Whether the notebook server answers requests.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn notebook(&self, id: ClusterId, place: SocketAddr) -> Result<(), EngineError> {
        // The one address of its API that asks for no token.
        self.ask::<serde_json::Value>(id, Engine::Notebook, place, "/api", None).await.map(drop)
    }

    /// The workers that are connected to the scheduler whose dashboard is there.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn workers(&self, id: ClusterId, place: SocketAddr) -> Result<Vec<DaskWorker>, EngineError> {
        // Added by ops/image/scheduler_preload.py, which says why.
        let answer: Workers = self.ask(id, Engine::DaskDashboard, place, "/json/workers.json", None).await?;
        let leaving = |status: &str| status.starts_with("clos");
        Ok(answer
            .workers
            .into_iter()
            .map(|worker| DaskWorker { leaving: leaving(&worker.status), name: worker.name })
            .collect())
    }

    /// What became of the materials that the cluster was launched with.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn materials(&self, id: ClusterId, endpoint: &Endpoint) -> Result<Materials, EngineError> {
        let place = place(endpoint, Engine::DaskDashboard, id)?;
        let answer: MaterialsAnswer =
            self.ask(id, Engine::DaskDashboard, place, "/json/materials.json", None).await?;
        let step = |fetched: Fetched| match fetched {
            Fetched::Cloned { repository, commit } => Step::MaterialsCloned { repository, commit },
            Fetched::Failed { repository, why } => Step::MaterialsFailed { repository, why },
        };
        Ok(Materials { done: answer.done, steps: answer.materials.into_iter().map(step).collect() })
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        id: ClusterId,
        engine: Engine,
        place: SocketAddr,
        path: &str,
        token: Option<&str>,
    ) -> Result<T, EngineError> {
        let body = tokio::time::timeout(self.patience, self.get(id, engine, place, path, token))
            .await
            .map_err(|_| EngineError::Silent { id, engine, patience: self.patience })??;
        serde_json::from_slice(&body).map_err(|source| EngineError::Unclear { id, engine, source })
    }

    async fn get(
        &self,
        id: ClusterId,
        engine: Engine,
        place: SocketAddr,
        path: &str,
        token: Option<&str>,
    ) -> Result<Bytes, EngineError> {
        let mut request = Request::get(format!("http://{place}{}{path}", RoutePath::of(id, engine)));
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, format!("token {token}"));
        }
        let request = request.body(Empty::new()).map_err(|source| EngineError::Broken {
            id,
            engine,
            source: source.into(),
        })?;
        let response = self.client.request(request).await.map_err(|source| {
            if source.is_connect() {
                EngineError::NotRunning { id, engine, source: Some(source) }
            } else {
                EngineError::Broken { id, engine, source: source.into() }
            }
        })?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(EngineError::Refused { id, engine, status });
        }
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        Ok(body.map_err(|source| EngineError::Broken { id, engine, source })?.to_bytes())
    }
}

fn place(endpoint: &Endpoint, engine: Engine, id: ClusterId) -> Result<SocketAddr, EngineError> {
    match endpoint.ports.get(&engine) {
        Some(port) => Ok(SocketAddr::new(endpoint.address, *port)),
        None => Err(EngineError::NotRunning { id, engine, source: None }),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[derive(Deserialize)]
struct Kernel {
    execution_state: String,
    last_activity: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Terminal {
    #[serde(default)]
    last_activity: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Workers {
    workers: Vec<Worker>,
}

#[derive(Deserialize)]
struct Worker {
    name: String,
    status: String,
}

/// Told by ops/image, where the cluster is a pod.
#[derive(Deserialize)]
struct MaterialsAnswer {
    done: bool,
    materials: Vec<Fetched>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Fetched {
    Cloned { repository: Repository, commit: String },
    Failed { repository: Repository, why: String },
}

/// Dask's `/json/counts.json`, in `distributed/http/scheduler/json.py`.
#[derive(Deserialize)]
struct Counts {
    /// Assigned to a worker and not finished.
    processing: u64,
    /// Have an unfinished dependency.
    waiting: u64,
    /// No worker may run them.
    unrunnable: u64,
    workers: u64,
    /// How many workers an adaptive cluster would have.
    desired_workers: u64,
}

impl Counts {
    /// Tasks that are ready and kept back by the scheduler are in none of the three counts. That is so only
    /// while every worker is busy, hence `processing` is not 0, or while there are no workers at all: then an
    /// adaptive cluster would want some.
    fn in_flight(&self) -> u64 {
        let kept_back = if self.workers == 0 { self.desired_workers } else { 0 };
        self.processing + self.waiting + self.unrunnable + kept_back
    }
}
