"""What a terminal shows: a real pseudo-terminal, whose other end is read as a terminal would."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unicodedata import east_asian_width

import pytest
from program import GATEKEEPER, PATIENCE, environment, listening, refusing

CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PAINTED, CURSOR = "\x1b[J", "\x1b[?25"


class Terminal:
    """A terminal with a gate in it; ``shown`` is all that was written to it."""

    def __init__(self, descriptor: int, process: "subprocess.Popen[bytes]") -> None:
        """Take the descriptor of the terminal's own end."""
        self.descriptor, self.process = descriptor, process
        self.shown = ""

    def read(self, until: str | None = None) -> str:
        """Read on until a text was shown, or to the end, and return all that was shown."""
        end = time.monotonic() + PATIENCE
        while until is None or until not in self.shown:
            assert time.monotonic() < end, f"{until!r} is not in {self.shown!r}"
            if not select.select([self.descriptor], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:  # EIO: the last one has closed it
                break
            if not data:
                break
            self.shown += data.decode()
        return self.shown

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def terminal(*words: str, columns: int = 100, rows: int = 30, **env: str) -> Iterator[Terminal]:
    """Give a terminal in which gatekeeper waits; its stdin and stdout are the terminal too."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    how: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    try:
        with subprocess.Popen(
            [*GATEKEEPER, "wait", *words],
            env=environment(**({"TERM": "xterm", "LC_ALL": "C.UTF-8"} | env)),
            **how,
        ) as process:
            os.close(theirs)
            yield Terminal(ours, process)
            process.kill()
    finally:
        os.close(ours)


def frames(shown: str) -> list[list[str]]:
    """Return the lines of each painting, without control sequences."""
    return [[CONTROL.sub("", line).rstrip() for line in frame.split("\r\n")] for frame in shown.split(PAINTED)[:-1]]


def test_the_view_shows_where_everything_stands() -> None:
    """Each dependency has a line with state, time, attempts and reason; the head has the time that is left."""
    with refusing() as port, listening() as there:
        with terminal("--timeout=2s", f"db=tcp://127.0.0.1:{port}", f"web=tcp://127.0.0.1:{there}") as tty:
            shown = tty.read()
            assert tty.process.wait(PATIENCE) == 124
        last = frames(shown)[-1]
        assert re.fullmatch(r"1 of 2 ready, waited [\d.]+m?s, 0s left", last[0]), last
        assert re.fullmatch(rf"  … db +[\d.]+m?s +\d+ attempts  refused: 127.0.0.1:{port}", last[1]), last
        assert re.fullmatch(rf"  ✓ web +[\d.]+m?s +1 attempt  ready: 127.0.0.1:{there}", last[2]), last
        assert any(re.search(r", [\d.]+m?s left$", frame[0]) for frame in frames(shown))
        story = CONTROL.sub("", shown).rstrip().splitlines()[-1]
    assert story.startswith("gatekeeper: closed, the time is up after 2")
    assert f"1 of 2 not ready: db (refused: 127.0.0.1:{port})" in story
    assert CURSOR not in shown
    assert COLOUR.search(shown)


def test_a_narrow_view_has_the_reason_rather_than_the_count() -> None:
    """In 40 columns a reason has its place, and the number of attempts has none."""
    with refusing() as port, terminal("--timeout=2s", f"db=tcp://127.0.0.1:{port}", columns=40) as tty:
        last = frames(tty.read())[-1]
    assert re.fullmatch(r"  … db +[\d.]+m?s  refused: 127.0.0.1.*", last[1]), last


def test_no_colours_where_they_are_not_wanted() -> None:
    """NO_COLOR takes the colours away and leaves the view."""
    with refusing() as port, terminal("--timeout=2s", f"tcp://127.0.0.1:{port}", NO_COLOR="1") as tty:
        shown = tty.read()
    assert frames(shown)
    assert not COLOUR.search(shown)


@pytest.mark.parametrize("words", [("--log-format=json",), ("--log-format=console",), ("-v",), ()])
def test_a_dumb_terminal_gets_plain_lines(words: tuple[str, ...]) -> None:
    """Without a terminal type that can be painted over there is not one control sequence."""
    with refusing() as port, terminal("--timeout=2s", *words, f"tcp://127.0.0.1:{port}", TERM="dumb") as tty:
        shown = tty.read()
    assert "gate.closed" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_story_as_the_last_line(number: signal.Signals) -> None:
    """Whoever ends the wait sees how things stood, and why it ended."""
    with refusing() as port, terminal(f"tcp://127.0.0.1:{port}") as tty:
        tty.read("refused")
        tty.process.send_signal(number)
        shown = tty.read()
        assert tty.process.wait(PATIENCE) == 128 + number
    assert "by a signal" in shown.rstrip().splitlines()[-1]


def test_ctrl_c_ends_the_wait() -> None:
    """The key that everyone presses ends it with 130, like the signal that it is."""
    with refusing() as port:
        pid, ours = pty.fork()
        if not pid:
            os.execve(
                GATEKEEPER[0],
                [*GATEKEEPER, "wait", f"tcp://127.0.0.1:{port}"],
                environment(TERM="xterm", LC_ALL="C.UTF-8"),
            )
        tty = Terminal(ours, None)  # type: ignore[arg-type]  # a child of pty.fork has no Popen
        tty.read("refused")
        os.write(ours, b"\x03")
        shown = tty.read()
        os.close(ours)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert "by a signal" in shown.rstrip().splitlines()[-1]


@pytest.mark.parametrize(("columns", "rows"), [(20, 5), (1, 1), (40, 10), (200, 3)])
def test_a_small_terminal_is_not_scrolled(columns: int, rows: int) -> None:
    """However small it is, no painting is higher, nor a line of it wider, than the terminal (from 20 by 4 on)."""
    with refusing() as port:
        names = [f"dependency-number-{n}=tcp://127.0.0.1:{port}" for n in range(50)]
        with terminal("--timeout=2s", *names, columns=columns, rows=rows) as tty:
            shown = tty.read()
    for frame in frames(shown)[:-1]:
        painted = [line for line in frame if line]
        assert 1 <= len(painted) < max(rows, 4)
        assert max(map(len, painted)) < max(columns, 20)
    if rows == 10:
        assert "  and 43 more" in frames(shown)[0]


def test_a_window_may_be_resized() -> None:
    """After a resize the next painting fits the new size."""
    with refusing() as port:
        names = [f"dependency-number-{n}=tcp://127.0.0.1:{port}" for n in range(20)]
        with terminal("--timeout=0", *names, columns=100, rows=30) as tty:
            tty.read("dependency-number-19")
            tty.resize(30, 8)
            tty.read(" more")
            tty.process.send_signal(signal.SIGTERM)
            last = frames(tty.read())[-1]
    assert max(len(line) for line in last[:6]) < 30


def test_what_others_say_cannot_steer_the_terminal() -> None:
    """Control characters in what a command prints are not passed on."""
    evil = "exec:'printf \"\\033]0;evil\\007\\033[2J\\rgood\"; exit 1'"
    with terminal(
        "--timeout=2s", evil.replace("exec:'", "x=exec:'sh -c '\"'\"'").replace("exit 1'", "exit 1'\"'\"''")
    ) as tty:
        shown = tty.read()
    assert "command_failed" in shown
    assert "\x07" not in shown
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown


def test_the_command_has_the_terminal_as_it_was() -> None:
    """The command starts below the view, with the cursor that nobody has taken away: Ctrl-Z would not give it back."""
    with listening() as port, terminal(f"tcp://127.0.0.1:{port}", "--", "echo", "hello") as tty:
        shown = tty.read()
        assert tty.process.wait(PATIENCE) == 0
    assert shown.endswith("hello\r\n")
    assert CURSOR not in shown


def test_wide_characters_do_not_make_lines_wrap() -> None:
    """What takes two cells of the terminal counts for two, so that each painting covers the one before."""
    wide = "w=exec:'printf " + "日本語" * 30 + "; exit 1'"
    said = wide.replace("exec:'", "exec:'sh -c '\"'\"'").replace("exit 1'", "exit 1'\"'\"''")
    with terminal("--timeout=2s", said, columns=80) as tty:
        shown = tty.read()
    lines = [line for frame in frames(shown) for line in frame]
    cells = [sum(2 if east_asian_width(mark) in "WF" else 1 for mark in line) for line in lines]
    assert "日本語" in shown
    assert max(cells) < 80
