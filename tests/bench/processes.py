"""Start a tool as a process and take its measure: wall time, processor time, peak memory, and when its COMMAND ran.

Every process gets a session of its own and is gone when the function that started it returns. Nothing here knows a
tool, and nothing is judged: a run that fails is an exception with what the tool said last.
"""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

LIMIT = 60.0
STAMP = b"stamp"


class FailedRunError(Exception):
    """A run that has no result: the tool failed, hung, or ended before its time."""


class Ended(NamedTuple):
    """A process that has ended: status, seconds of the wall and of processors, lines as they came, last word."""

    status: int
    wall: float
    processor: float
    lines: list[tuple[int, bytes]]
    complaint: str


def run(argv: Sequence[str], statuses: Container[int] = (0,)) -> Ended:
    """Run ``argv`` to its end; raise FailedRunError for any other exit status, or when it takes over a minute."""
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        with _started(argv, errors) as process:
            assert process.stdout is not None
            lines = [(time.monotonic_ns(), line) for line in process.stdout]
            # wait4 and not Popen.wait: it tells the processor time, and with a limit Popen would poll instead of block.
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
        complaint = "it hung" if process.returncode == -signal.SIGKILL else _last_line(errors)
    if process.returncode not in statuses:
        msg = f"exit status {process.returncode}: {complaint}"
        raise FailedRunError(msg)
    return Ended(process.returncode, wall, usage.ru_utime + usage.ru_stime, lines, complaint)


def stamp_command(folder: Path) -> list[str]:
    """Build the COMMAND that says when it started; without a C compiler a shell's echo, timed as it arrives."""
    program = folder / "stamp"
    source = Path(__file__).with_name("stamp.c")
    for linking in (["-static"], []):
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(["cc", "-O2", *linking, "-o", program, source], check=True, capture_output=True)
            return [str(program)]
    return ["/bin/sh", "-c", f"echo {STAMP.decode()}"]


def stamped(ended: Ended) -> int:
    """Return when COMMAND started, in nanoseconds of the monotonic clock; raise FailedRunError where it never did."""
    for arrived, line in ended.lines:
        if line.startswith(STAMP):
            _, _, told = line.partition(b" ")
            return int(told or arrived)
    msg = "it ended well, and COMMAND never ran"
    raise FailedRunError(msg)


def peak_memory(argvs: Mapping[str, Sequence[str]], after: float) -> tuple[dict[str, float], list[str]]:
    """Start all and wait ``after`` seconds; return each one's peak resident size in MiB, and which did not wait."""
    sizes: dict[str, float] = {}
    notes: list[str] = []
    with ExitStack() as stack:
        errors = {name: stack.enter_context(tempfile.TemporaryFile()) for name in argvs}
        waiting = {name: stack.enter_context(_started(argv, errors[name])) for name, argv in argvs.items()}
        time.sleep(after)
        for name, process in waiting.items():
            if process.poll() is None:
                sizes[name] = _high_water(process.pid)
            else:
                notes.append(f"{name}: no number: exit status {process.returncode}: {_last_line(errors[name])}")
    return sizes, notes


@contextmanager
def _started(argv: Sequence[str], errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_environment(),
        start_new_session=True,
    ) as process:
        watchdog = threading.Timer(LIMIT, _kill, [process.pid])
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            _kill(process.pid)


def _environment() -> dict[str, str]:
    """Keep what would change a tool's behaviour out of its environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GATEKEEPER_", "NODE_", "PYTHON")) and name != "NOTIFY_SOCKET"
    }


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _high_water(pid: int) -> float:
    """Return the largest resident size that a process had, VmHWM of proc(5), in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) / 1024


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
