//! Unix sockets in place of ports.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::chp_bed::{TOKEN, program};
use crate::harness::eventually;
use crate::proxy_bed::{Target, within};

async fn ask(path: &std::path::Path, request: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn both_sides_can_be_sockets_which_go_with_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let [front, api] = ["front", "api"].map(|name| folder.path().join(name));
    // What a killed process has left.
    drop(std::os::unix::net::UnixListener::bind(&front).expect("a socket"));
    let mut child = program()
        .arg("--socket")
        .arg(&front)
        .arg("--api-socket")
        .arg(&api)
        .env("CONFIGPROXY_AUTH_TOKEN", TOKEN)
        .spawn()
        .expect("it starts");
    let target = Target::echo().await;
    let body = format!(r#"{{"target": "http://{}"}}"#, target.address);
    let post = format!(
        "POST /api/routes/user/zoe HTTP/1.1\r\nhost: h\r\nauthorization: token {TOKEN}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let posted = eventually("the API answers", async || ask(&api, &post).await).await;
    assert!(posted.starts_with("HTTP/1.1 201"), "{posted}");
    let get = "GET /user/zoe/lab HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n";
    let answer = ask(&front, get).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("GET /user/zoe/lab") && answer.contains("x-forwarded-for: 127.0.0.1"), "{answer}");
    let pid = i32::try_from(child.id().expect("running")).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it can be told");
    assert_eq!(within(child.wait()).await.expect("its status").code(), Some(2));
    assert!(!front.exists() && !api.exists());
}
