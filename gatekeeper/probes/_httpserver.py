"""Servers that tell over HTTP how they are: one connection for each question, what is answered as a small record.

Knows no server. A kind is a dataclass on `HttpServer` that asks in its `look`. What is answered is read up to a limit.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

from gatekeeper.model import Outcome, Reason, State, waiting
from gatekeeper.probes._account import Account
from gatekeeper.probes._dsn import Place
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError, Options
from gatekeeper.probes._url import Url
from gatekeeper.resolve import Peer
from gatekeeper.values import raw

_MOST = 64 * 1024  # bytes of an answer: these are a few hundred
_ERRORS = 500  # RFC 9110, 15.6: the status codes of the server's own errors begin here
LOCKED = (401, 403)  # RFC 9110, 15.5.2 and 15.5.4: who asks is not known, or may not


class Said(NamedTuple):
    """An answer; ``where`` is who gave it, the names in ``fields`` are in lower case."""

    where: str
    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def outcome(self) -> Outcome:
        """What a status means that nobody wanted."""
        reason = Reason.STARTING if self.status >= _ERRORS else Reason.UNWANTED_ANSWER
        return waiting(reason, f"{self.where} (status {self.status})")

    def json(self) -> dict[str, Any]:
        """Return the object that the body is in JSON, an empty one where it is none."""
        import json  # noqa: PLC0415 - once there is an answer

        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


Get = Callable[[str], Awaitable[Said]]  # asks for a path; raises `MissError`


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServer(Account):
    """A server that tells over HTTP how it is."""

    DRIVER: ClassVar[str] = "httpx"

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        if probe.logs_in and not (probe.dsn.user and (probe.dsn.password or probe.password_file)):
            how = f"write {probe.dsn.scheme}://USER@HOST:PORT, and password_file behind it"
            raise BadOptionsError(("", f"logs in without a user or a password: {how}"))
        return probe

    async def look(self, get: Get) -> Outcome:
        """Ask, and return what that found, or raise `MissError`."""
        raise NotImplementedError

    async def attempt_at(self, place: Place, peer: Peer) -> Outcome:
        """Ask at one address; may raise `MissError`."""
        return await self.look(partial(self._get, place, peer, None))

    async def attempt_at_file(self, path: str) -> Outcome:
        """Ask over a socket file; may raise `MissError`."""
        return await self.look(partial(self._get, Place("localhost", self.PORTS[self.dsn.scheme]), None, path))

    async def _get(self, place: Place, peer: Peer | None, unix: str | None, path: str) -> Said:
        from gatekeeper.probes._http import Call, fetch  # noqa: PLC0415 - loads httpx, which a declaration does not need
        from gatekeeper.probes._route import Route  # noqa: PLC0415 - as above

        password = self.password() if self.logs_in else None
        auth = (raw(self.dsn.user or ""), raw(password.value)) if password else None
        url = Url("https" if self.wants_tls else "http", place.host, place.port, path)
        route = Route(url, peer, unix, trust=self.trust, server_name=self.server_name)
        try:
            async with fetch(Call(auth=auth), route) as answer:
                response = answer.response
                return Said(answer.where, response.status_code, response.headers, await answer.read(_MOST))
        except MissError as miss:
            # Another may take over the port one day, whatever speaks there now.
            raise MissError(miss.outcome._replace(state=State.WAITING)) from None
