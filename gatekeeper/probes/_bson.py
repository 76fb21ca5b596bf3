"""BSON (specification, version 1.1), as much of it as a question and a look at its answer need.

Written are numbers, texts and documents in documents; read are the elements of the outermost document, of which those
that are numbers, texts or truth values are kept. Nothing here trusts a length.
"""

import struct
from collections.abc import Mapping

Written = int | str | Mapping[str, "Written"]
Read = int | float | str | bool

_FLOAT, _TEXT, _DOCUMENT, _BOOL, _INT, _LONG = 0x01, 0x02, 0x03, 0x08, 0x10, 0x12
_LENGTH = 4  # bytes of a length
# How many bytes other elements have: a number, or where a length before them says so, how many more than that.
_FIXED = {0x06: 0, 0x07: 12, 0x09: 8, 0x0A: 0, 0x11: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_COUNTED = {0x03: 0, 0x04: 0, 0x05: 5, 0x0D: 4, 0x0E: 4, 0x0F: 0}


class BrokenError(ValueError):
    """Raised for bytes that are no BSON."""


def written(document: Mapping[str, Written]) -> bytes:
    """Return a document as bytes."""
    body = b"".join(_element(key, value) for key, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _element(key: str, value: Written) -> bytes:
    name = key.encode() + b"\0"
    if isinstance(value, int):
        return bytes([_INT]) + name + struct.pack("<i", value)
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return bytes([_TEXT]) + name + struct.pack("<i", len(text)) + text
    return bytes([_DOCUMENT]) + name + written(value)


def read(data: bytes) -> dict[str, Read]:
    """Return the numbers, texts and truth values of a document; raises `BrokenError`."""
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError):
        raise BrokenError from None


def _read(data: bytes) -> dict[str, Read]:
    if len(data) <= _LENGTH or struct.unpack_from("<i", data)[0] != len(data) or data[-1] != 0:
        raise BrokenError
    found: dict[str, Read] = {}
    at, end = _LENGTH, len(data) - 1
    while at < end:
        kind, name_ends = data[at], data.index(b"\0", at + 1, end)
        name, at = data[at + 1 : name_ends].decode(), name_ends + 1
        value, at = _value(kind, data, at)
        if at > end:
            raise BrokenError
        if value is not None:
            found[name] = value
    return found


def _value(kind: int, data: bytes, at: int) -> tuple[Read | None, int]:
    if kind == _FLOAT:
        return float(struct.unpack_from("<d", data, at)[0]), at + 8
    if kind == _BOOL:
        return data[at] == 1, at + 1
    if kind in (_INT, _LONG):
        size = 4 if kind == _INT else 8
        return int.from_bytes(data[at : at + size], "little", signed=True), at + size
    if kind in _FIXED:
        return None, at + _FIXED[kind]
    length = struct.unpack_from("<i", data, at)[0]
    if length < 0:
        raise BrokenError
    if kind == _TEXT:
        return data[at + 4 : at + 3 + length].decode(), at + 4 + length
    return None, at + length + _COUNTED.get(kind, len(data))  # a kind that nobody knows leads beyond the end
