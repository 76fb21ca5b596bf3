"""The manners of every kind in the table, whatever it speaks: one attempt, one honest outcome, nothing left behind.

A new kind joins by being in the table. It is taken for one that speaks over TCP and wants a proper answer; what is
otherwise is said in the few tables below.
"""

import asyncio
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import namespace
import pytest
from badness import (
    EVERY,
    MARK,
    Manners,
    descriptors,
    endless,
    garbage,
    half_open,
    hung_up,
    left_over,
    refusing,
    reset,
    serving,
    silent,
)

from gatekeeper.model import Outcome, Probe, Reason, State
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._options import BadOptionsError, options_of

# How a kind is pointed at a server, where it is not KIND://HOST:PORT.
REACHED = {
    "unix": "unix://{path}",
    "service": "service://localhost:{port}",
    "dns": "dns://example.test server=127.0.0.1:{port} transport=tcp",
}
# What is attempted where there is no server at all.
LOCAL = {"file": "file:///proc/self/nowhere", "exec": "exec:sleep 1000", "ntp": "ntp://127.0.0.1:9"}
# To these a connection that is kept is all they want.
CONTENT_WITH_A_CONNECTION = ("tcp", "unix", "service")
# These ask one server about another thing.
ASKING_ANOTHER = ("dns",)
# How a kind is given a name that must be resolved, where it is not KIND://NAME:443; None where it takes no name.
NAMED = {"dns": "dns://{name}", "unix": None, "file": None, "exec": None}

# Its server is named by a kubeconfig, and is as bad as a whole API can be: tests/kube/test_client.py, test_informer.py.
OF_AN_API = ("k8s",)
# Its servers are found in DNS, and are then those of another name of it: tests/kinds/test_mongodb.py.
BY_DNS = ("mongodb+srv",)
# Other names of the same kind are the same code; those over TLS are not.
_FIRST = {
    (made, kind == "https" or kind in getattr(load(kind), "SECURE", ())): kind for kind, made in reversed(KINDS.items())
}.values()
CONTRACTED = [kind for kind in KINDS if kind in _FIRST and kind not in (*OF_AN_API, *BY_DNS)]
SERVED = [kind for kind in CONTRACTED if kind not in LOCAL]
ATTEMPT = 0.2  # seconds that an attempt is given here
PROMPTLY = 2.0  # seconds that nothing takes, however slow the machine


def probe_of(kind: str, declaration: str) -> Probe:
    """Return the probe of a target with its options."""
    target, *options = declaration.split(" ") if kind != "exec" else [declaration]
    given = {key: (text,) for key, _, text in (option.partition("=") for option in options)}
    probe: Probe = load(kind).parse(target, given)
    return probe


def at(kind: str, port: int, path: str, options: str = "") -> Probe:
    """Return the probe of a kind for a server."""
    return probe_of(kind, REACHED.get(kind, f"{kind}://127.0.0.1:{{port}}").format(port=port, path=path) + options)


async def limited(probe: Probe, seconds: float = ATTEMPT) -> Outcome | list[str]:
    """Attempt for a while; return the outcome, or the steps that the cancellation interrupted."""
    try:
        async with asyncio.timeout(seconds):
            return await probe.attempt()
    except TimeoutError as error:
        return list(getattr(error.__context__, "__notes__", []))


def attempted(probe: Probe, seconds: float = ATTEMPT) -> Outcome | list[str]:
    """Attempt in a loop of its own; see that nothing is left behind and nothing took longer than it may."""

    async def run() -> tuple[Outcome | list[str], float, set[str], int]:
        await limited(probe)  # loads what the kind needs
        before, began = descriptors(), time.monotonic()
        found = await limited(probe, seconds)
        took = time.monotonic() - began
        return found, took, left_over(before), len(asyncio.all_tasks())

    found, took, open_still, tasks = asyncio.run(run())
    assert open_still == set()
    assert tasks == 1
    assert took < seconds + PROMPTLY
    if isinstance(found, Outcome):
        well_formed(found)
    return found


