"""What the path of a request to the Kubernetes API is about, and which kind is served there."""

from typing import NamedTuple
from urllib.parse import unquote

from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.objects import GroupVersionKind


class ApiPath(NamedTuple):
    """A collection, an object if there is a name, or a part of one. Cluster-scoped: no namespace."""

    group: str
    version: str
    namespace: str
    plural: str
    name: str
    subresource: str

    @property
    def group_version(self) -> str:
        """The path of the group's list of kinds."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


class Served(NamedTuple):
    """A kind as the server announces it."""

    gvk: GroupVersionKind
    namespaced: bool
    verbs: frozenset[str]


class Catalog:
    """Which kind a path leads to. What the server once said is remembered until something is not found."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, dict[str, Served]] = {}

    async def find(self, path: ApiPath) -> Served | None:
        """The kind, or None if the server has none there (yet). Raises what the API client raises."""
        if path.plural not in self._known.get(path.group_version, {}):
            self._known[path.group_version] = await self._ask(path)
        return self._known[path.group_version].get(path.plural)

    def forget(self, path: ApiPath) -> None:
        """Ask again next time: a definition may have been replaced by another."""
        self._known.pop(path.group_version, None)

    async def _ask(self, path: ApiPath) -> dict[str, Served]:
        try:
            listing = await self._api.get(path.group_version)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise
        return {
            item["name"]: Served(
                GroupVersionKind(path.group, path.version, item["kind"]),
                item["namespaced"],
                frozenset(item.get("verbs") or ()),
            )
            for item in listing.get("resources") or []
            if "/" not in item["name"]
        }


def is_plain(target: str) -> bool:
    """
    Whether a request target is a path that means what it says. One with dots could leave the prefix under
    which a gateway serves the API, and one with a host in it is for another server.
    """
    path = target.partition("?")[0]
    return target.startswith("/") and not {".", ".."} & set(unquote(path).replace("\\", "/").split("/"))


def parse_path(path: str) -> ApiPath | None:
    """Take a path apart; None if it is not about objects, as discovery and health are not."""
    root, *parts = [unquote(part) for part in path.strip("/").split("/")]
    if root == "api" and len(parts) > 1:
        group, (version, *rest) = "", parts
    elif root == "apis" and len(parts) > 2:
        group, version, *rest = parts
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:  # "status" and the like are no kinds
        _, namespace, *rest = rest
    plural, name, subresource = (*rest, "", "")[:3]
    return ApiPath(group, version, namespace, plural, name, subresource)
