//! `slipway up` on a data folder of its own, and the other commands on the same one.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use slipway::runtime::local::stack;
use sqlx::{Connection, PgConnection};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::http::Client;
use super::processes;

/// So many installations at a time: each has a dozen processes that start at once.
static TURN: Semaphore = Semaphore::const_new(2);
static STACK: OnceCell<PathBuf> = OnceCell::const_new();

pub struct Installation {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    admin: SocketAddr,
    pub stack: PathBuf,
    log: PathBuf,
    up: Option<Child>,
    _turn: SemaphorePermit<'static>,
}

/// Waits for the value, and fails with what was waited for.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The Python environment that all installations share.
pub async fn stack() -> PathBuf {
    let make = async || {
        let given = std::env::var_os("SLIPWAY_TEST_STACK").map(PathBuf::from);
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
        stack::prepare(shared, given.as_deref(), |line| eprintln!("{line}")).await.expect("the notebook stack")
    };
    STACK.get_or_init(make).await.clone()
}

/// A program with nothing of our environment that could configure it.
pub fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    command.env_clear().stdin(Stdio::null());
    command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
    command
}

impl Installation {
    /// On an empty data folder; nothing is started yet.
    pub async fn new(name: &str) -> Self {
        let turn = TURN.acquire().await.expect("never closed");
        let data_dir = processes::folder(name);
        let port = || SocketAddr::from((Ipv4Addr::LOCALHOST, processes::free_port()));
        let log = processes::left_behind().join(format!("{name}.log"));
        let _ = std::fs::remove_file(&log);
        let stack = stack().await;
        Self { data_dir, listen: port(), admin: port(), stack, log, up: None, _turn: turn }
    }

    pub async fn started(name: &str, options: &[&str]) -> Self {
        let mut installation = Self::new(name).await;
        installation.start(options).await;
        installation
    }

    /// Starts `slipway up` in a process group of its own, as a shell does, and waits until it serves.
    pub async fn start(&mut self, options: &[&str]) {
        assert!(self.up.is_none(), "it is started already");
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut command = program(env!("CARGO_BIN_EXE_slipway"));
        command.arg("up").arg("--data-dir").arg(&self.data_dir).arg("--stack").arg(&self.stack);
        command.args(["--listen", &self.listen.to_string(), "--admin-listen", &self.admin.to_string()]);
        command.args(options).process_group(0);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.up = Some(command.spawn().expect("slipway starts"));
        let client = self.client();
        until("slipway to serve", async || {
            let ended = self.up.as_mut().and_then(|up| up.try_wait().expect("it can be waited for"));
            assert!(ended.is_none(), "slipway ended: see {}", self.log.display());
            let answer = client.try_send("GET", "/api/session", None, "").await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.up.as_ref().expect("it was started").id().cast_signed())
    }

    /// Ctrl-C: the terminal sends it to the whole process group.
    pub async fn interrupt(&mut self) -> ExitStatus {
        killpg(self.pid(), Signal::SIGINT).expect("it runs");
        self.ended().await
    }

    pub async fn kill(&mut self) {
        kill(self.pid(), Signal::SIGKILL).expect("it runs");
        self.ended().await;
    }

    async fn ended(&mut self) -> ExitStatus {
        let mut up = self.up.take().expect("it was started");
        until("slipway to end", async || up.try_wait().expect("it can be waited for")).await
    }

    /// Ctrl-C, then nothing of it is left running.
    pub async fn stop(&mut self) {
        assert!(self.interrupt().await.success(), "exit code 0; see {}", self.log.display());
        assert_eq!(self.processes(), [], "nothing is left running");
    }

    pub fn processes(&self) -> Vec<(i32, String)> {
        processes::of(&self.data_dir)
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// A new browser, so to say: without a cookie.
    pub fn client(&self) -> Client {
        Client::new(&self.address())
    }

    /// What configurable-http-proxy calls `/api/routes`.
    pub async fn routes(&self) -> Value {
        Client::new(&format!("http://{}", self.admin)).get("/api/routes").await.json()
    }

    /// The folder of a cluster's notebooks.
    pub fn home(&self, cluster: &str) -> PathBuf {
        self.data_dir.join("clusters").join(cluster).join("home")
    }

    /// A file that whoever the cluster runs as may read.
    pub fn put(&self, cluster: &str, name: &str) {
        let path = self.home(cluster).join(name);
        std::fs::write(&path, "").expect("a file for the cluster");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    }

    pub fn python(&self) -> PathBuf {
        self.stack.join("bin/python")
    }

    /// Another command on the same data folder.
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        let mut command = program(env!("CARGO_BIN_EXE_slipway"));
        command.args(arguments).arg("--data-dir").arg(&self.data_dir).output().expect("slipway runs")
    }

    /// What it printed; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "slipway {arguments:?}: {wrong}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub fn run_json(&self, arguments: &[&str]) -> Value {
        let text = self.run(arguments);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("slipway {arguments:?} printed no JSON: {text}"))
    }

    /// The events of one cluster, oldest first.
    pub fn events(&self, cluster: &str) -> Vec<Value> {
        let lines = self.run(&["events", cluster, "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// As the superuser of the data folder's Postgres.
    pub async fn database(&self) -> PgConnection {
        PgConnection::connect(&slipway::up::database_url(&self.data_dir)).await.expect("Postgres answers")
    }
}

impl Drop for Installation {
    /// Leaves nothing running, also when a test failed, which a test that did not stop it has.
    fn drop(&mut self) {
        let left = self.processes();
        processes::kill_all(&self.data_dir);
        if let Some(up) = &mut self.up {
            let _ = up.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.data_dir);
            assert_eq!(left, [], "the test left something running");
        }
    }
}
