# Container images without a registry that can be reached. Sourced after packages.sh; buildah stores images, as root.

base_image=docker.io/library/debian:bookworm-slim

# The base that Dockerfiles name: from the store, else from its registry, else made from Debian's packages.
base_image_ready() {
    buildah inspect --type image "$base_image" >/dev/null 2>&1 && return
    if timeout 20 buildah pull -q "$base_image" >/dev/null 2>&1; then return; fi
    say "making the image $base_image from Debian's packages, as its registry does not answer"
    debian debootstrap
    local root container
    root=$(mktemp -d /var/tmp/slipway-base.XXXXXX)
    debootstrap --variant=minbase bookworm "$root/root" >"$root/log" 2>&1 || { tail -n 5 "$root/log" >&2; return 1; }
    (cd "$root/root" && rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* var/log/* \
        usr/share/doc/* usr/share/man/* usr/share/locale/* usr/share/info/*)
    # The name servers of this machine are nobody else's, and neither is its name.
    rm -f "$root/root/etc/resolv.conf" "$root/root/etc/hostname"
    printf 'deb http://deb.debian.org/debian bookworm main\n%s\n%s\n' \
        'deb http://deb.debian.org/debian bookworm-updates main' \
        'deb http://deb.debian.org/debian-security bookworm-security main' >"$root/root/etc/apt/sources.list"
    container=$(buildah from scratch)
    buildah add -q "$container" "$root/root" / >/dev/null
    buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit -q --rm "$container" "$base_image" >/dev/null
    rm -rf "$root"
}
