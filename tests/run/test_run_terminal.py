"""An interactive shell in a real terminal, gatekeeper as its job: Ctrl-C, Ctrl-Z, fg, and who has the terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from gate.program import PATIENCE, environment
from run.tended import PYTHON, RUN, until

PROMPT = "READY-FOR-YOU> "
pytestmark = pytest.mark.needs("bash")

# Tells of each SIGINT, and stays; a second one that follows would be told within the wait for input. It waits for a
# signal and for input at once: of one that comes just before a read blocks Python tells only when that read has ended.
COUNTING = r"""
import os, select, signal, sys
def say(*words): os.write(1, " ".join(words).encode() + b"\n")  # a handler may not come between the halves of a print
signal.signal(signal.SIGINT, lambda *_: say("interrupted"))
signal.signal(signal.SIGCONT, lambda *_: say("continued"))
signal.signal(signal.SIGWINCH, lambda *_: say("resized"))
came, coming = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(coming)
say("counting")
while True:
    readable = select.select([0, came], [], [])[0]
    if came in readable: os.read(came, 100)
    if 0 not in readable: continue
    line = os.read(0, 1000).decode().strip()
    if not line: break
    say("heard", line)
    if line == "end": sys.exit(7)
"""


class Shell:
    """An interactive shell; what it shows is read as a terminal would."""

    def __init__(self, descriptor: int) -> None:
        """Take the terminal's own end."""
        self.descriptor = descriptor
        self._read = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.descriptor, text.encode())

    def shows(self, text: str) -> str:
        """Wait until a text is shown, and return what was shown up to there since the last wait."""
        end = time.monotonic() + PATIENCE
        while text not in self._read:
            assert time.monotonic() < end, f"{text!r} is not in {self._read!r}"
            if select.select([self.descriptor], [], [], 0.1)[0]:
                self._read += os.read(self.descriptor, 65536).decode().replace("\r\n", "\n")
        before, found, self._read = self._read.partition(text)
        return before + found

    def foreground(self) -> int:
        """Return the process group that has the terminal."""
        return os.tcgetpgrp(self.descriptor)

    def running(self) -> str:
        """Return the name of the program that leads the group which has the terminal."""
        return Path(f"/proc/{self.foreground()}/comm").read_text().strip()

    def answer(self, command: str) -> str:
        """Let the shell run a command and return the number that it prints."""
        self.type(f"echo '='$(({command}))'='\n")
        return self.shows_match(r"\n=(\d+)=\n")

    def shows_match(self, pattern: str) -> str:
        """Wait for a match, then for the prompt behind it, and return its first group."""
        shown = ""
        while not (match := re.search(pattern, shown)):
            shown += self.shows(PROMPT)
        return match[1]


@contextmanager
def shell() -> Iterator[Shell]:
    """Give a shell that controls its jobs, in a terminal of its own."""
    pid, descriptor = pty.fork()
    if not pid:
        with suppress(BaseException):
            env = environment(PS1=PROMPT, TERM="dumb", HISTFILE="/dev/null", LC_ALL="C.UTF-8")
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)
        os._exit(1)
    try:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 500, 0, 0))
        here = Shell(descriptor)
        here.shows(PROMPT)
        yield here
    finally:
        os.close(descriptor)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def line(*words: str) -> str:
    """Return a line for the shell, which keeps our log out of the terminal."""
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    return f"{quoted} 2>/dev/null\n"


@pytest.fixture
def script(tmp_path: Path) -> str:
    """Return a file with the program that counts its interrupts."""
    path = tmp_path / "counting.py"
    path.write_text(COUNTING)
    return str(path)


def test_ctrl_c_reaches_the_command_once(script: str) -> None:
    """The terminal sends SIGINT to the whole job, and it is not sent on: the command hears each key once."""
    with shell() as here:
        here.type(line(*RUN, *PYTHON[:-1], script))
        here.shows("counting\n")
        for number in range(3):
            here.type("\x03")
            here.shows("interrupted\n")
            here.type(f"{number}\n")  # what came twice would be told before this is heard
            assert "interrupted" not in here.shows(f"heard {number}\n")
        here.type("end\n")
        here.shows(PROMPT)
        assert here.answer("$?") == "7"


def test_ctrl_c_ends_a_command_that_does_not_mind() -> None:
    """A plain command dies of Ctrl-C, the status is 130, and the shell has the terminal again."""
    with shell() as here:
        before = here.foreground()
        here.type(line(*RUN, "sh", "-c", "echo up; exec sleep 1000"))
        here.shows("up\n")
        assert here.foreground() != before
        here.type("\x03")
        here.shows(PROMPT)
        assert here.foreground() == before
        assert here.answer("$?") == "130"


