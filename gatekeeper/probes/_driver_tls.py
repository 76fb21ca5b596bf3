"""TLS for a driver that runs on asyncio's own transports: as it was declared, and without a wait at its end."""

import ssl
from contextlib import suppress
from functools import lru_cache

from gatekeeper.probes._local import Stamp
from gatekeeper.probes._tls import Trust, set_up, stamps_of


def driver_context(trust: Trust, name: str) -> ssl.SSLContext:
    """Return the context for a driver, made anew only where a file has changed; raises `MissError`.

    ``name`` is what the certificate must be for, and the name that is sent, whatever address the driver is told.
    """
    return _context(trust, name.removesuffix(".").partition("%")[0], stamps_of(trust))


@lru_cache(maxsize=8)
def _context(trust: Trust, name: str, _stamps: tuple[Stamp, ...]) -> ssl.SSLContext:
    # To read the system's certificates takes a tenth of a second, in which the event loop does nothing else.
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.asked = name
    return set_up(context, trust)


class _Prompt(ssl.SSLObject):
    """TLS whose end is said and not waited for: asyncio would keep the socket until the other side says so too."""

    def unwrap(self) -> None:
        """Say that this is the end."""
        with suppress(ssl.SSLWantReadError):
            super().unwrap()


class _Context(ssl.SSLContext):
    """A context that knows the name of the other side."""

    sslobject_class = _Prompt
    asked = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as Python declares it
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return TLS over buffers."""
        del server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, self.asked, session)
