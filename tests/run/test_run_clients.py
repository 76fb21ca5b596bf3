"""Clients of sd_notify that are not ours, each as a tended command: they are understood, and answered."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gate.program import events, notify_socket
from run.tended import PYTHON, init, run

# The self-contained implementation that the man page sd_notify(3) prints for those who have no library (MIT-0).
MAN_PAGE = r"""
import errno, os, signal, socket, sys, time
reloading = terminating = False
def notify(message):
    if not message:
        raise ValueError("notify() requires a message")
    socket_path = os.environ.get("NOTIFY_SOCKET")
    if not socket_path:
        return
    if socket_path[0] not in ("/", "@"):
        raise OSError(errno.EAFNOSUPPORT, "Unsupported socket type")
    if socket_path[0] == "@":
        socket_path = "\0" + socket_path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect(socket_path)
        sock.sendall(message)
def notify_ready():
    notify(b"READY=1")
def notify_reloading():
    microsecs = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(f"RELOADING=1\nMONOTONIC_USEC={microsecs}".encode())
def notify_stopping():
    notify(b"STOPPING=1")
notify_ready(); notify_reloading(); notify_ready(); notify_stopping()
"""
LIBSYSTEMD = r"""
import ctypes, os
lib = ctypes.CDLL("libsystemd.so.0")
lib.sd_notify_barrier.argtypes = [ctypes.c_int, ctypes.c_uint64]
assert lib.sd_notify(0, b"READY=1\nSTATUS=from the library") == 1
assert lib.sd_notify_barrier(0, 5_000_000) == 1
reader, writer = os.pipe()
fds = (ctypes.c_int * 1)(writer)
assert lib.sd_pid_notify_with_fds(os.getpid(), 0, b"FDSTORE=1\nFDNAME=x\nERRNO=4", fds, 1) == 1
os.close(writer)
assert os.read(reader, 1) == b""  # what was sent along is closed
usec = ctypes.c_uint64()
assert lib.sd_watchdog_enabled(0, ctypes.byref(usec)) == 1 and usec.value == 60_000_000
assert lib.sd_notify(1, b"RELOADING=1\nMONOTONIC_USEC=7") == 1
"""

GO = """
package main

import (
	"os"
	"time"

	"github.com/coreos/go-systemd/daemon"
)

func main() {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every != time.Minute {
		os.Exit(3)
	}
	for _, state := range []string{daemon.SdNotifyReady, daemon.SdNotifyWatchdog, daemon.SdNotifyStopping} {
		if sent, err := daemon.SdNotify(false, state); !sent || err != nil {
			os.Exit(4)
		}
	}
}
"""


@contextmanager
def heard(folder: Path, *command: str, status: int = 0, options: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Give what is heard outside of a command, without barriers, which we alone need."""
    with notify_socket(folder) as outside:
        done = run(*init(*options), *command, env={"NOTIFY_SOCKET": outside.path})
        assert (done.returncode, [each for each in events(done.stderr) if each["level"] == "error"]) == (status, [])
        assert "was not heard" not in done.stderr
        yield [each for each in outside.messages() if not each.startswith("STATUS=open")]


@pytest.mark.needs("systemd-notify")
@pytest.mark.parametrize("how", ["exec systemd-notify", "systemd-notify --no-block", "systemd-notify"])
def test_systemd_notify_is_understood(how: str, tmp_path: Path) -> None:
    """What systemd-notify says is heard, as the command itself and as a child of it, and its barrier is answered."""
    words = f"{how} --ready --status='up and well' ERRNO=3; sleep 0.05"
    with heard(tmp_path, "sh", "-c", words) as messages:
        assert sorted(messages) == ["ERRNO=3", "READY=1", "STATUS=up and well"]


@pytest.mark.needs("systemd-notify")
def test_systemd_notify_names_the_main_process(tmp_path: Path) -> None:
    """`--pid` and later states from a shell script, in order."""
    script = "systemd-notify --pid=$$ --ready; systemd-notify RELOADING=1 MONOTONIC_USEC=5; systemd-notify --ready; "
    with heard(tmp_path, "sh", "-c", script + "systemd-notify STOPPING=1; exit 4", status=4) as messages:
        assert messages == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=5", "READY=1", "STOPPING=1"]


def test_libsystemd_is_understood(tmp_path: Path) -> None:
    """sd_notify, sd_notify_barrier, sd_pid_notify_with_fds and sd_watchdog_enabled of the C library."""
    with heard(tmp_path, *PYTHON, LIBSYSTEMD, options=("--watchdog=60s",)) as messages:
        assert messages == ["READY=1", "ERRNO=4", "RELOADING=1\nMONOTONIC_USEC=7", "STATUS=from the library"]


def test_the_implementation_of_the_man_page_is_understood(tmp_path: Path) -> None:
    """What programs copy from sd_notify(3)."""
    with heard(tmp_path, *PYTHON, MAN_PAGE) as messages:
        ready, reloading, again, stopping = messages
        assert (ready, again, stopping) == ("READY=1", "READY=1", "STOPPING=1")
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_pythons_sdnotify_is_understood(tmp_path: Path) -> None:
    """The package that most programs of Python use."""
    program = "import sdnotify; n = sdnotify.SystemdNotifier(debug=True); n.notify('READY=1'); n.notify('STATUS=tick')"
    with heard(tmp_path, sys.executable, "-c", program) as messages:
        assert messages == ["READY=1", "STATUS=tick"]


@pytest.mark.needs("go")
@pytest.mark.timeout(300)
def test_go_s_daemon_package_is_understood(tmp_path: Path) -> None:
    """The package that programs of Go use, as Debian has it: it speaks, and it reads what the watchdog is."""
    (tmp_path / "client.go").write_text(GO)
    given = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "CGO_ENABLED": "0"}
    build = ["go", "build", "-o", tmp_path / "client", tmp_path / "client.go"]
    subprocess.run(build, env=os.environ | given, check=True, timeout=240)
    with heard(tmp_path, str(tmp_path / "client"), options=("--watchdog=1m",)) as messages:
        assert messages == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_our_own_client_is_understood(tmp_path: Path) -> None:
    """`gatekeeper notify` in a script that gatekeeper tends."""
    ours = f"{sys.executable} -m gatekeeper notify"
    with heard(tmp_path, "sh", "-c", f"{ours} --ready --status=up; {ours} --stopping") as messages:
        assert sorted(messages) == ["READY=1", "STATUS=up", "STOPPING=1"]
