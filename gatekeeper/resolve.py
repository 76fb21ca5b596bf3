"""Names to addresses, as the application would resolve them, bounded in time.

getaddrinfo(3) cannot be cancelled. Each look-up has a daemon thread of its own, so that a hanging name delays no
other name and never holds the exit (asyncio's default executor would do both). A name that still hangs is joined
by later attempts instead of being asked again.
"""

import asyncio
import socket
import threading
from typing import NamedTuple
from weakref import WeakKeyDictionary

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_DEFINITE = (socket.EAI_NONAME, socket.EAI_NODATA)


class Peer(NamedTuple):
    """An address to connect to."""

    family: socket.AddressFamily
    address: SocketAddress

    def __str__(self) -> str:
        """Return ``10.0.0.7:5432`` or ``[::1]:5432``."""
        host, port = self.address[:2]
        return f"[{host}]:{port}" if self.family is socket.AF_INET6 else f"{host}:{port}"


class UnresolvedError(Exception):
    """Raised for a name without an address; ``definite`` where the resolver knows that there is none."""

    def __init__(self, message: str, *, definite: bool = False) -> None:
        """Take one line for people."""
        super().__init__(message)
        self.definite = definite


_Lookups = dict[tuple[str, int], "asyncio.Future[tuple[Peer, ...]]"]
_hanging: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookups] = WeakKeyDictionary()


async def resolve(host: str, port: int) -> tuple[Peer, ...]:
    """Return the addresses of a host, in the order of getaddrinfo(3) with the families alternating (RFC 8305, 4).

    An IP literal is never looked up. Raises `UnresolvedError`.
    """
    try:
        return _peers(host, port, socket.AI_NUMERICHOST)
    except UnresolvedError:
        pass
    lookups = _hanging.setdefault(asyncio.get_running_loop(), {})
    lookup = lookups.get((host, port))
    if lookup is None:
        lookup = lookups[host, port] = _look_up(host, port)
        lookup.add_done_callback(lambda _: lookups.pop((host, port), None))
    return await asyncio.shield(lookup)


def _look_up(host: str, port: int) -> "asyncio.Future[tuple[Peer, ...]]":
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[Peer, ...]] = loop.create_future()
    # An answer that nobody waits for any more (the attempt timed out) is no error.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    def work() -> None:
        try:
            peers = _peers(host, port, 0)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the attempt, not to this thread
            deliver(_believed(error))
        else:
            deliver(peers)

    def deliver(result: tuple[Peer, ...] | Exception) -> None:
        def settle() -> None:
            if answer.done():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        try:
            loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop is closed: nobody waits
            return

    try:
        threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    except RuntimeError as error:  # no thread left
        answer.set_exception(OSError(11, f"cannot start a thread: {error}"))
    return answer


def _believed(error: Exception) -> Exception:
    # Without a descriptor to spare, glibc can ask nobody and says that there is no such name.
    if isinstance(error, UnresolvedError) and error.definite:
        try:
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        except OSError as exhausted:
            return exhausted
    return error


def _peers(host: str, port: int, flags: int) -> tuple[Peer, ...]:
    try:
        # Bytes, because text would load the IDNA codec; the declaration has been encoded already.
        found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror as error:
        raise UnresolvedError(error.strerror or str(error), definite=error.errno in _DEFINITE) from None
    peers = dict.fromkeys(
        Peer(family, address)  # type: ignore[arg-type]  # of AF_INET and AF_INET6 only
        for family, _, _, _, address in found
        if family in (socket.AF_INET, socket.AF_INET6)
    )
    return _alternating(tuple(peers))


def _alternating(peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
    first = [peer for peer in peers if peer.family is peers[0].family]
    second = [peer for peer in peers if peer.family is not peers[0].family]
    mixed: list[Peer] = []
    for index in range(max(len(first), len(second))):
        mixed += first[index : index + 1] + second[index : index + 1]
    return tuple(mixed)
