"""Where the API server is and who we are there, read by the ``kubernetes`` package, which knows every way."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import Configuration

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Credentials:
    """
    Host, TLS and token of the API server.

    A token is asked for again on every request, because both ways of getting one expire: a projected token
    file is replaced by the kubelet, and a kubeconfig may name a command.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        """
        ``kubeconfig`` None means the service account of the pod. Raises ConfigException if there is none.
        """
        self.kubeconfig = kubeconfig
        self._read()

    def _read(self) -> None:
        configuration: Any = Configuration()
        if self.kubeconfig:
            config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        self._configuration = configuration
        self.host: str = self._configuration.host.rstrip("/")
        self.ssl_context = _ssl_context(self._configuration)
        self.server_name: str | None = getattr(self._configuration, "tls_server_name", None)

    async def headers(self) -> dict[str, str]:
        """
        The Authorization header, if a token is how we prove who we are. Raises OSError if it cannot be read.
        """
        read = self._configuration.get_api_key_with_prefix
        with _as_os_error():
            if self.kubeconfig and self._configuration.refresh_api_key_hook:
                token = await asyncio.to_thread(read, "BearerToken", "authorization")  # may run a command
            else:
                token = read("BearerToken", "authorization")
        return {"Authorization": token} if token else {}

    async def reload(self) -> None:
        """
        Read everything again, after the server refused what we had. Raises OSError if that fails, as while
        somebody writes the file; then what we had stays.
        """
        with _as_os_error():
            await asyncio.to_thread(self._read)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """To who makes requests, credentials that cannot be read are like a server that cannot be reached."""
    try:
        yield
    except config.ConfigException as error:
        raise OSError(f"the credentials cannot be read: {error}") from error


def find_kubeconfig(flag: str, environ: Mapping[str, str]) -> Path | None:
    """The kubeconfig to use: the flag, the environment, none inside a pod, and the usual file elsewhere."""
    named = flag or environ.get("K8S_AUTH_KUBECONFIG") or environ.get("KUBECONFIG")
    if named:
        return Path(named).expanduser().absolute()
    if environ.get("KUBERNETES_SERVICE_HOST") and (_SERVICE_ACCOUNT / "token").is_file():
        return None
    return Path("~/.kube/config").expanduser()


def _ssl_context(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Cluster CAs in the field lack the extensions that Python 3.13 began to insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
