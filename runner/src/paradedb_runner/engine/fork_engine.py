"""The default engine: every run is a fork of a process that has imported all it needs (fork_server.py)."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from paradedb_runner.engine import proctree
from paradedb_runner.engine.fork_server import GRACE, MESSAGE
from paradedb_runner.engine.interface import (
    EngineError,
    ModuleOutcome,
    ModuleRequest,
    RunOutcome,
    RunRequest,
    TaskEvent,
    shorten_front,
)
from paradedb_runner.engine.report import read_report
from paradedb_runner.tasks import outlast

log = logging.getLogger(__name__)

_LONGEST_LINE = 1 << 20
_FORKS_PER_SERVER = 500  # whatever little a server may keep of its forks goes with it
_AHEAD = 50  # forks before that, its successor is started
_LOOK_AT_CODE = 5.0  # seconds between looks at the files of plugins
_PROGRAM = "paradedb_runner.engine.fork_server"
_START = 120.0  # seconds to import everything, on a machine that is busy


class ForkEngine:
    """
    Sends runs to its server, starts another when that one is gone or worn, and reads what the runs report.
    """

    def __init__(self, content: Sequence[Path], base: Path) -> None:
        """
        ``content``: files and directories of roles and playbooks; ``base``: directory without ansible.cfg.
        """
        proctree.adopt_orphans()
        self._content, self._base = content, base
        self._server: _Server | None = None
        self._next: _Server | None = None
        self._servers: set[_Server] = set()

    async def warm_up(self) -> None:
        """See Engine.warm_up."""
        await self._ready_server()

    async def run(self, request: RunRequest, on_event: Callable[[TaskEvent], None]) -> RunOutcome:
        """See Engine.run."""
        async with self._forked(request.ident, _message(request), request.directory) as lines:
            outcome = await read_report(lines, on_event)
        if outcome is None:
            raise EngineError(_last_words(request.directory))
        return outcome

    async def run_module(self, request: ModuleRequest) -> ModuleOutcome:
        """See Engine.run_module."""
        message = {
            "module": request.module,
            "arguments": dict(request.arguments),
            "environment": dict(request.environment),
            "cwd": str(request.directory),
        }
        async with self._forked(request.ident, message, request.directory) as lines:
            async for line in lines:
                return ModuleOutcome(**json.loads(line)["module"])
        raise EngineError(_last_words(request.directory))

    async def close(self) -> None:
        """End all servers; runs have ended before."""
        await asyncio.gather(*(server.started for server in self._servers), return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in self._servers))
        await asyncio.gather(*(server.mourning for server in self._servers if server.mourning))
        self._servers.clear()
        self._server = self._next = None

    @asynccontextmanager
    async def _forked(
        self, ident: str, message: dict[str, Any], directory: Path
    ) -> AsyncIterator[asyncio.StreamReader]:
        """What a fork reports. After the block nothing of it is left, however the block was left."""
        server, reader, transport = await self._order({"ident": ident, **message}, directory)
        try:
            yield reader
        finally:
            try:
                await outlast(asyncio.ensure_future(server.end(ident, reader)))
            finally:
                transport.close()
                server.runs -= 1
                self._dismiss_if_worn(server)

    async def _order(
        self, message: dict[str, Any], directory: Path
    ) -> tuple["_Server", asyncio.StreamReader, asyncio.ReadTransport]:
        """Have it forked. A server that died and was not missed yet got nothing of it: another one will."""
        for _ in range(2):
            server = await self._ready_server()
            try:
                reader, transport = await _fork(server, message, directory)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    raise EngineError("the arguments of the run are too long") from error
                log.warning("the fork server is gone: %s", error)
                self._server = None if self._server is server else self._server
                self._dismiss_if_worn(server)
                continue
            self._count(server)
            return server, reader, transport
        raise EngineError("no fork server lives long enough to be used")

    async def _ready_server(self) -> "_Server":
        """The server for the next run. A start goes on when the run that asked for it is cancelled."""
        server = self._server
        if server is None or server.gone or (server.ready and server.outdated()):
            old, server = server, self._start()
            self._server = server
            if old:
                self._dismiss_if_worn(old)
        elif server.forks >= _FORKS_PER_SERVER - _AHEAD:
            server = self._succeed(server)
        try:
            await asyncio.shield(server.started)
        except EngineError:
            self._servers.discard(server)
            if self._server is server:
                self._server = None
            raise
        return server

    def _start(self) -> "_Server":
        server = _Server(self._content, self._base)
        self._servers.add(server)
        server.mourning = asyncio.ensure_future(self._mourn(server))
        return server

    async def _mourn(self, server: "_Server") -> None:
        """
        When a server has died, its runs have become ours. They hold their reports open, and nobody else would
        end them.
        """
        await server.ended()
        await asyncio.to_thread(proctree.end_all, lambda: proctree.forks_left(server.name), 0)
        proctree.reap({each.pid for each in self._servers})

    def _succeed(self, server: "_Server") -> "_Server":
        """Have a successor get ready, use it once it is, and until then go on with the one there is."""
        if self._next is None:
            self._next = self._start()
        if self._next.started.done():
            ended, self._next = self._next, None
            if ended.ready:
                self._server = ended
                self._dismiss_if_worn(server)
                return ended
            self._servers.discard(ended)  # it could not start: try again with the next run
        return server

    def _count(self, server: "_Server") -> None:
        server.runs += 1
        server.forks += 1

    def _dismiss_if_worn(self, server: "_Server") -> None:
        """A server that gets no more runs, and has none, ends by itself when nobody speaks to it any more."""
        if server is not self._server and not server.runs and not server.ending:
            server.ending = asyncio.ensure_future(server.stop())
            server.ending.add_done_callback(lambda _: self._servers.discard(server))


class _Server:
    """One fork server process, and our end of the socket."""

    def __init__(self, content: Sequence[Path], base: Path) -> None:
        """Begin to start it; ``started`` says when it has imported everything, or raises EngineError."""
        self.name = uuid4().hex
        self.forks = 0
        self.runs = 0
        self.ending: asyncio.Future[None] | None = None
        self.mourning: asyncio.Future[None] | None = None
        self._process: Process | None = None
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._code: dict[str, float] = {}
        self._looked = 0.0
        self.started = asyncio.ensure_future(self._start_or_say_why(content, base))

    async def ended(self) -> None:
        """Wait until there is no such process, or never was."""
        with contextlib.suppress(EngineError):
            await asyncio.shield(self.started)
        if self._process:
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return self._process.pid if self._process else 0

    @property
    def ready(self) -> bool:
        """Whether it has imported everything and lives."""
        return self.started.done() and not self.started.exception() and not self.gone

    def outdated(self) -> bool:
        """Whether a plugin that it has imported was replaced since; looked at now and then."""
        now = asyncio.get_running_loop().time()
        if now - self._looked > _LOOK_AT_CODE:
            self._looked = now
            return _ages(self._code) != self._code
        return False

    @property
    def gone(self) -> bool:
        """Whether it has ended, or never came to be."""
        if self._process is None:
            return self.started.done()
        return self._process.returncode is not None

    async def _start_or_say_why(self, content: Sequence[Path], base: Path) -> None:
        try:
            await self._start(content, base)
        except OSError as error:  # no memory or process left, say; the next run tries again
            self._control.close()
            self._theirs.close()
            raise EngineError(f"the fork server cannot be started: {error}") from error

    async def _start(self, content: Sequence[Path], base: Path) -> None:
        arguments = [str(self._theirs.fileno()), str(os.getpid()), self.name, *map(str, content)]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _PROGRAM, *arguments),
            stdin=DEVNULL,
            stdout=sys.__stderr__.fileno() if sys.__stderr__ else DEVNULL,
            pass_fds=[self._theirs.fileno()],
            start_new_session=True,  # a Ctrl-C at our terminal is ours to handle
            cwd=base,
            env=proctree.with_our_programs_first(os.environ),
        )
        self._theirs.close()
        self._control.setblocking(False)
        loop, said = asyncio.get_running_loop(), b""
        with contextlib.suppress(TimeoutError, OSError):
            said = await asyncio.wait_for(loop.sock_recv(self._control, MESSAGE), _START)
        if not said:
            await self.stop()
            raise EngineError("the fork server did not start; it says why on our standard error")
        self._code = _ages(json.loads(said))
        self._looked = loop.time()

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """
        Hand over one message. Raises OSError if the server is gone, or the message longer than it reads.
        """
        data = json.dumps(message).encode()
        if len(data) > MESSAGE:
            raise OSError(errno.EMSGSIZE, "the message is too long")
        socket.send_fds(self._control, [data], list(descriptors))

    async def end(self, ident: str, reader: asyncio.StreamReader) -> None:
        """See that a run has ended: its report has, once no process of it is left."""
        if not reader.at_eof():
            with contextlib.suppress(OSError):
                self.send({"end": ident})
        try:
            await asyncio.wait_for(_drained(reader), 2 * GRACE)
        except TimeoutError:
            log.warning("run %s does not end, killing the fork server", ident)
            self.kill()
            await _drained(reader)
        if self.gone and self.mourning:
            await asyncio.shield(self.mourning)

    def kill(self) -> None:
        """End it at once, and its runs with it."""
        if self._process and not self.gone:
            proctree.kill_tree(self._process.pid)

    async def stop(self) -> None:
        """Hang up, which tells it that no more will come, and wait for its end."""
        self._control.close()
        if self._process is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._process.wait()), 2 * GRACE)
        except TimeoutError:
            self.kill()
            await self._process.wait()


async def _fork(
    server: _Server, message: dict[str, Any], directory: Path
) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """
    Order a run; the reader of its report, which ends when the last process that holds it has ended. Raises
    OSError if the server is gone.
    """
    reading, writing = os.pipe()
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    output = os.open(directory / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            # From here on nothing may be awaited: who is cancelled there would not know of the run.
            server.send(message, [writing, output])
        except OSError:
            transport.close()
            raise
    finally:
        os.close(writing)
        os.close(output)
    return reader, transport


def _ages(files: Iterable[str]) -> dict[str, float]:
    """When each file was last changed; 0 for one that is gone."""
    return {name: Path(name).stat().st_mtime if Path(name).exists() else 0.0 for name in files}


async def _drained(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def _message(request: RunRequest) -> dict[str, Any]:
    verbosity = ["-" + "v" * request.verbosity] if request.verbosity else []
    variables = ["-i", str(request.inventory), "-e", f"@{request.extra_vars}"]
    return {
        "playbook": [*variables, *request.arguments, *verbosity, str(request.playbook)],
        "environment": dict(request.environment),
        "cwd": str(request.directory / "project"),
        "output": str(request.directory / "output"),
        "artifacts": str(request.directory / "artifacts" / request.ident) if request.keep_output else "",
    }


def _last_words(directory: Path) -> str:
    """What a run that broke off printed last."""
    said = (directory / "output").read_text(errors="replace").strip()
    return shorten_front(said) or "the process of the run was killed"
