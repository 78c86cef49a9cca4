//! API, worker and proxy as processes of their own on one database, with clusters on Kubernetes.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;

use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::apiserver::ApiServer;
use super::cluster;
use super::harness::database;
use super::http::Client;
use super::installation::{program, until};
use super::processes;
use super::student::Student;

/// Pods on the fake nodes: they run and are ready at once, and nothing answers in them.
pub const FAKE: &str = r#"
[[profile]]
name = "fake"
title = "On fake nodes"
workers = { default = 2, most = 16 }
node-selector = { type = "kwok" }
tolerations = [{ key = "kwok.x-k8s.io/node" }]
[profile.scheduler]
requests = { cpu = "10m", memory = "64Mi" }
[profile.worker]
requests = { cpu = "10m", memory = "64Mi" }
"#;

/// Real pods, which must all find room on one small node.
pub const REAL: &str = r#"
[[profile]]
name = "real"
title = "On the real node"
workers = { default = 2, most = 8 }
[profile.scheduler]
requests = { cpu = "10m", memory = "256Mi" }
limits = { cpu = "2", memory = "3Gi" }
[profile.worker]
requests = { cpu = "10m", memory = "64Mi" }
limits = { cpu = "1", memory = "1536Mi" }
"#;

/// What is on this machine may come in.
pub const DOOR: &str = "0.0.0.0/0";

/// Real pods all find room on one small node if they come one test after the other.
pub async fn real_turn() -> SemaphorePermit<'static> {
    static TURN: Semaphore = Semaphore::const_new(1);
    TURN.acquire().await.expect("never closed")
}

pub struct House {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub apiserver: ApiServer,
    database: String,
    key: String,
    pub folder: PathBuf,
    log: PathBuf,
    worker_options: Vec<String>,
    worker: Option<Child>,
    others: Vec<Child>,
}

impl House {
    pub async fn new(name: &str, profiles: &str, worker_options: &[&str]) -> Self {
        let (_, database) = database().await;
        let folder = processes::folder(&format!("k8s-{name}"));
        let log = processes::left_behind().join(format!("kubernetes-{name}.log"));
        let _ = std::fs::remove_file(&log);
        std::fs::write(folder.join("profiles.toml"), profiles).expect("a file");
        let apiserver = ApiServer::start(cluster::as_worker().await).await;
        apiserver.write_kubeconfig(&folder.join("kubeconfig"));
        let port = || SocketAddr::from(([127, 0, 0, 1], processes::free_port()));
        let key: [u8; 32] = std::array::from_fn(|_| rand::random());
        let mut house = Self {
            proxy: port(),
            admin: port(),
            apiserver,
            database,
            key: hex::encode(key),
            folder,
            log,
            worker_options: worker_options.iter().map(|&option| option.to_owned()).collect(),
            worker: None,
            others: vec![],
        };
        let api = port().to_string();
        let (proxy, admin) = (house.proxy.to_string(), house.admin.to_string());
        let api_options = ["--listen", &api, "--total-workers", "10000", "--clusters-per-owner", "100"];
        house.others = vec![
            house.start(env!("CARGO_BIN_EXE_slipway-api"), &api_options),
            house.start(
                env!("CARGO_BIN_EXE_slipway-proxy"),
                &["--listen", &proxy, "--admin-listen", &admin, "--api", &api],
            ),
        ];
        house.start_worker();
        let client = Client::new(&house.address());
        until("the API behind the proxy", async || {
            let answer = client.try_send("GET", "/api/session", None, "").await?;
            (answer.status == 200).then_some(())
        })
        .await;
        house
    }

    fn start(&self, path: &str, options: &[&str]) -> Child {
        let mut command = program(path);
        command.args(options).args(["--database-url", &self.database]).env("SLIPWAY_KEY", &self.key);
        command.env("RUST_LOG", "warn,slipway=debug");
        if !path.ends_with("proxy") {
            command.arg("--profiles").arg(self.folder.join("profiles.toml"));
        }
        command.env("KUBECONFIG", self.folder.join("kubeconfig")).current_dir(&self.folder);
        command.stderr(std::fs::File::options().create(true).append(true).open(&self.log).expect("a log"));
        command.process_group(0).spawn().expect("it starts")
    }

