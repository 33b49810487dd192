"""
How runs reach the API: as we do, or through the proxy that makes their resource the owner of what they
create.
"""

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from paradedb_runner.control.inputdir import InputDirectory
from paradedb_runner.control.runs import Access, Subject, our_access
from paradedb_runner.kube.api import Api
from paradedb_runner.kube.objects import metadata
from paradedb_runner.proxy.kubeconfig import write_kubeconfig
from paradedb_runner.proxy.ownership import Owner
from paradedb_runner.proxy.server import DependentObserver, Proxy
from paradedb_runner.settings import Settings
from paradedb_runner.watches.model import Watch


async def make_access(
    stack: AsyncExitStack,
    api: Api,
    settings: Settings,
    watches: list[Watch],
    base: Path,
    on_dependent: DependentObserver,
) -> Access:
    """
    Start the proxy, which lives as long as ``stack``, if any watch wants owners; choose it for those only.
    """
    ours = our_access(settings.kubeconfig)
    if not settings.inject_owner_ref or not any(watch.inject_owner_ref for watch in watches):
        return ours
    proxy = await stack.enter_async_context(Proxy(api, settings.proxy_port, base / "proxy", on_dependent))

    @contextmanager
    def access(subject: Subject, directory: InputDirectory) -> Iterator[Path | None]:
        if not subject.watch.inject_owner_ref:
            with ours(subject, directory) as kubeconfig:
                yield kubeconfig
            return
        with proxy.session(Owner(subject.key, metadata(subject.obj)["uid"])) as session:
            write_kubeconfig(
                directory.kubeconfig, session.url, session.token, subject.key.namespace, session.certificate
            )
            yield directory.kubeconfig

    return access
