# shellcheck shell=bash disable=SC2034  # the parts use them
# What the parts of the test cluster agree on: versions, folders, names and addresses. Sourced.

kubernetes_version=v1.36.3
etcd_version=v3.6.16
coredns_version=v1.12.4
kwok_version=v0.7.0
# Kubernetes' own need; where the machine's Go is older but can fetch another, it fetches the second.
go_needed=1.26
go_fetched=go1.27.3

# Safe to lose as a whole: bin/ and images/ only save time, and `down` throws the rest away.
folder=${SLIPWAY_TESTCLUSTER:-/var/tmp/slipway-testcluster}
bin=$folder/bin
images=$folder/images
state=$folder/state
logs=$folder/logs

# Programs, from their module's folder.
kubernetes=$bin/kubernetes-$kubernetes_version
etcd=$bin/etcd-$etcd_version
coredns=$bin/coredns-$coredns_version
kwok=$bin/kwok-$kwok_version

node=node1
bridge=slipway0
# The bridge's address is the node's, the apiserver's and DNS': no other device offers any of them, and pods reach all.
node_address=10.88.0.1
pod_network=10.88.0.0/16
first_pod_address=10.88.1.1
fake_pod_network=10.88.128.1/17
service_network=10.96.0.0/16
apiserver_service=10.96.0.1
apiserver=https://$node_address:6443

etcd_port=12379
etcd_peer_port=12380
coredns_ready_port=10253
kwok_port=10247
containerd_socket=$state/containerd.sock
policies_socket=$state/policies.sock
kubeconfig=$state/admin.kubeconfig
# One cluster at a time: bridge, addresses and ports are the machine's. Names the folder of the one that runs.
claim=/run/slipway-testcluster