def test_ctrl_z_stops_the_job_and_fg_continues_it(script: str) -> None:
    """Ctrl-Z gives the shell its terminal back, fg brings the command back into it, again and again."""
    with shell() as here:
        before = here.foreground()
        here.type(line(*RUN, *PYTHON[:-1], script))
        here.shows("counting\n")
        job = here.foreground()
        assert job != before
        for number in range(3):
            here.type("\x1a")
            here.shows("Stopped")
            here.shows(PROMPT)
            assert here.foreground() == before
            here.type("fg\n")
            here.shows("continued\n")
            here.type(f"{number}\n")
            here.shows(f"heard {number}\n")
            assert here.foreground() == job
        here.type("\x03")
        here.shows("interrupted\n")
        here.type("end\n")
        here.shows(PROMPT)
        assert here.foreground() == before
        assert here.answer("$?") == "7"


def test_a_command_that_ignores_ctrl_z_is_not_left_without_its_terminal() -> None:
    """Where the command does not stop, neither do we: the shell would take the terminal away from it."""
    script = "trap '' TSTP; echo up; read line; echo got $line; exit 5"
    with shell() as here:
        here.type(line(*RUN, "sh", "-c", script))
        here.shows("up\n")
        job = here.foreground()
        here.type("\x1a")
        here.type("something\n")
        here.shows("got something\n")
        here.shows(PROMPT)
        assert job != here.foreground()
        assert here.answer("$?") == "5"


@pytest.mark.parametrize("whom", ["os.getpid()", "0"])
def test_a_command_that_stops_itself_gives_the_terminal_back(whom: str) -> None:
    """An editor reads Ctrl-Z as a key and stops itself, or its group: the shell is there all the same."""
    stops = f"import os, signal; print('up', flush=True); os.kill({whom}, signal.SIGTSTP); print('back', input())"
    with shell() as here:
        before = here.foreground()
        here.type(line(*RUN, *PYTHON, stops))
        here.shows("Stopped")
        here.shows(PROMPT)
        assert here.foreground() == before
        here.type("fg\n")
        here.type("again\n")
        here.shows("back again\n")
        here.shows(PROMPT)
        assert here.answer("$?") == "0"


def test_a_job_in_the_background_that_reads_is_stopped_and_comes_back() -> None:
    """Reading in the background stops the job, as without us; fg gives it the terminal."""
    with shell() as here:
        here.type(line(*RUN, "sh", "-c", "read line; echo got $line; exit 3").replace("\n", " &\n"))
        here.shows(PROMPT)
        here.type("wait -n 2>/dev/null; jobs\n")
        here.shows("Stopped")
        here.shows(PROMPT)
        here.type("fg\n")
        here.type("something\n")
        here.shows("got something\n")
        here.shows(PROMPT)
        assert here.answer("$?") == "3"


def test_a_shell_inside_has_jobs_of_its_own() -> None:
    """An interactive shell as the command takes the terminal for its jobs; afterwards the outer one has it again."""
    with shell() as here:
        before = here.foreground()
        inner = ("bash", "--norc", "--noprofile", "--noediting", "-i")
        here.type(line(*RUN, "sh", "-c", 'exec "$@" 2>&1', "sh", *inner))
        here.shows(PROMPT)
        inside = here.foreground()
        here.type("sleep 1000\n")
        until(lambda: here.running() == "sleep")
        assert len({before, inside, here.foreground()}) == 3
        here.type("\x1a")
        here.shows("Stopped")
        here.shows(PROMPT)
        assert here.foreground() == inside
        here.type("fg\n")
        until(lambda: here.running() == "sleep")
        here.type("\x03")
        here.shows(PROMPT)
        here.type("exit 6\n")
        here.shows(PROMPT)
        assert here.foreground() == before
        assert here.answer("$?") == "6"


def test_a_resized_window_is_told_once(script: str) -> None:
    """SIGWINCH comes from the terminal to the command itself, and a second one does not follow."""
    with shell() as here:
        here.type(line(*RUN, *PYTHON[:-1], script))
        here.shows("counting\n")
        fcntl.ioctl(here.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 501, 0, 0))
        here.shows("resized\n")
        here.type("something\n")
        assert "resized" not in here.shows("heard something\n")
        here.type("\x04")
        here.shows(PROMPT)


def test_a_terminal_that_goes_away_ends_the_command(tmp_path: Path) -> None:
    """Where the terminal hangs up, the command hears SIGHUP, once, as it would without us."""
    hears = "import os, signal\nsignal.signal(signal.SIGHUP, lambda *_: os.write(file, b'hup '))\n"
    hears += f"file = os.open({str(tmp_path / 'heard')!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)\n"
    hears += "print('up', flush=True)\nimport select\nselect.poll().poll(700); os.write(file, b'end')"
    pid, descriptor = pty.fork()
    if not pid:
        with suppress(BaseException):
            os.execvpe("sh", ["sh", "-c", '"$@" & wait', "sh", *RUN, *PYTHON, hears], environment())
        os._exit(1)
    Shell(descriptor).shows("up")
    os.close(descriptor)
    os.waitpid(pid, 0)
    until(lambda: (tmp_path / "heard").read_text().endswith("end"))
    assert (tmp_path / "heard").read_text() == "hup end"
