//! The real `configurable-http-proxy` on ports of its own, and a client for both of its sides.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub(crate) const TOKEN: &str = "secret!";
/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_configurable-http-proxy"));
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What the program says and how it ends, for command lines that end at once.
pub(crate) async fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = timeout(DEADLINE, program().args(args).output()).await.expect("it ends").expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) struct Chp {
    child: Child,
    pub public: SocketAddr,
    pub api: SocketAddr,
    pub metrics: Option<SocketAddr>,
}

impl Chp {
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[]).await
    }

    pub(crate) async fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = program();
        command.args(["--ip", "127.0.0.1", "--port", "0", "--api-ip", "127.0.0.1", "--api-port", "0"]);
        command.args(args).env("CONFIGPROXY_AUTH_TOKEN", TOKEN).envs(env.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = String::new();
        let (public, api, metrics) = loop {
            let line = timeout(DEADLINE, lines.next_line()).await.expect("in time").expect("text");
            let line = line.unwrap_or_else(|| panic!("it ended: {said}"));
            let address = |name: &str| line.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse().ok();
            if let Some((public, api)) = address("public").zip(address("api")) {
                break (public, api, address("metrics"));
            }
            said.push_str(&line);
            said.push('\n');
        };
        // Whoever does not read what is said would stop it some day.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, public, api, metrics }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("running")).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it can be told");
    }

    /// Its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.expect("it ends").expect("its status").code()
    }

    /// Asks the REST API, with the token: the status and the body.
    pub(crate) async fn rest(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let answer = ask(
            self.api,
            &format!(
                "{method} {path} HTTP/1.1\r\nhost: api\r\nauthorization: token {TOKEN}\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
        .await;
        (answer.status, answer.body)
    }

    pub(crate) async fn post(&self, path: &str, target: &str) {
        let body = serde_json::json!({ "target": target }).to_string();
        assert_eq!(self.rest("POST", &format!("/api/routes{path}"), &body).await, (201, String::new()));
    }

    /// All routes.
    pub(crate) async fn routes(&self) -> Value {
        let (status, body) = self.rest("GET", "/api/routes", "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_of("hub.example:8000", path).await
    }

    pub(crate) async fn get_of(&self, host: &str, path: &str) -> Answer {
        ask(self.public, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub raw: String,
    pub body: String,
}

/// One request on a connection of its own, which it asks to be closed.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Answer {
    try_ask(address, request).await.expect("an answer")
}

/// None where nobody listens, or whoever listened has ended.
pub(crate) async fn try_ask(address: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut bytes = vec![];
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("in time").ok()?;
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Some(Answer { status, head: head.to_lowercase(), raw: head.to_owned(), body: body.to_owned() })
}
