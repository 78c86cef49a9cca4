# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# Fake nodes, whose pods only seem to run: for numbers that no machine has room for. Sourced.

# The fake pods' addresses lie in the pods' network, so that nothing for them leaves the machine.
run_kwok() {
    launch kwok "$kwok/kwok" --kubeconfig "$kubeconfig" --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake \
        --cidr "$fake_pod_network" --node-ip "$node_address" --node-lease-duration-seconds 40 --config /dev/null \
        --server-address "127.0.0.1:$kwok_port"
}
healthy_kwok() { curl -sf -m 2 "http://127.0.0.1:$kwok_port/healthz"; }

# ensure_fake_nodes COUNT: those that are missing; more than so many stay.
ensure_fake_nodes() {
    local number name have
    have=$(kubectl get nodes -l type=kwok -o name)
    for ((number = 1; number <= $1; number++)); do
        name=$(printf 'fake%03d' "$number")
        grep -qxF "node/$name" <<<"$have" || fake_node "$name"
    done | kubectl_create_if_any
    local deadline=$((SECONDS + 60))
    until [ "$(ready_fake_nodes)" -ge "$1" ]; do
        [ "$SECONDS" -lt "$deadline" ] || fail_of kwok "has not made $1 nodes ready after 60 s"
        sleep 0.2
    done
}

kubectl_create_if_any() {
    local manifests
    manifests=$(cat)
    [ -z "$manifests" ] || kubectl create -f - <<<"$manifests" >/dev/null
}

# The taint keeps ordinary pods off: a test's pods tolerate it and select the label.
fake_node() {
    local room='{cpu: "32", memory: 64Gi, pods: "250"}'
    cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: $1
  annotations: {kwok.x-k8s.io/node: fake}
  labels: {type: kwok, kubernetes.io/hostname: $1, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
spec: {taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]}
status: {allocatable: $room, capacity: $room}
YAML
}

ready_fake_nodes() {
    kubectl get nodes -l type=kwok -o 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
        grep -c True || true
}
