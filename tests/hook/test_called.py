"""What the hook makes of a state and its annotations: open, shut, or not its business."""

import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hooking import DEPENDENCIES, GATEKEEPER, PATIENCE, environment, hook, inside

from gatekeeper.declaration import BadDeclarationError, Given, Problem
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.pod import of_annotations
from gatekeeper.declare.reading import read_at_most
from gatekeeper.declare.sources import gather
from gatekeeper.hook.enter import Side, side_of
from gatekeeper.hook.state import State, read_state
from gatekeeper.model import Plan
from gatekeeper.plan import make_plan

CRUN = '{"ociVersion":"1.0","id":"x","pid":7,"root":"rootfs","bundle":"/b","status":"created","annotations":{"a":"b"}}'
RUNC = '{"ociVersion":"1.0.2-dev","id":"x","status":"creating","pid":7,"bundle":"/b","annotations":{"a":"b"}}'


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port that keeps connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    """Return a port that nobody else gets, and on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_what_is_there_lets_the_container_start(port: int) -> None:
    """The exit status is 0, and one line says what was waited for."""
    done = hook(inside(dependencies=f"db=tcp://127.0.0.1:{port}\n# and no more\n"))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("gatekeeper: open after ")
    assert done.stderr.count("\n") == 1


def test_what_is_missing_keeps_it_from_starting(refusing: int) -> None:
    """At the deadline of the annotations the status is not 0, and the one line says which and why."""
    done = hook(inside(dependencies=f"db=tcp://127.0.0.1:{refusing}", timeout="1s"))
    assert done.returncode == 124
    why = rf"1 of 1 not ready: db \(refused: 127\.0\.0\.1:{refusing}\)"
    assert re.fullmatch(rf"gatekeeper: closed, the time is up after 1[.0-9]*s: {why}\n", done.stderr)


@pytest.mark.parametrize("annotations", [None, {}, {"org.example/dev.gatekeeper": "x"}])
def test_whoever_declares_nothing_is_let_through_unseen(annotations: object) -> None:
    """Without an annotation of ours the container starts, whatever the environment of the runtime says."""
    state = inside() | {"annotations": annotations}
    done = hook(state, "--timeout=1s", env={"GATEKEEPER_DEPENDENCIES": "tcp://127.0.0.1:1", "GATEKEEPER_X": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_container_that_is_over_needs_nothing() -> None:
    """A poststop hook has nothing to hold; runc gives it no process."""
    state = inside(dependencies="tcp://127.0.0.1:1") | {"status": "stopped"}
    del state["pid"]
    done = hook(state)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri.container-type"])
def test_the_sandbox_of_a_pod_is_let_through(refusing: int, name: str) -> None:
    """It has the pod's annotations and runs nothing; held, the pod's own containers would never come to be."""
    state = inside(dependencies=f"tcp://127.0.0.1:{refusing}", timeout="200ms")
    for kind, status in (("sandbox", 0), ("container", 124)):
        state["annotations"][name] = kind
        assert hook(state).returncode == status
    state["annotations"][name] = "sandbox"
    assert hook(state, f"tcp://127.0.0.1:{refusing}").returncode == 124


def test_what_the_hook_is_installed_with_holds_every_container(refusing: int) -> None:
    """A dependency among the hook's own arguments counts where a container declares none, and a bad one closes."""
    done = hook(inside(), f"db=tcp://127.0.0.1:{refusing}", "--timeout=200ms")
    assert done.returncode == 124
    assert hook(inside(), "tcq://127.0.0.1:1").returncode == 2
    assert hook(inside(), "db=").returncode == 2


def test_an_empty_declaration_is_none_and_keeps_shut() -> None:
    """A template that came out empty is a bad declaration, not a container that wants nothing."""
    done = hook(inside(dependencies=""))
    assert done.returncode == 2
    assert "there is none" in done.stderr


