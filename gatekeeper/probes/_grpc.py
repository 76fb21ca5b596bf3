"""Servers that tell their health over gRPC: grpc.health.v1.Health/Check, asked once over HTTP/2.

gRPC's doc/PROTOCOL-HTTP2.md, doc/health-checking.md with health.proto, and doc/statuscodes.md for the codes.
Knows no service: which one is asked for is the kind's.
"""

import re
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper import __version__
from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import option
from gatekeeper.probes._request import credentials
from gatekeeper.probes._server import Server
from gatekeeper.probes._stream import Fields
from gatekeeper.values import BadValueError, flag, quoted

_PATH = b"/grpc.health.v1.Health/Check"
_LONGEST_NAME = 255  # bytes of a service's name
_MOST = 4096  # bytes of an answer, whose message has two
_UNIMPLEMENTED = 12
_BUSY = (429, 502, 503, 504)  # what a proxy says for UNAVAILABLE (doc/http-grpc-status-mapping.md)
_UNKNOWN, _SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 0, 1, 2, 3  # ServingStatus

_SERVICE_FIELD = b"\x0a"  # field 1, a string
_VARINT, _LENGTH, _FIXED = 0, 2, {1: 8, 5: 4}  # wire types, the latter with their bytes
_MORE = 128  # the bit that says that another byte of the number follows


