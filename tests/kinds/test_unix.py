"""unix://: what counts as a socket that is there."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from badness import half_open, hung_up, refusing, saying, serving, silent

from gatekeeper.model import Outcome, Reason, State, ready, waiting
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.unix import Unix

LIMIT = 20


def attempt(path: object, **options: str) -> Outcome:
    """Attempt once at a socket."""

    async def run() -> Outcome:
        async with asyncio.timeout(LIMIT):
            return await Unix.parse(f"unix://{path}", {key: (text,) for key, text in options.items()}).attempt()

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a path for a socket."""
    return str(tmp_path / "app.sock")


def test_a_socket_that_keeps_the_connection_is_ready(path: str) -> None:
    """The socket file's path is the detail."""
    with serving(silent, path=path):
        assert attempt(path) == ready(path)


def test_an_abstract_socket_is_named_with_an_at_sign() -> None:
    """An abstract socket is ready while somebody listens, and refused and gone otherwise."""
    name = f"@gatekeeper-test-{os.getpid()}"
    with serving(silent, path=name):
        assert attempt(name) == ready(name)
    assert attempt(name) == waiting(Reason.REFUSED, name, cheap=True, gone=True)


def test_a_socket_file_that_is_not_there_is_not_found_and_gone(path: str) -> None:
    """Neither the file nor its folder need exist yet."""
    assert attempt(path) == waiting(Reason.NOT_FOUND, path, cheap=True, gone=True)
    assert attempt(f"{path}/below") == waiting(Reason.NOT_FOUND, f"{path}/below", cheap=True, gone=True)


def test_a_file_in_the_place_of_a_folder_is_not_found(path: str) -> None:
    """A path through a file leads nowhere."""
    Path(path).touch()
    assert attempt(f"{path}/below").reason is Reason.NOT_FOUND


def test_a_stale_socket_file_is_refused_and_gone(path: str) -> None:
    """A socket file that its server left behind refuses."""
    with refusing(path=path):
        pass
    assert attempt(path) == waiting(Reason.REFUSED, path, cheap=True, gone=True)


def test_a_file_that_is_no_socket_is_the_wrong_thing_and_not_gone(path: str) -> None:
    """The kernel says 'refused' of a regular file too; that proves nothing about the server."""
    Path(path).touch()
    assert attempt(path) == waiting(Reason.WRONG_PROTOCOL, f"{path} (not a socket)", cheap=True)


def test_a_datagram_socket_is_the_wrong_thing(path: str) -> None:
    """A socket of another type may be replaced by the right one, as any other file there."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
        other.bind(path)
        assert attempt(path) == waiting(Reason.WRONG_PROTOCOL, f"{path} (not a stream socket)", cheap=True)


@pytest.mark.parametrize("options", [{}, {"linger": "0"}])
def test_a_full_backlog_is_not_ready(path: str, options: dict[str, str]) -> None:
    """A server that does not accept is not there yet; the kernel's EAGAIN is not taken for a connection."""
    with half_open(path=path):
        assert attempt(path, **options) == waiting(Reason.STARTING, f"{path} (its backlog is full)", cheap=True)


def test_a_socket_without_permission_is_forbidden(open_path: Path, as_nobody: Callable[[str], str]) -> None:
    """Connecting needs write permission on the socket file (unix(7)); it may be granted later."""
    path = str(open_path / "app.sock")
    with serving(silent, path=path):
        Path(path).chmod(0)
        assert as_nobody(f"unix://{path}") == "waiting forbidden"


def test_a_hang_up_is_seen(path: str) -> None:
    """Accepted and at once hung up is not ready."""
    with serving(hung_up, path=path):
        assert attempt(path, linger="5s") == waiting(Reason.CLOSED, path, cheap=True)


def test_send_and_expect_hold_a_dialogue(path: str) -> None:
    """What is sent arrives, and the answer counts."""

    def echo(client: socket.socket, over: threading.Event) -> None:
        client.sendall(client.recv(64)[::-1])
        over.wait()

    with serving(echo, path=path):
        assert attempt(path, send="abc", expect="cba").state is State.READY


def test_an_unwanted_answer_is_not_quoted(path: str) -> None:
    """What the server said stays out of the detail."""
    with serving(saying(b"x" * 70_000), path=path):
        assert attempt(path, expect="y") == waiting(Reason.UNWANTED_ANSWER, f"{path} (no match in 65536 bytes)")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("unix://app.sock", "needs an absolute path: write unix:///run/app.sock or unix://@name"),
        ("unix://", "needs an absolute path"),
        ("unix://:s3%cret@/run/redis.sock", "needs an absolute path: write unix:///run/app.sock or unix://@name"),
        ("unix:///", "names no socket"),
        ("unix://@", "names no socket"),
        ("unix:///" + "x" * 107, "longer than the 107 bytes"),
        ("unix:///run/100%", "write %25 for a percent sign"),
        ("unix:///run/a%0Ab", "control character"),
    ],
)
def test_a_target_that_no_socket_can_have_is_a_bad_declaration(target: str, message: str) -> None:
    """Every such target is refused before anything is probed."""
    with pytest.raises(BadOptionsError, match=message):
        Unix.parse(target, {})


def test_the_longest_path_and_escapes_are_taken() -> None:
    """107 bytes fit, and %-escapes stand for their bytes."""
    assert Unix.parse("unix:///" + "x" * 106, {}).path == "/" + "x" * 106
    assert Unix.parse("unix:///run/a%20b", {}).path == "/run/a b"


def test_the_signal_tells_when_the_socket_appears(tmp_path: Path) -> None:
    """The kernel tells of a socket file whose folder did not exist when the wait began."""
    path = tmp_path / "run" / "app.sock"

    async def run(serve: Callable[[], None]) -> Outcome:
        probe = Unix.parse(f"unix://{path}", {})
        signal = await probe.watch()
        assert signal
        with closing(signal):
            outcome = await probe.attempt()
            asyncio.get_running_loop().call_soon(serve)
            async with asyncio.timeout(LIMIT):
                while outcome.state is not State.READY:
                    await signal.changed()
                    outcome = await probe.attempt()
        return outcome

    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as server:

        def serve() -> None:
            path.parent.mkdir()
            # Listening before the name appears, as a careful server does: rename is what the kernel tells of.
            server.bind(f"{path}.new")
            server.listen()
            Path(f"{path}.new").rename(path)

        assert asyncio.run(run(serve)) == ready(str(path))


def test_an_abstract_socket_has_no_signal() -> None:
    """There is no folder to watch."""
    assert asyncio.run(Unix.parse("unix://@name", {}).watch()) is None
