"""The command line: `python3 tools/localcluster COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from . import backends, enforcer, node, pods, provisioner
from .backends import Backend
from .components import NAMES
from .instance import DEFAULT_NAME, Instance, load, state_dir
from .providers import Choice
from .shell import ClusterError, Progress

# Commands that run another program with the words that follow.
PASSING_ON = ("kubectl", "enter")
# Components of the tool's own; the node starts them inside its enclosure.
SERVING: dict[str, Callable[[Instance], None]] = {
    "serve-policies": enforcer.serve,
    "serve-volumes": provisioner.serve,
}


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python3 tools/localcluster",
        description="A real one-node Kubernetes cluster for development and tests.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=DEFAULT_NAME, help="name of the cluster (default: %(default)s)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str | None) -> argparse.ArgumentParser:
        if text is None:  # not for users, so not in the list of commands
            return commands.add_parser(name, parents=[common])
        return commands.add_parser(name, parents=[common], help=text, description=text)

    command("start", "make the cluster, or repair it; does nothing when it runs")
    stop = command("stop", "remove the cluster with all that belongs to it")
    stop.add_argument("--purge-cache", action="store_true", help="also remove the built binaries")
    command("status", "show what runs; exit code 0: healthy, 1: something is missing, 3: stopped")
    logs = command("logs", "show the logs of the node's components")
    logs.add_argument("component", nargs="?", help=f"one of {', '.join(NAMES)} (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing what is added")
    logs.add_argument("--lines", type=int, default=50, help="how many lines of each (default: %(default)s)")
    images = command("load-image", "make images available to pods")
    what = "archive file, or name of an image of Docker or buildah here"
    images.add_argument("images", nargs="+", metavar="FILE_OR_NAME", help=what)
    command("kubeconfig", "print the path of the kubeconfig")
    command("kubectl", "run kubectl on the cluster with all that follows")
    command("enter", "run a command, or a shell, in the node's network, mounts and processes")
    restart = command("restart", "kill a component of the node without warning and start it again")
    restart.add_argument("component", help=f"one of {', '.join(NAMES)}")
    signal = command("pod-signal", "stop, continue or kill all processes of a pod's containers")
    _add_pod(signal)
    signal.add_argument("signal", choices=pods.SIGNALS)
    cut = command("pod-network", "cut a pod's network, or heal it")
    _add_pod(cut)
    cut.add_argument("action", choices=("cut", "heal"))
    for name in SERVING:
        command(name, None)
    return top


def _add_pod(command: argparse.ArgumentParser) -> None:
    command.add_argument("namespace")
    command.add_argument("pod")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    own, others = split_arguments(list(sys.argv[1:] if argv is None else argv))
    arguments = parser().parse_args(own)
    arguments.others = others
    try:
        return _dispatch(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"error: {error}: a native node belongs to root, use sudo", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `start` continues, `stop` cleans up", file=sys.stderr)
        return 130


def split_arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    """Divide the words into ours and those of another program, which may have options called like ours.

    After `kubectl` and `enter` only a `--name` that follows at once is ours.
    """
    if not argv or argv[0] not in PASSING_ON:
        return argv, []
    ours = 1
    if argv[1:2] == ["--name"]:
        ours = 3
    elif argv[1:2] and argv[1].startswith("--name="):
        ours = 2
    others = argv[ours:]
    return argv[:ours], others[1:] if others[:1] == ["--"] else others


def _dispatch(arguments: argparse.Namespace) -> int:
    state_dir(arguments.name)  # refuses a name that cannot be used
    if arguments.command in SERVING:
        return _serve(arguments.command, arguments.name)
    choice, backend = backends.pick(arguments.name)
    progress = Progress()
    match arguments.command:
        case "start":
            _start(choice, backend, progress)
        case "stop":
            backend.stop(progress)
            if arguments.purge_cache:
                _purge_cache(arguments.name)
        case "status":
            print(f"provider            {choice.kind.value}: {choice.reason}")
            return backend.status()
        case "logs":
            return backend.logs(arguments.component, arguments.follow, arguments.lines)
        case "load-image":
            for source in arguments.images:
                backend.load_image(source, progress)
        case "kubeconfig":
            print(backend.kubeconfig())
        case "kubectl":
            return backend.kubectl(arguments.others)
        case "enter":
            return backend.enter(arguments.others)
        case "restart":
            backend.restart(arguments.component, progress)
        case "pod-signal":
            pod = backend.pod(arguments.namespace, arguments.pod)
            reached = pods.send(pod, backend.on_node, arguments.signal)
            progress.say(f"{arguments.signal} sent to {reached} processes of {arguments.pod}")
        case "pod-network":
            pod = backend.pod(arguments.namespace, arguments.pod)
            pods.network(pod, backend.on_node, arguments.action)
            progress.say(f"network of {arguments.pod}: {arguments.action}")
    return 0


def _start(choice: Choice, backend: Backend, progress: Progress) -> None:
    progress.say(f"{choice.kind.value}: {choice.reason}")
    backend.start(progress)
    name = "" if backend.name == DEFAULT_NAME else f" --name {backend.name}"
    print(f"\n  export KUBECONFIG={backend.kubeconfig()}")
    print(f"  python3 tools/localcluster kubectl{name} get nodes", flush=True)


def _purge_cache(name: str) -> None:
    if others := node.others_running(name):
        raise ClusterError(f"the cache is in use by: {', '.join(others)}")
    node.purge_cache()


def _serve(command: str, name: str) -> int:
    """Run one of the tool's own components."""
    instance = load(name)
    if instance is None:
        raise ClusterError(f"there is no cluster {name}")
    SERVING[command](instance)
    return 0
