# A private Postgres for tests and tools: no TCP, no durability, gone afterwards. Sourced.

. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"
. "$(dirname "${BASH_SOURCE[0]}")/postgres_versions.sh"

if [ "$(id -u)" = 0 ]; then postgres_as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
else postgres_as() { "$@"; }
fi

# postgres_start FOLDER [SETTING=VALUE …]: a server whose socket is in FOLDER; its superuser is slipway. It is of the
# major version SLIPWAY_POSTGRES, by default the system's newest.
postgres_start() {
    postgres_folder=$1
    shift
    local bin
    mkdir -p "$postgres_folder"
    bin=$(postgres_system "${SLIPWAY_POSTGRES:-}")
    if [ -z "$bin" ] && [ -z "${SLIPWAY_POSTGRES:-}" ]; then
        echo "no PostgreSQL server is installed: apt-get install postgresql" >&2
        return 1
    elif [ -z "$bin" ]; then
        bin=$postgres_folder/programs/bin
        postgres_unpack "$SLIPWAY_POSTGRES" "$postgres_folder/programs" || return 1
    fi
    PATH="$bin:$PATH"
    chmod 711 "$(dirname "$postgres_folder")"
    if [ "$(id -u)" = 0 ]; then chown postgres: "$postgres_folder"; fi
    (cd / && postgres_as initdb -D "$postgres_folder/data" -U slipway -A trust -E UTF8 --locale=C.UTF-8 >/dev/null)
    local options="-c listen_addresses='' -c unix_socket_directories='$postgres_folder' -c max_connections=400"
    local setting
    for setting in "$@"; do options="$options -c $setting"; done
    (cd / && postgres_as pg_ctl start -D "$postgres_folder/data" -w -t 60 -l "$postgres_folder/log" -o "$options" >/dev/null)
}

postgres_stop() {
    if [ -n "${postgres_folder:-}" ] && [ -e "$postgres_folder/data/postmaster.pid" ]; then
        (cd / && postgres_as pg_ctl stop -D "$postgres_folder/data" -m immediate -w >/dev/null)
    fi
}
