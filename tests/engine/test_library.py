"""The library face, as Python programs use it: on real sockets, in threads and in event loops."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import gatekeeper
from gatekeeper.model import Reason, State
from gatekeeper.verdict import Cause, Gate


@pytest.fixture
def there() -> Iterator[str]:
    """Return a dependency that is there: a port that keeps connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def not_there() -> Iterator[str]:
    """Return a dependency that refuses: a port that is bound and has no listener."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{bound.getsockname()[1]}"


def test_wait_returns_the_report(there: str) -> None:
    """What is there is reported, and the report is true."""
    report = gatekeeper.wait(f"db={there}", timeout=30)
    assert report
    assert (report.gate, report.cause, report.summary) == (Gate.OPEN, Cause.READY, "1 of 1 ready")
    (dependency,) = report.dependencies
    assert (dependency.name, dependency.state, dependency.attempts) == ("db", State.READY, 1)


def test_wait_raises_when_the_gate_stays_shut(there: str, not_there: str) -> None:
    """At the deadline NotReady is raised with the report, and its text is the summary."""
    began = time.monotonic()
    with pytest.raises(gatekeeper.NotReady) as error:
        gatekeeper.wait(f"db={not_there}", there, timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 5
    assert not error.value.report
    assert error.value.report.cause is Cause.TIMEOUT
    assert str(error.value) == f"1 of 2 not ready: db (refused: {not_there.removeprefix('tcp://')})"


def test_wait_waits(not_there: str) -> None:
    """A dependency that comes while being waited for is found."""
    port = int(not_there.rpartition(":")[2])
    with socket.socket() as late:
        late.bind(("127.0.0.2", port))
        opening = threading.Timer(0.3, late.listen)
        opening.start()
        report = gatekeeper.wait(f"tcp://127.0.0.2:{port}", timeout="20s")
        opening.join()
    assert report.waited >= 0.2
    assert [change.reason for change in report.dependencies[0].changes] == [Reason.REFUSED, Reason.READY]


def test_check_never_raises_for_not_ready(there: str, not_there: str) -> None:
    """A look returns a report that is true where all that is required is there."""
    assert gatekeeper.check(there)
    report = gatekeeper.check(there, not_there)
    assert not report
    assert [dependency.state for dependency in report.dependencies] == [State.READY, State.WAITING]
    assert gatekeeper.check(there, f"{not_there} optional")
    assert gatekeeper.check(there, not_there, any=True)


def test_options_are_those_of_the_command_line(not_there: str) -> None:
    """Options decide as on the command line; numbers, text and truth values are taken."""
    report = gatekeeper.wait(not_there, timeout="200ms", on_timeout="continue", successes=2, any=False)
    assert (report.gate, report.cause) == (Gate.OPEN, Cause.CONTINUE)
    assert gatekeeper.wait(not_there, bypass="drill").summary == "bypassed: drill"


def test_a_bad_declaration_tells_every_problem_and_probes_nothing(there: str) -> None:
    """Problems of lines and of options come together, each with its place."""
    with pytest.raises(gatekeeper.BadDeclaration) as error:
        gatekeeper.wait(f"{there} timout=3", "tcp://db", "", timeout=None, sucesses=2, any="perhaps")
    assert isinstance(error.value, ValueError)
    problems = [str(problem) for problem in error.value.problems]
    assert problems == [
        "argument 3: is empty: write [NAME=]TARGET [OPTION=VALUE]..., as in db=tcp://db:5432 timeout=2m",
        "timeout: 'None' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds",
        "sucesses: unknown option; did you mean successes?",
        "any: 'perhaps' is neither true nor false",
        "argument 1: timout: tcp has no option timout; did you mean timeout?",
        "argument 2: has no port: write tcp://HOST:PORT",
    ]
    assert str(error.value) == "\n".join(problems)


@pytest.mark.parametrize("option", ["file", "report", "ready_file", "notify", "log_format", "quiet", "output"])
def test_what_a_library_does_not_do_is_refused(there: str, option: str) -> None:
    """An option that would have no effect here is a problem and not ignored."""
    with pytest.raises(gatekeeper.BadDeclaration, match=f"{option}: is for the command line only: take timeout, "):
        gatekeeper.check(there, **{option: "auto"})


def test_the_environment_is_for_references_only(there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """References are replaced; variables that steer the command do not steer a library."""
    monkeypatch.setenv("DB", there)
    monkeypatch.setenv("GATEKEEPER_TIMEOUT", "nonsense")
    monkeypatch.setenv("GATEKEEPER_DEPENDENCIES", "tcp://127.0.0.1:1")
    (dependency,) = gatekeeper.check("${DB}").dependencies
    assert dependency.target == there


def test_several_waits_go_on_in_threads(there: str, not_there: str) -> None:
    """Each thread has its own wait, and none disturbs another."""
    with ThreadPoolExecutor(8) as threads:
        good = [threads.submit(gatekeeper.wait, there, timeout=30) for _ in range(8)]
        bad = [threads.submit(gatekeeper.wait, not_there, timeout=0.2) for _ in range(8)]
        assert all(each.result() for each in good)
        assert all(isinstance(each.exception(), gatekeeper.NotReady) for each in bad)


def test_several_waits_go_on_in_one_event_loop(there: str, not_there: str) -> None:
    """The waits of one loop run together, beside other tasks of the program."""

    async def program() -> list[object]:
        waits = [gatekeeper.wait_async(there), gatekeeper.wait_async(not_there, timeout=0.3)]
        return await asyncio.gather(*waits, asyncio.sleep(0.1, "else"), return_exceptions=True)

    began = time.monotonic()
    opened, shut, other = asyncio.run(program())
    assert opened
    assert isinstance(shut, gatekeeper.NotReady)
    assert other == "else"
    assert time.monotonic() - began < 5


def test_a_cancellation_ends_the_wait(not_there: str) -> None:
    """A program may give up sooner than the gate would, and nothing of the wait is left behind."""

    async def program() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await gatekeeper.wait_async(not_there, "exec:'sleep 60'", timeout=60)
        if left := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            await asyncio.wait(left)  # what closes something slowly may do so

    began = time.monotonic()
    asyncio.run(program())
    assert time.monotonic() - began < 20


def test_waiting_inside_a_running_loop_is_refused(there: str) -> None:
    """The blocking face says so where it would block an event loop."""

    async def program() -> None:
        with pytest.raises(RuntimeError, match="running event loop"):
            gatekeeper.wait(there)

    asyncio.run(program())


def test_names_of_the_package() -> None:
    """What the package exports is there, and nothing else is made up."""
    assert all(getattr(gatekeeper, name) for name in gatekeeper.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        gatekeeper.nonsense  # noqa: B018 - the attribute is what is asked for
