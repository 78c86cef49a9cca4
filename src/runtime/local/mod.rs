//! Clusters as processes of this machine: a notebook server, a Dask scheduler and workers each, in a folder
//! of their own. They outlive slipway: the next one finds and adopts them.
//!
//! A cluster *is there* from the moment its `state.json` is, until [`delete`](Runtime::delete) has ended
//! its last process and moved its folder to `ended/`.

mod cluster;
mod folder;
mod launch;
pub mod logs;
mod look;
mod materials;
pub mod part;
mod plan;
mod process;
pub mod stack;
mod stop;
mod supervise;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc};

use self::cluster::Cluster;
use self::folder::Folder;
use self::supervise::{Slot, supervise};
use super::engines::{EngineActivity, EngineError, Engines};
use super::{Pace, Runtime, RuntimeError};
use crate::domain::{Blueprint, ClusterId, Endpoint, Keyring, Observation};

/// How clusters are run on this machine.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The folder that holds one folder per cluster, such as `<data>/clusters`. Put-away ones go beside it,
    /// to `<data>/ended`.
    pub root: PathBuf,
    /// The Python environment with the notebook server and Dask, see [`stack`].
    pub stack: PathBuf,
    pub keyring: Keyring,
    /// Where every part listens.
    pub address: IpAddr,
    /// The user and group that the processes run as; slipway's own if `None`.
    pub run_as: Option<(u32, u32)>,
    /// What the processes see of slipway's environment, see [`passed_on`].
    pub environment: Vec<(String, String)>,
    /// How much memory a worker may use before it spills and pauses, as Dask writes it.
    pub worker_memory: String,
    /// A worker that was asked to leave is ended after so long, whatever it still does.
    pub retire_within: Duration,
    /// Fetching one repository is given up after so long. The launch itself waits for a minute.
    pub materials_within: Duration,
    /// Processes that were asked to end are killed after so long.
    pub stop_within: Duration,
}

impl LocalConfig {
    /// With defaults for all that has one: on loopback, as slipway's own user.
    pub fn new(root: PathBuf, stack: PathBuf, keyring: Keyring) -> Self {
        Self {
            root,
            stack,
            keyring,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            run_as: None,
            environment: vec![],
            worker_memory: "2GiB".to_owned(),
            retire_within: Duration::from_secs(600),
            materials_within: Duration::from_secs(600),
            stop_within: Duration::from_secs(5),
        }
    }

    fn runs_as_root(&self) -> bool {
        self.run_as.map_or_else(|| nix::unistd::geteuid().is_root(), |(user, _)| user == 0)
    }

    /// Where the folders of clusters that are no more are kept.
    pub fn ended(&self) -> PathBuf {
        self.root.parent().unwrap_or(&self.root).join("ended")
    }
}

/// The variables of an environment that students' processes may see: none that could hold a secret of ours.
pub fn passed_on(all: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    const NAMES: [&str; 12] = [
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ];
    all.into_iter().filter(|(name, _)| NAMES.contains(&name.as_str()) || name.starts_with("LC_")).collect()
}

/// Runs clusters on this machine. One at a time per root.
pub struct LocalRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<LocalConfig>,
    engines: Engines,
    slots: Mutex<HashMap<ClusterId, Arc<Slot>>>,
    listeners: Mutex<Vec<mpsc::Sender<ClusterId>>>,
    closed: AtomicBool,
    /// Held as long as this lives.
    _lock: File,
}

/// Answers are from this machine; a busy Python may still take its time.
const ENGINE_PATIENCE: Duration = Duration::from_secs(3);
const HINTS: usize = 1024;

