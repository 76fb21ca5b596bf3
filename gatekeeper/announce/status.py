"""Who asks how things stand is answered: /startupz, /readyz, /livez and /metrics over HTTP/1.1, on asyncio's streams.

Each is 200 or 503 with the reason in a line; `?verbose` or `Accept: application/json` give the whole report, and
`?wait=30s` holds the answer until it changes, with `&while=503` only where it is that now. A kubelet asks with GET and
reads little: no server framework is loaded for it. What is asked is read with a limit in size and time, and who keeps a
connection busy keeps nobody else waiting.
"""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gatekeeper.model import Address
from gatekeeper.values import BadValueError, duration

_MOST_READ = 8192
_PATIENCE = 5.0  # seconds in which a request must have come, or an answer been taken
_LONGEST_WAIT = 300.0
_MOST_AT_ONCE, _MOST_WAITING = 512, 256  # connections, and those of them that are held until something changes
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Answer(NamedTuple):
    """What is answered to one question: yes or no, and why in a line."""

    yes: bool
    why: str


class View(NamedTuple):
    """How things stand: the answers by their path; the whole report and the metrics are made where they are wanted."""

    answers: Mapping[str, Answer]
    report: Callable[[], Mapping[str, Any]]
    metrics: Callable[[], str]


class StatusServer:
    """Answers at some addresses for as long as it is open; `changed` wakes those who wait for a change."""

    def __init__(self, look: Callable[[], View]) -> None:
        """Take what tells how things stand, which is asked anew for each answer."""
        self._look = look
        self._servers: list[asyncio.Server] = []
        self._paths: list[str] = []
        self._change = asyncio.Event()
        self._busy: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def listen(self, where: Address) -> None:
        """Listen at an address; raises OSError."""
        if where.path is None:
            self._servers.append(await asyncio.start_server(self._serve, where.host, where.port, limit=_MOST_READ))
            return
        folder = os.path.dirname(where.path)
        os.makedirs(folder, exist_ok=True)
        _clear(where.path)
        self._servers.append(await asyncio.start_unix_server(self._serve, where.path, limit=_MOST_READ))
        self._paths.append(where.path)
        os.chmod(where.path, 0o666)  # noqa: S103 - a probe of another user may ask; it learns what the log says

    def ports(self) -> list[int]:
        """Return the TCP ports that are listened at."""
        names = [sock.getsockname() for server in self._servers for sock in server.sockets]
        return [name[1] for name in names if isinstance(name, tuple)]

    def changed(self) -> None:
        """Answer those who wait for a change."""
        self._change.set()
        self._change = asyncio.Event()

    def close(self) -> None:
        """Answer nobody any more."""
        for server in self._servers:
            server.close()
        for task in self._busy:
            task.cancel()
        for path in self._paths:
            with suppress(OSError):
                os.unlink(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101 - asyncio runs it in one
        self._busy.add(task)
        try:
            if len(self._busy) <= _MOST_AT_ONCE:
                status, kind, body, head_only = await self._answer(reader)
                writer.write(_response(status, kind, body, head_only=head_only))
                async with asyncio.timeout(_PATIENCE):
                    await writer.drain()
        except (OSError, TimeoutError, ValueError, EOFError):  # it left, or took its time: that is its business
            pass
        finally:
            self._busy.discard(task)
            with suppress(OSError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, str, str, bool]:
        """Return status, content type, body, and whether only the head was asked for."""
        try:
            async with asyncio.timeout(_PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return 400, _TEXT, f"a request has at most {_MOST_READ} bytes\n", False
        lines = request.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - RFC 9112, 3
            return 400, _TEXT, "this is no HTTP request\n", False
        if words[0] not in ("GET", "HEAD"):
            return 405, _TEXT, "ask with GET\n", False
        try:
            target = urlsplit(words[1])
        except ValueError:
            return 400, _TEXT, "this is no path\n", False
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        accepts = [line.partition(":")[2] for line in map(str.lower, lines[1:]) if line.startswith("accept:")]
        as_json = _prefers_json(",".join(accepts))
        status, kind, body = await self._found(target.path, query, reader, as_json=as_json)
        return status, kind, body, words[0] == "HEAD"

    async def _found(
        self, path: str, query: Mapping[str, str], reader: asyncio.StreamReader, *, as_json: bool
    ) -> tuple[int, str, str]:
        view = self._look()
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", view.metrics()
        if path not in view.answers:
            return 404, _TEXT, f"known are {', '.join([*view.answers, '/metrics'])}\n"
        if "wait" in query:
            now = str(200 if view.answers[path].yes else 503)
            try:
                seconds = min(duration(query["wait"]), _LONGEST_WAIT)
            except BadValueError as error:
                return 400, _TEXT, f"wait: {error}\n"
            if query.get("while", now) == now and self._waiting < _MOST_WAITING:
                view = await self._after_change(path, view, seconds, reader)
        answer = view.answers[path]
        status = 200 if answer.yes else 503
        if as_json or "verbose" in query:
            told = {"answer": answer.yes, "why": answer.why, **view.report()}
            return status, "application/json", json.dumps(told, ensure_ascii=False, indent=2) + "\n"
        return status, _TEXT, answer.why + "\n"

    async def _after_change(self, path: str, view: View, seconds: float, reader: asyncio.StreamReader) -> View:
        """Return the view once the answer is another, after so many seconds, or when nobody waits for it any more."""
        gone = asyncio.ensure_future(reader.read(1))
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                while (now := self._look()).answers[path].yes == view.answers[path].yes:
                    change = asyncio.ensure_future(self._change.wait())
                    await asyncio.wait({change, gone}, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                    if gone.done():
                        break
                return now
        except TimeoutError:
            return self._look()
        finally:
            self._waiting -= 1
            gone.cancel()


_TEXT = "text/plain; charset=utf-8"


def _prefers_json(accept: str) -> bool:
    """Return whether JSON is wanted before text: by its weight, or as the one named (RFC 9110, 12.4.2 and 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        given = [word[2:] for word in parameters if word.startswith("q=")]
        with suppress(ValueError):  # what has no weight from 0 to 1 is as though it had not been named
            weight = float(given[0]) if given else 1.0
            if 0 <= weight <= 1:
                weights[kind] = weight
    others = weights.get("*/*", 0.0)
    json_weight = weights.get("application/json", weights.get("application/*", others))
    text_weight = weights.get("text/plain", weights.get("text/*", others))
    return json_weight > text_weight or ("application/json" in weights and json_weight == text_weight > 0)


def _response(status: int, kind: str, body: str, *, head_only: bool) -> bytes:
    data = body.encode("utf-8", "replace")
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else data)


def _clear(path: str) -> None:
    """Remove a socket file that an earlier run left behind; one at which somebody listens stays, and is in the way."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
