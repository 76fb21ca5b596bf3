"""Leaving, whatever the streams and the threads are doing. Real processes."""

import subprocess
import sys

import pytest

PYTHON = (sys.executable, "-E", "-c")  # buffered, whatever PYTHONUNBUFFERED says: what is buffered is the subject here
HEAD = "import os, sys, threading\nfrom gatekeeper.handover.leave import leave\n"
FILL = """
os.set_blocking(1, False)
try:
    while True: os.write(1, bytes(4096))
except BlockingIOError:
    os.set_blocking(1, True)
"""


def run(program: str, redirection: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a program of Python, its streams redirected by a shell."""
    words = ["sh", "-c", f'exec "$@" {redirection}', "sh", *PYTHON, HEAD + program]
    return subprocess.run(words, capture_output=True, timeout=60, check=False)


def test_what_was_printed_is_flushed() -> None:
    """Buffered output of both streams gets out."""
    done = run("sys.stdout.write('out'); sys.stderr.write('err'); leave(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out", b"err")


def test_a_hanging_thread_does_not_hold_the_exit() -> None:
    """A thread that would be joined at the end of Python is left alone."""
    assert run("threading.Thread(target=threading.Event().wait).start(); leave(124)").returncode == 124


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full", "1</dev/null"])
def test_streams_that_cannot_be_written_do_not_change_the_status(redirection: str) -> None:
    """Closed and full streams lose what they hold, and nothing else."""
    done = run("print('x' * 100, end='', file=sys.stdout); print('x', end='', file=sys.stderr); leave(69)", redirection)
    assert done.returncode == 69


def test_closed_file_objects_do_not_change_the_status() -> None:
    """Streams that Python has closed, or never had, are passed over."""
    assert run("sys.stdout.close(); sys.stderr = None; leave(2)").returncode == 2


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("sys.stdout.write('x' * 100); leave(143)", id="a write that blocks"),
        pytest.param(
            "import time\nthreading.Thread(target=lambda: (print('x' * 9000), 0)).start(); time.sleep(0.2); leave(143)",
            id="another thread blocked in a write",
        ),
    ],
)
def test_a_stuck_pipe_does_not_hold_the_exit(program: str) -> None:
    """A stdout that nobody reads is given up."""
    words = [*PYTHON, HEAD + FILL + program]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 143


def test_a_hung_up_pipe_does_not_change_the_status() -> None:
    """A reader that is gone is no reason for another status."""
    words = [*PYTHON, HEAD + "sys.stdin.read(); sys.stdout.write('x'); leave(7)"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.close()
        assert process.wait(60) == 7


def test_a_process_without_threads_left_leaves() -> None:
    """Where no thread can be started any more, the exit is the same."""
    program = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 20, -1)); leave(70)"
    assert run(program).returncode == 70
