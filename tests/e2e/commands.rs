//! The commands of an operator, as they print.

use serde_json::{Value, json};

use super::http::Client;
use super::installation::{Installation, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_and_changes_everything_from_the_command_line() {
    let mut installation = Installation::started("commands", &[]).await;
    let told = installation.run(&["launch", "--workers", "1", "--owner", "class:ada"]);
    let id = told.lines().next().expect("an id").to_owned();
    for line in ["Launch requested, with 1 worker", "Notebook and Dask scheduler are ready", "running"] {
        assert!(told.contains(line), "{line}: {told}");
    }

    let shown = installation.run_json(&["show", &id, "--json"]);
    assert_eq!((&shown["status"], &shown["owner"]), (&json!("running"), &json!("class:ada")));
    let url = shown["url"].as_str().expect("a URL");
    let path = url.strip_prefix(&installation.address()).expect("of this installation");
    assert_eq!(installation.client().get(path).await.status, 200, "{url}");

    installation.run(&["scale", &id, "2"]);
    until("two workers", async || {
        let shown = installation.run_json(&["show", &id, "--json"]);
        (shown["workers"]["ready"] == 2).then_some(())
    })
    .await;
    let listed = installation.run_json(&["list", "--json"]);
    assert_eq!(listed[0]["id"], id);
    assert!(installation.run(&["list"]).contains(&format!("{id}  running  2/2")));
    assert_eq!(installation.run_json(&["list", "--owner", "class:bob", "--json"]), json!([]));
    let logs = installation.run(&["logs", &id, "--part", "notebook"]);
    assert!(logs.contains("notebook   | "), "{logs}");

    let kinds: Vec<_> = installation.events(&id).iter().map(|event| event["event"]["type"].clone()).collect();
    assert_eq!(kinds[0], "LaunchRequested");
    for kind in ["StepReached", "BecameReady", "ScaleRequested", "Scaled"] {
        assert!(kinds.contains(&json!(kind)), "{kind} in {kinds:?}");
    }
    let told = installation.run(&["stop", &id]);
    assert_eq!(told, format!("{id} is stopping\n"));
    until("its removal", async || (installation.events(&id).last()?["event"]["type"] == "Removed").then_some(()))
        .await;
    what_the_log_tells(&installation, &id);
    tokens(&installation).await;
    assert_eq!(installation.try_run(&["show", "cluster-100000"]).status.code(), Some(1));
    assert_eq!(installation.try_run(&["show", "no-cluster"]).status.code(), Some(2));
    installation.stop().await;
}

fn what_the_log_tells(installation: &Installation, id: &str) {
    assert_eq!(installation.run_json(&["list", "--json"]), json!([]));
    assert_eq!(installation.run_json(&["list", "--all", "--json"])[0]["reason"], "Stopped by an organiser");
    let audit = installation.run_json(&["audit", "--since", "1h", "--json"]);
    assert_eq!((&audit[0]["cluster"], &audit[0]["owner"]), (&json!(id), &json!("class:ada")));
    assert_eq!(audit[0]["workers_peak"], 2);
    assert!(installation.run(&["audit"]).contains("class:ada"));

    let events = installation.events(id);
    let ready = events.iter().find(|event| event["event"]["type"] == "BecameReady").expect("it was ready");
    let then = ready["recorded_at"].as_str().expect("a time");
    let state = installation.run_json(&["state", id, "--at", then, "--json"]);
    assert_eq!((&state[0]["status"], &state[0]["cluster"]["workers"]), (&json!("running"), &json!(1)));
    assert_eq!(installation.run_json(&["state", id, "--json"])[0]["status"], "stopped");
    assert_eq!(installation.run_json(&["state", "--json"]), json!([]), "nothing is live now");
}

async fn tokens(installation: &Installation) {
    let made = installation.run_json(&["token", "create", "--name", "ci", "--expires-in", "1d", "--json"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    let client = Client::identified(&installation.address(), "authorization", format!("Bearer {token}"));
    let answer = client.get("/api/clusters").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"clusters": []})));
    let listed: Value = installation.run_json(&["token", "list", "--json"]);
    assert_eq!((&listed[0]["name"], &listed[0]["id"]), (&json!("ci"), &made["id"]));
    assert!(!listed.to_string().contains(&token), "shown once only");
    installation.run(&["token", "revoke", made["id"].as_str().expect("an id")]);
    assert_eq!(client.get("/api/clusters").await.status, 401);
}
