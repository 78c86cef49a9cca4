//! What the log tells of one cluster, and of the time between two moments.

use std::time::Duration;

use serde_json::json;
use slipway::domain::{Access, ClusterId, Command, Observation, StopReason};
use slipway::store::append::Meta;

use crate::harness::{launch, meta, subject, workers};
use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_explained_with_causes_troubles_and_what_it_waits_for() {
    let program = Program::new().await;
    let id = program.running("ada").await;
    let store = program.service.store();
    let first = store.stream(id).await.expect("events").remove(0);
    let why = "there is no such image".to_owned();
    let by_worker =
        Meta { correlation: first.correlation, causation: Some(first.event_id), ..Meta::by(subject("worker:7")) };
    program.service.execute(id, &Command::GiveUp { why }, &by_worker, None).await.expect("given up");
    let lease = store.claim("worker:7", 1, Duration::from_secs(60)).await.expect("a claim").remove(0);
    assert!(store.fail(&lease, "no answer", Duration::from_secs(600), false).await.expect("failed"));

    let told = program.run(&["explain", &id.to_string()]);
    for part in [
        &format!("{id} of ada: stopped and not removed yet"),
        "Launch requested, with 2 workers (ada)",
        "stopped when idle after 1 hour",
        "Notebook and Dask scheduler are ready (worker:1)",
        "! Stopping: there is no such image (worker:7, because of 1)",
        "Waiting for its removal",
        "Work: the next look is at ",
        "tries since it last went well: 1; the last error: no answer",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = program.run_json(&["explain", &id.to_string(), "--json"]);
    let last = &told["story"][4];
    assert_eq!((&last["because_of"], &last["part_of"], &last["trouble"]), (&json!(1), &json!(1), &json!(true)));
    assert_eq!((&told["waiting_for"], &told["work"]["attempts"]), (&json!("its removal"), &json!(1)));
    assert!(program.fails(1, &["explain", "cluster-100000"]).contains("there is no cluster-100000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_in_line_is_told_its_place_and_one_that_was_put_aside_why() {
    let program = Program::new().await;
    let launched = program.service.launch(launch("ada"), subject("ada"), None).await;
    let id = launched.expect("a launch").cluster.id.to_string();
    let told = program.run(&["explain", &id]);
    assert!(told.contains("Waiting for its turn in line. "), "{told}");
    let id = program.running("bob").await.to_string();
    program.run(&["park", &id, "--why", "for the inspection"]);
    let told = program.run(&["explain", &id]);
    assert!(told.contains("! Put aside by an organiser: for the inspection (cli:"), "{told}");
    assert!(told.contains("Waiting for somebody to requeue, scale or stop it"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_between_two_times_is_read_from_the_log() {
    let program = Program::new().await;
    let (scaled, stopped, same) =
        (program.running("ada").await, program.running("bob").await, program.running("eve").await);
    let now = async || {
        let sql = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        sqlx::query_scalar::<_, String>(sql).fetch_one(&program.pool).await.expect("a time")
    };
    let from = now().await;
    program.tell(scaled, Command::Scale { workers: workers(4) }, "ada").await;
    program.tell(scaled, Command::SetAccess { access: Access::Class }, "ada").await;
    program.tell(stopped, Command::Stop { reason: StopReason::Owner }, "bob").await;
    program.tell(stopped, Command::Report(Observation::Absent), "worker:1").await;
    let came = program.launched("kim").await;
    let to = now().await;
    program
        .service
        .execute(same, &Command::Scale { workers: workers(8) }, &meta("eve"), None)
        .await
        .expect("later");

    let rows = program.run_json(&["diff", "--from", &from, "--to", &to, "--json"]);
    let of = |id: ClusterId| {
        rows.as_array()
            .expect("rows")
            .iter()
            .find(|row| row["cluster"] == id.to_string())
            .map(|row| &row["changes"])
    };
    let sized =
        json!([{"change": "workers", "from": 2, "to": 4}, {"change": "access", "from": "owner", "to": "class"}]);
    assert_eq!(of(scaled), Some(&sized));
    assert_eq!(of(came), Some(&json!([{"change": "came", "status": "launching", "workers": 2}])));
    assert_eq!(of(stopped).expect("bob's")[2], json!({"change": "went", "why": "Stopped by you"}));
    assert_eq!(of(same), None);
    let told = program.run(&["diff", "--from", &from, "--to", &to]);
    assert!(told.contains("workers 2 → 4; access owner → class"), "{told}");
    assert!(told.ends_with("3 clusters differ: 1 came, 1 went\n"), "{told}");
    assert!(program.run(&["diff", "--from", &to]).contains("workers 2 → 8"), "until now");
    let told = program.fails(1, &["diff", "--from", &to, "--to", &from]);
    assert!(told.contains("is later than --to"), "{told}");
}
