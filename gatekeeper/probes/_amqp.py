"""The first words of AMQP: the header of either side, and frames (AMQP 0-9-1, 4.2; AMQP 1.0, 2.2).

Knows a method by its numbers alone; what is said after the greeting is for whoever logs in.
"""

from typing import NamedTuple

from gatekeeper.model import Outcome, Reason, ready
from gatekeeper.probes._dialog import MOST, Dialog
from gatekeeper.probes._miss import MissError
from gatekeeper.values import Secret

START, CLOSE = (10, 10), (10, 50)
_HEADER = b"AMQP\x00\x00\x09\x01"
_HEAD = 7  # bytes of a frame before its payload: type, channel, size
_NUMBERS = 4  # bytes of a payload before the arguments: class and method
_END = b"\xce"
_METHOD, _HEARTBEAT = 1, 8
# A server that has not our version sends its own header, and hangs up (AMQP 1.0, 2.2): bare, or for a login by SASL.
_NEWER = {b"AMQP\x00\x01\x00\x00": Reason.READY, b"AMQP\x03\x01\x00\x00": Reason.READY_AUTH_REQUIRED}
_TLS_FIRST = b"AMQP\x02\x01\x00\x00"  # AMQP 1.0, 5.2


class Wanted(NamedTuple):
    """As whom to log in to which virtual host, and what must be there; ``external``: as the certificate says."""

    user: str
    password: Secret | None
    vhost: str
    queues: tuple[str, ...]
    exchanges: tuple[str, ...]
    external: bool


class Frame(NamedTuple):
    """A method on a channel, by its numbers of class and method, and all of its bytes."""

    channel: int
    method: tuple[int, int]
    data: bytes


async def greeting(dialog: Dialog) -> Frame | Outcome:
    """Say which AMQP we speak; return the first method, or what a server of another version is."""
    await dialog.write(_HEADER)
    if not (await dialog.some(4)).startswith(b"AMQP"):
        return await next_method(dialog)
    header = await dialog.exactly(len(_HEADER))
    if header in _NEWER:
        return ready(f"{dialog.where} (AMQP 1.0)", reason=_NEWER[header])
    if header == _TLS_FIRST:
        return dialog.wrong("it speaks AMQP 1.0 over TLS alone, as amqps:// does")
    return dialog.wrong("it speaks another version of AMQP")


async def next_method(dialog: Dialog) -> Frame:
    """Return the next method, heartbeats left out; raises `MissError`."""
    while True:
        head = await dialog.exactly(_HEAD)
        kind, channel, size = head[0], int.from_bytes(head[1:3], "big"), int.from_bytes(head[3:], "big")
        sane = _NUMBERS <= size <= MOST if kind == _METHOD else kind == _HEARTBEAT and size == 0
        if not sane:
            raise MissError(dialog.wrong())
        payload = await dialog.exactly(size + len(_END))
        if not payload.endswith(_END):
            raise MissError(dialog.wrong())
        if kind == _METHOD:
            numbers = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:_NUMBERS], "big")
            return Frame(channel, numbers, head + payload)
