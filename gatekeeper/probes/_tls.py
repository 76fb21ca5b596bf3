"""TLS over a socket: whom to trust, the handshake, and what its failures mean.

Done on memory buffers instead of asyncio's transports: those wait for the other side when they are closed, and cannot
tell what the first bytes were that made a handshake fail.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import NamedTuple, Self, TypeVar

from gatekeeper.model import Outcome, Reason, failed, waiting
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._local import Stamp, missing, stamp_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._stream import MOST_AT_ONCE, SocketStream
from gatekeeper.probes._target import host_name
from gatekeeper.values import BadValueError, quoted

T = TypeVar("T")

_SYSTEM = "the system's store of certificates"
_RECORD_TYPES = range(20, 25)  # RFC 8446, 5.1, and the heartbeat of RFC 6520


class Trust(NamedTuple):
    """Whom to believe and who to be: paths of PEM files, and the protocols to offer (ALPN, RFC 7301).

    ``any_name`` asks for a certificate that is trusted, whoever it is for.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure: bool = False
    alpn: tuple[str, ...] = ()
    any_name: bool = False


def server_name(text: str) -> str:
    """Return a name or address that a certificate can be for, in the form in which it is sent (SNI).

    Raises `BadValueError`.
    """
    name = text.strip().removeprefix("[").removesuffix("]")
    try:
        socket.inet_pton(socket.AF_INET6, name)
    except (OSError, ValueError):  # no such address, or text that no address can hold
        return host_name(name, "server_name=HOST")
    return name


def alpn_name(text: str) -> str:
    """Return the name of a protocol for ALPN (RFC 7301, 3.1); raises `BadValueError`."""
    if text.isascii() and text.isprintable() and len(text) < 256:  # noqa: PLR2004 - its length is one byte
        return text
    message = f"{quoted(text)} is no protocol name: write h2, http/1.1 or the like"
    raise BadValueError(message)


def context_of(trust: Trust) -> ssl.SSLContext:
    """Return the TLS context, made anew only where a file has changed (it costs milliseconds); raises `MissError`."""
    return _context(trust, stamps_of(trust))


def stamps_of(trust: Trust) -> tuple[Stamp, ...]:
    """Return what changes when one of the files is replaced; raises `MissError` where one is missing."""
    files = [("ca", trust.ca), ("cert", trust.cert), ("key", trust.key)]
    if not trust.ca and not trust.insecure:
        system = ssl.get_default_verify_paths()  # SSL_CERT_FILE and SSL_CERT_DIR included, and only what exists
        files += [(_SYSTEM, system.cafile), (_SYSTEM, system.capath)]
    return tuple(stamp_of(what, path) for what, path in files if path)


@lru_cache(maxsize=8)
def _context(trust: Trust, _stamps: tuple[Stamp, ...]) -> ssl.SSLContext:
    return set_up(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust)


def set_up(context: ssl.SSLContext, trust: Trust) -> ssl.SSLContext:
    """Tell a fresh context whom to trust and who to be, and return it; raises `MissError`."""
    context.check_hostname = not (trust.insecure or trust.any_name)
    if trust.insecure:
        context.verify_mode = ssl.CERT_NONE
    else:
        # What the user's `ca` holds is trusted, be it a root, an intermediate or the very certificate of the server.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _load("ca", trust.ca, lambda: _trust(context, trust.ca))
    if trust.cert:
        cert = trust.cert
        # Without a callable, OpenSSL asks for the password of a key on the terminal.
        _load("cert", cert, lambda: context.load_cert_chain(cert, trust.key, password=lambda: ""))
    if trust.alpn:
        context.set_alpn_protocols(list(trust.alpn))
    return context


def _trust(context: ssl.SSLContext, ca: str | None) -> None:
    if ca:
        context.load_verify_locations(capath=ca) if os.path.isdir(ca) else context.load_verify_locations(cafile=ca)
    elif _system_has_a_store():
        context.set_default_verify_paths()
    else:
        import certifi  # noqa: PLC0415 - only where the system has no store

        context.load_verify_locations(certifi.where())


def _system_has_a_store() -> bool:
    paths = ssl.get_default_verify_paths()
    if {paths.openssl_cafile_env, paths.openssl_capath_env} & os.environ.keys():
        return True  # who names a store trusts no other, even while it is not there
    return paths.cafile is not None or (paths.capath is not None and bool(os.listdir(paths.capath)))