def _service_name(text: str) -> str:
    if 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text.isascii():
        return text
    message = f"{quoted(text)} is no name of a service: write package.Service"
    raise BadValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthServer(Server):
    """A server that tells its health over gRPC."""

    UPGRADES: ClassVar[bool] = True  # so that the handshake offers h2, which a server of gRPC insists on
    SERVICE: ClassVar[str] = ""  # whose health is asked for where none is declared: that of the server as a whole

    service: str | None = option(_service_name, "whose health is asked for", unset="the server as a whole")
    accept_unimplemented: bool = option(flag, "take a server without the health service for ready", default=False)
    auth_file: str | None = option(
        file_path, "file with a bearer token, or user:password, read at each attempt", local=True
    )

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask for the health of the service."""
        if self.wants_tls:
            await self.secure(dialog, name, "h2")
        from gatekeeper.probes._http2 import GOODBYE, Http2  # noqa: PLC0415 - h2 is for those who attempt

        talk = Http2(dialog.stream, "https" if dialog.is_secure else "http")
        dialog.at_the_end(GOODBYE)
        try:
            status, head = await talk.ask("POST", _PATH, self._fields(name), self._request())
            said = dict(head)
            if status in _BUSY:
                return waiting(Reason.STARTING, f"{dialog.where} (HTTP status {status})")
            if not said.get(b"content-type", b"").startswith(b"application/grpc"):
                return dialog.wrong(f"it answers in HTTP, but not in gRPC: status {status}")
            body = b""
            while more := await talk.more():
                body += more
                if len(body) > _MOST:
                    return dialog.wrong()
        except MissError as miss:
            if miss.outcome.reason is Reason.WRONG_PROTOCOL:
                return dialog.wrong("it answers, but not in HTTP/2")
            raise
        said |= dict(talk.trailers)
        if _of_envoy_itself(said):
            return waiting(Reason.STARTING, f"{dialog.where} (a proxy answers, which has no route to a server)")
        return self._meaning(dialog.where, _code(said), body)

    def _fields(self, name: str) -> Fields:
        port = f":{self.dsn.places[0].port}" if self.dsn.places else ""
        fields = (
            (b"host", (f"[{name.partition('%')[0]}]" if ":" in name else name).encode() + port.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", f"gatekeeper/{__version__}".encode()),
        )
        return (*fields, (b"authorization", _authorization(self.auth_file))) if self.auth_file else fields

    def _request(self) -> bytes:
        name = (self.SERVICE if self.service is None else self.service).encode()
        message = _SERVICE_FIELD + _varint(len(name)) + name if name else b""
        return b"\0" + len(message).to_bytes(4, "big") + message

    def _meaning(self, where: str, code: int | None, body: bytes) -> Outcome:  # noqa: PLR0911 - a return for each code
        told = "no gRPC status" if code is None else f"gRPC status {code}"
        match code:
            case 0:
                return _health(where, body)
            case 5:  # NOT_FOUND; grpcio sends an empty message with it, which read alone would be a status
                return waiting(Reason.NOT_FOUND, f"{where} (it knows no such service)", gone=True)
            case 7:  # PERMISSION_DENIED, which may be granted yet: a mesh says so before its policy is there
                return waiting(Reason.FORBIDDEN, f"{where} ({told})")
            case 16:  # UNAUTHENTICATED
                if not (self.auth_file or self.cert or self.service):
                    return ready(where, reason=Reason.READY_AUTH_REQUIRED)
                return _forbidden(f"{where} ({told})", rotated=bool(self.auth_file))
            case 8 | 14:  # RESOURCE_EXHAUSTED, UNAVAILABLE
                return waiting(Reason.STARTING, f"{where} ({told})")
            case 12:  # UNIMPLEMENTED
                if self.accept_unimplemented:
                    return ready(where)
                why = "it has no health service, which accept_unimplemented would take"
                return failed(Reason.UNWANTED_ANSWER, f"{where} ({why})")
            case _:
                return waiting(Reason.UNWANTED_ANSWER, f"{where} ({told})")


def _of_envoy_itself(said: Mapping[bytes, bytes]) -> bool:
    """Tell whether Envoy has no route yet, for which it says UNIMPLEMENTED as well (its 404 in terms of gRPC).

    What a server has said bears the time that it took for it, unless that is switched off, or a text for the error.
    """
    is_envoy = b"envoy" in said.get(b"server", b"") and b"x-envoy-upstream-service-time" not in said
    return is_envoy and _code(said) == _UNIMPLEMENTED and not said.get(b"grpc-message")


def _forbidden(detail: str, *, rotated: bool) -> Outcome:
    """Return what a refusal means: for good, unless the credentials may be others the next time."""
    return waiting(Reason.FORBIDDEN, detail) if rotated else failed(Reason.FORBIDDEN, detail)


def _authorization(path: str) -> bytes:
    secret = credentials(path)
    return b"Basic " + b2a_base64(b":".join(secret), newline=False) if isinstance(secret, tuple) else secret


def _code(said: Mapping[bytes, bytes]) -> int | None:
    text = said.get(b"grpc-status", b"")
    return int(text) if re.fullmatch(rb"[0-9]{1,3}", text) else None


def _health(where: str, body: bytes) -> Outcome:
    message = body[5:]  # behind the flag for compression, which nobody offered, and the length
    status = None if body[:5] != b"\0" + len(message).to_bytes(4, "big") else _status(message)
    if status is None:
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (malformed answer)")
    if status == _SERVING:
        return ready(where)
    if status == _SERVICE_UNKNOWN:
        return waiting(Reason.NOT_FOUND, f"{where} (it knows no such service)", gone=True)
    return waiting(Reason.STARTING, f"{where} ({'NOT_SERVING' if status == _NOT_SERVING else 'UNKNOWN'})")


def _status(message: bytes) -> int | None:
    """Return field 1 of a HealthCheckResponse, None where the message is none (protobuf, Encoding)."""
    status, at = _UNKNOWN, 0
    try:
        while at < len(message):
            key, at = _read_varint(message, at)
            if key & 7 == _VARINT:
                value, at = _read_varint(message, at)
                status = value if key >> 3 == 1 else status
            elif key & 7 == _LENGTH:
                length, at = _read_varint(message, at)
                at += length
            else:
                at += _FIXED[key & 7]
    except (IndexError, KeyError):
        return None
    return status if at == len(message) else None


def _varint(number: int) -> bytes:
    return bytes([number]) if number < _MORE else bytes([number & 127 | _MORE]) + _varint(number >> 7)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < _MORE:
            return value, at
    raise IndexError
