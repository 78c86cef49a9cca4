//! The program, and a database for it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command as Process, Output, Stdio};

use serde_json::Value;
use slipway::domain::{ClusterId, Command, Endpoint, Engine, Observation};
use slipway::service::Service;
use slipway::store::Store;
use sqlx::PgPool;

use crate::harness::{NO_CAPS, database, launch, meta, subject};

pub struct Program {
    pub pool: PgPool,
    pub service: Service,
    url: String,
}

impl Program {
    pub async fn new() -> Self {
        let (pool, url) = database().await;
        Self { service: Service::new(Store::over(pool.clone()), NO_CAPS), pool, url }
    }

    /// A cluster that was let in.
    pub async fn launched(&self, owner: &str) -> ClusterId {
        let id = self.service.launch(launch(owner), subject(owner), None).await.expect("a launch").cluster.id;
        self.tell(id, Command::Admit, "worker:1").await;
        id
    }

    pub async fn running(&self, owner: &str) -> ClusterId {
        let id = self.launched(owner).await;
        let endpoint = Endpoint {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: [(Engine::Notebook, 9_999)].into(),
            named: [].into(),
        };
        let seen = Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 2 };
        self.tell(id, Command::Report(seen), "worker:1").await;
        id
    }

    pub async fn tell(&self, id: ClusterId, command: Command, actor: &str) {
        self.service.execute(id, &command, &meta(actor), None).await.expect("a command");
    }

    pub fn command(&self, arguments: &[&str]) -> Process {
        let mut command = Process::new(env!("CARGO_BIN_EXE_slipway"));
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        command.args(arguments).args(["--database-url", &self.url]).stdin(Stdio::null());
        command
    }

    pub fn try_run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("slipway runs")
    }

    /// What it printed; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        assert!(output.status.success(), "slipway {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub fn run_json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments)).expect("JSON")
    }

    /// What it said went wrong; it must fail with this code.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        assert_eq!(output.status.code(), Some(code), "slipway {arguments:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    /// With this on its standard input.
    pub fn fed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("slipway runs");
        // It may refuse before it has read all.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("it ends")
    }
}
