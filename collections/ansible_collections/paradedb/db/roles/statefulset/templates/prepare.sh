#!/bin/sh
# Runs before PostgreSQL, in the database image: finds out what the image has and lets PostgreSQL check its
# settings. A refusal is written as "Reason|field: what is wrong" to where the operator reads it.
set -euf  # -f: a name of the user is never taken for a pattern

refuse() {
    printf '%s|%s' "$1" "$2" >/dev/termination-log
    printf '%s: %s\n' "$1" "$2" >&2
    exit 1
}

command -v postgres >/dev/null || refuse UnsuitableImage \
    "spec.image: the image has no program postgres on its PATH"

version=$(postgres --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
[ "$version" = "$POSTGRES_VERSION" ] || refuse VersionMismatch \
    "spec.postgresVersion: is $POSTGRES_VERSION, but the image has PostgreSQL $version; name an image of that version"

# A volume that outlived its ParadeDB keeps the version it was made with.
data=$(cat "${PGDATA:-}/PG_VERSION" 2>/dev/null || true)
[ "${data:-$version}" = "$version" ] || refuse VersionMismatch \
    "spec.postgresVersion: is $version, but the data on the volume are of PostgreSQL $data; set it to $data"

# Libraries that extensions need at start: those the image has. Libraries the user asked for: all.
libraries=$(dirname "$(readlink -f "$(command -v postgres)")")/../lib
preload=
for library in $PRELOAD; do
    [ ! -e "$libraries/$library.so" ] || preload="$preload,$library"
done
for library in $USER_PRELOAD; do
    [ -e "$libraries/$library.so" ] || refuse InvalidSetting \
        "spec.postgresConfig.shared_preload_libraries: the image has no library $library; remove it"
    preload="$preload,$library"
done

# "-C" makes PostgreSQL check the whole file and end before it looks at the data directory. What it says must
# not depend on the file's own logging settings.
if ! complaint=$(postgres -C port -D /tmp -c config_file=/etc/postgresql/postgresql.conf \
    -c log_min_messages=warning -c log_line_prefix= 2>&1 >/dev/null); then
    complaint=$(printf '%s\n' "$complaint" | grep -v 'skipping missing configuration file' |
        sed -n 's/^.*\(LOG\|FATAL\):  //p' | head -n 1 | sed 's/ in file "[^"]*" line [0-9]*//')
    refuse InvalidSetting "spec.postgresConfig: $complaint"
fi

mkdir -p /run/paradedb/patroni
ln -sf /etc/patroni/patroni.yml /run/paradedb/patroni/10-instance.yml
printf 'postgresql: {parameters: {shared_preload_libraries: "%s"}}\n' "${preload#,}" \
    >/run/paradedb/patroni/20-image.yml
ln -sf /etc/postgresql/secrets/patroni.yml /run/paradedb/patroni/30-credentials.yml

# The certificate is each pod's own: one that was made before TLS was switched on has none.
if [ "${TLS:-}" = 1 ]; then
    certificates=/etc/postgresql/tls
    for file in tls.crt tls.key; do
        [ -r "$certificates/$file" ] || refuse InvalidSecret \
            "spec.tls: $file of the certificate's Secret is not there, or PostgreSQL's user may not read it"
    done
    authority=
    [ ! -s "$certificates/ca.crt" ] || authority="ssl_ca_file: $certificates/ca.crt,"
    printf 'postgresql: {parameters: {ssl: "on", %s ssl_cert_file: %s, ssl_key_file: %s}}\n' \
        "$authority" "$certificates/tls.crt" "$certificates/tls.key" >/run/paradedb/patroni/40-tls.yml
fi
