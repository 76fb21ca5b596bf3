"""TLS for a driver that runs on asyncio's own transports: as it was declared, and without a wait at its end."""

import ssl
from contextlib import suppress

from gatekeeper.probes._tls import Trust, set_up, stamps_of


def driver_context(trust: Trust, name: str) -> ssl.SSLContext:
    """Return a context of its own for a driver; raises `MissError`.

    ``name`` is what the certificate must be for, and the name that is sent, whatever address the driver is told.
    """
    stamps_of(trust)  # for what it says of a file that is missing
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.asked = name.removesuffix(".").partition("%")[0]
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
