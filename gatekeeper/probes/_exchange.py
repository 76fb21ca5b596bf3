"""What is said over a fresh connection before it counts as ready: nothing but patience, or an exchange of bytes."""

import asyncio
import re
import socket
from typing import TYPE_CHECKING

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._options import SecretValueError
from gatekeeper.values import raw

if TYPE_CHECKING:
    from gatekeeper.probes._pattern import Pattern

SHORTEST_LINGER, LONGEST_LINGER = 0.005, 0.25
ROUND_TRIPS = 2
MOST_READ = 64 * 1024
_MOST_DRAINED = 1024 * 1024
_PROMPT, _DRIP = 8, 0.01  # after so many reads, seconds in which more may gather before the next


def escaped(text: str) -> bytes:
    r"""Return the bytes that text stands for, with ``\r``, ``\n``, ``\t``, ``\0``, ``\\`` and ``\xNN`` replaced.

    Raises `BadValueError`, whose message never quotes the text, for that may be a secret.
    """
    named = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out, position = b"", 0
    for match in re.finditer(r"\\(?:x([0-9a-fA-F]{2})|(.?))", text, re.DOTALL):
        out += raw(text[position : match.start()])
        position = match.end()
        if match[1]:
            out += bytes([int(match[1], 16)])
        elif match[2] in named:
            out += named[match[2]]
        else:
            message = r"has an unknown escape (its text is not shown): write \r, \n, \t, \0, \\ or \xNN"
            raise SecretValueError(message)
    return out + raw(text[position:])


async def exchange(
    sock: socket.socket,
    where: str,
    round_trip: float,
    *,
    linger: float | None,
    send: bytes | None,
    expect: "Pattern | None",
) -> Outcome:
    """Return ready when the connection is kept and, where ``expect`` is given, answered as wanted.

    ``round_trip`` is in seconds. A ``linger`` of None means about two round trips; 0 turns it off. Raises `MissError`.
    """
    try:
        if send:
            with during(f"sending to {where}"):
                await asyncio.get_running_loop().sock_sendall(sock, send)
        if expect:
            await _expect(sock, where, expect)
        if linger if expect else linger != 0:  # an answer says enough, unless more is asked for
            await _linger(sock, where, linger or linger_of(round_trip))
    except OSError as error:
        raise MissError(outcome_of(error, where)) from None
    finally:
        _drain(sock)
    return ready(where)


def linger_of(round_trip: float) -> float:
    """Return how many seconds a new connection is watched for a hang-up, from the time that the connect took."""
    return min(max(ROUND_TRIPS * round_trip, SHORTEST_LINGER), LONGEST_LINGER)


async def _linger(sock: socket.socket, where: str, seconds: float) -> None:
    # docker-proxy, a load balancer without backends or a mesh sidecar accepts first and hangs up a moment later, some
    # after a word of excuse.
    loop = asyncio.get_running_loop()
    end, heard = loop.time() + seconds, 0
    with during(f"watching {where}"):
        while heard < MOST_READ:
            try:
                async with asyncio.timeout_at(end):
                    said = await loop.sock_recv(sock, MOST_READ)
            except TimeoutError:
                # Where this process had no processor for so long, the time is up although the hang-up came before.
                try:
                    said = sock.recv(MOST_READ)
                except BlockingIOError:
                    return
            if not said:
                raise MissError(waiting(Reason.CLOSED, where, cheap=True))
            heard += len(said)
            await asyncio.sleep(0)  # a socket that always has more to give never suspends sock_recv


async def _expect(sock: socket.socket, where: str, expect: "Pattern") -> None:
    loop = asyncio.get_running_loop()
    said, reads = b"", 0
    with during(lambda: f"reading from {where} ({len(said)} bytes so far, no match)"):
        # Before anything has come back there is nothing to match, whatever a pattern makes of nothing.
        while not said or not await expect.found_in(said, where):
            if len(said) >= MOST_READ:
                raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (no match in {MOST_READ} bytes)"))
            more = await loop.sock_recv(sock, MOST_READ - len(said))
            reads += 1
            # A socket that always has more to give never suspends sock_recv, and a drip would be searched at each drop.
            await asyncio.sleep(0 if reads < _PROMPT else _DRIP)
            if not more:
                if said:
                    raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (no match in {len(said)} bytes)"))
                raise MissError(waiting(Reason.CLOSED, where, cheap=True))
            said += more


def _drain(sock: socket.socket) -> None:
    """Read what has come unasked: closing a socket over unread bytes resets the connection (RFC 2525, 2.17)."""
    left = _MOST_DRAINED
    try:
        while left > 0 and (said := sock.recv(MOST_READ)):
            left -= len(said)
    except OSError:  # nothing there, or no longer connected
        return
