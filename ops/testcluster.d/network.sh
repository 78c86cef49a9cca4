# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# The machine's part of the cluster's network: the bridge, what may cross it, and how all of it goes away. Sourced.

make_network() {
    [ -e "$state/ip_forward" ] || cat /proc/sys/net/ipv4/ip_forward >"$state/ip_forward"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    # Without it, traffic between two pods would not pass by kube-proxy's rules and the policies'.
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-ip6tables
    if ! ip link show "$bridge" >/dev/null 2>&1; then
        ip link add "$bridge" type bridge
        ip addr add "$node_address/${pod_network#*/}" dev "$bridge"
    fi
    ip link set "$bridge" up
    # What is sent to a service that does not exist must not leave the machine. Not a blackhole: the route of a
    # connection of the node's own is looked up before kube-proxy rewrites its address.
    ip route replace "$service_network" dev "$bridge"
    # Pods and the outside do not reach each other. A table of its own: kube-proxy would put its chains before ours.
    nft -f - <<NFT
table inet slipway_guard
delete table inet slipway_guard
table inet slipway_guard {
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname "$bridge" oifname != "$bridge" reject
        iifname != "$bridge" oifname "$bridge" drop
    }
}
NFT
    # As the first `ip netns add` would do it. Done after there are pods, it hides their mounts.
    mkdir -p /run/netns
    if ! mountpoint -q /run/netns; then
        mount --bind /run/netns /run/netns
        mount --make-shared /run/netns
        touch "$state/mounted-netns"
    fi
}

remove_network() {
    # Network namespaces of pods, whose devices go with them. Other programs' have other names.
    local namespace table
    for namespace in /run/netns/cni-*; do
        [ -e "$namespace" ] || continue
        while umount -l "$namespace" 2>/dev/null; do :; done
        rm -f "$namespace"
    done
    if [ -e "$state/mounted-netns" ] && [ -z "$(ls /run/netns)" ]; then umount /run/netns; fi
    for table in "inet slipway_policies" "inet slipway_guard" "ip kube-proxy" "ip6 kube-proxy"; do
        # shellcheck disable=SC2086  # family and name
        nft delete table $table 2>/dev/null || true
    done
    ip link del "$bridge" 2>/dev/null || true
    if [ -e "$state/ip_forward" ]; then cat "$state/ip_forward" >/proc/sys/net/ipv4/ip_forward; fi
}

# The kernel must have what the cluster takes; said before anything is started.
require_kernel() {
    modprobe -a overlay br_netfilter 2>/dev/null || true
    grep -qw overlay /proc/filesystems || fail "this kernel has no overlayfs (CONFIG_OVERLAY_FS)"
    [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ||
        fail "this kernel does not filter bridged traffic (CONFIG_BRIDGE_NETFILTER, module br_netfilter)"
    nft list tables >/dev/null 2>&1 || fail "nftables do not work here (CONFIG_NF_TABLES, or not the machine's own network)"
    grep -qE '^cgroup2? |^[^ ]+ /sys/fs/cgroup' /proc/mounts || fail "no cgroups are mounted at /sys/fs/cgroup"
    ! ip route show "$pod_network" | grep -qv "dev $bridge" || fail "the network $pod_network is in use on this machine"
}

# Nothing else may listen where the cluster's programs will.
require_ports() {
    local port taken
    for port in 53 6443 10250 "$etcd_port" "$etcd_peer_port" "$coredns_ready_port" 10248 10249 10256 10257 10259; do
        taken=$(ss -Hltnp "sport = :$port" | awk '$4 ~ /^(\*|0\.0\.0\.0|127\.0\.0\.1|10\.88\.0\.1|\[::\]):/ { print $4, $6; exit }')
        [ -z "$taken" ] || fail "port $port is in use: $taken"
    done
}
