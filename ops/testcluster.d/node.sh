# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# The one real node: containerd, the kubelet, service addresses and DNS; and what is left of pods when it goes. Sourced.

write_node_files() {
    mkdir -p "$state/cni/bin" "$state/cni/conf" "$state/registries/_default"
    : >"$state/resolv.conf" # pods ask the cluster's DNS only
    local plugin
    for plugin in bridge host-local loopback; do ln -sf "/usr/lib/cni/$plugin" "$state/cni/bin/$plugin"; done
    ln -sf "$parts/policies/cni.py" "$state/cni/bin/slipway-policies"
    # Last comes the policies' plugin: a pod's programs start when its rules are at work, or not at all.
    cat >"$state/cni/conf/10-pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/cni/addresses", "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "$pod_network", "rangeStart": "$first_pod_address", "gateway": "$node_address"}]]}},
  {"type": "slipway-policies", "socket": "$policies_socket"}]}
JSON
    # There is no registry: a pull fails at once, and never by a long search for the name of one.
    cat >"$state/registries/_default/hosts.toml" <<TOML
server = "http://127.0.0.1:1"
[host."http://127.0.0.1:1"]
  capabilities = ["pull", "resolve"]
TOML
    # Root may lack the right to lower an oom_score_adj (CAP_SYS_RESOURCE), and runc then dies of it without saying so:
    # restrict_oom_score_adj.
    cat >"$state/containerd.toml" <<TOML
version = 2
root = "$images"
state = "$state/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$state/cni/bin"
    conf_dir = "$state/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$state/registries"
TOML
    # Images cannot be pulled again, so a full disk must not make the kubelet delete them or evict pods. Chains of its own
    # in the machine's firewall would outlive it.
    cat >"$state/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
clusterDomain: cluster.local
clusterDNS: [$node_address]
resolvConf: $state/resolv.conf
podLogsDir: $logs/pods
volumePluginDir: $state/volume-plugins
maxPods: 250
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
YAML
    # conntrack.maxPerCore 0: a limit of the machine's is left alone.
    cat >"$state/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $state/kube-proxy.kubeconfig}
mode: nftables
hostnameOverride: $node
clusterCIDR: $pod_network
bindAddress: $node_address
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0}
YAML
    # It forwards nothing: a name outside the cluster does not exist.
    cat >"$state/Corefile" <<COREFILE
.:53 {
    bind $node_address
    errors
    ready 127.0.0.1:$coredns_ready_port
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $state/coredns.kubeconfig
        pods insecure
        ttl 2
    }
}
COREFILE
}

# What DNS and the policies read.
grant_node_programs() {
    kubectl apply -f - >/dev/null <<YAML
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: testcluster-network}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: testcluster-network}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: testcluster-network}
subjects:
- {kind: User, name: coredns, apiGroup: rbac.authorization.k8s.io}
- {kind: User, name: policies, apiGroup: rbac.authorization.k8s.io}
YAML
}

containers() { ctr -a "$containerd_socket" -n k8s.io "$@"; }

run_containerd() { launch containerd containerd --config "$state/containerd.toml"; }
healthy_containerd() { containers version; }

run_kubelet() {
    launch kubelet "$kubernetes/kubelet" --config "$state/kubelet.yaml" --kubeconfig "$state/kubelet.kubeconfig" \
        --hostname-override "$node" --node-ip "$node_address" --root-dir "$state/kubelet" --cert-dir "$state/kubelet/pki"
}
healthy_kubelet() {
    curl -sf -m 2 http://127.0.0.1:10248/healthz &&
        kubectl get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q True
}

run_kube-proxy() { launch kube-proxy "$kubernetes/kube-proxy" --config "$state/kube-proxy.yaml"; }
healthy_kube-proxy() { curl -sf -m 2 http://127.0.0.1:10256/healthz; }

run_coredns() { launch coredns "$coredns/coredns" -conf "$state/Corefile"; }
# Its own word, and that it answers: the apiserver's service is the one that every cluster has.
healthy_coredns() {
    curl -sf -m 2 "http://127.0.0.1:$coredns_ready_port/ready" &&
        /usr/bin/python3 "$parts/dns.py" "$node_address" kubernetes.default.svc.cluster.local "$apiserver_service"
}

run_policies() {
    launch policies /usr/bin/python3 -B "$parts/policies/enforcer.py" --bridge "$bridge" --node "$node" --apiserver "$apiserver" \
        --pki "$pki" --socket "$policies_socket"
}
healthy_policies() { /usr/bin/python3 "$parts/policies/cni.py" --ready "$policies_socket"; }

# Pods end before what runs them does. The kubelet must be down, else it would start them again.
remove_pods() {
    local item
    for item in $(containers tasks ls -q); do containers tasks kill -s SIGKILL -a "$item"; done
    for item in $(containers tasks ls -q); do containers tasks rm -f "$item"; done
    for item in $(containers containers ls -q); do containers containers rm "$item"; done
} >/dev/null 2>&1

# What outlives a containerd that was killed: processes, mounts and control groups.
remove_remains() {
    local mounted group shim
    # A shim holds a pod, whose processes are its children and theirs.
    for shim in /proc/[0-9]*; do
        if grep -qs ^containerd-shim "$shim/comm" && tr '\0' '\n' <"$shim/cmdline" | grep -qxF "$containerd_socket"; then
            pkill -KILL -P "${shim#/proc/}" || true
            kill -KILL "${shim#/proc/}" 2>/dev/null || true
        fi
    done
    awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r mounted; do umount -l "$mounted"; done
    for group in /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods; do
        if [ -d "$group" ]; then find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    done
}
