//! Old partitions of the log, in files.

use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn old_partitions_go_to_files_and_come_back() {
    let program = Program::new().await;
    let id = program.running("ada").await.to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().to_str().expect("a name");
    let told = program.fails(1, &["archive", "detach", "--to", to]);
    assert!(told.contains("nothing was detached") && told.contains("is not full yet"), "{told}");
    assert_eq!(program.run(&["archive", "size"]), "1000000\n");
    let told = program.fails(2, &["archive", "size", "0"]);
    assert!(told.contains("1..=1000000000"), "{told}");
    assert_eq!(program.run(&["archive", "size", "2"]), "2\n");
    let skip = "SELECT setval('slipway.event_pos', (SELECT max(until) - 1 FROM slipway.partition))";
    sqlx::query(skip).execute(&program.pool).await.expect("those that there are lie behind");
    for workers in ["3", "4", "5", "6"] {
        program.run(&["scale", &id, workers]);
    }
    let exported = program.run(&["export"]);
    crate::harness::eventually("partitions to be sealed", async || {
        program.run(&["migrate"]);
        let list = program.run_json(&["archive", "list", "--json"]);
        let sealed = list.as_array().expect("a list").iter().filter(|one| one["standing"] == "sealed").count();
        (sealed >= 3).then_some(())
    })
    .await;
    let told = program.fails(1, &["archive", "detach", "--to", to]);
    assert!(told.contains("name a later time with --before"), "{told}");
    let told = program.fails(1, &["archive", "detach", "--to", "/nowhere", "--before", "0s"]);
    assert!(told.contains("is still part of the log") && told.contains("cannot write /nowhere"), "{told}");
    let told = program.run(&["archive", "detach", "--to", to, "--before", "0s", "--most", "1"]);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("4 events; 0 clusters ended in it, 1 go on from what they had come to"), "{told}");
    program.run(&["archive", "detach", "--to", to, "--before", "0s"]);
    let list = program.run(&["archive", "list"]);
    assert!(list.contains("in the archive as slipway-log-000000000001-000001000000.ndjson"), "{list}");
    let verified = program.run(&["verify"]);
    assert!(
        verified.starts_with("all is right: 1 clusters") && verified.contains("events in the archive"),
        "{verified}"
    );
    assert!(program.run(&["explain", &id]).contains("are in the archive: `slipway archive attach`"));
    program.run(&["scale", &id, "2"]);
    program.run(&["scale", &id, "6"]);
    for command in [&["export"][..], &["diff", "--from", "1h"], &["events", "--after", "0.0.0"]] {
        let told = program.fails(1, command);
        assert!(told.contains("is in the archive: `slipway archive list` shows where"), "{told}");
    }
    for command in [&["events"][..], &["audit"]] {
        let output = program.try_run(command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.starts_with("not shown: "), "{told}");
    }
    let mut files: Vec<String> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path().to_str().expect("a name").to_owned())
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    files.sort();
    let told = program.fails(1, &["archive", "attach", &files[0]]);
    assert!(told.contains("has to come back first"), "{told}");
    let told = program.fails(1, &["import", &files[0]]);
    assert!(told.contains("nothing was imported"), "{told}");
    let arguments: Vec<&str> = ["archive", "attach"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let told = program.run(&arguments);
    assert_eq!(told.lines().count(), files.len(), "{told}");
    assert!(program.run(&["verify"]).starts_with("all is right: 1 clusters, 10 events"));
    let all = program.run(&["export"]);
    let events = |log: &str| {
        log.lines().filter(|line| line.starts_with("{\"event\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(events(&all)[..events(&exported).len()], events(&exported));
}
