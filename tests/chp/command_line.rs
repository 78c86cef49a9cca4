//! What the program takes, refuses, and leaves behind.

use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::chp_bed::{Chp, program, refused};

#[tokio::test]
async fn what_it_does_not_know_or_cannot_do_ends_it_with_1_and_a_reason() {
    for (args, said) in [
        (vec!["--nonsense"], "--nonsense"),
        (vec!["--port", "x"], "--port"),
        (vec!["--port", "70000"], "--port"),
        (vec!["--log-level", "loud"], "--log-level"),
        (vec!["--error-target", "http://h", "--error-path", "/x"], "cannot be used with"),
        (vec!["--redirect-port", "80"], "--redirect-port needs --ssl-key"),
        (vec!["--custom-header", "x"], "name:value"),
        (vec!["--custom-header", "transfer-encoding: x"], "the proxy itself writes"),
        (vec!["--protocol-rewrite", "gopher"], "write http or https"),
        (vec!["--default-target", "h:1"], "--default-target h:1 is no target"),
        (vec!["--socket", "/x", "--port", "1"], "cannot be used with"),
        (vec!["--socket", "/x", "--ssl-key", "/k", "--ssl-cert", "/c"], "leave out --ssl-key"),
        (vec!["--api-socket", "/x", "--api-ssl-key", "/k", "--api-ssl-cert", "/c"], "leave out --api-ssl-key"),
        (vec!["--ip", "no.such.host.invalid"], "cannot listen on no.such.host.invalid:8000"),
    ] {
        let (code, text) = refused(&args).await;
        assert_eq!(code, Some(1), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
}

#[tokio::test]
async fn help_and_version_are_no_failure() {
    for arg in ["--help", "--version"] {
        assert_eq!(refused(&[arg]).await.0, Some(0), "{arg}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_ends_it() {
    let first = Chp::start(&[]).await;
    let port = first.public.port().to_string();
    let (code, text) = refused(&["--ip", "127.0.0.1", "--port", &port]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{text}");
}

#[tokio::test]
async fn options_that_change_nothing_say_so() {
    let args = ["--port", "x", "--ssl-allow-rc4", "--storage-backend", "redis", "--ssl-dhparam", "/x"];
    assert_eq!(refused(&args).await.0, Some(1), "what follows is checked as well");
    let mut child = program()
        .args(["--ip=127.0.0.1", "--port=0", "--api-port=0", "--ssl-allow-rc4", "--storage-backend", "redis"])
        .args(["--ssl-dhparam", "/x", "--redirect-port", "80"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut said).await.expect("text");
    for option in ["--ssl-allow-rc4", "--storage-backend", "--ssl-dhparam"] {
        assert!(said.contains(&format!("{option} changes nothing")), "{said}");
    }
}

#[tokio::test]
async fn a_signal_ends_it_with_2_and_takes_the_pid_file_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut chp = Chp::start(&["--pid-file", file.to_str().expect("text")]).await;
        let pid = std::fs::read_to_string(&file).expect("it is there while the program runs");
        assert!(pid.parse::<u32>().is_ok(), "{pid}");
        chp.signal(signal);
        assert_eq!(chp.ended().await, Some(2));
        assert!(!file.exists());
    }
}
