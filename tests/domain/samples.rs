//! Values that the tests of the domain have in common.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone, Utc};
use slipway::domain::cluster::{Impossible, decide, evolve, replay};
use slipway::domain::{
    Access, Claim, Cluster, ClusterId, Command, Endpoint, Engine, Event, IdleEvidence, Launch, Limits,
    Observation, ParkReason, Refusal, Repository, ShareId, Step, StopReason, Subject, WorkerCount,
};

pub fn id() -> ClusterId {
    "cluster-678343".parse().expect("a valid id")
}

pub fn workers(count: i64) -> WorkerCount {
    count.try_into().expect("a valid worker count")
}

pub fn time(minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 10, 1, 9, minute, 0).single().expect("a time")
}

pub fn course() -> Repository {
    "https://example.org/course.git@2026".parse().expect("a valid repository")
}

pub fn limits() -> Limits {
    Limits { workers: workers(8), idle_seconds: 3_600, lifetime_seconds: 28_800 }
}

pub fn launch() -> Launch {
    Launch {
        owner: "browser:1f0c".parse().expect("a valid subject"),
        profile: "default".parse().expect("a valid profile"),
        workers: workers(2),
        materials: vec![course()],
        limits: limits(),
        access: Access::Owner,
    }
}

/// As whose the clusters of these tests are kept ready.
pub fn pool() -> Subject {
    Subject::of_pool(&launch().profile, [7; 8])
}

pub fn stock() -> Launch {
    Launch { owner: pool(), ..launch() }
}

/// The claim of one that is kept ready, by whoever asks for as many workers as it has.
pub fn claim() -> Claim {
    let Launch { owner, workers, access, .. } = launch();
    Claim { pool: pool(), owner, workers, access }
}

pub fn claimed() -> Event {
    Event::Claimed { owner: launch().owner }
}

pub fn launched() -> Event {
    launched_as(launch())
}

pub fn launched_as(launch: Launch) -> Event {
    let Launch { owner, profile, workers, materials, limits, access: _ } = launch;
    Event::LaunchRequested { owner, profile, workers, materials, limits }
}

pub fn endpoint(first_port: u16) -> Endpoint {
    let ports = Engine::ALL.into_iter().zip(first_port..).collect::<BTreeMap<_, _>>();
    Endpoint { address: [10, 20, 1, 17].into(), ports, named: [].into() }
}

pub fn ready() -> Event {
    Event::BecameReady(endpoint(8080))
}

pub fn present(steps: &[Step], endpoint: Option<Endpoint>, workers_ready: u16) -> Command {
    Command::Report(Observation::Present { steps: steps.to_vec(), endpoint, workers_ready })
}

pub fn absent() -> Command {
    Command::Report(Observation::Absent)
}

pub fn give_up(why: &str) -> Command {
    Command::GiveUp { why: why.to_owned() }
}

pub fn share() -> ShareId {
    ShareId::from_number(0x1f0c_5a9b_e24d_7713)
}

pub fn shared() -> Event {
    Event::Shared { id: share(), until: time(30) }
}

pub fn put_aside() -> ParkReason {
    ParkReason::Admin { why: "the node is being repaired".to_owned() }
}

pub fn removal_failed() -> ParkReason {
    ParkReason::Failed { why: "it could not be removed, 8 times in a row: no answer".to_owned() }
}

pub fn parked(reason: ParkReason) -> Event {
    Event::Parked { reason }
}

pub fn stop_requested() -> Event {
    Event::StopRequested { reason: StopReason::Owner }
}

pub fn launch_failed() -> Event {
    Event::LaunchFailed { why: "no room".to_owned() }
}

pub fn every_step() -> Vec<Step> {
    vec![
        Step::Prepared,
        Step::MaterialsCloned {
            repository: course(),
            commit: "9fceb02d0ae598e95dc970b74767f19372d61af8".to_owned(),
        },
        Step::MaterialsFailed { repository: course(), why: "there is no branch 2026".to_owned() },
        Step::SchedulerStarted,
        held(),
    ]
}

/// Something outside that keeps it from getting further.
pub fn held() -> Step {
    Step::Held {
        why: "waiting for a machine: 0/3 nodes are available: 3 Insufficient cpu (Unschedulable)".to_owned(),
    }
}

pub fn every_reason() -> Vec<StopReason> {
    vec![
        StopReason::Owner,
        StopReason::Admin,
        StopReason::Idle(IdleEvidence {
            last_activity: time(0),
            limit_seconds: 3_600,
            kernels: 1,
            tasks_in_flight: Some(0),
        }),
        StopReason::Expired { launched_at: time(0), lifetime_seconds: 28_800 },
        StopReason::Failed { why: "the machine is gone".to_owned() },
        StopReason::Surplus,
        StopReason::Outdated,
    ]
}

/// A history that leads into each phase, and its name.
pub fn every_phase() -> Vec<(&'static str, Vec<Event>)> {
    vec![
        ("waiting", vec![launched()]),
        ("launching", vec![launched(), Event::Admitted {}]),
        ("running", vec![launched(), Event::Admitted {}, ready()]),
        ("running with workers", vec![launched(), Event::Admitted {}, ready(), Event::Scaled { workers: 2 }]),
        ("failed", vec![launched(), Event::Admitted {}, launch_failed()]),
        ("stopping", vec![launched(), Event::Admitted {}, ready(), stop_requested()]),
        ("gone after a failure", vec![launched(), Event::Admitted {}, launch_failed(), Event::Removed {}]),
        ("gone after a stop", vec![launched(), stop_requested(), Event::Removed {}]),
    ]
}

pub fn phase(name: &str) -> Vec<Event> {
    every_phase().into_iter().find(|(phase, _)| *phase == name).expect("a known phase").1
}

/// What has happened so far.
pub struct Given(pub Vec<Event>);

impl Given {
    pub fn nothing() -> Self {
        Self(vec![])
    }

    pub fn phase(name: &str) -> Self {
        Self(phase(name))
    }

    pub fn and(mut self, event: Event) -> Self {
        self.0.push(event);
        self
    }

    pub fn state(&self) -> Option<Cluster> {
        replay(id(), &self.0).expect("a history that can be")
    }

    pub fn when(self, command: &Command) -> Outcome {
        Outcome { decided: decide(id(), self.state().as_ref(), command), before: self.state() }
    }
}

pub struct Outcome {
    pub decided: Result<Vec<Event>, Refusal>,
    before: Option<Cluster>,
}

impl Outcome {
    /// Also that the events can follow, one after the other.
    #[track_caller]
    pub fn then(self, events: &[Event]) {
        assert_eq!(self.decided.as_deref(), Ok(events));
        let after: Result<Option<Cluster>, Impossible> =
            events.iter().try_fold(self.before, |state, event| evolve(id(), state, event).map(Some));
        after.expect("what is decided can follow");
    }

    #[track_caller]
    pub fn then_refused(self, refusal: &Refusal) {
        assert_eq!(self.decided.as_ref(), Err(refusal));
    }
}