def test_every_problem_is_told_with_its_annotation() -> None:
    """What is wrong is told as for arguments, at once, and nothing is probed."""
    declared = "db=tcp://db:99999\napi=htp://api timeut=1s"
    done = hook(inside(dependencies=declared, timeout="soon", atempt_timeout="1s", notify="ready"))
    assert done.returncode == 2
    head, *problems = done.stderr.splitlines()
    assert head == f"gatekeeper: {len(problems)} problems, nothing was probed"
    assert {each.split(": ")[0] for each in problems} == {
        *("dev.gatekeeper/atempt-timeout", "dev.gatekeeper/notify", "dev.gatekeeper/timeout"),
        *(f"{DEPENDENCIES} line 1", f"{DEPENDENCIES} line 2"),
    }
    assert "unknown annotation; did you mean dev.gatekeeper/attempt-timeout?" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ('{"status": "creating", ', "is no JSON"),
        ("[]", "is no JSON object"),
        ("[" * 100_000, "nests more than"),
        (f'{{"status": "creating", "x": "{"x" * 1024 * 1024}"}}', "is larger than 1 MiB"),
        ('{"pid": 0, "annotations": {}}', "has no status"),
        ('{"status": null}', "has no status"),
        ('{"status": "creating", "pid": -1}', "no process id"),
        ('{"status": "creating", "pid": true}', "no process id"),
        ('{"status": "creating", "annotations": []}', "no JSON object"),
        (f'{{"status": "creating", "annotations": {{"{DEPENDENCIES}": ["tcp://a:1"]}}}}', "that is no text"),
        (f'{{"status": "creating", "annotations": {{"{DEPENDENCIES}": "tcp://a:1"}}}}', "names no process"),
        (
            f'{{"status": "creating", "pid": 4194304, "annotations": {{"{DEPENDENCIES}": "tcp://a:1"}}}}',
            "process 4194304",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_state_keeps_shut(text: str, message: str) -> None:
    """A state that is broken, huge or says too little is told of, and is never taken for one without a declaration."""
    done = hook(text)
    assert done.returncode == 2
    assert message in done.stderr
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        with pytest.raises(BadDeclarationError, match=message):
            side_of(read_state(file.fileno()))


@pytest.mark.parametrize(
    ("status", "pid", "side"),
    [
        ("creating", 1, Side.BETWEEN),  # runc
        ("created", 1, Side.CONTAINER),
        ("created", 0, Side.BETWEEN),  # crun
        ("starting", 0, Side.CONTAINER),
        ("creating", os.getpid(), Side.BETWEEN),  # runc, where the process namespace is shared
        ("created", os.getpid(), Side.CONTAINER),
    ],
    ids=["runc between", "runc container", "crun between", "crun container", "shared between", "shared container"],
)
def test_what_a_state_and_proc_tell_of_where_we_are(status: str, pid: int, side: Side) -> None:
    """Process 0 or 1, or one whose namespaces we share, means that we are inside; the status, whether of all of it."""
    assert side_of(State(status, pid, "/", ())) is side


def test_a_runtime_that_writes_nothing_is_not_waited_for() -> None:
    """A state that does not come is an error after a while, not a hook that hangs."""
    reader, writer = os.pipe()
    with pytest.raises(TimeoutError):
        read_at_most(10, reader, 0.01)
    os.write(writer, b"x" * 20)
    assert read_at_most(10, reader, 0.01) == b"x" * 10
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("text", [RUNC, CRUN], ids=["runc", "crun"])
def test_the_states_of_both_runtimes_are_read(text: str, tmp_path: Path) -> None:
    """Fields that nobody knows say nothing."""
    (tmp_path / "state").write_text(text)
    with (tmp_path / "state").open() as file:
        state = read_state(file.fileno())
    assert (state.pid, state.bundle, state.annotations) == (7, "/b", (("a", "b"),))


def planned(annotations: dict[str, str], *argv: str, **environ: str) -> Plan:
    """Return the plan of annotations, arguments and environment."""
    problems: list[Problem] = []
    arguments = parse_arguments(argv, problems, environ)
    source = of_annotations(annotations.items(), problems, environ)
    return make_plan(gather(arguments.source, environ, problems, source), problems)


def test_annotations_stand_between_the_environment_and_the_plan_file(tmp_path: Path) -> None:
    """Arguments win over the environment, that over annotations, those over a plan file; dependencies as a whole."""
    (tmp_path / "plan.yaml").write_text(
        "timeout: 1s\nsuccesses: 1\ninterval: 1s\nmax_interval: 1m\n"
        "dependencies: {a: 'tcp://file:1', b: 'tcp://file:1', c: 'tcp://file:1', d: 'tcp://file:1'}\n"
    )
    annotations = {
        "dev.gatekeeper/file": str(tmp_path / "plan.yaml"),
        DEPENDENCIES: "a=tcp://annotation:1\nb=tcp://annotation:1\nc=tcp://annotation:1 optional",
        **{
            f"dev.gatekeeper/{key}": value for key, value in (("timeout", "2s"), ("successes", "2"), ("interval", "2s"))
        },
    }
    environ = {"GATEKEEPER_DEPENDENCIES": "a=tcp://env:1\nb=tcp://env:1", "GATEKEEPER_TIMEOUT": "3s"}
    environ["GATEKEEPER_SUCCESSES"] = "3"
    plan = planned(annotations, "--timeout=4s", "a=tcp://argument:1", **environ)
    hosts = {each.name: each.target.split("/")[2] for each in plan.dependencies}
    assert hosts == {"a": "argument:1", "b": "env:1", "c": "annotation:1", "d": "file:1"}
    options = plan.options
    assert (options.timeout, options.successes, options.interval, options.max_interval) == (4, 3, 2, 60)
    origins = {each.key: each.origin for each in plan.settings}
    assert origins["interval"] == "dev.gatekeeper/interval"
    assert {each.origin for each in plan.dependencies} >= {f"{DEPENDENCIES} line 3", "argument 1"}


def test_an_option_may_be_written_with_either_sign() -> None:
    """Both - and _ will do, an empty one says nothing, and the same one twice is a problem."""
    problems: list[Problem] = []
    given = [
        ("dev.gatekeeper/on_timeout", "continue"),
        ("dev.gatekeeper/max-interval", "1s"),
        ("dev.gatekeeper/any", ""),
    ]
    assert of_annotations(given, problems, {}).settings == (
        Given("on_timeout", ("continue",), "dev.gatekeeper/on_timeout"),
        Given("max_interval", ("1s",), "dev.gatekeeper/max-interval"),
    )
    assert problems == []
    of_annotations([*given, ("dev.gatekeeper/on-timeout", "fail")], problems, {})
    assert [each.place for each in problems] == ["dev.gatekeeper/on-timeout"]
    with pytest.raises(BadDeclarationError):
        make_plan([], problems)


def test_ready_is_not_the_hooks_to_say(tmp_path: Path, port: int) -> None:
    """A runtime hands its own NOTIFY_SOCKET on: what the hook says there is a status, never READY."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        done = hook(inside(dependencies=f"tcp://127.0.0.1:{port}"), env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        manager.setblocking(False)  # noqa: FBT003 - as the module has it
        said = []
        while True:
            try:
                said.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
    assert done.returncode == 0
    assert any(each.startswith("STATUS=") for each in said)
    assert not any("READY=1" in each for each in said)


def test_inside_the_container_annotations_may_ask_for_everything(tmp_path: Path) -> None:
    """A hook that has the container's own rights runs commands, looks at files and writes the report."""
    done = hook(
        inside(dependencies=f"exec:true\nfile://{tmp_path}", report=str(tmp_path / "report"), log_format="json")
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report").read_text())["gate"] == "open"
    assert json.loads(done.stderr.splitlines()[-1])["event"] == "gate.open"


def test_inside_the_container_fields_of_the_pod_are_replaced(tmp_path: Path, port: int) -> None:
    """The variables and the volume around the hook are those of the pod."""
    (tmp_path / "name").write_text("127.0.0.1")
    state = inside(dependencies=f"db=tcp://${{$.metadata.name}}:{port}")
    assert hook(state).returncode == 2
    assert hook(state, env={"POD_NAME": "127.0.0.1"}).returncode == 0
    assert hook(state, env={"GATEKEEPER_POD_INFO": str(tmp_path)}).returncode == 0


def test_a_signal_ends_the_hook(refusing: int) -> None:
    """A runtime that gives up early is obeyed at once."""
    state = inside(dependencies=f"tcp://127.0.0.1:{refusing}", verbose="yes", log_format="json")
    with subprocess.Popen(
        [*GATEKEEPER, "hook"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(json.dumps(state))
        process.stdin.close()
        assert "gate.waiting" in process.stderr.readline()
        process.terminate()
        assert process.wait(PATIENCE) == 143
