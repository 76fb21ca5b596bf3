"""podman with storage, networks and namespaces of its own: nothing is touched, and nothing stays behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

_CONFIG = """
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
# On a host with both hierarchies of control groups podman forgets to remove its own from these two. A /run of its own:
# wherever podman is told to keep its state, that of its nameserver is there, and two runs of the tests at once would
# disturb each other's. No nameserver beyond that one: what it does not know is not asked elsewhere. catatonit reaps
# what podman leaves.
_NAMESPACE = """
umount /sys/fs/cgroup/unified /sys/fs/cgroup/systemd 2>/dev/null
mount -t tmpfs tmpfs /run || exit
ip link set lo up && mount --bind "$0" /etc/resolv.conf && echo made && exec catatonit -- sleep infinity
"""
_UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]


def until(there: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for what nobody tells of."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.05)


class Podman:
    """Runs podman in a network, a process and a mount namespace that end with it."""

    def __init__(self) -> None:
        """Keep everything in a folder whose path is short: podman takes no runroot of more than 50 characters."""
        self.folder = folder = Path(tempfile.mkdtemp(prefix="podman-"))
        (folder / "containers.conf").write_text(_CONFIG)
        (folder / "resolv.conf").write_text("")

    def __enter__(self) -> Self:
        """Make the namespaces."""
        self._holder = subprocess.Popen(
            [*_UNSHARE, "sh", "-c", _NAMESPACE, self.folder / "resolv.conf"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == "made\n"
        pid = self._holder.pid
        self._init = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was made; every process in the namespace ends with its first."""
        try:
            self.clear()
        finally:
            os.kill(self._init, signal.SIGKILL)
            self._holder.communicate(timeout=30)
            shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Remove every pod and every container, stopped first.

        A pod whose containers still run keeps podman for three seconds: what monitors them waits for the lock that is
        held until the monitors are gone.
        """
        self("pod", "stop", "--all", "--time=0", check=False)
        self("stop", "--all", "--time=0", check=False)
        until(lambda: not self._runs("conmon"), "no container is monitored any more")
        self("pod", "rm", "--all", "--force", check=False)
        self("rm", "--all", "--force", check=False)

    def _runs(self, name: str) -> bool:
        """Tell whether a process of this name is in the namespace."""
        ours = os.readlink(f"/proc/{self._init}/ns/pid")
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if (process / "comm").read_text() == f"{name}\n" and os.readlink(process / "ns/pid") == ours:
                    return True
        return False

    def inside(self, *command: str | Path) -> list[str | Path]:
        """Return the command line that runs a command in the namespaces."""
        config = f"CONTAINERS_CONF={self.folder / 'containers.conf'}"
        return ["nsenter", "--target", str(self._init), "--mount", "--net", "--pid", "env", config, *command]

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """Return the command line of podman with these arguments."""
        kept = self.folder
        places = [f"--root={kept}/root", f"--runroot={kept}/run", f"--tmpdir={kept}/tmp"]
        return self.inside("podman", *places, f"--network-config-dir={kept}/networks", *arguments)

    def __call__(
        self, *arguments: str | Path, check: bool = True, stdin: Any = subprocess.DEVNULL, seconds: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run podman to its end."""
        done = subprocess.run(
            self.command(*arguments), stdin=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert done.returncode == 0 or not check, f"podman {arguments}: {done.stderr}"
        return done

    def start(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        """Start podman and let it run."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: "subprocess.Popen[str]") -> None:
        """End what was started and would not end of itself; nsenter stands between and passes no signal on."""
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(child), signal.SIGTERM)
        process.communicate(timeout=30)

    def load(self, image: str, archive: list[str | Path]) -> None:
        """Make an image of the root file system that a program writes to stdout."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        with subprocess.Popen(archive, stdout=subprocess.PIPE) as program:
            self("import", "--change", f"ENV {path}", "-", image, stdin=program.stdout)
        assert program.returncode == 0

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what podman knows of a container or an image."""
        found: dict[str, Any] = json.loads(self("inspect", name).stdout)[0]
        return found

    def state(self, name: str) -> str:
        """Return the state of a container, or `absent`."""
        done = self("container", "inspect", "--format", "{{.State.Status}}", name, check=False)
        return done.stdout.strip() if done.returncode == 0 else "absent"

    def logs(self, name: str) -> str:
        """Return all that a container has said so far."""
        done = self("logs", name, check=False)
        return done.stdout + done.stderr
