"""The deadline is kept in every state there is. What was measured is printed: ``pytest -s``."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from program import GATEKEEPER, PATIENCE, environment, listening, refusing, run
from states import STATES, Way, gone, resolving

# Seconds. 0.1 is promised, the rest is for a machine that has other things to do; what would hold the gate in these
# states holds it for half a minute or for ever.
LATE = 10
LIMIT = 0.7


def held(way: Way, folder: Path, *words: str) -> tuple[int, float]:
    """Return the exit status of a gate and how many seconds it took by its own clock."""
    report = folder / "report.json"
    began = time.monotonic()
    done = subprocess.run(
        [*way.program, "wait", f"--report={report}", *way.words, *words, "--", "touch", str(folder / "ran")],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    took = time.monotonic() - began
    assert report.exists(), done.stderr
    assert not (folder / "ran").exists()
    waited = json.loads(report.read_text())["waited"]
    print(f"by its own clock {waited:.3f} s, as a process {took:.3f} s")  # noqa: T201 - for who measures
    assert took < waited + 5
    return done.returncode, waited


@pytest.mark.parametrize("state", STATES)
def test_the_deadline_is_kept(state: str, tmp_path: Path) -> None:
    """Whatever is going on when the time is up, the gate is shut then, and not later, with status 124."""
    limit = 2.0 if state in ("thousand", "command") else LIMIT
    with STATES[state](tmp_path) as way:
        status, waited = held(way, tmp_path, f"--timeout={limit}")
    assert status == 124
    assert limit <= waited < limit + LATE
    if state == "command":
        assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_the_deadline_is_kept_while_a_name_is_looked_up(tmp_path: Path) -> None:
    """A resolver that hangs holds neither the deadline nor the exit."""
    with resolving(tmp_path) as way:
        status, waited = held(way, tmp_path, f"--timeout={LIMIT}")
    assert status == 124
    assert LIMIT <= waited < LIMIT + LATE


def test_a_dependency_that_is_late_shuts_the_gate(tmp_path: Path) -> None:
    """The time of one required dependency is up before the gate's is: 124 at that moment."""
    with refusing() as port:
        status, waited = held(Way((f"tcp://127.0.0.1:{port} timeout={LIMIT}",)), tmp_path, "--timeout=1h")
    assert status == 124
    assert LIMIT <= waited < LIMIT + LATE


def test_an_optional_dependency_does_not_hold_the_gate() -> None:
    """When the time of an optional dependency is up the gate goes on without it, and says so."""
    with listening() as there, refusing() as port:
        done = run("wait", f"tcp://127.0.0.1:{there}", f"x=tcp://127.0.0.1:{port} optional timeout=300ms")
    assert done.returncode == 0
    assert '"name": "x"' in done.stderr
    assert '"state": "skipped"' in done.stderr


def test_a_clock_that_is_set_back_changes_nothing(tmp_path: Path) -> None:
    """Time is taken from a clock that nobody sets: where the wall clock runs backwards the deadline is kept."""
    backwards = (
        "import time, itertools; hours = itertools.count(0, 3600); real = time.time\n"
        "time.time = lambda: real() - next(hours)\n"
        "from gatekeeper.__main__ import main; main()"
    )
    with refusing() as port:
        way = Way((f"tcp://127.0.0.1:{port}",), (GATEKEEPER[0], "-c", backwards))
        status, waited = held(way, tmp_path, f"--timeout={LIMIT}")
    assert status == 124
    assert LIMIT <= waited < LIMIT + LATE
