//! Launches that cannot succeed: the student is told why, in Kubernetes' own words, and nothing is left.

use super::cluster::{apply, get, kubectl, namespace_exists};
use super::house::{FAKE, House, REAL, within};

/// A launch with this profile fails within a deadline, with a reason that has the words in it.
async fn refused(name: &str, profile: &str, options: &[&str], words: &[&str]) {
    let house = House::new(name, profile, options).await;
    let student = house.student().await;
    let id = house.launched(&student, 1).await;
    let why = house.failed(&student, &id).await;
    for word in words {
        assert!(why.contains(word), "{word:?} is not in: {why}");
    }
    within(60, "the namespace to be gone", async || (!namespace_exists(&id)).then_some(())).await;
    assert_eq!(student.cluster(&id).await["status"], "failed");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled() {
    let profile = REAL.replace("title = ", "image = \"10.88.0.1:1/absent:1\"\ntitle = ");
    refused("image", &profile, &["--pull-within", "5s"], &["10.88.0.1:1/absent:1", "cannot be pulled"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_on_no_machine() {
    let large = r#"requests = { cpu = "500", memory = "64Mi" }
limits = { cpu = "500", memory = "1Gi" }"#;
    let profile = FAKE.replacen(r#"requests = { cpu = "10m", memory = "64Mi" }"#, large, 1);
    refused(
        "unschedulable",
        &profile,
        &["--launch-within", "10s"],
        &["ready after 10 seconds", "Insufficient cpu"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_kubernetes_refuses() {
    let profile = FAKE.replace("title = ", "priority-class = \"absent\"\ntitle = ");
    refused("priority", &profile, &[], &["PriorityClass", "absent"]).await;
}

/// What an administrator allows the namespace is less than the student asks for: the notebook stays, and the
/// reason is shown.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_a_quota_does_not_let_in() {
    let house = House::new("quota", FAKE, &[]).await;
    let student = house.student().await;
    let id = house.running(&student, 1).await;
    apply(&format!(
        "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: narrow, namespace: {id}}}, spec: {{hard: {{pods: '2'}}}}}}"
    ));
    within(30, "the quota to be counted", async || {
        (get(&["quota", "narrow", "-n", &id]).first()?["status"]["used"]["pods"] == "2").then_some(())
    })
    .await;
    assert_eq!(student.scale(&id, 4).await.0, 202);
    within(60, "the reason to be told", async || {
        let told = house.events(&id);
        let whys = told.iter().filter_map(|event| event["event"]["data"]["step"]["why"].as_str());
        whys.into_iter().any(|why| why.contains("exceeded quota: narrow")).then_some(())
    })
    .await;
    assert_eq!(student.cluster(&id).await["status"], "running");
    kubectl(&["delete", "quota", "narrow", "-n", &id]);
    house.settled(&student, &id, 4).await;
    house.close().await;
}
