# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# Images of the node's: there is no registry, they are put there. Sourced.

pause_image=localhost/slipway-pause:1

has_image() { containers images ls -q "name==$1" | grep -qxF "$1"; }

ensure_pause_image() {
    has_image "$pause_image" && return 0
    local work
    work=$(mktemp -d "$folder/pause.XXXXXX")
    gcc -O2 -static -o "$work/pause" "$parts/pause.c"
    printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$work/Containerfile"
    buildah bud --isolation chroot -q -t "$pause_image" "$work" >/dev/null
    load_image "$pause_image"
    rm -rf "$work"
}

# load_image ARCHIVE|NAME: a docker-archive file, or an image of buildah's store under the name that it has there. One
# that the node has already is left as it is.
load_image() {
    if [ -f "$1" ]; then
        containers images import "$1"
        return
    fi
    local name id archive
    read -r name id < <(buildah images --no-trunc --format '{{.Name}}:{{.Tag}} {{.ID}}' "$1" 2>/dev/null) || true
    [ -n "${id:-}" ] || fail "$1 is neither a file nor an image that buildah has (buildah images)"
    if containers images ls "name==$name" | grep -qF "slipway.buildah=${id#sha256:}"; then
        echo "$name is there already"
        return
    fi
    archive=$folder/image.$$.tar
    buildah push -q "$name" "docker-archive:$archive:$name"
    containers images import "$archive" >/dev/null || { rm -f "$archive"; fail "containerd does not take $name"; }
    rm -f "$archive"
    containers images label "$name" "slipway.buildah=${id#sha256:}" >/dev/null
    echo "loaded $name"
}
