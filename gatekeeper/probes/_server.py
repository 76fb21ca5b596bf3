"""Servers that speak a protocol of their own: what they share of options, TLS, socket files, and one attempt.

A kind of such a server is a dataclass on `Server` that says one conversation in its `speak`. What is to be found in a
target besides where the server is (a user, a path, a query) is in its `_dsn.Dsn`, and read by the kind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._connect import addresses, connect
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn, Place, read_dsn
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import Options, build, option, options_of
from gatekeeper.probes._race import Endpoints, endpoints, over_peers
from gatekeeper.probes._socketfile import connect_file, socket_path
from gatekeeper.probes._stream import SocketStream
from gatekeeper.probes._tls import Trust, context_of, server_name
from gatekeeper.resolve import Peer
from gatekeeper.values import BadValueError, flag

_TLS = ("ca", "cert", "key", "server_name", "insecure")
_NO = (("false",), ("no",), ("off",), ("0",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server: where it is, whether TLS is spoken, and what one conversation with it finds."""

    OVER_THE_NETWORK: ClassVar[bool] = True
    PORTS: ClassVar[Mapping[str, int]]  # the default port by scheme, 0 for none; the kind's own name first
    SECURE: ClassVar[frozenset[str]] = frozenset()  # the schemes over TLS
    UPGRADES: ClassVar[bool] = False  # whether `speak` starts TLS itself, in the midst of a conversation

    dsn: Dsn
    tls: bool | None = option(flag, "speak TLS", unset="as the scheme says, and with the next ones")
    ca: str | None = option(
        file_path, "PEM file or folder of the certificates to trust", local=True, unset="the system's"
    )
    cert: str | None = option(file_path, "PEM file of the client's certificate", local=True)
    key: str | None = option(file_path, "PEM file of its key", local=True, unset="in cert")
    server_name: str | None = option(server_name, "name that the certificate must be for", unset="the host")
    insecure: bool = option(flag, "do not verify the certificate", default=False)
    unix: str | None = option(socket_path, "socket file to connect to", local=True, unset="the host")
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            return cls.of_dsn(cls.dsn_of(target, needs_host="unix" not in options))

        return build(cls, options, read, cls.clashes(target, options))

    @classmethod
    def dsn_of(cls, target: str, *, needs_host: bool) -> Dsn:
        """Return the parts of a target; raises `BadValueError`."""
        return read_dsn(target, cls.PORTS, needs_host=needs_host)

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; raises `BadValueError` for what it may not hold.

        By default that is where the server is, and nothing else.
        """
        if dsn.user is not None or dsn.password is not None:
            message = f"takes no user or password: write {dsn.scheme}://HOST:PORT"
            raise BadValueError(message)
        if dsn.path or dsn.query:
            message = f"takes nothing behind the port: write {dsn.scheme}://HOST:PORT"
            raise BadValueError(message)
        return {"dsn": dsn}

    @classmethod
    def names_files(cls, target: str) -> bool:
        """Tell whether a target names files of this machine, as options that are `local` do."""
        try:
            fields = cls.of_dsn(cls.dsn_of(target, needs_host=False))
        except BadValueError:  # which is told when it is parsed
            return False
        return any(fields.get(name) for name, spec in options_of(cls).items() if spec.local)

    @classmethod
    def clashes(cls, target: str, options: Options) -> list[tuple[str, str]]:
        """Return the options that do not go together."""
        del target
        wrong = []
        if "key" in options and "cert" not in options:
            wrong.append(("key", "needs cert, the certificate that it belongs to"))
        if options.get("insecure", ("no",)) not in _NO and "ca" in options:
            wrong.append(("insecure", "and ca exclude each other"))
        if options.get("tls", ("yes",)) in _NO:
            wrong += [(key, "means nothing without TLS: leave out tls=no") for key in _TLS if key in options]
        if "unix" in options and "endpoints" in options:
            wrong.append(("endpoints", "and unix exclude each other"))
        return wrong

    async def attempt(self) -> Outcome:
        """Hold one conversation with the server, at as many addresses as are wanted."""
        try:
            if self.unix:
                return await self.attempt_at_file(self.unix)
            return await over_places(self.dsn.places, self.endpoints, self.attempt_at)
        except MissError as miss:
            return miss.outcome

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Hold the conversation and return what it found, or raise `MissError`.

        ``name`` is the host that was declared. TLS is spoken by now where it is wanted, unless the kind upgrades.
        """
        raise NotImplementedError

    @property
    def wants_tls(self) -> bool:
        """Whether TLS is to be spoken."""
        if self.tls is not None:
            return self.tls
        return self.dsn.scheme in self.SECURE or bool(self.ca or self.cert or self.server_name or self.insecure)

    @property
    def trust(self) -> Trust:
        """Whom to believe and who to be."""
        return Trust(self.ca, self.cert, self.key, self.insecure)

    async def secure(self, dialog: Dialog, name: str, *alpn: str) -> None:
        """Speak TLS from here on, as it was declared."""
        await dialog.secure(context_of(self.trust._replace(alpn=alpn)), self.server_name or name)

    async def attempt_at(self, place: Place, peer: Peer) -> Outcome:
        """Hold the conversation at one address; may raise `MissError`."""
        return await self._spoken(SocketStream(await connect(peer), str(peer)), place.host)

    async def attempt_at_file(self, path: str) -> Outcome:
        """Hold the conversation over a socket file; may raise `MissError`."""
        return await self._spoken(SocketStream(connect_file(path), path), "localhost")

    async def _spoken(self, stream: SocketStream, name: str) -> Outcome:
        with Dialog(stream) as dialog:
            if self.wants_tls and not self.UPGRADES:
                await self.secure(dialog, name)
            try:
                return await self.speak(dialog, name)
            except MissError as miss:
                raise MissError(self._explained(miss.outcome, dialog)) from None

    def _explained(self, outcome: Outcome, dialog: Dialog) -> Outcome:
        """Return an outcome with what it may mean: who takes TLS alone mostly hangs up on plain words."""
        in_plain = self.SECURE and self.tls is None and not dialog.is_secure
        if not in_plain or not dialog.is_unheard or outcome.reason not in (Reason.CLOSED, Reason.RESET):
            return outcome
        how = "it hung up without a word; one that takes TLS alone wants tls=yes"
        return outcome._replace(detail=f"{outcome.detail} ({how})")


async def over_places(
    places: Sequence[Place], wanted: Endpoints, attempt: Callable[[Place, Peer], Awaitable[Outcome]]
) -> Outcome:
    """Attempt at the addresses of these hosts until ``wanted`` of them are ready; ``attempt`` may raise `MissError`."""

    async def at(both: tuple[Place, Peer]) -> Outcome:
        return await attempt(*both)

    found = await asyncio.gather(*map(_addresses, places))
    misses = [each for each in found if isinstance(each, Outcome)]
    both = [
        (place, peer)
        for place, peers in zip(places, found, strict=True)
        if not isinstance(peers, Outcome)
        for peer in peers
    ]
    if misses and (wanted == "all" or not both):
        return misses[0]
    outcome = await over_peers(both, wanted, at)
    return outcome._replace(gone=outcome.gone and not misses) if outcome.state is not State.READY else outcome


async def _addresses(place: Place) -> tuple[Peer, ...] | Outcome:
    try:
        return await addresses(*place)
    except MissError as miss:
        return miss.outcome
