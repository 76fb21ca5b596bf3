"""What a command sees that a gate has become, beside what it sees without one. Real processes, compared."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

GATE = (sys.executable, str(Path(__file__).parent / "hand_over.py"))
STATUS = ("cat", "/proc/self/status")
DESCRIPTORS = ("sh", "-c", 'readlink /proc/$$/fd/*; test -n "$$"')
ENVIRONMENT = ("env", "-0")
WATCHED = ("Umask", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Cap", "NoNewPrivs", "Seccomp", "Uid")
PATH = "/usr/bin:/bin"

type_of_environment = Mapping[str, str] | Mapping[bytes, bytes]


def run(
    *words: str | bytes | Path, env: type_of_environment | None = None, fds: Sequence[int] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run a program and return what came of it."""
    return subprocess.run(
        words,
        env={"PATH": PATH} if env is None else env,
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def failure(*command: str | bytes | Path, env: type_of_environment | None = None) -> tuple[int, str]:
    """Let a gate become what cannot be executed; return the exit status and the reason."""
    done = run(*GATE, *command, env=env)
    status, reason, on_broken_pipe, _ = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (status, b"")
    assert on_broken_pipe == signal.SIG_IGN
    return status, reason


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(mode)
    return path


def own(line: str) -> str:
    """Leave out signals 32 and 33, which are the C library's own: posix_spawn(3) leaves them ignored, fork does not."""
    name, _, value = line.partition("\t")
    return f"{name} {int(value, 16) & ~(3 << 31):x}" if name == "SigIgn:" else line


@pytest.mark.parametrize(
    "start",
    [
        pytest.param((), id="plain"),
        pytest.param(("env", "--ignore-signal=HUP,INT,USR1"), id="nohup"),
        pytest.param(("env", "--ignore-signal=TERM,CHLD,RTMIN"), id="others ignored"),
        pytest.param(("env", "--block-signal=USR1,TERM,HUP"), id="blocked"),
        pytest.param(("sh", "-c", 'umask 027; exec "$@"', "sh"), id="umask"),
    ],
)
def test_the_command_has_the_signals_that_we_were_given(start: tuple[str, ...]) -> None:
    """Dispositions, mask and everything else of the process status are those of a command started directly."""
    direct, handed = (
        [own(line) for line in run(*start, *between, *STATUS).stdout.decode().splitlines() if line.startswith(WATCHED)]
        for between in ((), GATE)
    )
    assert len(direct) > 10
    assert handed == direct


@pytest.mark.parametrize("name", ["PIPE", "XFSZ"])
def test_signals_that_cpython_ignores_are_set_to_the_default(name: str) -> None:
    """SIGPIPE and SIGXFSZ are at their default, even where they were ignored before: that cannot be known."""
    done = run("env", f"--ignore-signal={name}", *GATE, *STATUS)
    ignored = int(done.stdout.partition(b"SigIgn:\t")[2].split()[0], 16)
    # Only these two: whoever runs the tests may ignore signals of its own.
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


@pytest.mark.parametrize("closed", ["", "<&-", "2>&-", "<&- 2>&-"])
def test_the_command_has_the_descriptors_that_we_were_given(closed: str, tmp_path: Path) -> None:
    """Of descriptors, the command has those that were passed in, and finds those closed that were closed."""
    with (tmp_path / "passed in").open("w") as file:
        start = ("sh", "-c", f'exec "$@" {closed}', "sh")
        direct, handed = (
            run(*start, *between, *DESCRIPTORS, fds=[file.fileno()]).stdout.decode() for between in ((), GATE)
        )
    pipes = [line for line in handed.splitlines() if line.startswith("pipe:")]
    assert [line for line in handed.splitlines() if line not in pipes] == [
        line for line in direct.splitlines() if not line.startswith("pipe:")
    ]
    assert len(pipes) == (1 if "2>&-" in closed else 2)
    assert str(tmp_path / "passed in") in handed


def test_a_closed_standard_descriptor_is_not_given_to_a_connection() -> None:
    """Where 0 and 2 are closed they become /dev/null, and what is opened next gets a higher number."""
    program = (
        "import os, socket; from gatekeeper.handover.become import secure_standard_descriptors as secure\n"
        "closed = secure(); ours = socket.socket().detach()\n"
        "print(closed, secure(), ours > 2, *(os.readlink(f'/proc/self/fd/{number}') for number in (0, 2)))"
    )
    done = run("sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", program)
    assert done.stdout.decode().split("\n")[0] == "(0, 2) () True /dev/null /dev/null"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PATH": PATH, "LANG": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": ""},
        {"LC_CTYPE": "POSIX", "LANG": "de_DE.UTF-8"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C.UTF-8", "LC_CTYPE": "C"},
        {"PYTHONCOERCECLOCALE": "0"},
        {"PYTHONFAULTHANDLER": "1", "PYTHONUTF8": "0"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "3", "LISTEN_FDS": "1", "LISTEN_PID": "7"},
        {"GATEKEEPER_SERVICE_HOST": "10.0.0.1", "GATEKEEPER_PORT": "tcp://10.0.0.1:80", "GATEKEEPERX": "1"},
        {b"BYTES": b"caf\xe9 \xff", b"caf\xe9": b"1", b"LC_ALL": b"C"},
        {b"BYTES": b"caf\xe9 \xff", b"EMPTY": b"", b"LINES": b"a\nb=c"},
    ],
)
def test_the_command_has_the_environment_that_we_were_given(environment: type_of_environment) -> None:
    """The environment is the same, byte for byte and in order, whatever CPython made of the locale."""
    assert run(*GATE, *ENVIRONMENT, env=environment).stdout == run("/usr/bin/env", "-0", env=environment).stdout


