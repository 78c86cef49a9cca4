//! A slipway-proxy that runs as a process of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::eventually;
use crate::proxy_bed::read_all;

/// A port that was free just now.
pub fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

pub struct Process {
    pub listen: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it; its log is in the folder.
    pub fn start(folder: &Path, listen: SocketAddr, database: &str, options: &[&str]) -> Self {
        let admin = free();
        let log = folder.join(format!("proxy-{}.log", admin.port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipway-proxy"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).expect("a log"));
        command.args(["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()]);
        command.args(["--database-url", database]).args(options).env("SLIPWAY_KEY", "07".repeat(32));
        Self { listen, admin, log, child: command.spawn().expect("it starts") }
    }

    /// Started, and with its routes.
    pub async fn ready(folder: &Path, listen: SocketAddr, database: &str, options: &[&str]) -> Self {
        let process = Self::start(folder, listen, database, options);
        process.becomes_ready().await;
        process
    }

    pub async fn becomes_ready(&self) {
        eventually(&format!("a proxy to be ready; see {}", self.log.display()), async || {
            (self.readiness().await? == 200).then_some(())
        })
        .await;
    }

    /// The status of `/readyz`; none while nobody answers.
    pub async fn readiness(&self) -> Option<u16> {
        let answer = self.ask("/readyz").await?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// All that its admin address answers.
    async fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        Some(read_all(&mut stream).await).filter(|answer| !answer.is_empty())
    }

    pub async fn routes(&self) -> Value {
        let answer = self.ask("/api/routes").await.expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }

    pub async fn has_route(&self, path: &str) -> bool {
        self.routes().await.get(path).is_some()
    }

    /// The value of a metric, labels and all.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.ask("/metrics").await?;
        text.lines().find_map(|line| line.strip_prefix("slipway_proxy_")?.strip_prefix(name)?.trim().parse().ok())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        eventually("a proxy to end", async || self.child.try_wait().expect("it can be waited for")).await
    }

    /// SIGTERM, and all that it has to finish.
    pub async fn stop(self) {
        self.signal(Signal::SIGTERM);
        self.finishes().await;
    }

    /// What was told to stop does so as it should.
    pub async fn finishes(mut self) {
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.log());
    }
}
