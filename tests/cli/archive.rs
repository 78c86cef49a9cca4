//! The log in a file.

use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_through_a_file_or_a_pipe_into_an_empty_database_and_into_no_other() {
    let (from, to) = (Program::new().await, Program::new().await);
    let id = from.running("ada").await.to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log.ndjson");
    let name = file.to_str().expect("a name");
    let output = from.try_run(&["export", "--output", name]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.starts_with("exported 4 events and 0 changes of routes"), "{told}");
    let whole = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(whole, from.run(&["export"]));
    assert_eq!(whole.lines().count(), 1 + 4 + 1);

    let cut: String = whole.lines().take(3).map(|line| format!("{line}\n")).collect();
    let output = to.fed(&["import", "-"], cut.as_bytes());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        told,
        "slipway: nothing was imported: line 3: the end of the log is missing: the file is cut off here\n"
    );
    assert_eq!(to.run_json(&["list", "--all", "--json"]), serde_json::json!([]));

    let told = to.run(&["import", name]);
    assert!(told.starts_with("imported 4 events and 0 changes of routes"), "{told}");
    assert!(to.run(&["verify"]).starts_with("all is right: 1 clusters, 4 events"));
    assert_eq!(to.run_json(&["list", "--json"])[0]["id"], id);
    let told = to.fails(1, &["import", name]);
    assert!(told.contains("nothing was imported: the log has 4 events and 0 changes of routes"), "{told}");
    let other = Program::new().await;
    assert!(other.fed(&["import", "-"], whole.as_bytes()).status.success());
    let told = other.fails(1, &["import", "/nowhere"]);
    assert!(told.contains("cannot read /nowhere"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_written_leaves_no_file() {
    let program = Program::new().await;
    let told = program.fails(1, &["export", "--output", "/nowhere/log.ndjson"]);
    assert!(told.starts_with("slipway: cannot write /nowhere/log.ndjson: "), "{told}");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let output = program.command(&["export"]).stdout(full).output().expect("slipway runs");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("slipway: cannot write the output: No space left"), "{told}");
}