def test_our_variables_are_removed() -> None:
    """What is ours, by its exact name, does not reach the command."""
    environment = {
        "GATEKEEPER_TIMEOUT": "1",
        "A": "b",
        "GATEKEEPER_DEPENDENCIES": "tcp://x:1",
        "GATEKEEPER_TIMEOUTS": "2",
    }
    assert run(*GATE, *ENVIRONMENT, env=environment).stdout == b"A=b\0GATEKEEPER_TIMEOUTS=2\0"


def test_a_nameless_entry_of_the_environment_does_no_harm() -> None:
    """An entry such as =x, which CPython cannot pass on, is left out."""
    assert run("env", "-i", "=x", "A=b", *GATE, *ENVIRONMENT).stdout == b"A=b\0"


def test_arguments_reach_the_command_as_they_are() -> None:
    """Arguments keep their bytes, and argv[0] is what the user wrote."""
    words = (b"caf\xe9\xff", b"", b"a b\n", "größe".encode())
    assert run(*GATE, "printf", "%s|", *words).stdout == b"|".join((*words, b""))
    assert run(*GATE, "cat", "/proc/self/cmdline").stdout == b"cat\0/proc/self/cmdline\0"


def test_the_command_has_our_process_id() -> None:
    """The command takes the place of the process, and does not become its child."""
    with subprocess.Popen([*GATE, "sh", "-c", "echo $$"], env={"PATH": PATH}, stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[0] == f"{process.pid}\n".encode()


def test_a_timer_that_the_caller_set_is_the_commands() -> None:
    """An alarm that was set before us goes off in the command, as it would without us."""
    timed = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.5); os.execv(sys.argv[1], sys.argv[1:])"
    assert run(sys.executable, "-c", timed, *GATE, "sleep", "60").returncode == -signal.SIGALRM


def test_a_signal_that_comes_late_is_not_lost() -> None:
    """A signal that waits, blocked, while the command takes over does what it would have done to the command."""
    assert run(*GATE, "true", env={"PATH": PATH, "TEST_COMES_LATE": "1"}).returncode == -signal.SIGTERM
    assert run(*GATE, "true").returncode == 0


def test_a_program_is_looked_for_in_the_commands_path(tmp_path: Path) -> None:
    """Folders of PATH are tried in order; what is not executable, a folder or a broken script is passed over."""
    for name in "abcd":
        (tmp_path / name).mkdir()
    script(tmp_path / "a/tool", "#!/bin/sh\necho a", mode=0o644)
    (tmp_path / "b/tool").mkdir()
    script(tmp_path / "c/tool", "#!/no/such/shell\n")
    script(tmp_path / "d/tool", "#!/bin/sh\necho d")
    script(tmp_path / "file", "")
    path = ":".join(f"{tmp_path}/{name}" for name in ("none", "file", "a", "b", "c", "d"))
    assert run(*GATE, "tool", env={"PATH": path}).stdout == b"d\n"


