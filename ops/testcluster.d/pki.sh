# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# Certificates and kubeconfigs, new at each start. Sourced.

pki=$state/pki

make_certificates() {
    mkdir -p "$pki"
    new_key "$pki/ca.key"
    openssl req -x509 -new -key "$pki/ca.key" -subj /CN=slipway-testcluster -days 365 -out "$pki/ca.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
    local service=kubernetes.default.svc
    certify apiserver /CN=kube-apiserver serverAuth \
        "DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:$apiserver_service,IP:$node_address"
    certify kubelet-server "/CN=$node" serverAuth "DNS:$node,IP:$node_address"
    certify apiserver-client /O=system:masters/CN=kube-apiserver clientAuth
    certify admin /O=system:masters/CN=admin clientAuth
    certify kubelet "/O=system:nodes/CN=system:node:$node" clientAuth
    local name
    for name in kube-controller-manager kube-scheduler kube-proxy; do
        certify "$name" "/CN=system:$name" clientAuth
    done
    for name in coredns policies; do certify "$name" "/CN=$name" clientAuth; done
    new_key "$pki/accounts.key"
    openssl ec -in "$pki/accounts.key" -pubout -out "$pki/accounts.pub" 2>/dev/null
    for name in admin kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do write_kubeconfig "$name"; done
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# certify NAME SUBJECT USE [NAMES]
certify() {
    local extensions="extendedKeyUsage=$3"$'\n'"keyUsage=digitalSignature"
    [ -z "${4:-}" ] || extensions+=$'\n'"subjectAltName=$4"
    new_key "$pki/$1.key"
    openssl req -new -key "$pki/$1.key" -subj "$2" |
        openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 365 \
            -extfile <(echo "$extensions") -out "$pki/$1.crt" 2>/dev/null
}

# write_kubeconfig NAME: whole in one file, so that it can be copied.
write_kubeconfig() {
    cat >"$state/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: testcluster
contexts: [{name: testcluster, context: {cluster: testcluster, user: $1}}]
clusters:
- name: testcluster
  cluster: {server: "$apiserver", certificate-authority-data: $(base64 -w 0 "$pki/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w 0 "$pki/$1.crt"), client-key-data: $(base64 -w 0 "$pki/$1.key")}
YAML
}
