//! A root of its own for each test, and ways to look at and wait for what happens in it.

use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use slipway::domain::{Blueprint, ClusterId, Endpoint, Keyring, Observation, Repository, WorkerCount};
use slipway::runtime::local::{LocalConfig, LocalRuntime, passed_on, stack};
use slipway::runtime::{Runtime, RuntimeError};

pub const ID: &str = "cluster-678343";

pub struct Machine {
    pub data: PathBuf,
    pub config: LocalConfig,
}

pub fn id() -> ClusterId {
    ID.parse().expect("a valid id")
}

impl Machine {
    pub async fn new(name: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "tests have no command line")]
        let given = std::env::var_os("SLIPWAY_TEST_STACK").map(PathBuf::from);
        let stack =
            stack::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")), given.as_deref(), |line| eprintln!("{line}"))
                .await
                .expect("the notebook stack can be made");
        Self::with_stack(name, stack)
    }

    pub fn with_stack(name: &str, stack: PathBuf) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&data).expect("a folder for the test");
        let keyring = Keyring::new(vec![7; 32]).expect("a key of 32 bytes");
        let config = LocalConfig {
            environment: passed_on(std::env::vars()),
            ..LocalConfig::new(data.join("clusters"), stack, keyring)
        };
        Self { data, config }
    }

    /// As soon as an earlier one has let go of the root.
    pub async fn runtime(&self) -> LocalRuntime {
        until("the root to be free", async || LocalRuntime::new(self.config.clone()).ok()).await
    }

    pub fn token(&self) -> String {
        self.config.keyring.notebook_token(id())
    }

    pub fn folder(&self) -> PathBuf {
        self.config.root.join(ID)
    }

    /// The number and command line of each process that carries this root's mark.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let root = self.config.root.canonicalize().expect("the root is there");
        let mark = [b"SLIPWAY_ROOT=", root.as_os_str().as_bytes()].concat();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark) {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Takes a part out of the recorded state, while no runtime is there.
    pub fn forget(&self, part: &str) {
        let path = self.folder().join("state.json");
        let text = std::fs::read(&path).expect("a recorded state");
        let mut state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        state["processes"].as_object_mut().expect("an object").remove(part).expect("the part");
        std::fs::write(path, state.to_string()).expect("a recorded state");
    }

    pub fn pid_of(&self, words: &str) -> i32 {
        let processes = self.processes();
        let found: Vec<_> = processes.iter().filter(|(_, line)| format!("{line} ").contains(words)).collect();
        assert_eq!(found.len(), 1, "one process with {words:?} among {processes:#?}");
        found[0].0
    }
}

impl Drop for Machine {
    /// Leaves nothing running, also when a test failed.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

pub fn blueprint(workers: i64, materials: &[&str]) -> Blueprint {
    let materials: Vec<Repository> = materials.iter().map(|text| text.parse().expect("a repository")).collect();
    let workers = WorkerCount::try_from(workers).expect("a count");
    Blueprint { id: id(), profile: "class".parse().expect("a profile"), workers, most_workers: workers, materials }
}

/// Waits for the value, and fails with what was waited for.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The endpoint, once it is there with so many workers.
pub async fn ready(runtime: &LocalRuntime, workers: u16) -> Endpoint {
    until(&format!("an endpoint with {workers} workers"), async || match seen(runtime).await {
        Ok(Observation::Present { endpoint: Some(endpoint), workers_ready, .. }) if workers_ready == workers => {
            Some(endpoint)
        }
        Ok(_) | Err(_) => None,
    })
    .await
}

pub async fn seen(runtime: &LocalRuntime) -> Result<Observation, RuntimeError> {
    runtime.observe(id()).await
}
