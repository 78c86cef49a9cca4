//! Requests to the API server, and what their failures mean.

use std::time::Duration;

use http::StatusCode;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, ValidationDirective};
use kube::core::Status;
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::kind::Kind;
use super::manifest::{MANAGER, Manifest};
use super::reasons::{spoken, will_pass};
use crate::domain::{ClusterId, WorkerCount};
use crate::runtime::RuntimeError;

/// The API server, asked by so many at a time.
pub struct Calls {
    client: Client,
    permits: Semaphore,
}

/// Why a request had no effect.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("there is no such object")]
    NotFound,
    #[error("there is one already")]
    Exists,
    /// The namespace is being removed: nothing can be put into it.
    #[error("the namespace is being removed")]
    Terminating,
    /// Kubernetes says no, and will again: a quota, a policy, an impossible object.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// Worth another try.
    #[error("{}", .0.message)]
    NotNow(Box<Status>),
    #[error("the Kubernetes API server does not answer")]
    Unavailable(#[source] Box<kube::Error>),
}

impl CallError {
    /// As the runtime says it of one cluster. `doing` is what was tried.
    pub fn of(self, doing: impl FnOnce() -> String) -> RuntimeError {
        match self {
            Self::Unavailable(source) => {
                RuntimeError::Unavailable { what: "the Kubernetes API server", source: Some(source) }
            }
            Self::Refused(status) => RuntimeError::Permanent {
                why: format!("{}: Kubernetes says: {}", doing(), spoken(&status.reason, &status.message)),
            },
            error @ (Self::NotFound | Self::Exists | Self::Terminating | Self::NotNow(_)) => {
                RuntimeError::temporary(doing(), error)
            }
        }
    }
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable(Box::new(error));
        };
        match (StatusCode::from_u16(status.code).unwrap_or_default(), status.reason.as_str()) {
            (StatusCode::NOT_FOUND, _) => Self::NotFound,
            (StatusCode::CONFLICT, "AlreadyExists") => Self::Exists,
            (StatusCode::FORBIDDEN, _) => forbidden(status),
            (StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST, _) => Self::Refused(status),
            (StatusCode::CONFLICT | StatusCode::GONE, _) => Self::NotNow(status),
            _ => Self::Unavailable(Box::new(kube::Error::Api(status))),
        }
    }
}

/// Of a namespace's first moments.
fn is_early(status: &Status) -> bool {
    status.code == 403 && will_pass(&status.message)
}

fn forbidden(status: Box<Status>) -> CallError {
    let is_terminating = |cause: &kube::core::response::StatusCause| cause.reason == "NamespaceTerminating";
    if status.details.as_ref().is_some_and(|details| details.causes.iter().any(is_terminating)) {
        return CallError::Terminating;
    }
    if will_pass(&status.message) { CallError::NotNow(status) } else { CallError::Refused(status) }
}

/// A client whose patience is ours: kube's own goes on for a quarter of an hour.
///
/// # Errors
/// When the settings of the connection cannot be used.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config)
}

/// Gives a busy API server a moment; a longer one is for the pass to wait.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    const PAUSES: [Duration; 3] =
        [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
    for pause in PAUSES {
        match call().await {
            Err(kube::Error::Api(status)) if matches!(status.code, 429 | 503 | 504) || is_early(&status) => {
                let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let asked = Duration::from_secs(asked.min(2).into());
                sleep(pause.max(asked).mul_f64(rand::random_range(0.8..1.2))).await;
            }
            outcome => return Ok(outcome?),
        }
    }
    Ok(call().await?)
}

impl Calls {
    pub fn new(client: Client, at_once: usize) -> Self {
        Self { client, permits: Semaphore::new(at_once) }
    }

    /// Creates an object that must not be there yet, which takes the API server less than to apply one.
    ///
    /// # Errors
    /// [`CallError::Exists`] when it is.
    pub async fn create(&self, id: ClusterId, manifest: &Manifest) -> Result<DynamicObject, CallError> {
        let _permit = self.permit().await;
        let object: DynamicObject =
            serde_json::from_value(manifest.body.clone()).map_err(kube::Error::SerdeError)?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api(id, manifest.kind);
        patiently(|| api.create(&params, &object)).await
    }

    /// Creates an object or makes it what it should be, as far as slipway says.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn apply(&self, id: ClusterId, manifest: &Manifest) -> Result<DynamicObject, CallError> {
        let _permit = self.permit().await;
        let params = PatchParams {
            force: true,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let name = if manifest.kind == Kind::Namespace { id.to_string() } else { manifest.name.to_owned() };
        let (api, patch) = (self.api(id, manifest.kind), Patch::Apply(&manifest.body));
        patiently(|| api.patch(&name, &params, &patch)).await
    }

    /// Changes nothing but how many pods the controller keeps.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn scale(
        &self,
        id: ClusterId,
        name: &str,
        replicas: WorkerCount,
    ) -> Result<DynamicObject, CallError> {
        let _permit = self.permit().await;
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas.get() } }));
        let api = self.api(id, Kind::ReplicationController);
        patiently(|| api.patch(name, &params, &patch)).await
    }

    /// # Errors
    /// [`CallError::NotFound`] when it is not there.
    pub async fn namespace(&self, id: ClusterId) -> Result<DynamicObject, CallError> {
        let _permit = self.permit().await;
        let (api, name) = (self.api(id, Kind::Namespace), id.to_string());
        patiently(|| api.get(&name)).await
    }

    /// Asks for the removal of just this object, not of another of its name.
    ///
    /// # Errors
    /// As the API server says; none when it is not there.
    pub async fn delete(
        &self,
        id: ClusterId,
        kind: Kind,
        name: &str,
        uid: &str,
        at_once: bool,
    ) -> Result<(), CallError> {
        let _permit = self.permit().await;
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            grace_period_seconds: at_once.then_some(0),
            ..DeleteParams::default()
        };
        let api = self.api(id, kind);
        match patiently(|| api.delete(name, &params)).await {
            // Another of its name is there, or it is being removed already.
            Ok(_) | Err(CallError::NotFound | CallError::NotNow(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api(&self, id: ClusterId, kind: Kind) -> Api<DynamicObject> {
        match kind {
            Kind::Namespace => Api::all_with(self.client.clone(), &kind.resource()),
            _ => Api::namespaced_with(self.client.clone(), &id.to_string(), &kind.resource()),
        }
    }

    async fn permit(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }
}
