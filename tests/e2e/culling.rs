//! What nobody uses is taken away; what works is not.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::installation::{Installation, until};
use super::student::Student;

const LIMIT_SECONDS: i64 = 3;

/// Until the test puts a file there.
const WAIT: &str = "\
import os, time
go = os.path.abspath('go')
def wait():
    while not os.path.exists(go):
        time.sleep(0.05)";

#[tokio::test(flavor = "multi_thread")]
async fn idle_clusters_are_culled_with_evidence_and_those_at_work_are_not() {
    let options = ["--idle-limit", "3s", "--keep-every", "200ms", "--clusters-per-owner", "3"];
    let mut installation = Installation::started("culled", &options).await;
    let student = Student::new(installation.listen).await;

    // Nothing is sent to either of them any more once this is said.
    let cell = student.launch(1).await;
    let work = async {
        let mut kernel = student.kernel(&cell).await;
        kernel.begin(&format!("{WAIT}\nwait()")).await;
    };
    in_use(&student, &cell, work).await;
    let tasks = student.launch(1).await;
    let work = async {
        let mut kernel = student.kernel(&tasks).await;
        kernel
            .run(&format!(
                "{WAIT}\nfrom dask.distributed import Client, fire_and_forget\n\
                 client = Client(); fire_and_forget(client.submit(wait))"
            ))
            .await;
    };
    in_use(&student, &tasks, work).await;
    let idle = student.launch(1).await;

    let ended = student.ended(&idle).await;
    let reason = ended["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("Not used since "), "{reason}");
    let evidence = evidence(&installation, &idle);
    assert_eq!(
        (&evidence["kernels"], &evidence["tasks_in_flight"], &evidence["limit_seconds"]),
        (&json!(0), &json!(0), &json!(LIMIT_SECONDS))
    );
    for busy in [&cell, &tasks] {
        until("twice the limit to pass", async || {
            let cluster = student.cluster(busy).await;
            assert_eq!(cluster["status"], "running", "{cluster}");
            let due: DateTime<Utc> = cluster["culls_at"].as_str()?.parse().expect("a time");
            (Utc::now() - due > TimeDelta::seconds(2 * LIMIT_SECONDS)).then_some(())
        })
        .await;
    }

    for busy in [&cell, &tasks] {
        installation.put(busy, "go");
        student.ended(busy).await;
        let evidence = self::evidence(&installation, busy);
        assert_eq!((&evidence["kernels"], &evidence["tasks_in_flight"]), (&json!(1), &json!(0)));
    }
    installation.stop().await;
}

/// Uses the cluster until it works, as on a slow machine its kernel takes longer to start than the limit.
async fn in_use(student: &Student, id: &str, work: impl Future<Output = ()>) {
    let mut often = tokio::time::interval(Duration::from_millis(500));
    let using = async {
        loop {
            often.tick().await;
            student.get(&format!("/{id}/api")).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = using => {}
    }
}

/// Why the keeper stopped it, checked for what always holds.
fn evidence(installation: &Installation, id: &str) -> Value {
    let events = installation.events(id);
    let stop = events.iter().find(|event| event["event"]["type"] == "StopRequested").expect("it was stopped");
    assert_eq!(stop["actor"], "keeper");
    let reason = &stop["event"]["data"]["reason"];
    assert_eq!(reason["kind"], "idle", "{reason}");
    let time = |value: &Value| value.as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time");
    let idle = time(&stop["recorded_at"]) - time(&reason["last_activity"]);
    assert!(idle >= TimeDelta::seconds(LIMIT_SECONDS), "idle for {idle}");
    reason.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifetime_ends_a_cluster_that_is_in_use() {
    let options = ["--lifetime", "12s", "--keep-every", "200ms"];
    let mut installation = Installation::started("lifetime", &options).await;
    let student = Student::new(installation.listen).await;
    let (_, cluster) = student.press(None, 1).await;
    let id = cluster["id"].as_str().expect("an id");
    let mut uses = 0;
    until("its end", async || {
        uses += u32::from(student.get(&format!("/{id}/api")).await == 200);
        (student.cluster(id).await["status"] == "stopped").then_some(())
    })
    .await;
    assert!(uses > 0, "it was in use");
    let events = installation.events(id);
    let stop = events.iter().find(|event| event["event"]["type"] == "StopRequested").expect("it was stopped");
    let reason = &stop["event"]["data"]["reason"];
    assert_eq!((&reason["kind"], &reason["lifetime_seconds"]), (&json!("expired"), &json!(12)));
    installation.stop().await;
}
