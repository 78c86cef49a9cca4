# What the machine must have. Sourced.

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

# debian PACKAGE …: installs those that are missing, as root or by sudo.
debian() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # No server of the distribution's own is started: slipway runs one of its own.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Rust and a C compiler, which linking takes.
toolchain() {
    command -v cc >/dev/null || debian gcc libc6-dev
    if ! command -v cargo >/dev/null; then
        echo "Rust is missing: install it from your distribution or with rustup, 1.94 or newer" >&2
        return 1
    fi
}
