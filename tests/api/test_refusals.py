"""What the API server refuses in a new ParadeDB: the message names the field and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver import Object, ParadeDBs, says
from fields import fields

pytestmark = pytest.mark.cluster

Spec = dict[str, Any]

S3 = {"endpoint": "https://s3.example.com", "bucket": "backups", "secretRef": {"name": "s3"}}
USER = {"name": "app", "secretRef": {"name": "app"}}


def _hba(rule: str) -> Spec:
    return {"auth": {"pgHBA": [rule]}}


def _user(**fields: Any) -> Spec:
    return {"auth": {"users": [USER | fields]}}


def _users(*names: str) -> Spec:
    return {"auth": {"users": [{"name": name} for name in names]}}


def _pooler(**parameters: Any) -> Spec:
    return {"connectionPooling": {"parameters": parameters}}


def _peer(of: str = "clients", **fields: Any) -> Spec:
    return {"networkPolicy": {of: [fields]}}


def _backup(**fields: Any) -> Spec:
    return {"backup": fields}


def _s3(**fields: Any) -> Spec:
    return {"backup": {"s3": S3 | fields}}


def _recovery(**fields: Any) -> Spec:
    return {"bootstrap": {"recovery": fields}}


def _target(**fields: Any) -> Spec:
    return _recovery(source="shop", method="continuous", target=fields)


def _toleration(**fields: Any) -> Spec:
    return {"tolerations": [fields]}


def _replication(replicas: int = 3, **fields: Any) -> Spec:
    return {"replicas": replicas, "replication": fields}


# What every refusal must say, by what was asked for.
GENERAL: dict[str, tuple[Spec, str]] = {
    "no replicas": (
        {"replicas": 0},
        "spec.replicas: Invalid value: 0: spec.replicas in body should be greater",
    ),
    "too many replicas": (
        {"replicas": 11},
        "spec.replicas: Invalid value: 11: spec.replicas in body should be less",
    ),
    "replicas as text": ({"replicas": "1"}, "spec.replicas: Invalid value"),
    "empty image": ({"image": ""}, "spec.image: Invalid value"),
    "image with a space": (
        {"image": "paradedb/paradedb 17"},
        "spec.image: Invalid value: image must be a container",
    ),
    "image with a newline": ({"image": "paradedb\n"}, "spec.image: Invalid value: image must be a container"),
    "unknown version": ({"postgresVersion": "14"}, 'spec.postgresVersion: Unsupported value: "14"'),
    "version as number": ({"postgresVersion": 17}, "spec.postgresVersion: Invalid value"),
    "unknown edition": ({"edition": "Free"}, 'spec.edition: Unsupported value: "Free"'),
    "unknown pull policy": ({"imagePullPolicy": "Sometimes"}, "spec.imagePullPolicy: Unsupported value"),
    "pull secret without name": ({"imagePullSecrets": [{}]}, "spec.imagePullSecrets[0].name: Required value"),
    "same pull secret twice": (
        {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]},
        "spec.imagePullSecrets[1]: Duplicate value",
    ),
    "unknown service type": ({"serviceType": "ExternalName"}, "spec.serviceType: Unsupported value"),
    "unknown field": ({"replica": 1}, 'unknown field "spec.replica"'),
    "unknown nested field": ({"storage": {"sise": "1Gi"}}, 'unknown field "spec.storage.sise"'),
}

INSTANCES: dict[str, tuple[Spec, str]] = {
    "unknown replication mode": (_replication(mode="quorum"), "spec.replication.mode: Unsupported value"),
    "mode as a boolean": (_replication(mode=True), "spec.replication.mode: Invalid value"),
    "no synchronous standby": (
        _replication(syncNodeCount=0),
        "spec.replication.syncNodeCount in body should be greater than or equal to 1",
    ),
    "too many synchronous standbys": (
        _replication(replicas=10, syncNodeCount=10),
        "spec.replication.syncNodeCount in body should be less than or equal to 9",
    ),
    "as many synchronous standbys as instances": (
        _replication(replicas=3, mode="sync", syncNodeCount=3),
        "spec.replication.syncNodeCount: Invalid value: replication.syncNodeCount must be less than replicas",
    ),
    "more synchronous standbys than instances": (
        _replication(replicas=2, mode="sync", syncNodeCount=3),
        "spec.replication.syncNodeCount: Invalid value: replication.syncNodeCount must be less than replicas",
    ),
    "strict without a standby": (
        _replication(replicas=1, mode="sync", strict=True),
        "spec.replication.strict: Invalid value: replication.strict needs a standby",
    ),
    "strict as text": (_replication(strict="true"), "spec.replication.strict: Invalid value"),
    "lag without a number": (
        _replication(maximumLagOnFailover="far"),
        "spec.replication.maximumLagOnFailover",
    ),
    "negative lag": (
        _replication(maximumLagOnFailover="-1Mi"),
        "spec.replication.maximumLagOnFailover: Invalid value",
    ),
    "lag of milli-bytes": (
        _replication(maximumLagOnFailover="64m"),
        "replication.maximumLagOnFailover must be at least 1Mi",
    ),
    "tiny lag in bytes": (
        _replication(maximumLagOnFailover=2**20 - 1),
        "replication.maximumLagOnFailover must be at least 1Mi",
    ),
    "unknown opt-in": (
        _replication(communityStandby="Allow"),
        "spec.replication.communityStandby: Unsupported value",
    ),
    "unknown field of replication": (_replication(slots=3), 'unknown field "spec.replication.slots"'),
    "unknown node loss policy": ({"nodeLossPolicy": "Delete"}, "spec.nodeLossPolicy: Unsupported value"),
    "paused as text": ({"paused": "true"}, "spec.paused: Invalid value"),
    "hibernate as number": ({"hibernate": 1}, "spec.hibernate: Invalid value"),
    "switchover as a field": ({"switchover": "any"}, 'unknown field "spec.switchover"'),
}

TLS: dict[str, tuple[Spec, str]] = {
    "both certificates": (
        {
            "tls": {
                "enabled": True,
                "secretRef": {"name": "a"},
                "certManager": {"enabled": True, "issuerRef": {"name": "b"}},
            }
        },
        "spec.tls.secretRef: Invalid value: tls.secretRef and tls.certManager exclude each other",
    ),
    "no issuer": (
        {"tls": {"enabled": True, "certManager": {"enabled": True}}},
        "spec.tls.certManager.issuerRef: Required value",
    ),
    "unknown issuer kind": (
        {"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "a", "kind": "Vault"}}}},
        "spec.tls.certManager.issuerRef.kind: Unsupported value",
    ),
    "foreign TLS Secret": (
        {"tls": {"secretRef": {"name": "a", "namespace": "b"}}},
        "spec.tls.secretRef.namespace: Forbidden",
    ),
    "TLS Secret without name": (
        {"tls": {"enabled": True, "secretRef": {}}},
        "spec.tls.secretRef.name: Required value",
    ),
    "TLS Secret with a bad name": (
        {"tls": {"enabled": True, "secretRef": {"name": "../a"}}},
        "spec.tls.secretRef.name: Invalid value",
    ),
    "tls as text": ({"tls": {"enabled": "true"}}, "spec.tls.enabled: Invalid value"),
}

STORAGE: dict[str, tuple[Spec, str]] = {
    "size without a number": ({"storage": {"size": "big"}}, "spec.storage.size: Invalid value"),
    "negative size": ({"storage": {"size": "-1Gi"}}, "spec.storage.size: Invalid value"),
    "tiny size": (
        {"storage": {"size": "255Mi"}},
        "spec.storage.size: Invalid value: storage.size must be at least 256Mi",
    ),
    "tiny size in bytes": ({"storage": {"size": 1024}}, "storage.size must be at least 256Mi"),
    "milli instead of mega": ({"storage": {"size": "500m"}}, "storage.size must be at least 256Mi"),
    "empty class": ({"storage": {"storageClassName": ""}}, "spec.storage.storageClassName: Invalid value"),
    "read-only volume": (
        {"storage": {"accessModes": ["ReadOnlyMany"]}},
        'spec.storage.accessModes[0]: Unsupported value: "ReadOnlyMany"',
    ),
    "no access mode": ({"storage": {"accessModes": []}}, "spec.storage.accessModes: Invalid value"),
    "tiny log volume": (
        {"storage": {"walStorage": {"size": "1Mi"}}},
        "storage.walStorage.size must be at least 256Mi",
    ),
    "unknown reclaim policy": (
        {"storage": {"reclaimPolicy": "Recycle"}},
        "spec.storage.reclaimPolicy: Unsupported value",
    ),
}

RESOURCES: dict[str, tuple[Spec, str]] = {
    "no quantity": ({"resources": {"limits": {"cpu": "two"}}}, "spec.resources.limits.cpu: Invalid value"),
    "negative quantity": (
        {"resources": {"requests": {"cpu": "-1"}}},
        "spec.resources.requests.cpu: Invalid value",
    ),
    "unknown resource": (
        {"resources": {"limits": {"mem": "1Gi"}}},
        "spec.resources: Invalid value: resources are named",
    ),
    "request above limit": (
        {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}},
        "spec.resources: Invalid value: a request must not be above the limit",
    ),
    "cpu request above limit": (
        {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "999m"}}},
        "spec.resources: Invalid value: a request must not be above the limit",
    ),
}

AUTH: dict[str, tuple[Spec, str]] = {
    "SQL in the database's name": (
        {"auth": {"database": 'x"; DROP DATABASE postgres; --'}},
        "spec.auth.database: Invalid value: auth.database must start with",
    ),
    "upper-case database": (
        {"auth": {"database": "Shop"}},
        "spec.auth.database: Invalid value: auth.database must start",
    ),
    "empty database": ({"auth": {"database": ""}}, "spec.auth.database: Invalid value"),
    "long database": ({"auth": {"database": "a" * 64}}, "spec.auth.database: Too long"),
    "template database": (
        {"auth": {"database": "template1"}},
        "auth.database must not be template0 or template1",
    ),
    "foreign superuser Secret": (
        {"auth": {"superuserSecretRef": {"name": "s", "namespace": "kube-system"}}},
        "spec.auth.superuserSecretRef.namespace: Forbidden: the Secret must be in the same namespace",
    ),
    "superuser Secret without name": (
        {"auth": {"superuserSecretRef": {}}},
        "spec.auth.superuserSecretRef.name: Required value",
    ),
    "superuser Secret with a bad name": (
        {"auth": {"superuserSecretRef": {"name": "A/B"}}},
        "spec.auth.superuserSecretRef.name: Invalid value",
    ),
    "user with a foreign Secret": (
        _user(secretRef={"name": "a", "namespace": "b"}),
        "spec.auth.users[0].secretRef.namespace: Forbidden: the Secret must be in the same namespace",
    ),
    "rule with a wrong type": (
        _hba("hosts all all all md5"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule must start",
    ),
    "rule that is a comment": (
        _hba("# host all all all md5"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule must start",
    ),
    "rule with two lines": (
        _hba("host all all all md5\nhost all all all trust"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule must be one line",
    ),
    "rule that goes on": (
        _hba("host all all all md5 \\"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule must be one line",
    ),
    "rule with too few fields": (
        _hba("host all all scram-sha-256"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule needs",
    ),
    "rule with an open quote": (
        _hba('host all "all all md5'),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule needs",
    ),
    "rule with a file": (
        _hba("host @files all all md5"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule cannot include",
    ),
    "rule without method": (
        _hba("host all all 10.0.0.0/8 sha"),
        "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule must name",
    ),
    **{
        f"rule with {method}": (
            _hba(f"host all all all {method}"),
            "spec.auth.pgHBA[0]: Invalid value: a pgHBA rule must name",
        )
        for method in ("sspi", "radius", "bsd")
    },
    "rule too long": (_hba("host all all all md5 " + "x" * 1024), "spec.auth.pgHBA[0]: Too long"),
    "too many rules": ({"auth": {"pgHBA": ["host all all all md5"] * 101}}, "spec.auth.pgHBA: Too many"),
}

USERS: dict[str, tuple[Spec, str]] = {
    **{
        f"user called {name}": (
            _user(name=name),
            "spec.auth.users[0].name: Invalid value: postgres, public, none and names that start with pg_",
        )
        for name in (
            *("pg_monitor", "postgres", "public", "none", "paradedb_replication", "paradedb_rewind"),
            *("paradedb_pooler", "paradedb_exporter", "paradedb_users"),
        )
    },
    **{
        f"user called {name!r}": (
            _user(name=name),
            "spec.auth.users[0].name: Invalid value: a user's name must start",
        )
        for name in ('a"b', "App", "1a", "a b", "a;", "é", "a\n", "$a", "-a")
    },
    "user without a name": ({"auth": {"users": [{}]}}, "spec.auth.users[0].name: Required value"),
    "empty name": (_user(name=""), "spec.auth.users[0].name: Invalid value"),
    "long name": (_user(name="a" * 64), "spec.auth.users[0].name: Too long"),
    "user with a foreign Secret": (
        _user(secretRef={"name": "a", "namespace": "b"}),
        "spec.auth.users[0].secretRef.namespace: Forbidden: the Secret must be in the same namespace",
    ),
    "Secret without a name": (_user(secretRef={}), "spec.auth.users[0].secretRef.name: Required value"),
    "same user twice": ({"auth": {"users": [USER, USER]}}, "spec.auth.users[1]: Duplicate value"),
    "too many users": (
        {"auth": {"users": [{"name": f"u{i}"} for i in range(51)]}},
        "spec.auth.users: Too many",
    ),
    **{
        f"{name}, whose generated Secret is the operator's": (
            _users(name),
            "spec.auth.users[0]: Invalid value: the Secret generated for users called ca, credentials",
        )
        for name in ("ca", "credentials", "exporter", "patroni", "pooler", "tls")
    },
    **{
        f"{name}, whose generated Secret cannot be": (
            _users(name, "app"),
            "spec.auth.users[0]: Invalid value: a user without a secretRef must have a name that ends with",
        )
        for name in ("app_", "app-", "app$")
    },
    **{
        f"{one} and {other}, with one generated Secret": (
            _users(one, "app", other),
            "spec.auth.users: Invalid value: two users would have the same generated Secret",
        )
        for one, other in (("a_b", "a-b"), ("a$b", "a-b"), ("a$_b", "a_-b"), ("_a$b-c", "_a-b_c"))
    },
    **{
        f"privilege {privilege}": (
            _user(privileges=["CONNECT", privilege]),
            f'spec.auth.users[0].privileges[1]: Unsupported value: "{privilege}": supported values: ',
        )
        for privilege in ("SELECT", "connect", "ALL PRIVILEGES", "ALL; DROP", "SUPERUSER", "")
    },
    "privilege twice": (_user(privileges=["ALL", "ALL"]), "spec.auth.users[0].privileges[1]: Duplicate"),
    "database of a user": (
        _user(databases=["Shop"]),
        "spec.auth.users[0].databases[0]: Invalid value: a database's name must start with a lower-case",
    ),
    "template of a user": (
        _user(databases=["template1", "shop"]),
        "spec.auth.users[0].databases[0]: Invalid value: users must not have privileges on template0",
    ),
    "database of a user twice": (
        _user(databases=["shop", "shop"]),
        "spec.auth.users[0].databases[1]: Duplicate",
    ),
    **{
        f"{privilege} on postgres": (
            _user(databases=["shop", "postgres"], privileges=["CONNECT", privilege]),
            "spec.auth.users[0].privileges: Invalid value: users must not have CREATE or ALL on database",
        )
        for privilege in ("CREATE", "ALL")
    },
    "CREATE on postgres, which is the application's": (
        {"auth": {"database": "postgres", "users": [{"name": "app", "privileges": ["CREATE"]}]}},
        "spec.auth.users: Invalid value: users must not have CREATE or ALL on database postgres",
    ),
    "user of no database": (_user(databases=[]), "spec.auth.users[0].databases: Invalid value"),
    "rights as a field": (_user(superuser=True), 'unknown field "spec.auth.users[0].superuser"'),
}

DATABASES: dict[str, tuple[Spec, str]] = {
    **{
        f"database {name!r}": (
            {"databases": [{"name": name}]},
            "spec.databases[0].name: Invalid value: a database's name must start with a lower-case letter",
        )
        for name in ("Shop", "a b", 'a"; DROP DATABASE x; --', "1a", "a\n")
    },
    **{
        f"database {name}": (
            {"databases": [{"name": name}]},
            "spec.databases[0].name: Invalid value: databases must not name template0, template1 or postgres",
        )
        for name in ("template0", "template1", "postgres")
    },
    "database without a name": ({"databases": [{}]}, "spec.databases[0].name: Required value"),
    "long name of a database": ({"databases": [{"name": "a" * 64}]}, "spec.databases[0].name: Too long"),
    "database twice": (
        {"databases": [{"name": "a"}, {"name": "a"}]},
        "spec.databases[1]: Duplicate value",
    ),
    "too many databases": (
        {"databases": [{"name": f"d{i}"} for i in range(51)]},
        "spec.databases: Too many",
    ),
    "owner, and no users": (
        {"databases": [{"name": "a", "owner": "app"}]},
        "spec.databases: Invalid value: the owner of a database must be one of auth.users",
    ),
    "owner that is no user": (
        _users("app") | {"databases": [{"name": "a", "owner": "app"}, {"name": "b", "owner": "postgres"}]},
        "spec.databases: Invalid value: the owner of a database must be one of auth.users",
    ),
    "extension of a database": (
        {"databases": [{"name": "a", "extensions": ["x; --"]}]},
        "spec.databases[0].extensions[0]: Invalid value: an extension's name must start",
    ),
    "extension of a database twice": (
        {"databases": [{"name": "a", "extensions": ["hstore", "hstore"]}]},
        "spec.databases[0].extensions[1]: Duplicate value",
    ),
}

CONTROLLED_SETTINGS = (
    *(
        "listen_addresses",
        "port",
        "data_directory",
        "config_file",
        "hba_file",
        "ident_file",
        "external_pid_file",
    ),
    *("unix_socket_directories", "cluster_name", "primary_conninfo", "primary_slot_name", "hot_standby"),
    *("wal_log_hints", "synchronous_standby_names", "recovery_target", "recovery_target_time"),
    *("logging_collector", "log_destination", "log_directory", "log_filename", "allow_system_table_mods"),
    *("include", "include_dir", "include_if_exists", "restart_after_crash", "event_source"),
)

SETTINGS: dict[str, tuple[Spec, str]] = {
    f"setting {name}={value}": (
        {"postgresConfig": {name: value}},
        f"spec.postgresConfig: Invalid value: {message}",
    )
    for name, value, message in [
        *[
            (name, "x", f"postgresConfig.{name} is controlled by the operator; remove it")
            for name in CONTROLLED_SETTINGS
        ],
        ("archive_command", "cp", "postgresConfig.archive_command belongs to spec.backup; remove it"),
        ("restore_command", "cp", "postgresConfig.restore_command belongs to spec.backup; remove it"),
        ("session_preload_libraries", "x", "postgresConfig must not have session_preload_libraries"),
        ("local_preload_libraries", "x", "postgresConfig must not have session_preload_libraries"),
        ("ssl", "on", "postgresConfig must not have ssl"),
        ("ssl_ca_file", "x", "postgresConfig must not have ssl"),
        ("fsync", "off", "postgresConfig.fsync must not be off"),
        ("fsync", "No", "postgresConfig.fsync must not be off"),
        ("full_page_writes", "false", "postgresConfig.full_page_writes must not be off"),
        ("wal_level", "minimal", "postgresConfig.wal_level must be replica or logical"),
        ("password_encryption", "md5", "postgresConfig.password_encryption must be scram-sha-256"),
        ("Work_Mem", "1MB", "postgresConfig keys must be names"),
        ("work mem", "1MB", "postgresConfig keys must be names"),
        ("a.b.c", "1", "postgresConfig keys must be names"),
        ("a" * 128, "1", "postgresConfig keys must be names"),
    ]
} | {
    "setting with two lines": (
        {"postgresConfig": {"work_mem": "1MB\nfsync = off"}},
        "spec.postgresConfig[work_mem]: Invalid value: the value of a setting in postgresConfig must be",
    ),
    "setting with NUL": (
        {"postgresConfig": {"work_mem": "1MB\0"}},
        "spec.postgresConfig[work_mem]: Invalid value",
    ),
    "setting that is long": (
        {"postgresConfig": {"work_mem": "1" * 1025}},
        "spec.postgresConfig.work_mem: Too long",
    ),
    "setting as number": (
        {"postgresConfig": {"max_connections": 100}},
        "spec.postgresConfig.max_connections: Invalid",
    ),
    "too many settings": (
        {"postgresConfig": {f"a.b{i}": "1" for i in range(201)}},
        "spec.postgresConfig: Too many",
    ),
}

EXTENSIONS: dict[str, tuple[Spec, str]] = {
    "SQL in an extension": (
        {"extensions": {"additional": ["x; --"]}},
        "spec.extensions.additional[0]: Invalid value: an",
    ),
    "upper-case extension": (
        {"extensions": {"additional": ["PostGIS"]}},
        "spec.extensions.additional[0]: Invalid value",
    ),
    "extension twice": (
        {"extensions": {"additional": ["pg_trgm", "pg_trgm"]}},
        "spec.extensions.additional[1]: Duplicate value",
    ),
}

POOLER: dict[str, tuple[Spec, str]] = {
    "no pooler pod": (
        {"connectionPooling": {"replicas": 0}},
        "spec.connectionPooling.replicas: Invalid value: 0",
    ),
    "too many pooler pods": (
        {"connectionPooling": {"replicas": 51}},
        "spec.connectionPooling.replicas: Invalid value: 51",
    ),
    "unknown pool mode": (
        {"connectionPooling": {"poolMode": "query"}},
        "spec.connectionPooling.poolMode: Unsupported",
    ),
    "no clients": (
        {"connectionPooling": {"maxClientConnections": 0}},
        "spec.connectionPooling.maxClientConnections: Invalid value: 0",
    ),
    "pool smaller than its minimum": (
        {"connectionPooling": {"minPoolSize": 21}},
        "spec.connectionPooling.minPoolSize: Invalid value: connectionPooling.minPoolSize must not be above",
    ),
    **{
        f"parameter {name}": (
            _pooler(query_timeout="1", **{name: "1"}),
            "spec.connectionPooling.parameters: Invalid value: pool_mode, max_client_conn, default_",
        )
        for name in (
            *("pool_mode", "max_client_conn", "default_pool_size", "min_pool_size", "reserve_pool_size"),
        )
    },
    **{
        f"parameter {name}": (
            _pooler(query_timeout="1", **{name: "1"}),
            "spec.connectionPooling.parameters: Invalid value: connectionPooling.parameters can have these",
        )
        for name in (
            *("auth_type", "auth_query", "listen_port", "unix_socket_dir", "logfile", "pidfile", "user"),
            *(
                "server_tls_sslmode",
                "verbose",
                "no_such_setting",
                "Query_Timeout",
                "%include",
                "[databases]",
                "",
            ),
        )
    },
    **{
        f"parameter with {what}": (
            _pooler(server_reset_query=value),
            "spec.connectionPooling.parameters[server_reset_query]: Invalid value: the value of a setting in "
            "connectionPooling.parameters must be one line",
        )
        for what, value in (
            *(("a line break", "a\nlisten_port = 1"), ("a carriage return", "a\rb"), ("NUL", "a\0b")),
        )
    },
    "parameter as number": (
        _pooler(query_timeout=1),
        "spec.connectionPooling.parameters.query_timeout: Invalid value",
    ),
    "parameter too long": (
        _pooler(server_reset_query="x" * 1025),
        "spec.connectionPooling.parameters.server_reset_query: Too long",
    ),
    "too many parameters": (
        _pooler(**{f"setting_{i}": "1" for i in range(101)}),
        "spec.connectionPooling.parameters: Too many",
    ),
}

BACKUP: dict[str, tuple[Spec, str]] = {
    "two backup stores": (
        _backup(s3=S3, pvc={}),
        "spec.backup: Invalid value: backup.s3 and backup.pvc exclude",
    ),
    "no backup store": (_backup(enabled=True), "spec.backup: Invalid value: backup.enabled needs a place"),
    "keep no backup": (
        _backup(retentionPolicy={"keepLast": 0, "keepDaily": 0, "keepWeekly": 0}),
        "spec.backup.retentionPolicy: Invalid value: backup.retentionPolicy would keep no backup",
    ),
    "keep less than none": (
        _backup(retentionPolicy={"keepLast": -1}),
        "spec.backup.retentionPolicy.keepLast: Invalid",
    ),
    "schedule of four fields": (_backup(schedule="0 2 * *"), "backup.schedule must be five cron fields"),
    "schedule with minute 60": (_backup(schedule="60 2 * * *"), "backup.schedule has a field out of range"),
    "schedule with hour 24": (_backup(schedule="0 24 * * *"), "backup.schedule has a field out of range"),
    "schedule with day 0": (_backup(schedule="0 2 0 * *"), "backup.schedule has a field out of range"),
    "schedule with month 13": (_backup(schedule="0 2 * 13 *"), "backup.schedule has a field out of range"),
    "schedule with weekday 7": (_backup(schedule="0 2 * * 7"), "backup.schedule has a field out of range"),
    "S3 without scheme": (_s3(endpoint="s3.example.com"), "backup.s3.endpoint must be a URL"),
    "S3 bucket": (_s3(bucket="Back_ups"), "backup.s3.bucket must contain only"),
    "S3 path": (_s3(path="/a"), "backup.s3.path must be names"),
    "foreign S3 Secret": (
        _s3(secretRef={"name": "a", "namespace": "b"}),
        "spec.backup.s3.secretRef.namespace: Forbidden",
    ),
    "S3 without Secret": (
        _backup(s3={"endpoint": "http://a", "bucket": "abc"}),
        "spec.backup.s3.secretRef: Required value",
    ),
    "tiny backup volume": (_backup(pvc={"size": "1Mi"}), "backup.pvc.size must be at least 256Mi"),
    "authorities without encryption": (
        _s3(endpoint="http://s3.example.com", caSecretRef={"name": "ca"}),
        "spec.backup.s3.caSecretRef: Invalid value: backup.s3.caSecretRef needs an endpoint with https://",
    ),
    "authorities without a name": (_s3(caSecretRef={}), "spec.backup.s3.caSecretRef.name: Required value"),
    "no jobs": (_backup(jobs=0), "spec.backup.jobs: Invalid value: 0"),
    "too many jobs": (_backup(jobs=9), "spec.backup.jobs: Invalid value: 9"),
    "less than a minute": (_backup(activeDeadlineSeconds=59), "spec.backup.activeDeadlineSeconds: Invalid"),
    "more than a week": (_backup(activeDeadlineSeconds=604801), "spec.backup.activeDeadlineSeconds: Invalid"),
    "backup's request above the limit": (
        _backup(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}),
        "spec.backup.resources: Invalid value: a request must not be above the limit",
    ),
    "unknown resource of a backup": (
        _backup(resources={"limits": {"ram": "1Gi"}}),
        "resources are named cpu",
    ),
    "continuous without backups": (
        _backup(s3=S3, continuous={"enabled": True}),
        "spec.backup.continuous.enabled: Invalid value: backup.continuous.enabled needs backup.enabled",
    ),
    "continuous to a volume": (
        _backup(enabled=True, pvc={}, continuous={"enabled": True}),
        "spec.backup.continuous.enabled: Invalid value: backup.continuous.enabled needs a bucket",
    ),
    "no recovery window": (
        _backup(continuous={"recoveryWindowDays": 0}),
        "spec.backup.continuous.recoveryWindowDays: Invalid value: 0",
    ),
    "base backups of four fields": (
        _backup(continuous={"schedule": "0 1 * *"}),
        "backup.continuous.schedule must be five cron fields",
    ),
    "base backups at hour 24": (
        _backup(continuous={"schedule": "0 24 * * *"}),
        "backup.continuous.schedule has a field out of range",
    ),
    "verify without backups": (
        _backup(s3=S3, verify={}),
        "spec.backup.verify: Invalid value: backup.verify needs backup.enabled",
    ),
    "verify of four fields": (
        _backup(enabled=True, s3=S3, verify={"schedule": "0 5 * *"}),
        "backup.verify.schedule must be five cron fields",
    ),
    "verify at minute 60": (
        _backup(enabled=True, s3=S3, verify={"schedule": "60 5 * * *"}),
        "backup.verify.schedule has a field out of range",
    ),
    "tiny scratch volume": (
        _backup(enabled=True, s3=S3, verify={"size": "1Mi"}),
        "backup.verify.size must be at least 256Mi",
    ),
}

RECOVERY: dict[str, tuple[Spec, str]] = {
    "a beginning without a recovery": ({"bootstrap": {}}, "spec.bootstrap.recovery: Required value"),
    "from nothing": (_recovery(), "bootstrap.recovery needs exactly one of source, s3 and pvc"),
    "from two": (
        _recovery(source="shop", pvc={"claimName": "old"}),
        "bootstrap.recovery needs exactly one of source, s3 and pvc",
    ),
    "from a source with a capital": (_recovery(source="Shop"), "spec.bootstrap.recovery.source: Invalid"),
    "from whose bucket": (
        _recovery(s3=S3),
        "spec.bootstrap.recovery.serverName: Invalid value: bootstrap.recovery.serverName is required",
    ),
    "from whose volume": (_recovery(pvc={"claimName": "old"}), "serverName is required with s3 or pvc"),
    "from a server of the source": (
        _recovery(source="shop", serverName="shop"),
        "bootstrap.recovery.serverName goes with s3 or pvc",
    ),
    "from no claim": (
        _recovery(pvc={}, serverName="shop"),
        "spec.bootstrap.recovery.pvc.claimName: Required value",
    ),
    "from a bucket by another scheme": (
        _recovery(s3=S3 | {"endpoint": "ftp://a"}, serverName="shop"),
        "bootstrap.recovery.s3.endpoint must be a URL",
    ),
    "from a bucket by a bad name": (
        _recovery(s3=S3 | {"bucket": "Back_ups"}, serverName="shop"),
        "bootstrap.recovery.s3.bucket must contain only",
    ),
    "from a bad path in a bucket": (
        _recovery(s3=S3 | {"path": "/a"}, serverName="shop"),
        "bootstrap.recovery.s3.path must be names",
    ),
    "from a bucket with authorities, without encryption": (
        _recovery(s3=S3 | {"endpoint": "http://a", "caSecretRef": {"name": "ca"}}, serverName="shop"),
        "bootstrap.recovery.s3.caSecretRef needs an endpoint with https://",
    ),
    "from a bucket by the Secret of others": (
        _recovery(s3=S3 | {"secretRef": {"name": "a", "namespace": "b"}}, serverName="shop"),
        "spec.bootstrap.recovery.s3.secretRef.namespace: Forbidden",
    ),
    "continuous from a volume": (
        _recovery(pvc={"claimName": "old"}, serverName="shop", method="continuous"),
        "spec.bootstrap.recovery.method: Invalid value: bootstrap.recovery.method continuous needs source",
    ),
    "by another method": (_recovery(source="shop", method="rsync"), "spec.bootstrap.recovery.method"),
    "a backup by no id": (
        _recovery(source="shop", backup="latest"),
        "bootstrap.recovery.backup must be the id of a backup",
    ),
    "a moment of a dump": (
        _recovery(source="shop", target={"time": "2026-11-24T01:30:00Z"}),
        "spec.bootstrap.recovery.target: Invalid value: bootstrap.recovery.target needs method continuous",
    ),
    "two targets": (_target(lsn="0/1", name="a"), "takes one of time, lsn and name"),
    "a moment without a zone": (
        _target(time="2026-11-24T01:30:00"),
        "bootstrap.recovery.target.time must be a date and time with its zone",
    ),
    "a moment in a 13th month": (_target(time="2026-13-24T01:30:00Z"), "target.time must be a date"),
    "a moment with a line break": (_target(time="2026-11-24T01:30:00Z\n"), "target.time must be a date"),
    "a position without a slash": (_target(lsn="03000028"), "target.lsn must be a position"),
    "a restore point with a quote": (_target(name="o'clock"), "target.name must have only printable"),
    "a restore point of two lines": (_target(name="a\nb"), "target.name must have only printable"),
    "no restore point": (_target(name=""), "spec.bootstrap.recovery.target.name: Invalid value"),
}

MONITORING: dict[str, tuple[Spec, str]] = {
    "port 0": ({"monitoring": {"port": 0}}, "spec.monitoring.port: Invalid value: 0"),
    "port 65536": ({"monitoring": {"port": 65536}}, "spec.monitoring.port: Invalid value: 65536"),
    "PostgreSQL's port": (
        {"monitoring": {"port": 5432}},
        "spec.monitoring.port: Invalid value: monitoring.port 5432",
    ),
    "Patroni's port": (
        {"monitoring": {"enabled": True, "port": 8008}},
        "spec.monitoring.port: Invalid value: monitoring.port 5432 and 8008 are taken",
    ),
    "scrape interval": (
        {"monitoring": {"serviceMonitor": {"interval": "often"}}},
        "spec.monitoring.serviceMonitor.interval: Invalid value: monitoring.serviceMonitor.interval must be",
    ),
    **{
        f"{part} with the label {name!r}": (
            {"monitoring": {part: {"labels": {name: "a"}}}},
            f"spec.monitoring.{part}.labels: Invalid value: monitoring.{part}.labels must have label names",
        )
        for part in ("serviceMonitor", "prometheusRule")
        for name in ("a b", "a/b/c", "-a", "", "Example.com/a")
    },
    **{
        f"{part} with the label's value {value!r}": (
            {"monitoring": {part: {"labels": {"a": value}}}},
            f"spec.monitoring.{part}.labels.a: ",
        )
        for part in ("serviceMonitor", "prometheusRule")
        for value in ("a b", "-", "a" * 64)
    },
    **{
        f"query called {name!r}": (
            {"monitoring": {"customQueries": {name: "query: SELECT 1"}}},
            "spec.monitoring.customQueries: Invalid value: monitoring.customQueries keys begin the names",
        )
        for name in ("a-b", "1a", "../a", "a" * 128, "")
    },
    **{
        f"query called {name!r}": (
            {"monitoring": {"customQueries": {"mine": "query: SELECT 1", name: "query: SELECT 1"}}},
            "spec.monitoring.customQueries: Invalid value: monitoring.customQueries keys must not begin with",
        )
        for name in ("pg_up", "paradedb_size", "go_", "up_")
    },
}

IMAGES_AND_RESOURCES: dict[str, tuple[Spec, str]] = {
    f"{part} with {what}": ({part: {field: value}}, f"spec.{part}.{field}: Invalid value: {message}")
    for part in ("connectionPooling", "monitoring")
    for what, field, value, message in (
        ("bad image", "image", "a b", f"{part}.image must be a container image"),
        ("bad resource", "resources", {"limits": {"mem": "1Gi"}}, "resources are named"),
        (
            "request above limit",
            "resources",
            {"requests": {"cpu": 2}, "limits": {"cpu": 1}},
            "a request must not be above the limit",
        ),
    )
}

NETWORK: dict[str, tuple[Spec, str]] = {}
for _of in ("clients", "metrics"):
    _field = f"spec.networkPolicy.{_of}"
    NETWORK |= {
        f"{_of}: peer without anything": (
            _peer(_of),
            f"{_field}[0]: Invalid value: networkPolicy.{_of} must name podSelector, namespaceSelector or",
        ),
        f"{_of}: block of addresses of pods": (
            _peer(_of, podSelector={}, ipBlock={"cidr": "10.0.0.0/8"}),
            f"{_field}[0].ipBlock: Invalid value: ipBlock excludes podSelector and namespaceSelector",
        ),
        f"{_of}: block of addresses of namespaces": (
            _peer(_of, namespaceSelector={}, ipBlock={"cidr": "10.0.0.0/8"}),
            f"{_field}[0].ipBlock: Invalid value: ipBlock excludes podSelector and namespaceSelector",
        ),
        f"{_of}: block without addresses": (
            _peer(_of, ipBlock={"except": ["10.0.0.0/8"]}),
            f"{_field}[0].ipBlock.cidr: Required value",
        ),
        **{
            f"{_of}: block {cidr!r}": (
                _peer(_of, ipBlock={"cidr": cidr}),
                f"{_field}[0].ipBlock.cidr: Invalid value: cidr must be a block of addresses",
            )
            for cidr in (
                *(
                    "10.0.0.0",
                    "10.0.0/8",
                    "10.0.0.256/8",
                    "10.0.0.0/33",
                    "::/129",
                    "::",
                    "a",
                    "",
                    "10.0.0.0/8\n",
                ),
            )
        },
        f"{_of}: block without a block": (
            _peer(_of, ipBlock={"cidr": "10.0.0.0/8", "except": ["10.2.0.0", "10.1.0.0/16"]}),
            f"{_field}[0].ipBlock.except[0]: Invalid value: except must be a block of addresses",
        ),
        f"{_of}: too many": (
            {"networkPolicy": {_of: [{"podSelector": {}}] * 33}},
            f"{_field}: Too many",
        ),
        f"{_of}: misspelt": (_peer(_of, podSelectors={}), f'unknown field "{_field}[0].podSelectors"'),
    }
    for _selector in ("podSelector", "namespaceSelector"):
        NETWORK |= {
            f"{_of}: {_selector} with the label {name!r}": (
                _peer(_of, **{_selector: {"matchLabels": {name: "a"}}}),
                f"{_field}[0].{_selector}.matchLabels: Invalid value: matchLabels must have label names as",
            )
            for name in ("a b", "a/b/c", "")
        }
        NETWORK |= {
            f"{_of}: {_selector} where {expression}": (
                _peer(_of, **{_selector: {"matchExpressions": [{"key": "a"} | expression]}}),
                f"{_field}[0].{_selector}.matchExpressions[0].{refusal}",
            )
            for expression, refusal in (
                ({"operator": "In"}, "values: Invalid value: values are needed with the operators In and"),
                ({"operator": "NotIn", "values": []}, "values: Invalid value: values are needed"),
                ({"operator": "Exists", "values": ["a"]}, "values: Invalid value: values are needed"),
                ({"operator": "in", "values": ["a"]}, "operator: Unsupported value"),
                ({}, "operator: Required value"),
                ({"key": "a b", "operator": "Exists"}, "key: Invalid value"),
                ({"operator": "In", "values": ["a b"]}, "values[0]: Invalid value"),
            )
        }

PODS: dict[str, tuple[Spec, str]] = {
    "root pod": (
        {"podSecurityContext": {"runAsUser": 0}},
        "spec.podSecurityContext.runAsUser: Invalid value: podSec",
    ),
    "perhaps root pod": (
        {"podSecurityContext": {"runAsNonRoot": False}},
        "spec.podSecurityContext.runAsNonRoot: Invalid",
    ),
    "root container": (
        {"containerSecurityContext": {"runAsUser": 0}},
        "spec.containerSecurityContext.runAsUser: Invalid value: containerSecurityContext.runAsUser must",
    ),
    "perhaps root container": (
        {"containerSecurityContext": {"runAsNonRoot": False}},
        "spec.containerSecurityContext.runAsNonRoot: Invalid value",
    ),
    "privileged container": (
        {"containerSecurityContext": {"privileged": True}},
        "spec.containerSecurityContext.privileged: Invalid value",
    ),
    "misspelt affinity": ({"affinity": {"nodeAffinityy": {}}}, 'unknown field "spec.affinity.nodeAffinityy"'),
    "affinity without key": (
        {
            "affinity": {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"labelSelector": {"matchLabels": {"a": "b"}}}
                    ]
                }
            }
        },
        "requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value",
    ),
    "unknown taint effect": (_toleration(effect="NoPods"), "spec.tolerations[0].effect: Unsupported value"),
    "toleration with text": (
        _toleration(tolerationSeconds="1"),
        "spec.tolerations[0].tolerationSeconds: Invalid value",
    ),
    "selector with a number": ({"nodeSelector": {"a": 1}}, "spec.nodeSelector.a: Invalid value"),
}

CASES = (
    GENERAL
    | INSTANCES
    | TLS
    | STORAGE
    | RESOURCES
    | AUTH
    | USERS
    | DATABASES
    | SETTINGS
    | EXTENSIONS
    | POOLER
    | BACKUP
    | RECOVERY
    | MONITORING
    | IMAGES_AND_RESOURCES
    | NETWORK
    | PODS
)


@pytest.mark.parametrize("case", CASES)
def test_refused_with_the_field_named(paradedbs: ParadeDBs, case: str) -> None:
    spec, expected = CASES[case]
    refusal = paradedbs.refusal(spec)
    assert says(refusal, expected), refusal


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a" * 46, "metadata.name must be at most 45 characters long"),
        ("1st", "metadata.name becomes the name of a Service"),
        ("a.b", "metadata.name becomes the name of a Service"),
        ("a-", "metadata.name: Invalid value"),
        ("A", "metadata.name: Invalid value"),
    ],
)
def test_bad_names_are_refused(paradedbs: ParadeDBs, name: str, message: str) -> None:
    assert message in paradedbs.refusal({}, name)


def test_a_database_is_not_recovered_from_itself(paradedbs: ParadeDBs) -> None:
    refusal = paradedbs.refusal(_recovery(source="shop"), "shop")
    assert "spec.bootstrap.recovery.source: Invalid value" in refusal
    assert "must be another ParadeDB" in refusal
    assert paradedbs.try_create(_recovery(s3=S3, serverName="shop"), "shop")


def test_a_refusal_names_every_setting_that_is_wrong(paradedbs: ParadeDBs) -> None:
    refusal = paradedbs.refusal({"postgresConfig": {"port": "1", "archive_mode": "on", "fsync": "off"}})
    for setting in ("port", "archive_mode", "fsync"):
        assert f"postgresConfig.{setting} " in refusal


def test_a_resource_without_spec_is_refused(paradedbs: ParadeDBs) -> None:
    assert "spec: Required value" in paradedbs.refusal(None)


def test_every_rule_refuses_some_case(paradedbs: ParadeDBs, schema: Object) -> None:
    refusals = [paradedbs.refusal(spec) for spec, _expected in CASES.values()]
    untried = [
        (path, rule["message"])
        for path, node in fields(schema["properties"]["spec"], "spec.")
        for rule in node.get("x-kubernetes-validations", [])
        if "oldSelf" not in rule["rule"] and "messageExpression" not in rule
        if not any(_names(refusal, path + rule.get("fieldPath", ""), rule["message"]) for refusal in refusals)
    ]
    assert untried == []


def _names(refusal: str, path: str, reason: str) -> bool:
    """Whether a refusal gives a reason for a field; maps are named without their key."""
    field = path.replace("[]", "[0]").partition("{}")[0]
    return field in refusal and reason in refusal
