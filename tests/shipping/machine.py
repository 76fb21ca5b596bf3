"""A machine booted by systemd, on a copy-on-write view of this one: its own processes, network and units."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from .podman import until

# All mounts live in a mount namespace that ends with the machine. What was prepared is laid over the view.
_BOOT = """
prepared=$1 top=$2 name=$3; shift 3
mount -t tmpfs tmpfs "$top" && mkdir "$top/upper" "$top/work" "$top/merged" &&
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/merged" &&
: >"$top/merged/etc/machine-id" && cp -a "$prepared/." "$top/merged/" &&
exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --link-journal=no --console=pipe \
    --directory="$top/merged" --machine="$name" "$@" systemd.unit=basic.target
"""
_ENVIRONMENT = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]


class Machine:
    """Boots when entered and halts when left; files are to be added before."""

    def __init__(self, folder: Path, root: Path) -> None:
        """Prepare in ``folder`` what differs from this machine; the repository at ``root`` is visible, read-only."""
        self._prepared, self._top = folder / "prepared", folder / "top"
        self._prepared.mkdir()
        self._top.mkdir()
        # Not /usr, where Debian's own Python is: the view shows it, with what is laid over it.
        places = {str(root), sys.prefix, sys.base_prefix} - {"/usr"}
        self._visible = [f"--bind-ro={place}" for place in sorted(places)]
        self._console = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the machine

    def add(self, path: str, text: str, mode: int = 0o644) -> None:
        """Lay a file over what is visible."""
        file = self._prepared / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def link(self, path: str, target: Path) -> None:
        """Lay a symbolic link over what is visible."""
        link = self._prepared / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def __enter__(self) -> Self:
        """Boot, and wait until units can be started."""
        name = f"gatekeeper-{os.getpid()}"
        places: list[str | Path] = [self._prepared, self._top, name]
        self._nspawn = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", _BOOT, "sh", *places, *self._visible],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
        )
        until(
            lambda: self._nspawn.poll() is not None or self._processes("systemd"), "the machine has its first process"
        )
        self._init = self._processes("systemd")[0]
        until(lambda: self.systemctl("is-active", "basic.target", check=False) == "active", "the machine is up")
        return self

    def __exit__(self, *_: object) -> None:
        """Halt."""
        os.kill(self._init, signal.SIGRTMIN + 3)
        self._nspawn.wait(timeout=60)
        self._console.close()

    def _processes(self, name: str) -> list[int]:
        """Return the children of systemd-nspawn with this name; there are others while it sets things up."""
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == f"{name}\n"]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the machine and return what it prints."""
        enter = ["nsenter", "--target", str(self._init), "--all", "--root", "--wd", *_ENVIRONMENT]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl in the machine and return what it prints."""
        return self.run("systemctl", "--no-pager", *arguments, check=check)

    def show(self, unit: str) -> dict[str, str]:
        """Return all properties of a unit."""
        lines = self.systemctl("show", unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
