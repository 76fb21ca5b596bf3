"""The protocol of Redis (RESP2, "Redis serialization protocol specification"): one command, one answer.

Knows the form of answers, not what they mean. Of an error only the first word is kept, which is its code.
"""

import re
from collections.abc import Awaitable, Callable

from gatekeeper.probes._dialog import MOST, Dialog
from gatekeeper.probes._miss import MissError

Ask = Callable[..., Awaitable[bytes]]  # takes the words of a command; raises `RefusedError` and `MissError`

_MOST_LINE = 4096  # bytes: the refusal in protected mode is a text of a thousand
_CROWDED = b"ERR max number of clients"


class RefusedError(Exception):
    """Raised for an answer that is an error; ``code`` is its first word, in capitals: LOADING, NOAUTH, ERR."""

    def __init__(self, code: str) -> None:
        """Take the code."""
        super().__init__(code)
        self.code = code


def code_of(error: bytes) -> str | None:
    """Return the code of an error, None where it has none; the one that has no word of its own is ``CROWDED``."""
    if error.startswith(_CROWDED):
        return "CROWDED"
    match = re.match(rb"([A-Z]{3,24})( |$)", error)
    return match[1].decode() if match else None


async def ask(dialog: Dialog, *words: bytes) -> bytes:
    """Send a command and return what is answered, a number as its digits; raises `RefusedError` and `MissError`."""
    command = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
    await dialog.write(b"".join(command))
    line = await dialog.until(b"\r\n", _MOST_LINE)
    kind, rest = line[:1], line[1:-2]
    if kind in (b"+", b":"):
        return rest
    code = code_of(rest) if kind == b"-" else None
    if code:
        raise RefusedError(code)
    if kind != b"$" or not re.fullmatch(rb"[0-9]{1,5}", rest) or int(rest) > MOST:
        raise MissError(dialog.wrong())
    return (await dialog.exactly(int(rest) + 2))[:-2]
