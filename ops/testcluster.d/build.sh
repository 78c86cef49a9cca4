# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# The cluster's Go programs, built from the Go module proxy into $bin/MODULE-VERSION/. Sourced.

build_all() {
    local missing=()
    [ -e "$kubernetes/complete" ] || missing+=(kubernetes)
    [ -e "$etcd/complete" ] || missing+=(etcd)
    [ -e "$coredns/complete" ] || missing+=(coredns)
    [ -e "$kwok/complete" ] || missing+=(kwok)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "building ${missing[*]} from source (all four: about ten minutes on two cores, 8 GB of disk meanwhile; kept)"
    go_toolchain
    local module
    for module in "${missing[@]}"; do "build_$module"; done
    # The programs are what is kept; the compiler's caches are ten times their size.
    chmod -R u+w "$folder/go"
    rm -rf "$folder/go"
}

build_kubernetes() {
    local minor=${kubernetes_version#v1.} name programs=()
    for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        programs+=("k8s.io/kubernetes/cmd/$name")
    done
    module_begin kubernetes
    # Its libraries lie in folders of its repository, which its module does not carry: each is published as a module
    # of its own, whose version follows.
    local manifest library
    manifest=$(go mod download -json "k8s.io/kubernetes@$kubernetes_version" | sed -n 's/.*"GoMod": "\(.*\)",*/\1/p')
    [ -n "$manifest" ] || fail "k8s.io/kubernetes $kubernetes_version could not be fetched: $(go env GOPROXY)"
    sed -n 's,.*=> \./staging/src/\(.*\),\1,p' "$manifest" | while read -r library; do
        (cd "$module_folder" && go mod edit -replace "$library=$library@v0.${kubernetes_version#v1.}")
    done
    # Without a version of its own, `kubectl version` fails and nodes report v0.0.0.
    local version=k8s.io/component-base/version
    module_build kubernetes "$kubernetes_version" "k8s.io/kubernetes" \
        "-X $version.gitVersion=$kubernetes_version -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" "${programs[@]}"
}

build_etcd() {
    module_begin etcd
    module_build etcd "$etcd_version" go.etcd.io/etcd/server/v3 "" go.etcd.io/etcd/server/v3
}

build_coredns() {
    module_begin coredns
    module_build coredns "$coredns_version" github.com/coredns/coredns "" github.com/coredns/coredns
}

build_kwok() {
    module_begin kwok
    module_build kwok "$kwok_version" sigs.k8s.io/kwok "" sigs.k8s.io/kwok/cmd/kwok
}

# module_begin NAME: an empty module whose only use is to pin and build the program's.
module_begin() {
    module_folder=$folder/go/modules/$1
    rm -rf "$module_folder"
    mkdir -p "$module_folder"
    (cd "$module_folder" && go mod init "slipway.test/$1" 2>/dev/null)
}

# module_build NAME VERSION MODULE LINKER-FLAGS PACKAGE …: an interrupted one goes on from what the compiler has cached.
module_build() {
    local name=$1 version=$2 module=$3 flags=$4 log=$folder/go/$1.log target began=$SECONDS
    target=$bin/$name-$version
    shift 4
    echo "    $name $version: fetching"
    mkdir -p "$target"
    # The version is named for every program: without it, Go would take the newest.
    (cd "$module_folder" && go get -tool "${@/%/@$version}") 2>"$log" || build_failed "$module $version" "$log"
    show_progress "$name" "$log" "$(cd "$module_folder" && go list -deps "$@" | wc -l)" &
    local progress=$! failed=
    (cd "$module_folder" && nice -n 5 go build -v -trimpath -ldflags "-s -w $flags" -o "$target/" "$@") 2>"$log" || failed=1
    kill "$progress"
    [ -z "$failed" ] || build_failed "$module $version" "$log"
    touch "$target/complete"
    echo "    $name: $((SECONDS - began)) s"
}

build_failed() {
    tail -n 20 "$2" >&2
    fail "$1 could not be built"
}

# show_progress NAME LOG PACKAGES: as long as this script runs; packages that were cached are not counted.
show_progress() {
    local turn=0
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        turn=$((turn + 1))
        [ $((turn % 30)) -gt 0 ] || echo "    $1: compiled $(wc -l <"$2") of at most $3 packages"
    done
}

# Go of the machine if it is new enough; one that is older fetches a newer from the module proxy by itself.
go_toolchain() {
    export GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0
    # Caches of our own: they are thrown away, and a developer's must not be.
    export GOPATH=$folder/go/path GOMODCACHE=$folder/go/path/pkg/mod GOCACHE=$folder/go/cache
    mkdir -p "$folder/go"
    local choice program
    for choice in local "$go_fetched"; do
        for program in go /usr/local/go/bin/go; do
            program=$(command -v "$program") || continue
            if newer_than "$go_needed" "$(GOTOOLCHAIN=$choice "$program" env GOVERSION 2>/dev/null)"; then
                export GOTOOLCHAIN=$choice
                PATH=$(dirname "$program"):$PATH
                return 0
            fi
        done
    done
    fail "Go is missing: install $go_needed or newer, or any from 1.21 on, which fetches $go_fetched by itself"
}

newer_than() {
    [ -n "$2" ] && printf 'go%s\n%s\n' "$1" "$2" | sort --check=quiet --version-sort
}
