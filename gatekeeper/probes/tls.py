"""tls://HOST:PORT: a TLS handshake with a certificate that verifies and lasts."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._connect import connect, outcome_of, over_endpoints
from gatekeeper.probes._exchange import linger_of
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._race import Endpoints, endpoints
from gatekeeper.probes._stream import SocketStream
from gatekeeper.probes._target import host_and_port, rest_of
from gatekeeper.probes._tls import TlsStream, Trust, alpn_name, context_of, secured, server_name
from gatekeeper.resolve import Peer
from gatekeeper.values import duration, flag, shown

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Tls:
    """A TLS handshake with a certificate that verifies and lasts."""

    EXAMPLE: ClassVar[str] = "ldap=tls://ldap:636 ca=/etc/tls/ca.crt valid_for=14d"
    OVER_THE_NETWORK: ClassVar[bool] = True

    host: str
    port: int
    ca: str | None = option(
        file_path, "PEM file or folder of the certificates to trust", local=True, unset="the system's"
    )
    cert: str | None = option(file_path, "PEM file of the client's certificate", local=True)
    key: str | None = option(file_path, "PEM file of its key", local=True, unset="in cert")
    server_name: str | None = option(server_name, "name that the certificate must be for", unset="the host")
    insecure: bool = option(flag, "do not verify the certificate", default=False)
    valid_for: float | None = option(duration, "how long the certificate must still be valid")
    alpn: tuple[str, ...] = option(
        alpn_name, "protocols to offer, one of which must be taken (ALPN)", default=(), commas=True
    )
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            host, port = host_and_port(rest_of(target), "tls://HOST:PORT")
            return {"host": host, "port": port}

        return build(cls, options, read, _clashes(options))

    async def attempt(self) -> Outcome:
        """Shake hands at each address that is wanted, and look at the certificate."""
        return await over_endpoints(self.host, self.port, self.endpoints, self._attempt_at)

    async def _attempt_at(self, peer: Peer) -> Outcome:
        context = context_of(Trust(self.ca, self.cert, self.key, self.insecure, self.alpn))
        loop = asyncio.get_running_loop()
        began = loop.time()
        sock = await connect(peer)
        with await secured(SocketStream(sock, str(peer)), context, self.server_name or self.host) as stream:
            linger = linger_of(loop.time() - began)
            if self.alpn and stream.protocol is None:
                return waiting(Reason.UNWANTED_ANSWER, f"{peer} (takes none of the protocols that are offered)")
            await _stays(stream, linger)
            return self._lasting(stream.ends, str(peer)) if self.valid_for else ready(str(peer))

    def _lasting(self, ends: float, where: str) -> Outcome:
        left = ends - time.time()
        if left >= (self.valid_for or 0):
            return ready(where)
        text = f"{int(left // _DAY)}d" if left >= _DAY else shown(max(left, 0))
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (certificate ends in {text})")


async def _stays(stream: TlsStream, seconds: float) -> None:
    # In TLS 1.3 a server looks at the client's certificate after the client's handshake is done, and says no then.
    limit = asyncio.timeout(seconds)
    try:
        with during(f"the TLS handshake with {stream.where}"):
            try:
                async with limit:
                    said: bytes | None = await stream.read()
            except TimeoutError:
                if not limit.expired():  # a time limit of the kernel
                    raise
                # Where this process had no processor for so long, the no may have come before the time was up.
                said = stream.read_now()
    except OSError as error:
        raise MissError(outcome_of(error, stream.where)) from None
    if said == b"":
        raise MissError(waiting(Reason.CLOSED, f"{stream.where} (after the TLS handshake)", cheap=True))


def _clashes(options: Options) -> list[tuple[str, str]]:
    """Return the options that do not go together."""
    wrong = []
    insecure = options.get("insecure", ("no",)) not in (("false",), ("no",), ("off",), ("0",))
    if "key" in options and "cert" not in options:
        wrong.append(("key", "needs cert, the certificate that it belongs to"))
    if insecure and "ca" in options:
        wrong.append(("insecure", "and ca exclude each other"))
    if insecure and "valid_for" in options:
        wrong.append(("valid_for", "needs a verified certificate: leave out insecure"))
    return wrong