def well_formed(outcome: Outcome) -> None:
    """See that an outcome can be shown: one line of a known reason, without a word of what the other side said."""
    assert outcome.reason in Reason
    assert outcome.detail.isprintable()
    assert 0 < len(outcome.detail) < 400
    assert MARK.decode() not in outcome.detail


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a path for a Unix socket."""
    return str(tmp_path / "socket")


def socket_of(kind: str, path: str) -> str:
    """Return the path at which a server for a kind listens; nothing for a TCP port."""
    return path if "{path}" in REACHED.get(kind, "") else ""


@pytest.mark.parametrize("kind", SERVED)
def test_nobody_there_is_refused(kind: str, path: str) -> None:
    """Every kind passes on the kernel's refusal, as cheap to ask again; it proves only that the one asked is gone."""
    with refusing(path=socket_of(kind, path)) as port:
        found = attempted(at(kind, port, path))
    assert isinstance(found, Outcome)
    assert (found.state, found.reason, found.cheap) == (State.WAITING, Reason.REFUSED, True)
    assert found.gone is (kind not in ASKING_ANOTHER)


@pytest.mark.parametrize("manners", EVERY, ids=lambda manners: manners.__name__)
@pytest.mark.parametrize("kind", SERVED)
def test_a_bad_server_is_never_taken_for_a_good_one(kind: str, manners: Manners, path: str) -> None:
    """No misbehaviour makes a kind ready that wants more than a connection, nor proves that the thing is gone."""
    hangs_up = manners in (hung_up, reset)
    # How soon a server's thread hangs up depends on the machine; the usual linger does not wait for a slow one.
    linger = " linger=20s" if hangs_up and kind in CONTENT_WITH_A_CONNECTION else ""
    with serving(manners, path=socket_of(kind, path)) as port:
        found = attempted(at(kind, port, path, linger), 20 if hangs_up else ATTEMPT)
    if not isinstance(found, Outcome):
        assert found, "a cancelled attempt says at which step it was"
        return
    assert not found.gone
    if hangs_up:
        assert found.state is State.WAITING
        assert found.reason in (Reason.CLOSED, Reason.RESET, Reason.TLS_FAILED)
    elif kind in CONTENT_WITH_A_CONNECTION and found.reason not in (Reason.CLOSED, Reason.RESET):
        assert found.state is State.READY
    else:
        assert found.state is not State.READY
        assert found.state is State.WAITING or found.reason is Reason.WRONG_PROTOCOL


@pytest.mark.parametrize("kind", [kind for kind in SERVED if kind not in CONTENT_WITH_A_CONNECTION])
def test_silence_lasts_as_long_as_the_attempt(kind: str, path: str) -> None:
    """A kind has no time limit of its own: silence ends with the cancellation, which learns the step."""
    with serving(silent, path=socket_of(kind, path)) as port:
        found = attempted(at(kind, port, path))
    assert isinstance(found, list)
    assert found


@pytest.mark.parametrize("kind", SERVED)
def test_a_connection_that_is_never_completed_is_not_ready(kind: str, path: str) -> None:
    """A full backlog holds an attempt until it is cancelled, or is told by the kernel."""
    with half_open(path=socket_of(kind, path)) as port:
        found = attempted(at(kind, port, path))
    assert isinstance(found, list) or (found.state is State.WAITING and not found.gone)


@pytest.mark.parametrize("manners", [silent, hung_up, garbage, endless], ids=lambda manners: manners.__name__)
@pytest.mark.parametrize("kind", CONTRACTED)
def test_a_cancellation_at_any_await_leaves_nothing_behind(kind: str, manners: Manners, path: str) -> None:
    """However far an attempt has come, a cancellation goes through, and its sockets and tasks end with it."""

    async def run(probe: Probe) -> None:
        await limited(probe)
        before = descriptors()
        for turns in range(40):
            task = asyncio.ensure_future(probe.attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            ended = task.done()
            task.cancel()
            began = time.monotonic()
            await asyncio.wait([task])
            assert time.monotonic() - began < PROMPTLY
            assert task.cancelled() or ended
            if ended:
                well_formed(task.result())
        assert left_over(before) == set()
        assert len(asyncio.all_tasks()) == 1

    with ExitStack() as stack:
        if kind in LOCAL:
            probe = probe_of(kind, LOCAL[kind])
        else:
            probe = at(kind, stack.enter_context(serving(manners, path=socket_of(kind, path))), path)
        asyncio.run(run(probe))


@pytest.mark.parametrize("kind", [kind for kind in CONTRACTED if kind != "file"])
def test_without_descriptors_nothing_is_ready_and_nothing_is_gone(kind: str, path: str) -> None:
    """Where this process may open nothing more, that is said, and proves nothing of the dependency."""

    async def run(probe: Probe) -> Outcome:
        await limited(probe)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 20, limits[1]))
        try:
            return await probe.attempt()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with serving(silent, path=socket_of(kind, path)) as port, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(open("/dev/null", "rb"))
        outcome = asyncio.run(run(probe_of(kind, LOCAL[kind]) if kind in LOCAL else at(kind, port, path)))
    well_formed(outcome)
    assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, Reason.EXHAUSTED, False)


