//! One cluster's processes: starting, repairing and retiring them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;
use tokio::time::Instant;
use uuid::Uuid;

use super::LocalConfig;
use super::folder::{Folder, Recorded, Started};
use super::launch::{self, launch};
use super::logs;
use super::part::Part;
use super::plan::{LOOP, Plan, WINDOW, backoff, plan};
use super::process::{ProcessId, marked};
use crate::domain::{Blueprint, ClusterId, Observation, Repository};
use crate::runtime::RuntimeError;

/// What is known of a cluster in this process; what has to outlive it is in `recorded`.
pub(super) struct Cluster {
    pub id: ClusterId,
    pub folder: Folder,
    /// `None` when nothing exists of the cluster here.
    pub recorded: Option<Recorded>,
    /// What to keep it like; `None` until [`apply`](super::LocalRuntime::apply) says so.
    pub wanted: Option<Blueprint>,
    /// When the launch may go on without the materials that are not there yet.
    pub materials_until: Option<Instant>,
    /// Repositories being fetched now.
    pub fetching: HashMap<Repository, tokio::task::AbortHandle>,
    /// The mark of what fetches them.
    pub fetch_mark: String,
    /// Marks of the processes whose end this slipway waits for, being their parent.
    pub watched: HashSet<String>,
    /// Deleted: whoever still holds it has to look for another.
    pub gone: bool,
    pub last_seen: Option<Observation>,
    /// Why it is not as wanted, as last told.
    pub problem: Option<String>,
    pub unsettled_since: Option<Instant>,
    ends: HashMap<Part, VecDeque<Instant>>,
}

/// Children that were just started, whose end somebody should wait for.
pub(super) type Children = Vec<tokio::process::Child>;

impl Cluster {
    /// Takes over what an earlier slipway left of the cluster.
    pub fn adopt(config: &LocalConfig, id: ClusterId) -> io::Result<Self> {
        let folder = Folder::new(&config.root, id);
        let recorded = folder.load()?;
        let cluster = Self {
            id,
            folder,
            recorded,
            wanted: None,
            materials_until: None,
            fetching: HashMap::new(),
            fetch_mark: Uuid::new_v4().to_string(),
            watched: HashSet::new(),
            gone: false,
            last_seen: None,
            problem: None,
            unsettled_since: None,
            ends: HashMap::new(),
        };
        cluster.end_strangers(config);
        Ok(cluster)
    }

    /// Ends processes that carry the cluster's name and belong to none of its recorded parts: started by a
    /// slipway that was killed before it could record them, or left by a notebook server that was killed.
    fn end_strangers(&self, config: &LocalConfig) {
        let known: Vec<&str> = self
            .recorded
            .iter()
            .flat_map(|recorded| recorded.processes.values())
            .filter(|started| started.is_alive())
            .map(|started| started.spawn.as_str())
            .chain([self.fetch_mark.as_str()])
            .collect();
        for stranger in marked(&config.root) {
            if stranger.cluster == self.id && !known.contains(&stranger.spawn.as_str()) {
                tracing::warn!(cluster = %self.id, pid = stranger.id.pid, "ending a process that no part of the cluster owns");
                stranger.id.signal(Signal::SIGKILL);
            }
        }
    }

    /// Makes the processes as wanted, as far as that can be done at once.
    pub fn converge(
        &mut self,
        config: &LocalConfig,
        now: Instant,
        utc: DateTime<Utc>,
    ) -> Result<Children, RuntimeError> {
        let Some(workers) = self.wanted.as_ref().map(|blueprint| blueprint.workers.get()) else {
            return Ok(vec![]);
        };
        if self.recorded.is_none() {
            launch::prepare(config, &self.folder, self.id).map_err(|error| {
                RuntimeError::temporary(format!("could not make the folder of {}", self.id), error)
            })?;
            self.recorded = Some(Recorded::default());
        }
        self.sweep(config, now, utc)?;
        let Plan { start, retire } = plan(&self.recorded_mut().processes, workers);
        self.retire(&retire, utc + config.retire_within);
        let due: Vec<Part> = start.into_iter().filter(|part| self.may_start(*part, now)).collect();
        let children = if due.is_empty() { vec![] } else { self.start(config, &due)? };
        self.save()?;
        self.looping(now).map_or(Ok(children), Err)
    }

    fn recorded_mut(&mut self) -> &mut Recorded {
        self.recorded.get_or_insert_default()
    }

    pub fn save(&self) -> Result<(), RuntimeError> {
        let Some(recorded) = &self.recorded else { return Ok(()) };
        self.folder
            .save(recorded)
            .map_err(|error| RuntimeError::temporary(format!("could not record the state of {}", self.id), error))
    }

