//! What goes wrong behind slipway's back is put right.

use std::time::Duration;

use serde_json::Value;

use super::apiserver::Mode;
use super::cluster::{apply, get, kubectl, namespace_exists, pods, try_kubectl};
use super::house::{FAKE, House, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_edited_or_evicted_comes_back() {
    let house = House::new("repaired", FAKE, &[]).await;
    let student = house.student().await;
    let id = house.running(&student, 2).await;
    let uid = || get(&["pod", "scheduler", "-n", &id]).first().map(|pod| pod["metadata"]["uid"].clone());

    // The notebook's pod is deleted: another one comes, and the route leads to it.
    let before = uid();
    kubectl(&["delete", "pod", "scheduler", "-n", &id, "--grace-period=0", "--force"]);
    within(60, "another pod, and the route to it", async || {
        let pod = get(&["pod", "scheduler", "-n", &id]).pop()?;
        let place = format!("http://{}:8888", pod["status"]["podIP"].as_str()?);
        (uid() != before && house.target(&id).await == Some(place)).then_some(())
    })
    .await;

    // It is evicted, as by a node without memory.
    let before = uid();
    let evicted = r#"{"status":{"phase":"Failed","reason":"Evicted","message":"the node was low on memory"}}"#;
    kubectl(&["patch", "pod", "scheduler", "-n", &id, "--subresource=status", "--type=merge", "-p", evicted]);
    within(60, "another pod than the evicted one", async || (uid().is_some() && uid() != before).then_some(()))
        .await;
    house.settled(&student, &id, 2).await;
    let told = house.events(&id);
    let evicted = |event: &Value| {
        event["event"]["data"]["step"]["why"].as_str().is_some_and(|why| why.contains("low on memory"))
    };
    assert!(told.iter().any(evicted), "the reason is in the log: {told:#?}");

    // The replication controller is edited by hand.
    let edit = r#"{"spec":{"replicas":5,"template":{"spec":{"automountServiceAccountToken":true}}}}"#;
    kubectl(&["patch", "rc", "workers", "-n", &id, "--type=merge", "-p", edit]);
    within(60, "the controller as it was", async || {
        let spec = &get(&["rc", "workers", "-n", &id])[0]["spec"];
        (spec["replicas"] == 2 && spec["template"]["spec"]["automountServiceAccountToken"] == false).then_some(())
    })
    .await;

    // A policy is removed, another one opened.
    kubectl(&["delete", "networkpolicy", "nobody", "-n", &id]);
    kubectl(&[
        "patch",
        "networkpolicy",
        "neighbours",
        "-n",
        &id,
        "--type=merge",
        "-p",
        r#"{"spec":{"ingress":[{}]}}"#,
    ]);
    within(60, "both policies as they were", async || {
        let policies = get(&["networkpolicies", "-n", &id]);
        let opened = policies.iter().any(|policy| policy["spec"]["ingress"][0] == serde_json::json!({}));
        (policies.len() == 2 && !opened).then_some(())
    })
    .await;

    // The whole namespace is deleted.
    kubectl(&["delete", "namespace", &id, "--wait=false"]);
    within(60, "the namespace to be on its way out", async || {
        get(&["namespace", &id])
            .iter()
            .all(|namespace| !namespace["metadata"]["deletionTimestamp"].is_null())
            .then_some(())
    })
    .await;
    within(90, "the cluster to be back", async || {
        let namespace = get(&["namespace", &id]).pop()?;
        let fresh = namespace["metadata"]["deletionTimestamp"].is_null();
        (fresh && pods(&id, "workers").len() == 2 && pods(&id, "scheduler").len() == 1).then_some(())
    })
    .await;
    house.settled(&student, &id, 2).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_cannot_go_is_reported_with_what_holds_it() {
    let house = House::new("held", FAKE, &[]).await;
    let student = house.student().await;
    let id = house.running(&student, 1).await;
    apply(&format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: held, namespace: {id}, finalizers: [example.com/hold]}}}}"
    ));
    student.ask_to_stop(&id).await;
    let reported = within(150, "the finalizer to be reported", async || {
        let told = house.events(&id);
        let held =
            told.iter().filter_map(|event| event["event"]["data"]["step"]["why"].as_str().map(str::to_owned));
        held.into_iter().find(|why| why.contains("example.com/hold"))
    })
    .await;
    assert!(reported.contains("namespace"), "{reported}");
    assert!(namespace_exists(&id));
    assert_eq!(student.cluster(&id).await["status"], "stopping", "nothing is said to be gone that is not");
    kubectl(&[
        "patch",
        "configmap",
        "held",
        "-n",
        &id,
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    student.ended(&id).await;
    assert!(!namespace_exists(&id));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_or_overwhelmed_costs_nothing_but_time() {
    let house = House::new("away", FAKE, &[]).await;
    let student = house.student().await;
    let kept = house.running(&student, 1).await;
    for (mode, seconds) in [(Mode::Away, 60), (Mode::Answer(429), 10), (Mode::Answer(500), 10)] {
        house.apiserver.set(mode);
        house.apiserver.take();
        let launched = house.launched(&student, 2).await;
        let stopped_meanwhile = house.launched(&student, 1).await;
        student.ask_to_stop(&stopped_meanwhile).await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let asked = house.apiserver.take().len();
        // Nine watches that try every few seconds, and three passes that do.
        let most = usize::try_from(seconds).expect("small") * 12 + 60;
        assert!(asked < most, "{asked} requests in {seconds} s is a hot loop ({mode:?})");
        assert_eq!(student.cluster(&launched).await["status"], "launching", "{mode:?}");
        assert_eq!(student.cluster(&kept).await["status"], "running", "{mode:?}");
        house.apiserver.set(Mode::Through);
        within(30, "the launch to go on by itself", async || {
            let cluster = student.cluster(&launched).await;
            (cluster["status"] == "running" && cluster["workers"]["ready"] == 2).then_some(())
        })
        .await;
        student.ended(&stopped_meanwhile).await;
    }
    house.close().await;
}

/// The right to look is not the right to touch.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_is_left_alone() {
    let house = House::new("foreign", FAKE, &[]).await;
    let other = House::new("foreign-too", FAKE, &[]).await;
    let id = house.running(&house.student().await, 1).await;
    // Its keeper goes through what it finds, and finds nothing of ours.
    let theirs = other.running(&other.student().await, 1).await;
    other.close().await;
    assert!(!namespace_exists(&theirs));
    assert!(namespace_exists(&id));
    let admin = try_kubectl(
        &["auth", "can-i", "get", "secrets", "--as=system:serviceaccount:slipway:slipway-worker", "-A"],
        "",
    );
    assert_eq!(String::from_utf8_lossy(&admin.stdout).trim(), "no", "the worker reads no Secret");
    for account in ["slipway", "default"] {
        let subject = format!("--as=system:serviceaccount:slipway:{account}");
        let may = try_kubectl(&["auth", "can-i", "list", "pods", &subject, "-A"], "");
        assert_eq!(String::from_utf8_lossy(&may.stdout).trim(), "no", "api and proxy have no rights");
    }
    house.close().await;
}
