//! Nobody gets from one cluster to another, nor to Kubernetes.

use std::collections::BTreeSet;

use super::cluster::{get, kubectl, try_kubectl};
use super::house::{House, REAL, real_turn, within};

/// Prints the ports that something in the pod listens on.
const LISTENING: &str = "\
import glob
ports = set()
for table in glob.glob('/proc/net/tcp*'):
    for line in open(table).readlines()[1:]:
        fields = line.split()
        address, port = fields[1].rsplit(':', 1)
        if fields[3] == '0A' and address not in ('0100007F', '00000000000000000000000001000000'):
            ports.add(int(port, 16))
print(*sorted(ports))";

/// Prints those of the places in its arguments that can be reached.
const REACHED: &str = "\
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(':', 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(place)
    except OSError:
        pass";

/// Of the notebook, of Dask and its pages: what listens once a cluster is ready. The others come later.
const ENGINES: [&str; 3] = [":8888", ":8786", ":8787"];

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_shut_off_from_others_and_from_kubernetes() {
    let _turn = real_turn().await;
    let mut house = House::new("isolation", REAL, &[]).await;
    let (one, two) = (house.student().await, house.student().await);
    let (a, b) = (house.running(&one, 1).await, house.running(&two, 1).await);

    // Those that the cluster itself reaches: some ports come and go.
    let places = within(120, "the cluster to listen", async || {
        let open = reached(&b, "scheduler", &places(&b));
        ENGINES.iter().all(|port| open.iter().any(|place| place.ends_with(port))).then_some(open)
    })
    .await;
    for pod in pod_names(&a) {
        assert_eq!(reached(&a, &pod, &places), BTreeSet::new(), "from {pod} of another cluster");
        let api = BTreeSet::from(["10.96.0.1:443".to_owned(), "kubernetes.default.svc:443".to_owned()]);
        assert_eq!(reached(&a, &pod, &api), BTreeSet::new(), "the API server, from {pod}");
        let token = try_kubectl(&["exec", "-n", &a, &pod, "--", "ls", "/var/run/secrets/kubernetes.io"], "");
        assert!(!token.status.success(), "there is no service account token in {pod}");
    }

    // Who has the pod's identity all the same may do nothing.
    let identity = format!("--as=system:serviceaccount:{a}:cluster");
    for verb in [["get", "pods"], ["get", "secrets"], ["delete", "pods"]] {
        let refused = try_kubectl(&[&verb[..], &["-n", &a, &identity, "scheduler"]].concat(), "");
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && why.contains("forbidden"), "{verb:?}: {why}");
    }

    let privileged = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: privileged, namespace: {a}}}, spec: {{containers: \
         [{{name: c, image: absent, resources: {{limits: {{cpu: 10m, memory: 16Mi}}}}, securityContext: {{privileged: true}}}}]}}}}"
    );
    let refused = try_kubectl(&["apply", "-f", "-"], &privileged);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("violates PodSecurity \"restricted"), "{why}");

    // Without the policies all can be reached: it is they that shut it off.
    house.kill_worker().await;
    for id in [&a, &b] {
        kubectl(&["delete", "networkpolicies", "--all", "-n", id]);
    }
    within(30, "everything to be open", async || (reached(&a, "scheduler", &places) == places).then_some(()))
        .await;
    house.start_worker();
    within(30, "everything to be shut again", async || reached(&a, "scheduler", &places).is_empty().then_some(()))
        .await;
    house.close().await;
}

fn pod_names(id: &str) -> Vec<String> {
    get(&["pods", "-n", id])
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Where something listens in the cluster's pods.
fn places(id: &str) -> BTreeSet<String> {
    let pods = get(&["pods", "-n", id]);
    let of = |pod: &serde_json::Value| {
        let (name, address) = (pod["metadata"]["name"].as_str(), pod["status"]["podIP"].as_str());
        let (name, address) = (name.expect("a name").to_owned(), address.expect("an address").to_owned());
        let ports = kubectl(&["exec", "-n", id, &name, "--", "python3", "-c", LISTENING]);
        ports.split_whitespace().map(|port| format!("{address}:{port}")).collect::<Vec<_>>()
    };
    pods.iter().flat_map(of).collect()
}

fn reached(id: &str, pod: &str, places: &BTreeSet<String>) -> BTreeSet<String> {
    let mut arguments = vec!["exec", "-n", id, pod, "--", "python3", "-c", REACHED];
    arguments.extend(places.iter().map(String::as_str));
    kubectl(&arguments).lines().map(str::to_owned).collect()
}