impl LocalRuntime {
    /// Adopts what an earlier slipway left under the root. Needs a Tokio runtime.
    ///
    /// # Errors
    /// Temporary while another slipway has the same root, or when the root cannot be read.
    pub fn new(mut config: LocalConfig) -> Result<Self, RuntimeError> {
        let root = config.root.display().to_string();
        let failed = |error| RuntimeError::temporary(format!("could not use the folder {root}"), error);
        std::fs::create_dir_all(&config.root).map_err(failed)?;
        // Processes are recognised by it, and run elsewhere.
        config.root = config.root.canonicalize().map_err(failed)?;
        config.stack = std::path::absolute(&config.stack).map_err(failed)?;
        let lock = File::create(config.root.join(".lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| RuntimeError::temporary(format!("another slipway uses {root}"), error))?;
        let inner = Arc::new(Inner {
            config: Arc::new(config),
            engines: Engines::new(ENGINE_PATIENCE),
            slots: Mutex::default(),
            listeners: Mutex::default(),
            closed: AtomicBool::new(false),
            _lock: lock,
        });
        for id in inner.folders()? {
            inner.slot(id)?;
        }
        Ok(Self { inner })
    }

    /// The engines' answers, for whoever asks about activity.
    pub fn engines(&self) -> &Engines {
        &self.inner.engines
    }

    pub fn config(&self) -> &LocalConfig {
        &self.inner.config
    }

    /// Ends all processes of all clusters and starts none any more. Their folders stay: the next runtime
    /// brings back what it is asked for.
    ///
    /// # Errors
    /// The first cluster's whose processes could not be ended; the others' have been.
    pub async fn shutdown(&self) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        inner.closed.store(true, Ordering::SeqCst);
        let slots: Vec<Arc<Slot>> = lock(&inner.slots).values().cloned().collect();
        let stopping = slots.iter().map(|slot| async {
            let mut cluster = slot.cluster.lock().await;
            cluster.wanted = None;
            stop::stop(&inner.config, &mut cluster).await?;
            cluster.save()
        });
        join_all(stopping).await.into_iter().collect()
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        for slot in lock(&self.inner.slots).values() {
            // The next runtime fetches again what is not there; who holds the lock now starts nothing any more.
            if let Ok(mut cluster) = slot.cluster.try_lock() {
                cluster.fetching.drain().for_each(|(_, fetching)| fetching.abort());
            }
            slot.wake.notify_one();
        }
    }
}

impl Runtime for LocalRuntime {
    async fn apply(&self, blueprint: &Blueprint) -> Result<(), RuntimeError> {
        loop {
            let slot = self.inner.slot(blueprint.id)?;
            let mut cluster = slot.cluster.lock().await;
            if cluster.gone {
                continue;
            }
            cluster.wanted = Some(blueprint.clone());
            let result = self.inner.converge(&slot, &mut cluster);
            slot.wake.notify_one();
            return result;
        }
    }

    async fn delete(&self, id: ClusterId) -> Result<(), RuntimeError> {
        let slot = self.inner.slot(id)?;
        let mut cluster = slot.cluster.lock().await;
        if cluster.gone {
            return Ok(());
        }
        cluster.wanted = None;
        stop::stop(&self.inner.config, &mut cluster).await?;
        stop::put_away(&self.inner.config, &cluster)
            .await
            .map_err(|error| RuntimeError::temporary(format!("could not put the folder of {id} away"), error))?;
        cluster.recorded = None;
        cluster.gone = true;
        lock(&self.inner.slots).remove(&id);
        slot.wake.notify_one();
        self.inner.hint(id);
        Ok(())
    }

    async fn observe(&self, id: ClusterId) -> Result<Observation, RuntimeError> {
        let known = lock(&self.inner.slots).get(&id).cloned();
        match known {
            Some(slot) => self.inner.look(&slot).await,
            None if Folder::new(&self.inner.config.root, id).exists() => {
                let slot = self.inner.slot(id)?;
                self.inner.look(&slot).await
            }
            None => Ok(Observation::Absent),
        }
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        let mut ids = self.inner.folders()?;
        // Also those whose folder somebody else removed.
        ids.extend(process::marked(&self.inner.config.root).into_iter().map(|marked| marked.cluster));
        Ok(ids.into_iter().collect())
    }

    async fn activity(&self, id: ClusterId, endpoint: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        let token = self.inner.config.keyring.notebook_token(id);
        match self.inner.engines.activity(endpoint, &token, id).await {
            Ok(activity) => Ok(Some(activity)),
            Err(EngineError::NotRunning { .. }) => Ok(None),
            Err(error) => Err(RuntimeError::temporary(format!("cannot tell what {id} is at"), error)),
        }
    }

    fn changes(&self) -> mpsc::Receiver<ClusterId> {
        let (sender, receiver) = mpsc::channel(HINTS);
        lock(&self.inner.listeners).push(sender);
        receiver
    }

    /// Looking costs a few questions to processes of this machine.
    fn pace(&self) -> Pace {
        Pace {
            launching: Duration::from_millis(500),
            running: Duration::from_secs(1),
            ending: Duration::from_millis(300),
        }
    }
}

impl Inner {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn folders(&self) -> Result<BTreeSet<ClusterId>, RuntimeError> {
        let entries = std::fs::read_dir(&self.config.root)
            .map_err(|error| RuntimeError::temporary("could not list the clusters of this machine", error))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// The cluster's place, made if there is none yet.
    fn slot(self: &Arc<Self>, id: ClusterId) -> Result<Arc<Slot>, RuntimeError> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(&id) {
            return Ok(slot.clone());
        }
        let cluster = Cluster::adopt(&self.config, id)
            .map_err(|error| RuntimeError::temporary(format!("could not read the state of {id}"), error))?;
        let slot = Arc::new(Slot { cluster: tokio::sync::Mutex::new(cluster), wake: Notify::new() });
        slots.insert(id, slot.clone());
        tokio::spawn(supervise(Arc::downgrade(self), slot.clone()));
        Ok(slot)
    }

    fn hint(&self, id: ClusterId) {
        lock(&self.listeners).retain(|listener| match listener.try_send(id) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}

/// Nothing that is done under these locks leaves them half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
