"""Texts that Go has quoted with ``%q``: what stands between the quotes, as it was before. Reads no file."""

import re

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_PART = re.compile(
    r'[^"\\\n]+|\\(?:([abfnrtv\\"])|x([0-9A-Fa-f]{2})|([0-7]{3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))', re.ASCII
)
_BYTE, _LAST, _SURROGATES = 0xFF, 0x10FFFF, range(0xD800, 0xE000)


class BadQuoteError(ValueError):
    """Raised for what Go has not quoted; its message is for people and holds nothing of the text."""


def unquote(text: str) -> str:
    r"""Return the text that stands in double quotes.

    Source: The Go Programming Language Specification, String literals (interpreted): ``\xNN`` and ``\NNN`` are bytes,
    ``\uNNNN`` and ``\UNNNNNNNN`` characters. Bytes that are no UTF-8 come as surrogate escapes. Raises `BadQuoteError`.
    """
    if not text.startswith('"'):
        message = 'has no " before its value'
        raise BadQuoteError(message)
    whole, at = bytearray(), 1
    while match := _PART.match(text, at):
        whole += _bytes(match)
        at = match.end()
    if at == len(text):
        message = 'has no " behind its value: is it half written?'
        raise BadQuoteError(message)
    if text[at] != '"':
        message = f"has an escape that Go does not write, at character {at + 1} of its value"
        raise BadQuoteError(message)
    if at + 1 != len(text):
        message = 'has something behind the " that closes its value'
        raise BadQuoteError(message)
    return whole.decode("utf-8", "surrogateescape")


def _bytes(match: re.Match[str]) -> bytes:
    letter, two, octal, four, eight = match.groups()
    if letter:
        return _ESCAPES[letter].encode()
    if two or octal:
        value = int(two, 16) if two else int(octal, 8)
        if value > _BYTE:
            message = f"has an octal escape that is no byte, at character {match.start() + 1} of its value"
            raise BadQuoteError(message)
        return bytes((value,))
    if four or eight:
        value = int(four or eight, 16)
        if value > _LAST or value in _SURROGATES:
            message = f"has an escape that is no character, at character {match.start() + 1} of its value"
            raise BadQuoteError(message)
        return chr(value).encode()
    return match[0].encode("utf-8", "surrogateescape")
