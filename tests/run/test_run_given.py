"""What a command is given that is tended, beside what it has without us: as with `wait -- COMMAND`."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from run.tended import PYTHON, RUN, init, run

PATH = "/usr/bin:/bin"
STATUS = ("cat", "/proc/self/status")
WATCHED = ("Umask", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Cap", "NoNewPrivs", "Seccomp", "Uid")
ENVIRONMENT = ("env", "-0")
LIMITS = (*PYTHON, "import resource as r; print([r.getrlimit(n) for n in range(16)])")
DESCRIPTORS = ("sh", "-c", 'readlink /proc/$$/fd/*; test -n "$$"')
PROCESS = (
    *PYTHON,
    "import os; print(os.getpgrp(), os.getsid(0), os.getpriority(0, 0), os.getcwd(), os.sched_getaffinity(0))",
)


def own(line: str) -> str:
    """Leave out signals 32 and 33, which are the C library's own."""
    name, _, value = line.partition("\t")
    return f"{name} {int(value, 16) & ~(3 << 31):x}" if name == "SigIgn:" else line


@pytest.mark.parametrize(
    "start",
    [
        pytest.param((), id="plain"),
        pytest.param(("env", "--ignore-signal=HUP,INT,USR1"), id="nohup"),
        pytest.param(("env", "--ignore-signal=TERM,CHLD,RTMIN"), id="others ignored"),
        pytest.param(("env", "--block-signal=USR1,TERM,HUP,CHLD"), id="blocked"),
        pytest.param(("sh", "-c", 'umask 027; exec "$@"', "sh"), id="umask"),
    ],
)
def test_the_command_has_the_signals_that_we_were_given(start: tuple[str, ...]) -> None:
    """Dispositions, mask and everything else of the process status are those of a command started directly."""
    direct, tended = (
        [own(line) for line in run(*start, *between, *STATUS).stdout.splitlines() if line.startswith(WATCHED)]
        for between in ((), RUN)
    )
    assert len(direct) > 10
    assert tended == direct


@pytest.mark.parametrize("closed", ["", "<&-", "2>&-", "<&- 2>&-"])
def test_the_command_has_the_descriptors_that_we_were_given(closed: str, tmp_path: Path) -> None:
    """Of descriptors, the command has those that were passed in, none of ours, and finds those closed that were."""
    with (tmp_path / "passed in").open("w") as file:
        start = ("sh", "-c", f'exec "$@" {closed}', "sh")
        direct, tended = (
            run(*start, *between, *DESCRIPTORS, pass_fds=[file.fileno()]).stdout.splitlines() for between in ((), RUN)
        )
    kept = [[line for line in lines if not line.startswith("pipe:")] for lines in (direct, tended)]
    assert kept[0] == kept[1]
    assert len(tended) == len(direct)
    assert str(tmp_path / "passed in") in tended


def test_the_command_has_limits_group_priority_folder_and_processors_as_they_were() -> None:
    """Resource limits, process group, session, priority, working folder and processors are the caller's."""
    start = ("sh", "-c", 'ulimit -S -n 77 && ulimit -c 0 && cd /usr && exec nice -n 3 "$@"', "sh")
    for what in (LIMITS, PROCESS):
        assert run(*start, *RUN, *what, process_group=None).stdout == run(*start, *what).stdout


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"PATH": PATH, "LANG": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "POSIX", "LANG": "de_DE.UTF-8"},
        {"LC_ALL": "C.UTF-8", "LC_CTYPE": "C"},
        {"PYTHONCOERCECLOCALE": "0", "PYTHONFAULTHANDLER": "1"},
        {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "3", "LISTEN_FDS": "1", "LISTEN_PID": "7"},
        {"GATEKEEPER_SERVICE_HOST": "10.0.0.1", "GATEKEEPERX": "1", "EMPTY": "", "LINES": "a\nb=c"},
    ],
)
def test_the_command_has_the_environment_that_we_were_given(given: Mapping[str, str]) -> None:
    """The environment is the same and in the same order, but for a NOTIFY_SOCKET of ours and our own variables."""
    ours = {"GATEKEEPER_STOP_TIMEOUT": "3", "GATEKEEPER_QUIET": "yes"}
    tended = run(*RUN, *ENVIRONMENT, env={**given, **ours}, unclean=True).stdout.split("\0")
    direct = run("/usr/bin/env", "-0", env=given, unclean=True).stdout.split("\0")
    assert [entry for entry in tended if not entry.startswith("NOTIFY_SOCKET=@")] == direct
    assert len(tended) == len(direct) + 1
    raw = subprocess.run([*RUN, *ENVIRONMENT], env={b"A": b"caf\xe9 \xff"}, capture_output=True, check=True)
    assert b"A=caf\xe9 \xff\0" in raw.stdout


