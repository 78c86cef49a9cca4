//! A JupyterHub as it comes from PyPI, in a folder of its own, with our program on its PATH.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::chp_bed::{Answer, ask, try_ask};
use crate::processes::{free_port, kill_all};

/// The hub's own tests take as long on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Of the service that the tests act as.
pub const ADMIN: &str = "0123456789abcdef0123456789abcdef";
/// What hub and proxy know each other by.
pub const PROXY_TOKEN: &str = "between-hub-and-proxy";

/// The Python environment with JupyterHub, which `ops/check` makes.
pub fn environment() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests read their configuration")]
    let given = std::env::var_os("SLIPWAY_TEST_HUB");
    given.expect("SLIPWAY_TEST_HUB is not set: run this test with ops/check").into()
}

/// A folder in which our program has the name that the hub looks for, and a PATH that begins with it.
pub fn path_with_ours(folder: &Path) -> String {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let program = env!("CARGO_BIN_EXE_configurable-http-proxy");
    std::os::unix::fs::symlink(program, bin.join("configurable-http-proxy")).expect("a link");
    format!("{}:{}:/usr/bin:/bin", bin.display(), environment().join("bin").display())
}

pub struct Hub {
    folder: TempDir,
    child: Child,
    pub public: SocketAddr,
    pub proxy_api: SocketAddr,
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Also the proxy and the servers, which have sessions of their own.
        kill_all(self.folder.path());
    }
}

impl Hub {
    /// With these lines at the end of its configuration.
    pub async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (public, proxy_api, own) = (local(free_port()), local(free_port()), free_port());
        let config = format!(
            r#"
c.JupyterHub.bind_url = "http://{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{own}"
c.ConfigurableHTTPProxy.api_url = "http://{proxy_api}"
c.ConfigurableHTTPProxy.check_running_interval = 1
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"
c.SimpleLocalProcessSpawner.home_dir_template = "{home}/home/{{username}}"
c.Spawner.args = ["--allow-root"]
c.JupyterHub.services = [{{"name": "tests", "api_token": "{ADMIN}"}}]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"], "scopes":
    ["admin:users", "admin:servers", "access:servers", "tokens", "proxy"]}}]
{more}
"#,
            home = folder.path().display()
        );
        fs::write(folder.path().join("jupyterhub_config.py"), config).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(environment().join("bin/jupyterhub"))
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", path_with_ours(folder.path()))
            .env("HOME", folder.path())
            .env("CONFIGPROXY_AUTH_TOKEN", PROXY_TOKEN)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("JupyterHub starts");
        let mut hub = Self { folder, child, public, proxy_api };
        hub.up().await;
        hub
    }

    /// Until it answers through the proxy.
    async fn up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().expect("its status");
            assert!(ended.is_none() && Instant::now() < deadline, "JupyterHub does not come up:\n{}", self.log());
            if tokio::net::TcpStream::connect(self.public).await.is_ok()
                && self.plain("GET", "/hub/health", "", "").await.status == 200
            {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits for what the hub or the proxy is about to do.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Through the proxy, with these header lines.
    pub async fn plain(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let host = self.public;
        let head =
            format!("{method} {path} HTTP/1.0\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n");
        ask(self.public, &(head + body)).await
    }

    /// To the hub's API or a server, with a token.
    pub async fn api(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let headers = format!("authorization: token {token}\r\ncontent-type: application/json\r\n");
        let answer = self.plain(method, path, &headers, body).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    /// The proxy's own route table, or null while there is no proxy.
    pub async fn routes(&self) -> Value {
        let head = format!("GET /api/routes HTTP/1.0\r\nauthorization: token {PROXY_TOKEN}\r\n\r\n");
        let answer = try_ask(self.proxy_api, &head).await;
        answer.and_then(|answer| serde_json::from_str(&answer.body).ok()).unwrap_or(Value::Null)
    }

    /// Asks the proxy's API by TLS, and shows it this certificate of the hub's folder: the status, or `refused`.
    pub async fn ask_for_routes(&self, certificate: &str) -> String {
        let asking = r#"
import ssl, sys, urllib.request
url, token, name = sys.argv[1:]
context = ssl._create_unverified_context()
if name:
    context.load_cert_chain(f"internal-ssl/{name}/{name}.crt", f"internal-ssl/{name}/{name}.key")
request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
try:
    print(urllib.request.urlopen(request, context=context, timeout=20).status)
except OSError as error:
    print("refused" if "CERTIFICATE_REQUIRED" in str(error) or "certificate required" in str(error) else error)
"#;
        let url = format!("https://{}/api/routes", self.proxy_api);
        let mut python = Command::new(environment().join("bin/python"));
        python.args(["-c", asking, &url, PROXY_TOKEN, certificate]).current_dir(self.folder.path());
        let output = python.output().await.expect("Python runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn kill_proxy(&self) {
        let pid = fs::read_to_string(self.folder.path().join("jupyterhub-proxy.pid")).expect("the hub writes it");
        kill(Pid::from_raw(pid.trim().parse().expect("a process id")), Signal::SIGKILL).expect("it runs");
    }
}
