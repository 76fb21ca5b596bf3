"""LDAP as far as a look at a directory needs it: a few requests and the results of their answers (RFC 4511, in BER).

Judges nothing, and reads nothing of an entry but that it came.
"""

from typing import NamedTuple

from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._miss import MissError

# Result codes (RFC 4511, 4.1.9), those that mean something to a look.
SUCCESS, OPERATIONS_ERROR, STRONGER_AUTH_REQUIRED, CONFIDENTIALITY_REQUIRED = 0, 1, 8, 13
NO_SUCH_OBJECT, INAPPROPRIATE_AUTHENTICATION, INVALID_CREDENTIALS, INSUFFICIENT_ACCESS = 32, 48, 49, 50
BUSY, UNAVAILABLE, UNWILLING = 51, 52, 53

GOODBYE = b"\x30\x05\x02\x01\x7f\x42\x00"  # UnbindRequest (4.3)
_MOST = 256 * 1024  # bytes of one message
_MOST_MESSAGES = 100  # before the one that ends an answer; one entry was asked for

_SEQUENCE, _INTEGER, _OCTETS, _ENUMERATED = 0x30, 0x02, 0x04, 0x0A
_BIND, _BOUND, _SEARCH, _ENTRY, _FOUND, _REFERENCE, _EXTENDED, _DONE = 0x60, 0x61, 0x63, 0x64, 0x65, 0x73, 0x77, 0x78
_START_TLS = b"1.3.6.1.4.1.1466.20037"  # 4.14.1
_HAS_OBJECT_CLASS = b"\x87\x0bobjectClass"  # the filter that every entry passes
_NO_ATTRIBUTES = b"1.1"  # 4.5.1.8


class Found(NamedTuple):
    """What a search came to: its result code, and whether it found an entry."""

    code: int
    entry: bool


class Ldap:
    """A conversation with one directory; what is no answer of one is raised as `MissError`."""

    def __init__(self, dialog: Dialog) -> None:
        """Speak over a fresh dialog."""
        self._dialog = dialog
        self._asked = 0

    async def start_tls(self) -> int:
        """Ask for TLS, which the caller speaks then; return the result code."""
        return (await self._ask(_tlv(_EXTENDED, _tlv(0x80, _START_TLS)), _DONE)).code

    async def bind(self, name: str, password: str) -> int:
        """Log in by name and password (simple authentication, 4.2); return the result code."""
        secret = _tlv(0x80, password.encode("utf-8", "surrogateescape"))
        return (await self._ask(_tlv(_BIND, _integer(3) + _tlv(_OCTETS, _encoded(name)) + secret), _BOUND)).code

    async def look_for(self, name: str) -> Found:
        """Search for one entry by its name, without its attributes; an empty name is the root DSE (RFC 4512, 5.1)."""
        scope, never, size, seconds, values = _enumerated(0), _enumerated(0), _integer(1), _integer(0), b"\x01\x01\x00"
        attributes = _tlv(_SEQUENCE, _tlv(_OCTETS, _NO_ATTRIBUTES))
        request = _tlv(_OCTETS, _encoded(name)) + scope + never + size + seconds + values
        return await self._ask(_tlv(_SEARCH, request + _HAS_OBJECT_CLASS + attributes), _FOUND)

    async def _ask(self, request: bytes, wanted: int) -> Found:
        self._asked += 1
        await self._dialog.write(_tlv(_SEQUENCE, _integer(self._asked) + request))
        entry = False
        for _ in range(_MOST_MESSAGES):
            number, kind, content = await self._message()
            if kind == wanted and number == self._asked:
                return Found(self._code(content), entry)
            if kind == _DONE and number == 0:  # a notice that it hangs up, and why (4.4.1)
                return Found(self._code(content), entry=False)
            if kind not in (_ENTRY, _REFERENCE) or wanted != _FOUND:
                break
            entry = entry or kind == _ENTRY
        raise MissError(self._dialog.wrong())

    async def _message(self) -> tuple[int, int, bytes]:
        if (await self._dialog.some())[0] != _SEQUENCE:
            raise MissError(self._dialog.wrong())
        await self._dialog.exactly(1)
        (length,) = await self._dialog.exactly(1)
        if length & 0x80:
            length = int.from_bytes(await self._dialog.exactly(length & 0x07))  # a longer length is too long below
        if not 0 < length <= _MOST:
            raise MissError(self._dialog.wrong())
        message = await self._dialog.exactly(length)
        tag, number, rest = self._first(message)
        kind, content, _ = self._first(rest)
        if tag != _INTEGER:
            raise MissError(self._dialog.wrong())
        return int.from_bytes(number), kind, content

    def _code(self, content: bytes) -> int:
        tag, code, _ = self._first(content)
        if tag != _ENUMERATED or not code:
            raise MissError(self._dialog.wrong())
        return int.from_bytes(code)

    def _first(self, data: bytes) -> tuple[int, bytes, bytes]:
        """Return the tag and the content of the first element, and what follows it."""
        start, length = 2, data[1] if len(data) > 1 else len(data)
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start])
        if start + length > len(data):
            raise MissError(self._dialog.wrong())
        return data[0], data[start : start + length], data[start + length :]


def _tlv(tag: int, content: bytes) -> bytes:
    """Return an element: its tag, its length, its content (X.690, 8.1)."""
    length = len(content)
    if length < 0x80:  # noqa: PLR2004 - the bit that says that the length is longer than this byte
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size) + content


def _integer(number: int) -> bytes:
    return _tlv(_INTEGER, bytes([number]))


def _enumerated(number: int) -> bytes:
    return _tlv(_ENUMERATED, bytes([number]))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
