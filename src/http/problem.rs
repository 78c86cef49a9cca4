//! Every failure of a request: one status, one code for programs, one sentence for people, one next step.

use serde::Serialize;
use utoipa::ToSchema;
use warp::Reply;
use warp::http::{StatusCode, header};
use warp::reply::Response;

use crate::domain::story::capitalised;
use crate::domain::{Invalid, Refusal};
use crate::error_chain::chain;
use crate::service::ExecuteError;
use crate::store::{Limit, StoreError};

/// A failure as it is answered.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    action: String,
    retry_after: Option<u32>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// For programs; never changes for the same cause.
    #[schema(example = "too_many_clusters")]
    code: &'static str,
    /// What is wrong.
    message: String,
    /// What to do next.
    action: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), action: String::new(), retry_after: None }
    }

    pub(super) fn action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// In seconds.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn no_such_cluster(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_cluster", format!("You have no cluster {id:?}"))
            .action("Look at GET /api/clusters for those that you have")
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %chain(error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side")
            .action("Try again in a moment; tell the organiser if it stays")
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        let detail = ErrorDetail { code: self.code, message: self.message, action: self.action };
        let body = warp::reply::json(&ErrorBody { error: detail });
        let mut response = warp::reply::with_status(body, self.status).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", format!("The {invalid}"))
            .action("Correct it and send the request again")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key was used before, for another request",
            )
            .action("Make a new key for a new request"),
            StoreError::OverLimit(Limit::ClustersPerOwner) => {
                Self::new(StatusCode::CONFLICT, "too_many_clusters", "You have as many clusters as you may")
                    .action("Stop one of them first")
            }
            StoreError::OverLimit(Limit::TotalWorkers) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_room",
                "All workers that the organiser has set aside are in use",
            )
            .action("Ask for fewer workers, or try again in a minute")
            .retry_after(60),
            // Of workers, who let others wait.
            error @ StoreError::OverLimit(Limit::Admission) => Self::internal(&error),
            StoreError::Conflict => {
                Self::new(StatusCode::CONFLICT, "busy", "The cluster is being changed").action("Try again")
            }
            StoreError::Forgotten => Self::new(
                StatusCode::UNAUTHORIZED,
                "forgotten",
                "Who you were here was forgotten, as somebody has asked for",
            )
            .action("Open the start page again, and you are somebody new"),
            StoreError::Archived { what } => Self::new(
                StatusCode::GONE,
                "archived",
                format!("{} is in the archive", capitalised(&what)),
            )
            .action("Ask with skip_archived=true for the rest, or ask the operator for `slipway archive attach`"),
            error @ (StoreError::Database { .. }
            | StoreError::Schema { .. }
            | StoreError::Standby
            | StoreError::Pooled
            | StoreError::Denied { .. }) => {
                tracing::error!(error = %chain(&error), "the database does not answer");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_away", "The database does not answer")
                    .action("Try again in a moment: with the same Idempotency-Key nothing is done twice")
                    .retry_after(2)
            }
            error @ (StoreError::Unreadable { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Stored { .. }
            | StoreError::Migrate(_)) => Self::internal(&error),
        }
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Store(error) => error.into(),
            ExecuteError::Refused(refusal) => {
                let (status, code, action) = match &refusal {
                    Refusal::Unknown(_) => (StatusCode::NOT_FOUND, "no_such_cluster", "Launch a cluster first"),
                    Refusal::Exists(_) => (StatusCode::CONFLICT, "exists", "Try again"),
                    Refusal::Stopped(_) => (StatusCode::CONFLICT, "stopped", "Launch a new cluster"),
                    Refusal::InLine(_) => (StatusCode::CONFLICT, "in_line", "Wait for its turn, or stop it"),
                    Refusal::Gone(_) => (StatusCode::CONFLICT, "gone", "Launch a new cluster"),
                    Refusal::Unclaimed(_) => (StatusCode::CONFLICT, "unclaimed", "Launch a cluster instead"),
                    Refusal::NotClaimable(_) => (StatusCode::CONFLICT, "not_claimable", "Launch a cluster"),
                    Refusal::TooManyShares(_) => {
                        (StatusCode::CONFLICT, "too_many_shares", "Revoke one of them first")
                    }
                    Refusal::NoSuchShare { .. } => (
                        StatusCode::NOT_FOUND,
                        "no_such_share",
                        "Look at GET /api/clusters/ID/shares for those there are",
                    ),
                    Refusal::TooManyWorkers { .. } => {
                        (StatusCode::UNPROCESSABLE_ENTITY, "too_many_workers", "Ask for fewer workers")
                    }
                };
                Self::new(status, code, capitalised(&refusal.to_string())).action(action)
            }
            ExecuteError::Busy(_) => {
                Self::new(StatusCode::CONFLICT, "busy", capitalised(&error.to_string())).action("Try again")
            }
            error @ ExecuteError::Decision(_) => Self::internal(&error),
        }
    }
}
