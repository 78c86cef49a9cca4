# A private Postgres for tests and tools: no TCP, no durability, gone afterwards. Sourced.

if [ "$(id -u)" = 0 ]; then postgres_as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
else postgres_as() { "$@"; }
fi

# postgres_start FOLDER [SETTING=VALUE …]: a server whose socket is in FOLDER; its superuser is slipway.
postgres_start() {
    postgres_folder=$1
    shift
    postgres_bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$postgres_bin" ]; then
        echo "no PostgreSQL server is installed: apt-get install postgresql" >&2
        return 1
    fi
    PATH="$postgres_bin:$PATH"
    mkdir -p "$postgres_folder"
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
