#!/bin/sh
# Keeps the exporter running. The container itself stays up whatever becomes of the exporter, because a pod with a container that
# ended is not ready, and the database in it would lose its clients.
# Given: PORT, and PGDATABASE and what else libpq reads from the environment; DIRECTORY with queries.yaml, SECRETS with password.
: "${DIRECTORY:=/etc/exporter}" "${SECRETS:=/etc/exporter-secrets}" "${POLL:=5}" "${LONGEST:=60}"
# What a session may do: PostgreSQL's own names only, reading only, and it gives up soon rather than wait for a lock.
export PGOPTIONS='-c search_path=pg_catalog -c default_transaction_read_only=on -c statement_timeout=5s -c lock_timeout=500ms'
# No password here: the exporter would print an address with one that it cannot read. Its driver takes PGPASSWORD.
export DATA_SOURCE_URI='127.0.0.1:5432/?sslmode=disable' DATA_SOURCE_USER=paradedb_exporter

say() { echo "run.sh: $*" >&2; }
state() { cksum "$DIRECTORY/queries.yaml" "$SECRETS/password" 2>&1; }
pause() { sleep "$1" & wait $!; }  # unlike sleep itself, wait ends at a signal

child=
stop() {
    trap '' TERM INT
    [ -z "$child" ] || { kill "$child" 2>/dev/null; wait "$child"; }
    exit 0
}
trap stop TERM INT

delay=1
while :; do
    before=$(state)
    began=$(date +%s)
    program=$(command -v postgres_exporter || command -v prometheus-postgres-exporter)
    if [ -n "$program" ]; then
        # Without the numbers of each table, which are many; a query of one's own tells those that matter.
        PGPASSWORD=$(cat "$SECRETS/password") "$program" --web.listen-address=":$PORT" \
            --extend.query-path="$DIRECTORY/queries.yaml" \
            --no-collector.stat_user_tables --no-collector.statio_user_tables &
        child=$!
        while pause "$POLL"; kill -0 "$child" 2>/dev/null; do
            [ "$(state)" = "$before" ] || { say "queries or password changed"; kill "$child"; break; }
        done
        wait "$child"
        say "the exporter ended with code $?"
        child=
    else
        say "the image has neither postgres_exporter nor prometheus-postgres-exporter"
    fi
    # At once after a change; else longer each time, until one ran for long.
    if [ "$(state)" != "$before" ] || [ $(($(date +%s) - began)) -gt "$LONGEST" ]; then
        delay=1
    else
        pause "$delay"
        delay=$((delay * 2 < LONGEST ? delay * 2 : LONGEST))
    fi
done
