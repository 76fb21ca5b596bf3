"""notify://: ready when another gatekeeper's program has said so, and woken by that."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gatekeeper.announce.status import Answer, StatusServer, View
from gatekeeper.model import Address, Dependency, Outcome, Reason, State
from gatekeeper.pace import pace
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.notify import Notify
from gatekeeper.turns import Turns

GATEKEEPER = (sys.executable, "-m", "gatekeeper")
LIMIT = 30  # seconds that nothing takes, however slow the machine


class Other:
    """What another gatekeeper tells of its program, and how often it was asked."""

    def __init__(self) -> None:
        """Be alive, and neither started nor ready."""
        self.asked, self.held = 0, asyncio.Event()
        self.yes = {"/startupz": False, "/readyz": False, "/livez": True}
        self.server = StatusServer(self.view)

    def view(self) -> View:
        """Return how it stands."""
        self.asked += 1
        if self.asked > 1:
            self.held.set()
        return View({path: Answer(yes, "why") for path, yes in self.yes.items()}, dict, str)

    def say(self, path: str) -> None:
        """Say yes from now on."""
        self.yes[path] = True
        self.server.changed()


def beside(other: Other, run: Callable[[str], Awaitable[object]], path: Path) -> object:
    """Run something beside the other one, which answers at a socket file."""

    async def both() -> object:
        await other.server.listen(Address(str(path)))
        try:
            async with asyncio.timeout(LIMIT):
                return await run(f"notify://{path}")
        finally:
            other.server.close()

    return asyncio.run(both())


@pytest.mark.parametrize(("want", "path"), [("ready", "/readyz"), ("started", "/startupz"), ("live", "/livez")])
def test_it_is_what_the_other_says(want: str, path: str, tmp_path: Path) -> None:
    """Each of the three questions is asked, and not yet is not yet."""
    other = Other()

    async def run(target: str) -> tuple[Outcome, Outcome]:
        probe = Notify.parse(target, {"want": (want,)})
        before = await probe.attempt()
        other.say(path)
        return before, await probe.attempt()

    before, afterwards = beside(other, run, tmp_path / "sock")  # type: ignore[misc]  # what run returns
    assert before.state is (State.READY if want == "live" else State.WAITING)
    assert before.reason is (Reason.READY if want == "live" else Reason.STARTING)
    assert afterwards.state is State.READY


def test_it_is_woken_by_the_change_and_does_not_ask_again(tmp_path: Path) -> None:
    """However long it takes, there is one question, one that waits, and one after the change."""
    other = Other()

    async def run(target: str) -> Outcome:
        probe = Notify.parse(target, {})
        rules = Dependency("it", "here", ())
        waiting = asyncio.ensure_future(pace(probe, rules, Turns(at_once=1), lambda _: None))
        await other.held.wait()
        await asyncio.sleep(1)
        other.say("/readyz")
        return await waiting

    outcome = beside(other, run, tmp_path / "sock")
    assert isinstance(outcome, Outcome)
    assert outcome.state is State.READY
    assert other.asked <= 5


def test_who_cannot_hold_an_answer_is_not_flooded() -> None:
    """A server that is no gatekeeper is paced like any other."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def run() -> list[Outcome]:
        seen: list[Outcome] = []
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        probe = Notify.parse(f"notify://127.0.0.1:{server.sockets[0].getsockname()[1]}", {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await pace(probe, Dependency("it", "here", ()), Turns(at_once=1), seen.append)
        server.close()
        return seen

    assert {outcome.reason for outcome in asyncio.run(run())} == {Reason.UNWANTED_ANSWER}
    assert asked <= 22


@pytest.mark.parametrize("target", ["notify://host", "notify://", "notify://host:0", "notify:///", "notify://h:1/x"])
def test_a_target_without_an_address_is_a_bad_declaration(target: str) -> None:
    """A path, or a host with a port, and nothing else."""
    with pytest.raises(BadOptionsError):
        Notify.parse(target, {})


def test_readiness_reaches_those_who_depend_on_it(tmp_path: Path) -> None:
    """A program that waits for another starts when that one has said that it is ready, and not before."""
    sock, said = tmp_path / "status.sock", tmp_path / "said"
    program = f"from pathlib import Path; Path({str(said)!r}).touch()"
    script = 'read line; "$0" -c "$1"; "$0" -m gatekeeper notify --ready; read line'
    first = [*GATEKEEPER, "run", f"--status=unix:{sock}", "file:///", "--", "sh", "-c", script, sys.executable, program]
    second = [*GATEKEEPER, "wait", f"notify://{sock}", "--", "test", "-e", str(said)]
    with subprocess.Popen(first, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as one:
        with subprocess.Popen(second, stderr=subprocess.PIPE, text=True) as two:
            assert two.stderr
            told = ""
            while "starting" not in told:
                told = two.stderr.readline()
            assert one.stdin
            one.stdin.write(b"go\n")
            one.stdin.flush()
            assert two.wait(LIMIT) == 0
        one.stdin.close()
        assert one.wait(LIMIT) == 1  # the end of input is no line