@pytest.mark.parametrize(("how", "left"), [("auto", "@"), ("status", "@"), ("ready", None), ("off", "/run/outer")])
def test_the_notify_socket_follows_notify(how: str, left: str | None) -> None:
    """A NOTIFY_SOCKET of ours where we relay, none with --notify=ready, the outer one untouched with off."""
    said = run(
        *init(f"--notify={how}"), "sh", "-c", 'echo "${NOTIFY_SOCKET-none}"', env={"NOTIFY_SOCKET": "/run/outer"}
    )
    assert said.stdout.strip() == (left or "none") or (left == "@" and said.stdout.startswith("@"))


# Becomes us with LISTEN_PID and WATCHDOG_PID as a service manager sets them: to the process that it starts.
SERVICE = "import os, sys; os.environ.update({name: str(os.getpid()) for name in sys.argv[1].split(',')})\n"
SERVICE += "os.execv(sys.argv[2], sys.argv[2:])"
NAMES = ("LISTEN_PID", "LISTEN_FDS", "WATCHDOG_PID", "WATCHDOG_USEC")
TELL = f"import os; print(os.getpid(), *(os.environ.get(name) for name in {NAMES}))"


def test_sockets_that_were_passed_to_us_are_the_commands(tmp_path: Path) -> None:
    """LISTEN_PID that means us means the command afterwards, and descriptor 3 is the socket (sd_listen_fds(3))."""
    script = 'exec "$@" 3<"$FILE"'
    (tmp_path / "file").write_text("what a socket would be")
    tell = f"{TELL}; print(os.read(3, 100))"
    service = (sys.executable, "-c", SERVICE, "LISTEN_PID")
    env = {"FILE": str(tmp_path / "file"), "LISTEN_FDS": "1"}
    done = run("sh", "-c", script, "sh", *service, *RUN, *PYTHON, tell, env=env)
    pid, listen_pid, fds, *watchdog = done.stdout.splitlines()[0].split()
    assert (pid, fds, watchdog) == (listen_pid, "1", ["None", "None"])
    assert done.stdout.splitlines()[1] == "b'what a socket would be'"


@pytest.mark.parametrize(
    ("options", "outer", "usec"),
    [
        ((), "30000000", "30000000"),
        (("--watchdog=5s",), None, "5000000"),
        (("--watchdog=5s",), "30000000", "5000000"),
        (("--watchdog=50s",), "30000000", "30000000"),
    ],
)
def test_the_watchdog_that_was_meant_for_us_is_the_commands(
    options: tuple[str, ...], outer: str | None, usec: str
) -> None:
    """WATCHDOG_PID is the command's, and WATCHDOG_USEC the shorter of the one outside and ours: it feeds both."""
    service = (sys.executable, "-c", SERVICE, "WATCHDOG_PID" if outer else "X_NONE")
    env = {"WATCHDOG_USEC": outer} if outer else {}
    pid, *said = run(*service, *init(*options), *PYTHON, TELL, env=env).stdout.split()
    assert said == ["None", "None", pid, usec]


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    """A LISTEN_PID or WATCHDOG_PID that is not ours is not the command's either."""
    env = {"LISTEN_PID": "1", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "7", "LISTEN_FDS": "2"}
    assert run(*RUN, *PYTHON, TELL, env=env).stdout.split()[1:] == ["1", "2", "1", "7"]


@pytest.mark.needs("systemd-notify")
def test_the_readiness_descriptor_is_not_the_commands() -> None:
    """The descriptor of --notify-fd gets its newline when the command is ready, and does not reach the command."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as told:
        tell = ("sh", "-c", f"test -e /proc/self/fd/{writer} && exit 9; systemd-notify --ready; exit 4")
        done = run(*init(f"--notify-fd={writer}"), *tell, pass_fds=[writer])
        os.close(writer)
        assert told.read() == b"\n"
    assert done.returncode == 4


def test_nothing_of_a_signal_wait_is_left_in_the_command() -> None:
    """A timer that the caller set does to us what the caller wanted: its SIGALRM is forwarded."""
    timed = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, {}); os.execv(sys.argv[1], sys.argv[1:])"
    status = -signal.SIGALRM
    for seconds in (0.6, 1.2, 2.4, 4.8, 9.6):  # on a slow machine it may come before there is anybody to forward it
        if status == -signal.SIGALRM:
            status = run(sys.executable, "-c", timed.format(seconds), *RUN, "sleep", "60").returncode
    assert status == 128 + signal.SIGALRM


@pytest.mark.parametrize("how", ["ready", "off"])
@pytest.mark.parametrize("limit", ["--watchdog=3s", "--start-timeout=3s"])
def test_a_limit_that_nobody_could_keep_is_refused(how: str, limit: str) -> None:
    """Where nobody hears what the command says, a limit on it would end it every time: told before it starts."""
    done = run(*init(limit, f"--notify={how}"), "true")
    assert done.returncode == 2
    assert f"{limit.partition('=')[0]}: with --notify={how} nobody hears what the command says" in done.stderr
