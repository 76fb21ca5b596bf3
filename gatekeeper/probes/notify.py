"""notify:///run/gatekeeper/status.sock or notify://HOST:PORT: what another gatekeeper tends has said that it is ready.

Asked at its status address (`gatekeeper run --status`). While it is not ready a request waits there for the change, so
that the news comes by itself: this is how one program's readiness reaches those who depend on it.
"""

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, Signal, ready, waiting
from gatekeeper.probes._aside import reachable
from gatekeeper.probes._connect import connect_to
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._socketfile import connect_file, socket_path
from gatekeeper.probes._stream import SocketStream
from gatekeeper.probes._target import absolute_path, host_and_port, rest_of
from gatekeeper.values import BadValueError, one_of

_EXAMPLE = "notify:///run/gatekeeper/status.sock or notify://HOST:PORT"
_PATHS = {"ready": b"/readyz", "started": b"/startupz", "live": b"/livez"}
_YES, _NOT_YET = 200, 503
_HELD = 30.0  # seconds for which a request waits for a change


@dataclass(frozen=True, slots=True)
class Notify:
    """A program, tended by another gatekeeper, that has said that it is ready."""

    EXAMPLE: ClassVar[str] = "db=notify://db:8079"

    path: str | None
    host: str
    port: int
    want: str = option(one_of(*_PATHS), "what it must be: ready, started or live", default="ready")
    heard: list[int] = dataclasses.field(default_factory=list, compare=False, repr=False)  # the last answer's status

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            if rest_of(target).startswith("/"):
                path = socket_path(absolute_path(target, _EXAMPLE))
                if path == "/":
                    message = f"names no socket: write {_EXAMPLE}"
                    raise BadValueError(message)
                return {"path": path, "host": "", "port": 0}
            host, port = host_and_port(rest_of(target), _EXAMPLE)
            return {"path": None, "host": host, "port": port}

        return build(cls, options, read)

    async def attempt(self) -> Outcome:
        """Ask once how it stands."""
        try:
            status, where = await self._asked(b"")
        except MissError as miss:
            return miss.outcome
        self.heard[:] = [status]
        if status == _YES:
            return ready(where)
        if status == _NOT_YET:
            return waiting(Reason.STARTING, f"{where} (not {self.want} yet)")
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (status {status}: no gatekeeper answers there)")

    async def watch(self) -> Signal | None:
        """Return a signal that tells when the answer changes."""
        return _News(self)

    async def news(self) -> None:
        """Return when the answer may be another one, for as long as a request may wait for that."""
        try:
            status, _ = await self._asked(b"?wait=%ds&while=%d" % (_HELD, self.heard[0] if self.heard else _NOT_YET))
        except MissError:  # whoever tended it has gone
            return
        if status not in (_YES, _NOT_YET):
            await asyncio.Event().wait()  # it knows of no waiting: asking at once again would be a flood

    async def _asked(self, query: bytes) -> tuple[int, str]:
        from gatekeeper.probes._http1 import Http1  # noqa: PLC0415 - loads h11, which a declaration does not need

        stream = await self._stream()
        try:
            fields = ((b"Host", b"gatekeeper"), (b"Connection", b"close"))
            status, _ = await Http1(stream).ask("GET", _PATHS[self.want] + query, fields, b"")
        finally:
            stream.close()
        return status, stream.where

    async def _stream(self) -> SocketStream:
        if self.path:
            await reachable(self.path)
            return SocketStream(connect_file(self.path), self.path)
        sock, peer = await connect_to(self.host, self.port)
        return SocketStream(sock, str(peer))


class _News:
    """A `model.Signal`: what it holds is held only while somebody waits for it."""

    told = frozenset({Reason.STARTING})
    doubted_after = _HELD

    def __init__(self, probe: Notify) -> None:
        self._probe = probe

    async def changed(self) -> None:
        await self._probe.news()

    def close(self) -> None:
        """Do nothing: a request ends with who waits for it."""
