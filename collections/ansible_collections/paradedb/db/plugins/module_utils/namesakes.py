"""Names that something else has already: of objects which two ParadeDBs, or a user, would call the same."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup import is_continuous
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled, is_ours
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

# Objects that another ParadeDB may have by the same name, as kind and end of the name: those of every
# ParadeDB, and those of a part of the spec.
_OF_THE_NAME = (("Service", ""), ("Service", "-ro"), ("Service", "-headless"), ("ServiceAccount", ""))
_OF_PARTS = {
    "connectionPooling": (("Service", "-pooler"),),
    "monitoring": (("Service", "-metrics"),),
    "backup": (("ServiceAccount", "-backup"),),
}


def check_namesakes(kube: Kube, namespace: str, name: str, spec: dict[str, Any], new: bool) -> None:
    """Refuse a name by which something else has an object, before anything of ours is made.

    A ParadeDB called ``a-pooler`` has the Service that the pooler of one called ``a`` would have.
    """
    objects = dict.fromkeys(_OF_THE_NAME if new else (), "metadata.name")
    for part, its_own in _OF_PARTS.items():
        if enabled(spec, part):
            objects |= dict.fromkeys(its_own, f"spec.{part}.enabled")
    if enabled(spec, "backup") and "pvc" in spec["backup"]:
        objects[("PersistentVolumeClaim", "-backup")] = "spec.backup.pvc"
    if is_continuous(spec):
        objects[("ServiceAccount", "-base")] = "spec.backup.continuous.enabled"
    for (kind, suffix), field in objects.items():
        found = kube.get("v1", kind, namespace, name + suffix)
        if found is not None and not is_ours(found, name):
            raise Refused(
                "NameTaken",
                field,
                f"the {kind} {name + suffix!r} belongs to something else; "
                + ("choose another name" if field == "metadata.name" else "switch this off")
                + f", or remove that {kind} if nobody needs it",
            )
