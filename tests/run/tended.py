"""A command that gatekeeper tends, as processes: started, watched through /proc, and spoken with."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gate.program import GATEKEEPER, PATIENCE, environment

# The gate is another test's subject: here it is open from the start.
GATE = ("--bypass=a test", "--status=off", "tcp://127.0.0.1:1")
RUN = (*GATEKEEPER, "run", *GATE, "--")
TINI, DUMB_INIT = ("tini", "-s", "--"), ("dumb-init", "--")
INITS = {"gatekeeper": RUN, "tini": TINI, "dumb-init": DUMB_INIT}
PYTHON = (sys.executable, "-I", "-S", "-c")
SIGNALS_OF_C = {32, 33}  # the C library keeps them for itself (nptl(7))


def init(*options: str) -> tuple[str, ...]:
    """Return gatekeeper with options, as what goes before a command."""
    return (*GATEKEEPER, "run", *GATE, *options, "--")


def run(
    *words: str | Path, env: Mapping[str, str] | None = None, unclean: bool = False, **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run words to their end, in an environment that has nothing of the machine's own, or (unclean) in just ``env``."""
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True} | how
    given = dict(env or {}) if unclean else environment(**(env or {}))
    return subprocess.run(words, env=given, timeout=PATIENCE, check=False, **how)


class Tended:
    """A process whose standard output is read line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Take the process."""
        self.process = process
        self.pid = process.pid
        self._rest = b""

    def line(self) -> str:
        """Wait for a line of the command and return it; an empty text is the end."""
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        end = time.monotonic() + PATIENCE
        while b"\n" not in self._rest:
            assert select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0], self._rest
            more = os.read(descriptor, 65536)
            if not more:
                return ""
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def send(self, number: int) -> None:
        """Send a signal to the process itself, not to the command."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(PATIENCE)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log, once it has ended."""
        assert self.process.stderr
        return [json.loads(line) for line in self.process.stderr.read().splitlines() if line.startswith("{")]


@contextmanager
def tending(*words: str | Path, env: Mapping[str, str] | None = None, **how: Any) -> Iterator[Tended]:
    """Give a process that runs; what still runs in the end is killed, with all that it started.

    Its process group alone would not do: tini and dumb-init put the command into one of its own.
    """
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    how = {"text": True, "process_group": 0} | how
    with subprocess.Popen(words, env=environment(**(env or {})), **how) as process:
        try:
            yield Tended(process)
        finally:
            started = descendants(process.pid) if process.poll() is None else []
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            for pid in started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def until(true: Callable[[], Any], what: str = "") -> None:
    """Wait for what nobody tells of: look again and again, until it is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, what or true
        time.sleep(0.005)


def state(pid: int) -> str:
    """Return the state of a process as proc(5) has it (R, S, T, Z ...), nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies included."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += [int(each) for each in (task / "children").read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below a process; one that has just ended has none."""
    with suppress(FileNotFoundError):
        return [below for child in children(pid) for below in (child, *descendants(child))]
    return []
