# JupyterHub from PyPI, for the test that runs it on slipway's proxy. Sourced after packages.sh.

# hub_ready FOLDER: a Python environment there, made anew when what it is to hold has changed.
hub_ready() {
    local stamp
    stamp=$(sha256sum ops/hub/requirements.txt | cut -d ' ' -f 1)
    [ "$(cat "$1/slipway-stamp" 2>/dev/null)" != "$stamp" ] || return 0
    say "installing JupyterHub into $1, a minute or two"
    rm -rf "$1"
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement ops/hub/requirements.txt
    echo "$stamp" >"$1/slipway-stamp"
}