def _load(what: str, path: str | None, step: Callable[[], None]) -> None:
    where = f"{what} {path}" if path else _SYSTEM
    try:
        step()
    except ssl.SSLError as error:
        why = "key and certificate do not belong together" if "MISMATCH" in (error.reason or "") else "cannot be read"
        raise MissError(waiting(Reason.TLS_FAILED, f"{where} ({why})")) from None
    except OSError as error:
        raise MissError(missing(what, path or "", error)) from None


class TlsStream:
    """A stream inside TLS; owns the stream that it is made on.

    Reading and writing raise `OSError` as that stream does, and `MissError` where TLS itself fails.
    """

    def __init__(self, below: SocketStream, context: ssl.SSLContext, name: str) -> None:
        """Take over a stream; ``name`` is what the certificate must be for, and the name that is sent (SNI)."""
        self.where = below.where
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # A certificate is never for the root's dot behind a name, nor for a zone of this machine. Text would load
        # the IDNA codec; the declaration has been encoded already.
        asked = name.removesuffix(".").partition("%")[0].encode("ascii")
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=asked)
        self._heard = False
        self._greeted = False

    def __enter__(self) -> Self:
        """Return the stream, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the stream."""
        self.close()

    @property
    def protocol(self) -> str | None:
        """The protocol that was agreed on by ALPN."""
        return self._tls.selected_alpn_protocol()

    @property
    def ends(self) -> float:
        """When the verified certificate of the other side ends, in seconds since the epoch."""
        certificate = self._tls.getpeercert() or {}
        return ssl.cert_time_to_seconds(str(certificate["notAfter"]))

    async def handshake(self) -> None:
        """Agree on keys and verify the certificate; every failure is raised as `MissError`."""
        try:
            with during(f"the TLS handshake with {self.where}"):
                await self._until_done(self._tls.do_handshake)
        except EOFError:
            why = "in the TLS handshake: perhaps it speaks none"
            raise MissError(waiting(Reason.CLOSED, f"{self.where} ({why})", cheap=True)) from None
        except OSError as error:
            raise MissError(outcome_of(error, self.where)) from None
        self._greeted = True

    async def read(self) -> bytes:
        """Return some bytes, or none at the end."""
        try:
            data = await self._until_done(lambda: self._tls.read(MOST_AT_ONCE))
        except EOFError:
            return b""
        await asyncio.sleep(0)  # as in SocketStream
        return data

    def read_now(self) -> bytes | None:
        """Return what has come, none at the end, and None where nothing has."""
        while True:
            try:
                return self._tls.read(MOST_AT_ONCE)
            except ssl.SSLWantReadError:
                data = self._below.read_now()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise MissError(tls_outcome(error, self.where)) from None
            if data is None:
                return None
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    async def write(self, data: bytes) -> None:
        """Send all of the bytes."""
        for start in range(0, len(data), MOST_AT_ONCE):
            await self._until_done(partial(self._tls.write, data[start : start + MOST_AT_ONCE]))

    def close(self, last: bytes = b"") -> None:
        """Close at once: the alert that says so is sent, behind ``last``, and its answer is not waited for."""
        if self._greeted:
            with suppress(ssl.SSLError):
                if last:
                    self._tls.write(last)
                self._tls.unwrap()
        self._below.close(self._outgoing.read())

    async def _until_done(self, step: Callable[[], T]) -> T:
        try:
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                else:
                    await self._flush()
                    return result
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            raise EOFError from None
        except ssl.SSLError as error:
            raise MissError(tls_outcome(error, self.where)) from None

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.write(self._outgoing.read())

    async def _fill(self) -> None:
        data = await self._below.read()
        if data and not self._heard:
            self._heard = True
            if data[0] not in _RECORD_TYPES:
                raise MissError(failed(Reason.WRONG_PROTOCOL, f"{self.where} (it answers, but not in TLS)"))
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


async def secured(below: SocketStream, context: ssl.SSLContext, name: str) -> TlsStream:
    """Return a stream inside TLS, the handshake done; closes what it was given where that fails (`MissError`)."""
    stream = TlsStream(below, context, name)
    try:
        await stream.handshake()
    except BaseException:
        stream.close()
        raise
    return stream


def tls_outcome(error: ssl.SSLError, where: str) -> Outcome:
    """Return what a failure of TLS means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return waiting(Reason.TLS_FAILED, f"{where} ({error.verify_message.rstrip('.')})")
    reason = (error.reason or "").lower().replace("_", " ")
    for prefix in ("sslv3 alert ", "tlsv1 alert ", "tlsv13 alert ", "tlsv1 "):
        if reason.startswith(prefix):
            return waiting(Reason.TLS_FAILED, f"{where} (the other side says: {reason.removeprefix(prefix)})")
    return waiting(Reason.TLS_FAILED, f"{where} ({reason or 'the handshake failed'})")
