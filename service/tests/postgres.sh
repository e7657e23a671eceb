#!/usr/bin/env bash
# Runs a command with AYAR_TEST_DATABASE naming a PostgreSQL server of its own, which ends with the command:
#     service/tests/postgres.sh cargo test --release --package service
# The server's programs are those of the machine, or Debian's, which are installed if that is allowed. Where
# AYAR_TEST_DATABASE is set already, that server is used.
set -euo pipefail

if [[ -n ${AYAR_TEST_DATABASE:-} ]]; then
    exec "$@"
fi

find_programs() {
    local initdb
    for initdb in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; do
        if [[ -x $initdb ]]; then
            dirname "$(realpath "$initdb")"
            return
        fi
    done
    return 1
}

if ! find_programs >/dev/null; then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "The tests need PostgreSQL's programs. Install them (on Debian: sudo apt-get install postgresql)" >&2
        echo "or name a server: AYAR_TEST_DATABASE=postgres://user:password@host make test" >&2
        exit 1
    fi
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
    } >&2
fi
programs=$(find_programs)

# PostgreSQL refuses to run as root.
as_owner=()
if [[ $EUID -eq 0 ]]; then
    owner=postgres
    id "$owner" >/dev/null 2>&1 || owner=nobody
    as_owner=(setpriv --reuid "$owner" --regid "$(id -g "$owner")" --clear-groups)
fi

folder=$(mktemp -d)
[[ $EUID -ne 0 ]] || chown "$owner" "$folder"
cd "$folder"
stop() {
    "${as_owner[@]}" "$programs/pg_ctl" --pgdata "$folder/data" --mode immediate stop >/dev/null 2>&1 || true
    cd /
    rm -rf "$folder"
}
trap stop EXIT

"${as_owner[@]}" "$programs/initdb" --pgdata "$folder/data" --username postgres --auth trust --no-sync \
    --encoding UTF8 --locale C >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
# Another program may take the port in between: then another one is tried.
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    # What a power cut would do to a test's data does not matter.
    settings="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c max_connections=300"
    settings+=" -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    if "${as_owner[@]}" "$programs/pg_ctl" --pgdata "$folder/data" --log "$folder/server.log" --options "$settings" \
        --wait start >/dev/null; then
        break
    fi
    port=
done
if [[ -z $port ]]; then
    cat "$folder/server.log" >&2
    exit 1
fi

cd "$OLDPWD"
AYAR_TEST_DATABASE=postgres://postgres@127.0.0.1:$port "$@"
