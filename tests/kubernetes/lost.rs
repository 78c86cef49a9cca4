//! A node that is lost: its pods are never confirmed to be gone.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::cluster::{apply, get, kubectl};
use super::house::{FAKE, House, within};

/// A node for this test only. `kwok` speaks for one that has its annotation; for the other nobody does.
fn node(name: &str, annotations: &Value) {
    let room = json!({ "cpu": "32", "memory": "64Gi", "pods": "200" });
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "annotations": annotations, "labels": { "lost-test": "yes" } },
        "spec": { "taints": [{ "key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule" }] },
        "status": { "allocatable": room, "capacity": room },
    });
    apply(&node.to_string());
}

fn patch_status(of: &[&str], status: &Value) {
    let patch = json!({ "status": status }).to_string();
    kubectl(&[&["patch"], of, &["--subresource=status", "--type=merge", "-p", &patch]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_lost_node_come_up_on_another_one() {
    let time = |format| Utc::now().to_rfc3339_opts(format, true);
    // kwok would prolong the lease of every node, but not one that somebody else holds.
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": "lost-a", "namespace": "kube-node-lease" },
        "spec": { "holderIdentity": "lost-a", "leaseDurationSeconds": 36_000, "renewTime": time(SecondsFormat::Micros) },
    });
    apply(&lease.to_string());
    node("lost-a", &json!({}));
    let now = time(SecondsFormat::Secs);
    let ready = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                        "lastHeartbeatTime": now, "lastTransitionTime": now });
    patch_status(&["node", "lost-a"], &json!({ "conditions": [ready] }));
    let profile = FAKE.replace("type = \"kwok\"", "\"lost-test\" = \"yes\"");
    let house = House::new("lost", &profile, &["--retire-within", "5s"]).await;
    let student = house.student().await;
    let id = house.launched(&student, 2).await;
    // The node's word, its last: the pods run.
    within(60, "the pods to be placed, and told to run", async || {
        let placed: Vec<Value> =
            get(&["pods", "-n", &id]).into_iter().filter(|pod| pod["spec"]["nodeName"] == "lost-a").collect();
        for (number, pod) in placed.iter().enumerate() {
            let conditions = json!([{ "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "True" }]);
            let status = json!({ "phase": "Running", "podIP": format!("10.88.250.{}", number + 1), "conditions": conditions });
            patch_status(&["pod", pod["metadata"]["name"].as_str()?, "-n", &id], &status);
        }
        (placed.len() == 3).then_some(())
    })
    .await;
    house.settled(&student, &id, 2).await;
    node("lost-b", &json!({ "kwok.x-k8s.io/node": "fake" }));
    // Kubernetes gives a silent node 40 to 50 s, slipway's pods half a minute more.
    within(240, "all pods on the other node, and nothing left of those on the lost one", async || {
        let all = get(&["pods", "-n", &id]);
        (all.len() == 3 && all.iter().all(|pod| pod["spec"]["nodeName"] == "lost-b")).then_some(())
    })
    .await;
    house.settled(&student, &id, 2).await;
    house.close().await;
    kubectl(&["delete", "node", "lost-a", "lost-b"]);
    kubectl(&["delete", "lease", "lost-a", "-n", "kube-node-lease"]);
}
