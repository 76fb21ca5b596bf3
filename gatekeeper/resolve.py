"""Names to addresses, as the application would resolve them, bounded in time.

getaddrinfo(3) cannot be cancelled. Each look-up has a daemon thread of its own, so that a hanging name delays no
other name and never holds the exit (asyncio's default executor would do both). A look-up that hangs is joined by later
attempts. It hangs for five seconds where one datagram was lost, which a busy cluster's DNS is known for, and so does a
nameserver that restarts: a name that is not answered is therefore asked once more beside it every second, as long as it
takes the resolver to ask again by itself, and the first answer counts.
"""

import asyncio
import signal
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


PATIENCE = 1.0
MOST_AT_ONCE = 5  # resolv.conf(5): glibc asks again after five seconds, so that these go on asking once a second
MOST_AGAIN = 64  # look-ups that are not the first of their name, over all names: each has a thread


class _Lookup(NamedTuple):
    began: float
    answer: "asyncio.Future[tuple[Peer, ...]]"


class _Lookups:
    """The look-ups of one event loop that have not been answered, by host and port."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], list[_Lookup]] = {}
        self._again = 0

    def of(self, host: str, port: int) -> list[_Lookup]:
        """Return those of a name, without those that were answered: the next attempt asks anew."""
        before = self._of.get((host, port), [])
        after = self._of[host, port] = [lookup for lookup in before if not lookup.answer.done()]
        self._again -= max(len(before) - 1, 0) - max(len(after) - 1, 0)
        return after

    def may_ask_again(self, hanging: list[_Lookup]) -> bool:
        return len(hanging) < MOST_AT_ONCE and self._again < MOST_AGAIN

    def ask(self, host: str, port: int) -> list[_Lookup]:
        """Begin one more, and return all of the name."""
        hanging = self.of(host, port)
        self._again += bool(hanging)
        hanging.append(_Lookup(asyncio.get_running_loop().time(), _look_up(host, port)))
        return hanging


_lookups: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookups] = WeakKeyDictionary()


async def resolve(host: str, port: int) -> tuple[Peer, ...]:
    """Return the addresses of a host, in the order of getaddrinfo(3) with the families alternating (RFC 8305, 4).

    An IP literal is never looked up. Raises `UnresolvedError`.
    """
    try:
        return _peers(host, port, socket.AI_NUMERICHOST)
    except UnresolvedError:
        pass
    loop = asyncio.get_running_loop()
    lookups = _lookups.setdefault(loop, _Lookups())
    hanging = lookups.of(host, port) or lookups.ask(host, port)
    while True:
        patience = hanging[-1].began + PATIENCE - loop.time() if lookups.may_ask_again(hanging) else None
        answers = [lookup.answer for lookup in hanging]
        done, _ = await asyncio.wait(answers, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        hanging = lookups.of(host, port)
        for answer in done:
            # A failure that is not definite may be the fate of one datagram, while another is still on its way.
            if not hanging or not _in_doubt(answer):
                return answer.result()
        if not hanging or (lookups.may_ask_again(hanging) and loop.time() - hanging[-1].began >= PATIENCE):
            hanging = lookups.ask(host, port)


def _in_doubt(answer: "asyncio.Future[tuple[Peer, ...]]") -> bool:
    error = answer.exception()
    return error is not None and not (isinstance(error, UnresolvedError) and error.definite)


def _look_up(host: str, port: int) -> "asyncio.Future[tuple[Peer, ...]]":
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[Peer, ...]] = loop.create_future()
    # An answer that nobody waits for any more (the attempt timed out) is no error.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
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