    /// Forgets processes that ended, and ends those that took too long to leave.
    pub fn sweep(&mut self, config: &LocalConfig, now: Instant, utc: DateTime<Utc>) -> Result<bool, RuntimeError> {
        let Some(recorded) = &mut self.recorded else { return Ok(false) };
        for started in recorded.processes.values() {
            if let (Some(id), Some(deadline)) = (started.id, started.leaves_by)
                && utc >= deadline
            {
                id.signal_group(Signal::SIGKILL);
            }
        }
        let ended: Vec<(Part, Started)> =
            recorded.processes.extract_if(.., |_, started| !started.is_alive()).collect();
        if ended.is_empty() {
            return Ok(false);
        }
        for (part, started) in &ended {
            self.watched.remove(&started.spawn);
            if started.leaves_by.is_none() {
                tracing::warn!(cluster = %self.id, %part, "the process ended");
                self.ends.entry(*part).or_default().push_back(now);
            } else {
                tracing::info!(cluster = %self.id, %part, "the worker has left");
            }
        }
        self.save()?;
        // What a notebook server started does not always end with it.
        self.end_strangers(config);
        Ok(true)
    }

    /// Signals the workers to leave: see `ops/image/worker_preload.py` for what they do then.
    fn retire(&mut self, parts: &[Part], deadline: DateTime<Utc>) {
        let id = self.id;
        for part in parts {
            if let Some(started) = self.recorded_mut().processes.get_mut(part) {
                started.leaves_by = Some(deadline);
                if let Some(process) = started.id {
                    tracing::info!(cluster = %id, %part, "asking the worker to leave");
                    process.signal(Signal::SIGUSR1);
                }
            }
        }
    }

    fn may_start(&self, part: Part, now: Instant) -> bool {
        self.restart_at(part, now).is_none_or(|at| at <= now)
    }

    fn restart_at(&self, part: Part, now: Instant) -> Option<Instant> {
        let ends = self.ends.get(&part)?;
        Some(*ends.back()? + backoff(self.recent(part, now)))
    }

    fn recent(&self, part: Part, now: Instant) -> usize {
        let recent = |end: &&Instant| now.duration_since(**end) < WINDOW;
        self.ends.get(&part).map_or(0, |ends| ends.iter().filter(recent).count())
    }

    /// A notebook server or scheduler that keeps ending makes the cluster useless. A worker may end as
    /// often because of what the student does with it, and the rest is then of use still.
    fn looping(&self, now: Instant) -> Option<RuntimeError> {
        let part = [Part::Notebook, Part::Scheduler].into_iter().find(|part| self.recent(*part, now) >= LOOP)?;
        let last = logs::tail(&self.folder.log(part), 5).unwrap_or_default().join("\n");
        let why = format!("the {part} of {} ended {LOOP} times within a minute; its last words: {last}", self.id);
        Some(RuntimeError::Permanent { why })
    }

    /// Starts the parts, all at once. Their names are recorded before, their numbers after: see `Started::spawn`.
    fn start(&mut self, config: &LocalConfig, parts: &[Part]) -> Result<Children, RuntimeError> {
        let (id, folder) = (self.id, self.folder.clone());
        launch::prepare(config, &folder, id)
            .map_err(|error| RuntimeError::temporary(format!("could not write the files of {id}"), error))?;
        if parts.contains(&Part::Scheduler) {
            // Workers wait for these to appear; the old ones would send them to the old scheduler.
            for stale in [folder.scheduler_file(), folder.scheduler_place()] {
                let _ = std::fs::remove_file(stale);
            }
        }
        let ports = self.recorded_mut().ports;
        for part in parts {
            let started = Started { spawn: Uuid::new_v4().to_string(), id: None, leaves_by: None };
            self.recorded_mut().processes.insert(*part, started);
        }
        self.save()?;
        let mut children = Vec::new();
        for part in parts {
            let Some(spawn) = self.recorded_mut().processes.get(part).map(|started| started.spawn.clone()) else {
                continue;
            };
            let child = launch(config, &folder, id, *part, ports)
                .start(config, &folder, (id, *part, &spawn))
                .map_err(|error| RuntimeError::temporary(format!("could not start the {part} of {id}"), error))?;
            if let Some(started) = self.recorded_mut().processes.get_mut(part) {
                started.id = child.id().and_then(ProcessId::of);
            }
            self.watched.insert(spawn);
            children.push(child);
        }
        Ok(children)
    }

    /// Whether some process was started by an earlier slipway, so that nobody is told when it ends.
    pub fn has_adopted(&self) -> bool {
        let watched = |started: &Started| self.watched.contains(&started.spawn);
        self.recorded.iter().flat_map(|recorded| recorded.processes.values()).any(|started| !watched(started))
    }

    /// When to look again even if nothing happens: a restart or a kill is due.
    pub fn next_deadline(&self, now: Instant, utc: DateTime<Utc>) -> Option<Duration> {
        let recorded = self.recorded.as_ref()?;
        let leaving = recorded
            .processes
            .values()
            .filter_map(|started| started.leaves_by)
            .map(|deadline| (deadline - utc).to_std().unwrap_or(Duration::from_millis(100)));
        let restarts = self
            .ends
            .keys()
            .filter(|part| !recorded.processes.contains_key(part))
            .filter_map(|part| self.restart_at(*part, now))
            .map(|at| at.saturating_duration_since(now))
            .filter(|wait| !wait.is_zero());
        leaving.chain(restarts).min()
    }
}
