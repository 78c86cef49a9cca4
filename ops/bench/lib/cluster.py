"""The Kubernetes that is launched on: identities whose requests it counts, fake nodes, clearing up."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

NAMESPACE = "slipway-bench"
# Where ops/testcluster notes its processes; on another cluster their CPU is not known.
STATE = Path(os.environ.get("SLIPWAY_TESTCLUSTER", "/var/tmp/slipway-testcluster")) / "state"
COMPONENTS = ["kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kwok"]


def kubectl(*arguments, stdin=None):
    done = subprocess.run(["kubectl", *arguments], input=stdin, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"kubectl {' '.join(arguments[:4])}: {done.stderr.strip()}")
    return done.stdout


def check_nodes(pods):
    nodes = json.loads(kubectl("get", "nodes", "-l", "type=kwok", "-o", "json"))["items"]
    room = sum(int(node["status"]["allocatable"]["pods"]) for node in nodes)
    if room < pods:
        sys.exit(f"{len(nodes)} fake nodes have room for {room} of {pods} pods: ops/testcluster up --kwok {pods // 250 + 2}")


class Identity:
    """A service account that may do everything. The API server counts the requests of its flow."""

    def __init__(self, name, folder):
        self.flow, self.kubeconfig = f"{NAMESPACE}-{name}", folder / f"{name}.kubeconfig"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
        kind = lambda version, kind, name, more: {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}
        account = kind("v1", "ServiceAccount", name, {})
        account["metadata"]["namespace"] = NAMESPACE
        objects = [
            kind("v1", "Namespace", NAMESPACE, {}),
            account,
            kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", self.flow, {
                "subjects": [subject],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}),
            # At the priority that service accounts have anyway.
            kind("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", self.flow, {"spec": {
                "priorityLevelConfiguration": {"name": "workload-low"}, "matchingPrecedence": 500,
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [{
                    "subjects": [{"kind": "ServiceAccount",
                                  "serviceAccount": {"name": name, "namespace": NAMESPACE}}],
                    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True,
                                       "namespaces": ["*"]}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}}),
        ]
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        token = kubectl("-n", NAMESPACE, "create", "token", name, "--duration=8h").strip()
        config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config))

    def requests(self):
        """How many of its requests were let through so far."""
        lines = kubectl("get", "--raw", "/metrics").splitlines()
        mine = [line for line in lines if line.startswith("apiserver_flowcontrol_dispatched_requests_total")
                and f'flow_schema="{self.flow}"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in mine)


def forget(*identities):
    """They, and the namespace that they and JupyterHub's pods are in."""
    for identity in identities:
        kubectl("delete", "flowschema,clusterrolebinding", identity.flow, "--ignore-not-found")
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def clear(selector):
    """Removes the namespaces that are selected, and waits until they are gone."""
    kubectl("delete", "namespace", "-l", selector, "--wait=false")
    deadline = time.monotonic() + 300
    while kubectl("get", "namespace", "-l", selector, "-o", "name"):
        if time.monotonic() > deadline:
            sys.exit(f"the namespaces of {selector} are not gone after 300 s")
        time.sleep(0.5)


def processes():
    found = {}
    for name in COMPONENTS:
        try:
            found[name] = int((STATE / f"{name}.process").read_text().split()[0])
        except (OSError, ValueError):
            pass
    return found


def version():
    info = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    return re.sub(r"^v", "", info["gitVersion"])
