"""Names in a spec that no API server has checked."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import names
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

MINE = {"secretRef": {"name": "mine"}}


def _users(*users: str | dict[str, Any]) -> dict[str, Any]:
    given = [{"name": user} if isinstance(user, str) else user for user in users]
    return {"auth": {"database": "paradedb", "users": given}}


def _databases(*databases: dict[str, Any], users: tuple[str, ...] = ()) -> dict[str, Any]:
    return _users(*users) | {"databases": list(databases)}


@pytest.mark.parametrize(
    "spec",
    [
        {"auth": {"database": "paradedb"}},
        {"auth": {"database": "postgres", "users": None}, "databases": None},
        _users("app", "reader", "a" * 63, "_app", "a-b"),
        _users("app", {"name": "app_1", "databases": ["postgres", "shop-2", "x$y"]}),
        _users("a_b", {"name": "a-b"} | MINE),
        _users({"name": "app", "databases": ["postgres"], "privileges": ["CONNECT", "TEMP", "TEMPORARY"]}),
        _users({"name": "app", "privileges": ["ALL"]}),
        _users(*({"name": name} | MINE for name in ("pooler", "credentials", "app_", "tls", "ca"))),
        _databases({"name": "paradedb"}, {"name": "shop", "owner": "app"}, users=("app",)),
    ],
    ids=str,
)
def test_what_the_api_server_takes_passes(spec: dict[str, Any]) -> None:
    names.check_names("orders", spec)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"auth": {"database": "Shop"}}, "spec.auth.database"),
        ({"auth": {"database": 'x"; DROP DATABASE postgres; --'}}, "spec.auth.database"),
        ({"auth": {"database": "template1"}}, "spec.auth.database"),
        (_users("app", "Reader"), "spec.auth.users[1].name"),
        (_users("a" * 64), "spec.auth.users[0].name"),
        (_users("app\n"), "spec.auth.users[0].name"),
        *((_users({"name": name} | MINE), "spec.auth.users[0].name") for name in names.RESERVED_USERS),
        (_users({"name": "pg_monitor"} | MINE), "spec.auth.users[0].name"),
        (_users({"name": "app", "databases": ["a", "template0"]}), "spec.auth.users[0].databases[1]"),
        (_users({"name": "app", "databases": ["A"]}), "spec.auth.users[0].databases[0]"),
        *(
            (_users("app", name), "spec.auth.users[1].name")
            for name in ("credentials", "patroni", "pooler", "exporter", "tls", "ca", "tls_", "app_")
        ),
        (_users("a_b", "a-b"), "spec.auth.users[1].name"),
        *(
            (
                _users(
                    {"name": "app", "databases": ["shop", "postgres"], "privileges": ["CONNECT", privilege]}
                ),
                "spec.auth.users[0].privileges",
            )
            for privilege in ("CREATE", "ALL")
        ),
        (
            {"auth": {"database": "postgres", "users": [{"name": "app", "privileges": ["ALL"]}]}},
            "spec.auth.users[0].privileges",
        ),
        (_users("a$b", "a_b"), "spec.auth.users[1].name"),
        (_databases({"name": "postgres"}), "spec.databases[0].name"),
        (_databases({"name": "shop"}, {"name": "Shop"}), "spec.databases[1].name"),
        (_databases({"name": "shop", "owner": "nobody"}, users=("app",)), "spec.databases[0].owner"),
    ],
    ids=str,
)
def test_the_rest_is_refused_with_its_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        names.check_names("orders", spec)
    assert (caught.value.reason, caught.value.field) == ("InvalidSpec", field)
