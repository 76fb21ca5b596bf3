"""One question to one nameserver, over UDP or TCP (RFC 1035, 4.2). Bytes only: what they mean is judged by the caller.

Datagrams that are no answer (stray, forged, garbage) are passed over: anyone who guesses a port can send one.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from gatekeeper.model import Reason, waiting
from gatekeeper.probes._connect import connect, outcome_of
from gatekeeper.probes._miss import MissError
from gatekeeper.resolve import Peer

T = TypeVar("T")

RESEND = 1.0
_MOST_IN_DATAGRAM = 65535


async def over_udp(peer: Peer, question: bytes, read: Callable[[bytes], T | None]) -> T:
    """Return the first datagram that ``read`` makes something of; asks again after 1, 2, 4, … seconds of silence.

    Raises `MissError`.
    """
    loop = asyncio.get_running_loop()
    with _blaming(peer), socket.socket(peer.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        # Connected, so that the kernel keeps out what others send and tells when nobody listens there.
        sock.connect(peer.address)
        patience = RESEND
        while True:
            await loop.sock_sendall(sock, question)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    return await _first_answer(sock, read)
            patience *= 2


async def over_tcp(peer: Peer, question: bytes, read: Callable[[bytes], T | None]) -> T:
    """Return what ``read`` makes of the answer; raises `MissError`."""
    loop = asyncio.get_running_loop()
    with _blaming(peer), await connect(peer) as sock:
        await loop.sock_sendall(sock, struct.pack("!H", len(question)) + question)
        (length,) = struct.unpack("!H", await _exactly(sock, 2, peer))
        answer = read(await _exactly(sock, length, peer))
        if answer is None:
            raise MissError(waiting(Reason.WRONG_PROTOCOL, str(peer)))
        return answer


async def _first_answer(sock: socket.socket, read: Callable[[bytes], T | None]) -> T:
    loop = asyncio.get_running_loop()
    while True:
        answer = read(await loop.sock_recv(sock, _MOST_IN_DATAGRAM))
        if answer is not None:
            return answer
        await asyncio.sleep(0)  # a flood of datagrams must not keep the loop, and the clock with it, for itself


async def _exactly(sock: socket.socket, length: int, peer: Peer) -> bytes:
    loop = asyncio.get_running_loop()
    said = b""
    while len(said) < length:
        more = await loop.sock_recv(sock, length - len(said))
        if not more:
            raise MissError(waiting(Reason.CLOSED, str(peer), cheap=True))
        said += more
    return said


@contextmanager
def _blaming(peer: Peer) -> Iterator[None]:
    # That a nameserver is gone says nothing of the name that it was asked for.
    try:
        yield
    except MissError as miss:
        outcome = miss.outcome
    except OSError as error:
        outcome = outcome_of(error, str(peer))
    else:
        return
    raise MissError(outcome._replace(detail=f"nameserver {outcome.detail}", gone=False))
