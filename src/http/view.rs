//! Clusters and events as the API shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::line::Place;
use crate::domain::{Engine, Keyring, RoutePath, story};
use crate::store::clusters::ClusterRow;
use crate::store::events::Recorded;

/// A cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterView {
    #[schema(example = "cluster-678343")]
    id: String,
    owner: String,
    profile: String,
    #[schema(example = "running", pattern = "^(launching|running|stopping|failed|stopped)$")]
    status: &'static str,
    /// Where its launch stands in line; absent when it does not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueView>,
    workers: WorkersView,
    /// Who may enter beside its owner and those with a share link.
    #[schema(example = "owner", pattern = "^(owner|class|public)$")]
    access: &'static str,
    materials: Vec<String>,
    /// The notebook, with the pass that opens it; once it runs.
    #[schema(example = "/cluster-678343/lab?token=…")]
    url: Option<String>,
    dashboard_url: Option<String>,
    /// A path with the pass that lets programs in; `Client("ws://host/cluster-678343_9000?token=…")` connects to it.
    #[schema(example = "/cluster-678343_9000?token=…")]
    scheduler_url: Option<String>,
    /// Where the ports lead that the profile has named, by their names; once it runs.
    #[schema(example = json!({"app": "/cluster-678343_app/"}))]
    port_urls: BTreeMap<String, String>,
    created_at: String,
    ready_at: Option<String>,
    /// It was ready before it was asked for.
    claimed: bool,
    last_activity: Option<String>,
    /// When it will be stopped if nobody uses it until then.
    culls_at: Option<String>,
    /// When it will be stopped in any case.
    expires_at: Option<String>,
    ended_at: Option<String>,
    /// Why it failed or was stopped.
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct WorkersView {
    wanted: u16,
    ready: u16,
    /// As many as it may be scaled to.
    most: u16,
}

/// A place in the line of launches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct QueueView {
    /// The first is 1.
    #[schema(example = 17)]
    position: u32,
    /// Launches that come before it.
    ahead: u32,
    /// Until it is ready, as far as earlier launches can tell; absent when there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate_seconds: Option<u32>,
    /// In plain words.
    #[schema(example = "You are number 17 in line, about 2 minutes")]
    summary: String,
}

impl From<Place> for QueueView {
    fn from(place: Place) -> Self {
        let Place { position, seconds } = place;
        Self { position, ahead: position - 1, estimate_seconds: seconds, summary: place.sentence() }
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl ClusterView {
    pub(super) fn of(row: &ClusterRow, place: Option<Place>, keyring: &Keyring) -> Self {
        let cluster = &row.cluster;
        let running = cluster.phase.endpoint().is_some();
        // Nobody is told the way into what is nobody's.
        let open = running && !cluster.is_unclaimed();
        let path = |engine| open.then(|| RoutePath::of(cluster.id, engine).to_string());
        let after = |since: Option<DateTime<Utc>>, seconds: u32| {
            since.filter(|_| seconds > 0).map(|since| time(since + TimeDelta::seconds(seconds.into())))
        };
        let named =
            cluster.phase.endpoint().filter(|_| open).map(|endpoint| &endpoint.named).into_iter().flatten();
        let live = cluster.phase.is_live();
        Self {
            id: cluster.id.to_string(),
            owner: cluster.owner.to_string(),
            profile: cluster.profile.to_string(),
            status: cluster.phase.status(),
            queue: place.map(QueueView::from),
            workers: WorkersView {
                wanted: cluster.workers.get(),
                ready: cluster.phase.workers_ready(),
                most: cluster.limits.workers.get(),
            },
            access: cluster.access.word(),
            materials: cluster.materials.iter().map(ToString::to_string).collect(),
            url: open.then(|| keyring.notebook_path(cluster.id, cluster.claimant())),
            dashboard_url: path(Engine::DaskDashboard).map(|path| format!("{path}/status")),
            scheduler_url: open.then(|| keyring.scheduler_path(cluster.id, cluster.claimant())),
            // Relative links of a page work only below a slash.
            port_urls: named
                .map(|(name, _)| (name.to_string(), format!("{}/", RoutePath::named(cluster.id, name))))
                .collect(),
            created_at: time(row.asked_at()),
            ready_at: row.ready_at.max(row.claimed_at).map(time),
            claimed: cluster.claimed,
            last_activity: row.last_activity.map(time),
            culls_at: after(row.idle_since().filter(|_| running), cluster.limits.idle_seconds),
            expires_at: after(row.lives_since().filter(|_| live), cluster.limits.lifetime_seconds),
            ended_at: row.ended_at.map(time),
            reason: story::ending(&cluster.phase),
        }
    }
}

/// An event of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventView {
    /// Where it stands in the log; opaque. Give it back as `after`.
    #[schema(example = "1.742.12")]
    position: String,
    cluster: String,
    version: i64,
    #[schema(example = "LaunchRequested")]
    r#type: &'static str,
    data: serde_json::Value,
    recorded_at: String,
    actor: String,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    /// Since the launch was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_seconds: Option<f64>,
    /// In plain words.
    summary: String,
}

impl EventView {
    pub(super) fn of(recorded: &Recorded, launched_at: Option<DateTime<Utc>>) -> Self {
        let elapsed = launched_at.map(|since| (recorded.recorded_at - since).num_milliseconds() as f64 / 1000.0);
        Self {
            position: recorded.position.to_string(),
            cluster: recorded.cluster.to_string(),
            version: recorded.version,
            r#type: recorded.event.kind(),
            data: recorded.event.data(),
            recorded_at: time(recorded.recorded_at),
            actor: recorded.actor.to_string(),
            correlation_id: recorded.correlation,
            causation_id: recorded.causation,
            elapsed_seconds: elapsed,
            summary: story::sentence(&recorded.event),
        }
    }
}