@pytest.mark.parametrize("target", ["tcp://localhost:1", "exec:true"])
def test_without_threads_or_processes_nothing_is_ready_and_nothing_is_left(target: str) -> None:
    """Where this user may start neither, or only one more, that is said; with enough of them the attempt goes on."""
    script = f"""
        import asyncio, os, resource
        from gatekeeper.probes import load
        probe = load({target.partition(":")[0]!r}).parse({target!r}, {{}})
        if os.geteuid() == 0:  # whom the limit does not bind
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        for limit in (*range(40), 4000):
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, most))
            outcome = asyncio.run(probe.attempt())
            print(outcome.state, outcome.reason, outcome.gone and outcome.reason == "exhausted")
            try:
                print(os.waitpid(-1, os.WNOHANG))
            except ChildProcessError:
                pass
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    normal = {"tcp": "waiting refused False", "exec": "ready ready False"}[target.partition(":")[0]]
    assert set(done.stdout.splitlines()) == {"waiting exhausted False", normal}


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
@pytest.mark.parametrize("kind", [kind for kind in CONTRACTED if NAMED.get(kind, "") is not None])
def test_a_name_that_is_not_there_and_one_that_hangs(kind: str) -> None:
    """No such name is an outcome, a nameserver's silence ends with the attempt, and neither is ready."""
    target = NAMED.get(kind) or f"{kind}://{{name}}:443"
    script = f"""
import asyncio
from gatekeeper.probes import load

async def run():
    kind = load({kind!r})
    outcome = await kind.parse({target.format(name="nosuch.test")!r}, {{}}).attempt()
    print(outcome.state, outcome.reason, outcome.gone)
    try:
        async with asyncio.timeout(0.5):
            print(await kind.parse({target.format(name="hang.test")!r}, {{}}).attempt())
    except TimeoutError as error:
        print(bool(error.__context__.__notes__))

asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script).splitlines() == ["waiting unresolved True", "True"]


@pytest.mark.parametrize("kind", CONTRACTED)
def test_a_kind_is_a_frozen_record_that_documents_itself(kind: str) -> None:
    """Each kind has a docstring, an example, and a line of help for every option."""
    record: Any = load(kind)
    assert record.__dataclass_params__.frozen
    assert record.__doc__
    assert ":" in record.EXAMPLE
    assert all(option.help and not option.help.endswith(".") for option in options_of(record).values())


STRANGE = ["", "//", "///", "//[", "//[::1", "//%", "//%zz", "//a:b:c", "//\0", "//\n", "//\ud800:1", "//ü:1", "//@"]


@pytest.mark.parametrize("rest", [*STRANGE, "//" + "x" * 100_000, "//x:99999", "//user:secret@host:1", "'", "//x:1/?#"])
@pytest.mark.parametrize("kind", CONTRACTED)
def test_a_strange_target_gives_a_probe_or_says_what_is_wrong(kind: str, rest: str) -> None:
    """No text makes a kind raise anything else than a bad declaration, on one printable line, and none takes long."""
    began = time.monotonic()
    try:
        load(kind).parse(f"{kind}:{rest}", {})
    except BadOptionsError as error:
        assert error.wrong  # noqa: PT017 - either way is right
        assert all(message.isprintable() and len(message) < 400 for _, message in error.wrong)  # noqa: PT017 - as above
        assert "secret" not in str(error)  # noqa: PT017 - as above
    assert time.monotonic() - began < PROMPTLY


@pytest.mark.parametrize("kind", CONTRACTED)
def test_strange_options_give_a_probe_or_say_what_is_wrong(kind: str) -> None:
    """Every option takes any text without raising anything else than a bad declaration."""
    target = (REACHED | LOCAL).get(kind, f"{kind}://localhost:{{port}}").split(" server")[0].format(port=1, path="/x")
    for key in options_of(load(kind)):
        for texts in ((), ("",), ("\0",), ("\ud800",), ("x" * 10_000,), ("-1",), ("a", "b"), ("(",), ("\n",)):
            try:
                load(kind).parse(target, {key: texts})
            except BadOptionsError as error:
                assert {name for name, _ in error.wrong} <= {key, *options_of(load(kind)), ""}  # noqa: PT017 - either way is right
