"""Enforces the network policies: keeps the node's packet filter as policies, pods and namespaces ask for."""

from __future__ import annotations

import logging
import threading
import time

from .api import Client
from .instance import Instance
from .policies import ruleset
from .shell import ClusterError, run
from .watching import RETRY_SECONDS, Cache, follow

POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
PODS = "/api/v1/pods"
NAMESPACES = "/api/v1/namespaces"
# Changes come in groups; what follows within this time is looked at together.
SETTLE_SECONDS = 0.05

log = logging.getLogger("policies")


class Enforcer:
    """Writes the rules again whenever they have to be others."""

    def __init__(self, client: Client) -> None:
        self._changed = threading.Event()
        self._policies, self._pods, self._namespaces = (
            Cache(client, path, self._changed, log) for path in (POLICIES, PODS, NAMESPACES)
        )

    def run(self) -> None:
        """Enforce for ever."""
        follow(self._policies, self._pods, self._namespaces)
        log.info(
            "enforcing network policies for traffic to pods; those for traffic from pods are passed over"
        )
        enforced = ""  # what an earlier process may have left is replaced at once
        while True:
            self._changed.clear()
            wanted = ruleset(self._policies.objects(), self._pods.objects(), self._namespaces.objects())
            if wanted != enforced:
                try:
                    run(["nft", "-f", "-"], stdin=wanted)
                    enforced = wanted
                except ClusterError:
                    log.exception("the rules are as before; trying again")
                    time.sleep(RETRY_SECONDS)
                    continue
            self._changed.wait()
            time.sleep(SETTLE_SECONDS)


def serve(instance: Instance) -> None:
    """Enforce the policies of the instance for ever; runs inside the node."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    Enforcer(Client(instance.node_ip, 6443, instance.pki)).run()