    pub fn start_worker(&mut self) {
        assert!(self.worker.is_none(), "there is one");
        let fixed = ["--door-address", DOOR, "--lease", "3s", "--keep-every", "1s"];
        let all: Vec<&str> = fixed.into_iter().chain(self.worker_options.iter().map(String::as_str)).collect();
        self.worker = Some(self.start(env!("CARGO_BIN_EXE_slipway-worker"), &all));
    }

    pub fn worker_pid(&self) -> i32 {
        self.worker.as_ref().expect("there is a worker").id().cast_signed()
    }

    /// Ends the worker as `kill -9` does, if nobody did before.
    pub async fn kill_worker(&mut self) {
        let mut worker = self.worker.take().expect("there is a worker");
        let _ = worker.kill();
        until("the worker to be dead", async || worker.try_wait().expect("it can be waited for")).await;
    }

    pub fn worker_is_dead(&mut self) -> bool {
        let worker = self.worker.as_mut().expect("there is a worker");
        worker.try_wait().expect("it can be waited for").is_some()
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.proxy)
    }

    pub async fn student(&self) -> Student {
        Student::new(self.proxy).await
    }

    pub async fn routes(&self) -> Value {
        Client::new(&format!("http://{}", self.admin)).get("/api/routes").await.json()
    }

    /// Where a cluster's notebook is, as the proxy has it.
    pub async fn target(&self, id: &str) -> Option<String> {
        self.routes().await[format!("/{id}")]["target"].as_str().map(str::to_owned)
    }

    /// What the command printed; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "slipway {arguments:?}: {wrong}{}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub fn try_run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = program(env!("CARGO_BIN_EXE_slipway"));
        command.args(arguments).args(["--database-url", &self.database]).env("SLIPWAY_KEY", &self.key);
        command.env("KUBECONFIG", self.folder.join("kubeconfig"));
        command.output().expect("slipway runs")
    }

    /// The events of one cluster, oldest first.
    pub fn events(&self, id: &str) -> Vec<Value> {
        let lines = self.run(&["events", id, "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Launches with the house's first profile and waits until all workers are there.
    pub async fn running(&self, student: &Student, workers: u16) -> String {
        let id = self.launched(student, workers).await;
        self.settled(student, &id, workers).await;
        id
    }

    pub async fn launched(&self, student: &Student, workers: u16) -> String {
        let (status, cluster) = student.press(None, workers).await;
        assert_eq!(status, 202, "{cluster}");
        cluster["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until it runs with so many workers, as the log says and the proxy knows.
    pub async fn settled(&self, student: &Student, id: &str, workers: u16) {
        within(180, &format!("{id} with {workers} workers; see {}", self.log.display()), async || {
            let cluster = student.cluster(id).await;
            assert!(cluster["reason"].is_null(), "{cluster}");
            let there = cluster["status"] == "running" && cluster["workers"]["ready"] == workers;
            (there && self.target(id).await.is_some()).then_some(())
        })
        .await;
    }

    /// Waits for the end of a launch that cannot succeed; why it failed.
    pub async fn failed(&self, student: &Student, id: &str) -> String {
        within(120, &format!("{id} to fail"), async || {
            let cluster = student.cluster(id).await;
            (cluster["status"] == "failed").then(|| cluster["reason"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Stops all its clusters and waits until nothing of them is left in Kubernetes.
    pub async fn close(self) {
        let all: Value = serde_json::from_str(&self.run(&["list", "--json"])).expect("JSON");
        let live =
            all.as_array().into_iter().flatten().filter(|cluster| {
                ["launching", "running"].contains(&cluster["status"].as_str().unwrap_or_default())
            });
        let ids: Vec<&str> = live.map(|cluster| cluster["id"].as_str().expect("an id")).collect();
        if !ids.is_empty() {
            self.run(&[&["stop"], &ids[..]].concat());
        }
        let installation = slipway::domain::Keyring::from_hex(&self.key).expect("a key").installation();
        let selector = format!("slipway.dev/installation={installation}");
        within(120, "all namespaces to be gone", async || {
            cluster::get(&["namespaces", "-l", &selector]).is_empty().then_some(())
        })
        .await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for process in self.worker.iter_mut().chain(&mut self.others) {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            // Nobody is left who would.
            let installation = slipway::domain::Keyring::from_hex(&self.key).expect("a key").installation();
            let selector = format!("slipway.dev/installation={installation}");
            let _ = cluster::try_kubectl(&["delete", "namespaces", "-l", &selector, "--wait=false"], "");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for the value for so many seconds, and fails with what was waited for.
pub async fn within<T>(seconds: u64, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "waited {seconds} s in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
