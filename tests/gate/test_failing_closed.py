"""No error anywhere opens the gate: a fault is put into every step in turn, with every kind of exception."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from program import environment, listening, reading, refusing

FAULTY = Path(__file__).parent / "faulty.py"
# Everything that can be said is said, so that every voice can fail.
VOICES = ("--report=report", "--ready-file=ready", "--termination-log=termination", "--notify=ready", "-v")
COMMAND = ("--", "sh", "-c", "echo > ran")

# What a step may raise where its caller expects the world, and not us, to be at fault: the gate waits on.
OF_THE_WORLD = {"EMFILE", "TimeoutError"}

STEPS = {
    "declare": ("declared:parse_arguments", "declared:gather", "declare.argv:parse_line", "declared:_unusable"),
    "plan": ("cli:declared", "declared:make_plan", "probes.tcp:Tcp.parse"),
    "start": ("cli:secure_standard_descriptors", "cli:take_stock", "log:open_log", "cli:_prepare", "cli:Signals"),
    "hold": (
        "cli:held",
        "gate:hold",
        "gate:believe",
        "gate:Watch",
        "gate:Watch.run",
        "gate:Watch.reports",
        "gate:_decided",
    ),
    "watch": (
        "watch:Watch._tend",
        "watch:Watch._heard",
        "standing:Standing.update",
        "standing:Standing.report",
        "watch:_let_go",
    ),
    "settle": ("watch:Watch._settle", "watch:Watch._tended"),
    "pace": ("watch:pace", "pace:_Run.attempt", "pace:_Run._limited", "pace:_Run._steady"),
    "repeat": ("pace:_Run.pause_after", "pace:_Run.rest"),
    "turns": ("gate:Watch.__init__", "turns:_Turn.__aenter__", "turns:_Turn.__aexit__"),
    "probe": ("probes.tcp:Tcp.attempt",),
    "resolve": ("probes._connect:resolve", "resolve:_look_up", "resolve:_peers"),
    "decide": ("decide:so_far", "decide:conclude", "decide:summary"),
    "at the deadline": ("decide:at_deadline", "decide:_out_of_time", "announce.sdnotify:Notifier.failure"),
    "progress": tuple(f"announce.progress:Progress.{name}" for name in ("begin", "accompany", "changed", "end")),
    "announce": tuple(f"announce.ending:{name}" for name in ("announce", "take_back", "story", "_tell_log")),
    "files": ("announce.files:write_report", "announce.files:write_termination_message", "announce.files:_replace"),
    "sdnotify": tuple(f"announce.sdnotify:Notifier.{name}" for name in ("status", "send", "ready")),
    "s6": ("announce.s6:newline_on",),
    "log": ("log:Log.say", "log:Log.changed", "log:Log.attempted", "log:_logger", "log:Lines.write"),
    "verdict": ("verdict:Verdict.as_dict",),
    "signals": ("signals:Signals.wait", "signals:Signals.last_look"),
    "hand over": ("cli:our_variables", "cli:lacking", "cli:become", "handover.become:_environment"),
    "execute": ("handover.become:_put_back_signals", "handover.become:_execute"),
}
# Where the steps of a part are reached: with a dependency that is there, or with one that is not, and for how long.
SHUT = {"repeat": "20s", "at the deadline": "300ms"}


class Found(NamedTuple):
    """What became of a gate with a fault in it; ``files`` are those in its folder."""

    step: str
    exception: str
    status: int
    reached: bool
    stderr: str
    files: list[str]


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """Give what became of a gate with every voice and a command, for each step and each exception."""
    folder = tmp_path_factory.mktemp("faults")
    with listening(4096) as there, refusing() as gone, reading(folder) as manager, open(os.devnull, "w") as s6:
        arguments = {}
        for part, steps in STEPS.items():
            for step in steps:
                dependency = f"tcp://localhost:{gone if part in SHUT else there}"
                limit = SHUT.get(part, "1s" if part == "resolve" else "20s")
                voices = [*VOICES, f"--notify-fd={s6.fileno()}", f"--timeout={limit}"]
                arguments[step] = ["wait", *voices, dependency, *COMMAND]
        done = subprocess.run(
            [sys.executable, str(FAULTY), str(folder)],
            input=json.dumps(arguments),
            env=environment(NOTIFY_SOCKET=manager),
            pass_fds=[s6.fileno()],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return [Found(*found) for found in json.loads(done.stdout)]


@pytest.mark.parametrize("part", STEPS)
def test_a_fault_in_any_step_keeps_the_gate_shut(part: str, gates: list[Found]) -> None:
    """Whatever a step raises, the command never runs, the status is 70, and stderr has a sentence and no traceback."""
    found = [gate for gate in gates if gate.step in STEPS[part]]
    assert len(found) >= len(STEPS[part]) * 7
    for gate in found:
        waits_on = part == "resolve" and gate.exception in OF_THE_WORLD
        assert gate.reached, gate
        assert "ran" not in gate.files, gate
        assert gate.status == (124 if waits_on else 70), gate
        assert "Traceback" not in gate.stderr, gate
        assert "ready" not in gate.files, gate
        assert (
            "fault" in gate.stderr or "cannot be written" in gate.stderr or waits_on or gate.step == "log:Lines.write"
        ), gate
