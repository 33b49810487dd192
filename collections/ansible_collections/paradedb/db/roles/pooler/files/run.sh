#!/bin/sh
# Process 1 of a pooler's container: runs PgBouncer, lets it read its files again when one of them changes, and ends it
# without cutting off a transaction. Works in any image with a POSIX shell and PgBouncer.
set -u
config=/etc/pgbouncer/config
userlist=/etc/pgbouncer/secret/userlist.txt
tls=/etc/pgbouncer/tls
run=/run/pgbouncer
PATH=$PATH:/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin:/opt/bitnami/pgbouncer/bin

say() { echo "run.sh: $*" >&2; }

state() { cat "$config"/*.ini "$userlist" "$tls"/tls.crt "$tls"/tls.key "$tls"/ca.crt 2>/dev/null | cksum; }

# A pod that was made before encryption was switched on has no certificate, and some Secrets name no authority.
choose_tls() {
    chosen=/dev/null
    [ ! -s "$tls/tls.crt" ] || chosen=$config/tls.ini
    [ ! -s "$tls/ca.crt" ] || chosen=$config/tls-verified.ini
    [ -r "$chosen" ] || chosen=/dev/null
    cat "$chosen" >"$run/tls.ini"
}

# Clients still arrive until every node has learned that this pod goes; then transactions end, and no new one begins.
# A second signal would cut them off, so it is ignored.
stop() {
    trap '' TERM INT
    say "stopping: new connections are taken for 5 s, then open transactions are waited for"
    sleep 5
    kill -INT "$pgbouncer" 2>/dev/null
    wait "$pgbouncer"
    exit 0
}

command -v pgbouncer >/dev/null || { say "the image has no program pgbouncer"; exit 127; }
# Each client and each server is an open file.
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
umask 077
printf '%s' "$START_INI" >"$run/start.ini"
known=$(state)
choose_tls
pgbouncer "$config/pgbouncer.ini" &
pgbouncer=$!
trap stop TERM INT

while kill -0 "$pgbouncer" 2>/dev/null; do
    sleep 2 &
    wait $!
    now=$(state)
    if [ "$now" != "$known" ]; then
        known=$now
        choose_tls
        say "files have changed: PgBouncer reads them again"
        kill -HUP "$pgbouncer" 2>/dev/null
    fi
done
wait "$pgbouncer"
