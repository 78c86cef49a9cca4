//! Work that nobody does, from the command line.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row;

use crate::program::Program;

fn recorded(program: &Program, id: &str) -> Vec<Value> {
    let lines = program.run(&["events", id, "--json"]);
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_aside_is_listed_with_who_and_why_and_taken_up_again() {
    let program = Program::new().await;
    let (aside, other) = (program.running("ada").await.to_string(), program.running("bob").await.to_string());
    assert_eq!(program.run_json(&["dead", "--json"]), json!([]));
    let told = program.run(&["park", &aside, "--why", " the node is being repaired "]);
    assert!(told.starts_with(&format!("{aside} is put aside until")), "{told}");
    let last = recorded(&program, &aside).pop().expect("an event");
    let reason = json!({"reason": {"kind": "admin", "why": "the node is being repaired"}});
    assert_eq!((&last["event"]["type"], &last["event"]["data"]), (&json!("Parked"), &reason));
    let by = last["actor"].as_str().expect("an actor").to_owned();
    assert!(by.starts_with("cli:"), "{by}");

    let letters = program.run_json(&["dead", "--json"]);
    assert_eq!(letters.as_array().map(Vec::len), Some(1), "also before any worker has looked");
    assert_eq!((&letters[0]["cluster"], &letters[0]["by"]), (&json!(aside), &json!(by)));
    let listed = program.run(&["dead"]);
    assert!(listed.contains("the node is being repaired") && listed.contains(&aside), "{listed}");

    let told = program.run(&["requeue", &aside, "--why", "it is back"]);
    assert_eq!(told, format!("{aside} is worked on again\n"));
    assert_eq!(recorded(&program, &aside).pop().expect("an event")["event"]["data"], json!({"why": "it is back"}));
    assert_eq!(program.run_json(&["dead", "--json"]), json!([]));
    assert_eq!(recorded(&program, &other).len(), 4, "the other one was left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_queue_gave_up_is_due_at_once_as_for_the_first_time_and_the_workers_hear_of_it() {
    let program = Program::new().await;
    let ids = [program.running("ada").await, program.running("bob").await];
    let store = program.service.store();
    for lease in store.claim("one", 10, Duration::from_secs(60)).await.expect("claims") {
        assert!(store.fail(&lease, "no answer", Duration::ZERO, true).await.expect("parked"));
    }
    let letters = program.run_json(&["dead", "--json"]);
    for letter in letters.as_array().expect("letters") {
        assert_eq!((&letter["last_error"], &letter["attempts"]), (&json!("no answer"), &json!(1)));
    }
    let mut listener = sqlx::postgres::PgListener::connect_with(&program.pool).await.expect("it listens");
    listener.listen("slipway").await.expect("it listens");
    let told = program.run(&["requeue", "--all"]);
    assert_eq!(told.lines().count(), ids.len(), "{told}");
    let heard = tokio::time::timeout(Duration::from_secs(20), listener.recv()).await;
    heard.expect("in time").expect("a notification");
    let sql = "SELECT count(*) FROM slipway.work WHERE attempt = 0 AND parked_at IS NULL AND due_at <= clock_timestamp()";
    let due: i64 = sqlx::query(sql).fetch_one(&program.pool).await.expect("a count").get(0);
    assert_eq!(due, 2);
    assert!(program.run(&["requeue", "--all"]).contains("nothing that was given up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let program = Program::new().await;
    let id = program.running("ada").await.to_string();
    assert!(program.fails(1, &["park", "cluster-100000", "--why", "x"]).contains("there is no cluster-100000"));
    program.fails(1, &["requeue", "cluster-100000"]);
    program.fails(2, &["park", &id]);
    program.fails(2, &["park", &id, "--why", "  "]);
    program.fails(2, &["park", &id, "--why", "two\nlines"]);
    program.fails(2, &["requeue"]);
    program.fails(2, &["requeue", &id, "--all"]);
    assert_eq!(recorded(&program, &id).len(), 4, "nothing was recorded");
}