def test_an_empty_entry_of_path_is_the_current_folder(tmp_path: Path) -> None:
    """PATH is searched as execvp(3) has it: an empty entry means here, and no PATH means /bin and /usr/bin."""
    script(tmp_path / "tool", "#!/bin/sh\necho here")
    for path in ("", ":/nowhere", "/nowhere::/nowhere"):
        done = subprocess.run([*GATE, "tool"], env={"PATH": path}, cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout == b"here\n"
    assert run(*GATE, "true", env={}).returncode == 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("no-such-command", "'no-such-command' was not found: not in any folder of PATH"),
        ("/no/such/command", "'/no/such/command' was not found: no such file"),
        ("/bin/sh/x", "'/bin/sh/x' was not found: no such file"),
        ("", "the name of the command is empty"),
        (b"caf\xe9\n", r"'caf\udce9\n' was not found: not in any folder of PATH"),
    ],
)
def test_what_is_not_there_is_127(command: str | bytes, reason: str) -> None:
    """A command that does not exist is status 127, and the reason says where it was looked for."""
    assert failure(command) == (127, reason)


def test_a_handler_that_is_not_pythons_does_no_harm() -> None:
    """A command that is not there is told also where handlers stand that Python did not set."""
    assert failure("no-such-command", env={"PATH": PATH, "PYTHONFAULTHANDLER": "1"})[0] == 127


def test_what_cannot_be_executed_is_126(tmp_path: Path) -> None:
    """A command that exists and cannot be executed is status 126, and the reason says why."""
    plain = script(tmp_path / "plain", "#!/bin/sh\n", mode=0o644)
    denied = "permission denied; it is not executable for this user, or lies on a file system mounted noexec"
    assert failure(plain) == (126, f"'{plain}' cannot be executed: {denied}")
    assert failure("plain", env={"PATH": f"/nowhere:{tmp_path}:{PATH}"}) == failure(plain)
    assert failure(tmp_path) == (126, f"'{tmp_path}' cannot be executed: it is a folder")
    bare = script(tmp_path / "bare", "echo no first line\n")
    wrong = "no program for this machine; a script without a #! line, or built for another architecture"
    assert failure(bare) == (126, f"'{bare}' cannot be executed: {wrong}")
    assert failure("bare", env={"PATH": f"{tmp_path}:{PATH}"}) == failure(bare)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert failure(loop) == (126, f"'{loop}' cannot be executed: Too many levels of symbolic links")


def test_a_missing_interpreter_is_named(tmp_path: Path) -> None:
    """A script whose interpreter is not there says which one; status 127, as the shells have it."""
    missing = script(tmp_path / "missing", "#! /no/such/sh -e\n")
    assert failure(missing) == (127, f"'{missing}' is there, and what runs it is not: '/no/such/sh'")
    assert failure("missing", env={"PATH": f"{tmp_path}:{PATH}"}) == failure(missing)
    windows = script(tmp_path / "windows", "#!/bin/sh\r\necho\r\n")
    assert failure(windows)[1].endswith(r"what runs it is not: '/bin/sh\r' (the line ends in CR LF)")


def test_a_missing_dynamic_loader_is_named(tmp_path: Path) -> None:
    """A program that was built for another C library says so instead of "no such file"."""
    true = Path(shutil.which("true") or "").read_bytes()
    begin = true.index(b"/lib64/ld-") if b"/lib64/ld-" in true else true.index(b"/lib/ld-")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(true[:begin] + b"/nop" + true[begin + 4 :])
    foreign.chmod(stat.S_IRWXU)
    what = "its dynamic loader (a program built for another C library?)"
    assert failure(foreign) == (127, f"'{foreign}' is there, and what runs it is not: {what}")


def test_too_many_arguments_are_126() -> None:
    """What the kernel refuses for its size is status 126 with the kernel's reason."""
    program = (
        "import os; from gatekeeper.handover.become import *\n"
        "failure = become(['true', 'x' * 5_000_000], os.environ, take_stock(), ()); print(*failure)"
    )
    done = run(sys.executable, "-c", program)
    assert done.stdout.decode() == "126 '/usr/bin/true' cannot be executed: Argument list too long\n"


@pytest.mark.root
def test_a_file_that_may_not_be_reached_is_126(tmp_path: Path) -> None:
    """A path through a closed folder is a matter of permission, not of absence."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    script(closed / "tool", "#!/bin/sh\n")
    os.chown(closed, 65534, 65534)
    # Without its privileges root is a user like others, and one that Python itself can be run by wherever that lies.
    unprivileged = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", *GATE)
    done = run(*unprivileged, closed / "tool")
    assert done.returncode == 126
    assert os.fsencode("permission denied") in done.stdout
