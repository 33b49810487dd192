"""The Secrets of the roles below the superuser: of ``spec.auth.users``, of the pooler and of the exporter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.conditions import (
    MONITORING_READY,
    POOLER_READY,
    USERS_READY,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    exporter_name,
    own_names,
    pooler_name,
    readable,
    reference,
    secret_of,
    usable_password,
    user_password,
)
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object, by_name
from ansible_collections.paradedb.db.plugins.module_utils.labels import (
    COMPONENT,
    instance_labels,
    instance_selector,
)
from ansible_collections.paradedb.db.plugins.module_utils.objects import apply_all, complete
from ansible_collections.paradedb.db.plugins.module_utils.secret_contents import (
    exporter_secret,
    new_password,
    pooler_secret,
    secret_definition,
)

ROLES_COMPONENT = "roles"
UNPROCESSABLE = 422

# What an application needs, made of the user, the password and the database.
Application = Callable[[str, str, str], dict[str, str]]


@dataclass
class Outcome:
    """What a pass makes of these Secrets."""

    users: list[dict[str, str]] = field(default_factory=list)  # with a Secret that serves: name, secretName
    userlist: str = ""  # what PgBouncer reads; empty without a pooler
    problems: dict[str, list[Refused]] = field(default_factory=dict)  # by type of condition
    changes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def checks(self) -> list[dict[str, Any]]:
        return [
            {"type": kind, "ok": False, "reason": found[0].reason, "message": "; ".join(map(str, found))}
            for kind, found in self.problems.items()
        ]

    @contextmanager
    def noting(self, kind: str) -> Iterator[None]:
        """Take a refusal down instead of letting it end the pass."""
        try:
            yield
        except Refused as problem:
            self.problems.setdefault(kind, []).append(problem)


def _given_away(metadata: Object, name: str, owner: Object | None) -> tuple[Object, Object]:
    """Labels and owner references of a Secret of ours, and what is left of them when it no longer is."""
    labels, references = metadata["labels"], metadata.get("ownerReferences") or []
    ours = {*instance_labels(name), COMPONENT}
    kept = [item for item in references if item["uid"] != (owner or {}).get("uid")]
    return (
        {"labels": labels, "ownerReferences": references},
        {"labels": {key: labels[key] for key in labels if key not in ours}, "ownerReferences": kept},
    )


class Keeper:
    """Makes the Secrets and keeps them. What is wrong with one of them holds nothing else up."""

    def __init__(
        self, kube: Kube, params: dict[str, Any], superuser: str, application: Application, check_mode: bool
    ) -> None:
        self._kube, self._params, self._check_mode = kube, params, check_mode
        self._name, self._namespace = params["name"], params["namespace"]
        self._superuser, self._application = superuser, application
        found = kube.list("v1", "Secret", self._namespace, instance_selector(self._name))
        self._existing = {item["metadata"]["name"]: item for item in found}
        self._own = {key: usable_password(readable(item)) for key, item in self._existing.items()}
        self._outcome = Outcome()

    def settle(self) -> Outcome:
        """Make sure of every Secret that is asked for, and delete those that no longer are."""
        params, outcome = self._params, self._outcome
        kept = {secret_of(self._name, user) for user in params["users"]}
        if params["pooler"]:
            kept.add(secret := pooler_name(self._name))
            values = pooler_secret(self._password(secret))
            outcome.userlist = values["userlist.txt"]
            with outcome.noting(POOLER_READY):
                self._apply(secret, values, "spec.connectionPooling")
        if params["exporter"]:
            kept.add(secret := exporter_name(self._name))
            with outcome.noting(MONITORING_READY):
                self._apply(secret, exporter_secret(self._password(secret)), "spec.monitoring")
        for position, user in enumerate(params["users"]):
            with outcome.noting(USERS_READY):
                self._settle_user(position, user)
        self._prune(kept)
        self._let_go()
        return outcome

    def _settle_user(self, position: int, user: dict[str, Any]) -> None:
        name, field = user["name"], f"spec.auth.users[{position}]"
        if name == self._superuser:
            raise Refused("RoleTaken", f"{field}.name", f"{name!r} is the superuser; choose another name")
        secret = secret_of(self._name, user)
        password = user_password(self._kube, self._namespace, self._name, user, position, self._own)
        if not reference(user):
            database = (user.get("databases") or [self._params["database"]])[0]
            self._apply(secret, self._application(name, password or new_password(), database), field)
        self._outcome.users.append({"name": name, "secretName": secret})

    def _password(self, secret: str) -> str:
        return self._own.get(secret) or new_password()

    def _apply(self, secret: str, values: dict[str, str], field: str) -> None:
        definition = secret_definition(secret, values, "kubernetes.io/basic-auth")
        wanted = complete(definition, self._namespace, self._name, ROLES_COMPONENT, self._params["owner"])
        before = by_name([self._existing[secret]] if secret in self._existing else [])
        try:
            self._outcome.changes += apply_all(self._kube, [wanted], before, self._check_mode)
        except Refused:
            fix = "belongs to something else; delete it" + (
                " or name it in secretRef" if "users" in field else ""
            )
            raise Refused("NameTaken", field, f"the Secret {secret!r} {fix}") from None
        except KubeError as error:
            if error.status != UNPROCESSABLE:  # else made immutable, or of another type
                raise
            message = f"the Secret {secret!r} cannot be changed, delete it: {error}"
            raise Refused("InvalidSecret", field, message) from None

    def _let_go(self) -> None:
        """Leave those to a user that he names as his own: they lose our labels and our owner reference."""
        users = self._params["users"]
        made = {secret_of(self._name, user) for user in users if not reference(user)}
        for secret in sorted({reference(user) for user in users} - made - {"", *own_names(self._name)}):
            item = self._existing.get(secret)
            if item is None or item["metadata"]["labels"].get(COMPONENT) != ROLES_COMPONENT:
                continue
            before, after = _given_away(item["metadata"], self._name, self._params["owner"])
            self._outcome.changes.append({"header": f"Secret/{secret}", "before": before, "after": after})
            if not self._check_mode:
                removed = {"labels": dict.fromkeys(before["labels"].keys() - after["labels"].keys())}
                references = after["ownerReferences"] or None
                self._kube.merge_patch(item, {"metadata": {**removed, "ownerReferences": references}})

    def _prune(self, kept: set[str]) -> None:
        unwanted = [
            item
            for secret, item in self._existing.items()
            if secret not in kept and item["metadata"]["labels"].get(COMPONENT) == ROLES_COMPONENT
        ]
        self._outcome.changes += apply_all(self._kube, [], by_name(unwanted), self._check_mode)
