//! Output that nobody reads to its end, as with `head`.

use std::process::Stdio;

use crate::program::Program;

/// As the shell tells of a program that SIGPIPE has ended.
const UNREAD: i32 = 141;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_reader_is_gone_ends_without_a_word() {
    let program = Program::new().await;
    let id = program.running("ada").await.to_string();
    let id = id.as_str();
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/profiles.toml");
    let commands: &[&[&str]] = &[
        &["list", "--all"],
        &["list", "--json"],
        &["show", id],
        &["show", id, "--json"],
        &["explain", id],
        &["explain", id, "--json"],
        &["events"],
        &["events", "--json", "--follow"],
        &["audit"],
        &["state"],
        &["diff", "--from", "1h"],
        &["dead"],
        &["verify"],
        &["verify", "--json"],
        &["replay"],
        &["export"],
        &["profiles", profiles],
        &["token", "list"],
        &["token", "create", "--name", "ci"],
        &["access", id, "class"],
        &["scale", id, "3"],
        &["park", id, "--why", "a test"],
        &["requeue", id],
        &["restore"],
        &["launch", "--no-wait"],
        &["stop", id],
        &["migrate"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = program.command(arguments);
        let output = command.stdout(writer).stderr(Stdio::piped()).output();
        let output = output.expect("slipway runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), told.as_str()), (Some(UNREAD), ""), "slipway {arguments:?}");
    }
}
