"""The ParadeDB that a pass is about: the resource, or a spec that a play gives in its place."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, owner_reference
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec


def read(kube: Kube, namespace: str, name: str, given: dict[str, Any] | None) -> dict[str, Any]:
    """The completed spec, whom its objects belong to, and the generation that the spec is of.

    ``given``: a spec to work by without a resource; ``owner`` is empty then, and ``generation`` 0. Raises
    Refused when there is no resource, or one in spite of ``given``.
    """
    found = kube.get(API_VERSION, KIND, namespace, name)
    if given is not None:
        if found is not None:
            raise Refused(
                "ManagedByOperator",
                "metadata.name",
                f"{name!r} is a ParadeDB resource in namespace {namespace!r}; edit the resource instead",
            )
        return {"spec": complete_spec(given), "owner": {}, "uid": f"{namespace}/{name}", "generation": 0}
    if found is None:
        raise Refused(
            "NotFound", "metadata.name", f"there is no ParadeDB {name!r} in namespace {namespace!r}"
        )
    return {
        "spec": complete_spec(found["spec"]),
        "owner": owner_reference(found),
        "uid": found["metadata"]["uid"],
        "generation": found["metadata"]["generation"],
    }
