# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# The control plane: etcd, the apiserver, the controller manager, the scheduler. Sourced.

run_etcd() {
    local clients=http://127.0.0.1:$etcd_port peers=http://127.0.0.1:$etcd_peer_port
    # Durability would only wear the disk: `down` throws it away.
    launch etcd "$etcd/server" --name testcluster --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "$clients" --advertise-client-urls "$clients" \
        --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "testcluster=$peers"
}
healthy_etcd() { curl -sf -m 2 "http://127.0.0.1:$etcd_port/health"; }

run_kube-apiserver() {
    # --requestheader-client-ca-file only keeps the others from complaining that it is not there. By the node's address
    # and not its name, which no DNS knows, are logs and exec asked for.
    launch kube-apiserver "$kubernetes/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" \
        --bind-address "$node_address" --advertise-address "$node_address" --secure-port 6443 \
        --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
        --kubelet-client-certificate "$pki/apiserver-client.crt" --kubelet-client-key "$pki/apiserver-client.key" \
        --kubelet-preferred-address-types InternalIP --service-cluster-ip-range "$service_network" \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$pki/accounts.pub" --service-account-signing-key-file "$pki/accounts.key" \
        --requestheader-client-ca-file "$pki/ca.crt" --requestheader-allowed-names none \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true
}
healthy_kube-apiserver() {
    curl -sf -m 2 --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "$apiserver/readyz"
}

# By default both talk to the apiserver at most 20 and 50 times a second, which makes 14 pods a second and is what a
# production cluster has. Tests that are not about that wait for the machine's cores only.
controller_limits=() scheduler_limits=()
if [ "${SLIPWAY_TESTCLUSTER_LIMITS:-raised}" = raised ]; then
    controller_limits=(--kube-api-qps 500 --kube-api-burst 1000 --concurrent-rc-syncs 20 --concurrent-namespace-syncs 50
        --concurrent-serviceaccount-token-syncs 20)
    scheduler_limits=(--kube-api-qps 500 --kube-api-burst 1000)
fi

run_kube-controller-manager() {
    local own=$state/kube-controller-manager.kubeconfig
    launch kube-controller-manager "$kubernetes/kube-controller-manager" --kubeconfig "$own" \
        --authentication-kubeconfig "$own" --authorization-kubeconfig "$own" --bind-address 127.0.0.1 \
        --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/accounts.key" \
        --use-service-account-credentials --leader-elect=false "${controller_limits[@]}"
}
healthy_kube-controller-manager() { curl -skf -m 2 https://127.0.0.1:10257/healthz; }

run_kube-scheduler() {
    local own=$state/kube-scheduler.kubeconfig
    launch kube-scheduler "$kubernetes/kube-scheduler" --kubeconfig "$own" \
        --authentication-kubeconfig "$own" --authorization-kubeconfig "$own" --bind-address 127.0.0.1 \
        --leader-elect=false "${scheduler_limits[@]}"
}
healthy_kube-scheduler() { curl -skf -m 2 https://127.0.0.1:10259/healthz; }
