//! The Kubernetes of the tests, as its administrator sees it.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Output, Stdio};

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::OnceCell;

static RIGHTS: OnceCell<String> = OnceCell::const_new();

fn kubeconfig() -> String {
    std::env::var("SLIPWAY_TEST_KUBECONFIG").expect(
        "SLIPWAY_TEST_KUBECONFIG is not set: run these tests with ops/check, or name a kubeconfig (see CONTRIBUTING.md)",
    )
}

/// What it printed; it must succeed.
pub fn kubectl(arguments: &[&str]) -> String {
    let output = try_kubectl(arguments, "");
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {wrong}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub fn try_kubectl(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(kubeconfig()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl is on the PATH");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Objects as JSON; `arguments` as `kubectl get` takes them.
pub fn get(arguments: &[&str]) -> Vec<Value> {
    let text = kubectl(&[&["get", "--ignore-not-found", "-o", "json"], arguments].concat());
    match serde_json::from_str::<Value>(&text) {
        Ok(mut list) if list["kind"] == "List" => list["items"].take().as_array().cloned().unwrap_or_default(),
        Ok(one) => vec![one],
        Err(_) => vec![],
    }
}

/// Makes or changes objects.
pub fn apply(yaml: &str) {
    let output = try_kubectl(&["apply", "-f", "-"], yaml);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub fn namespace_exists(id: &str) -> bool {
    !get(&["namespace", id]).is_empty()
}

/// The names of the pods of a cluster that are not on their way out.
pub fn pods(id: &str, component: &str) -> Vec<String> {
    let selector = format!("app.kubernetes.io/component={component}");
    let pods = get(&["pods", "-n", id, "-l", &selector]);
    let staying = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    staying.map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

/// A client with the rights of the worker, and no others: those of ops/deploy.
pub async fn as_worker() -> Client {
    let token = RIGHTS.get_or_init(async || {
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/deploy");
        let all = kubectl(&["kustomize", deploy]);
        let of_accounts = |object: &&str| {
            ["kind: Namespace\n", "kind: ServiceAccount\n", "kind: ClusterRole\n", "kind: ClusterRoleBinding\n"]
                .iter()
                .any(|kind| object.contains(&format!("\n{kind}")))
        };
        apply(&all.split("---\n").filter(of_accounts).collect::<Vec<_>>().join("---\n"));
        kubectl(&["create", "token", "slipway-worker", "-n", "slipway", "--duration=10h"]).trim().to_owned()
    });
    let token = token.await;
    let mut kubeconfig = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig");
    for named in &mut kubeconfig.auth_infos {
        let bearer: AuthInfo = serde_json::from_value(serde_json::json!({ "token": token })).expect("a user");
        named.auth_info = Some(bearer);
    }
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a config");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// Where pods reach this machine: where the API server is.
pub fn node_address() -> IpAddr {
    let nodes = get(&["nodes"]);
    let real = nodes.iter().find(|node| node["metadata"]["labels"]["type"] != "kwok").expect("a real node");
    let addresses = real["status"]["addresses"].as_array().expect("addresses").iter();
    let internal = addresses
        .filter(|address| address["type"] == "InternalIP")
        .find_map(|address| address["address"].as_str());
    internal.expect("an address").parse().expect("an address")
}
