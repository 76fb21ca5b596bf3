"""Containers made by runc and by crun from a bundle of the test's own, and the network in which they are made."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hooking import GATEKEEPER, PATIENCE
from shipping.podman import Podman

ROOT = Path(__file__).parents[2]
NETWORK = "/run/network-of-the-containers"
STARTED = "the container has started"
# What the agent needs to be seen in a container: Python, its library, our packages, this checkout.
_AGENT = ("/usr", "/bin", "/lib", "/lib64", sys.base_prefix, sys.prefix, str(ROOT))
_SERVER = """
import socket, threading
server = socket.create_server(("127.0.0.9", 0))
print(server.getsockname()[1], flush=True)
threading.Event().wait()
"""
_NAMESPACE = 'ip link set lo up && touch "$0" && mount --bind /proc/self/ns/net "$0" && exec "$@"'
STAGES = ("prestart", "createRuntime", "createContainer", "startContainer")


class Made(NamedTuple):
    """What came of a container: whether its program ran, what its runtime said, with which status it ended."""

    started: bool
    said: str
    status: int


@contextmanager
def network(podman: Podman) -> Iterator[int]:
    """Give a port of a server that only the network of the containers has."""
    words = ["unshare", "--net", "sh", "-c", _NAMESPACE, NETWORK, sys.executable, "-c", _SERVER]
    with subprocess.Popen(podman.inside(*words), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def entry(stage: str, timeout: int | None = 20) -> dict[str, Any]:
    """Return the hook as a bundle names it."""
    limit = {} if timeout is None else {"timeout": timeout}
    args = {"path": sys.executable, "args": [*GATEKEEPER, "hook"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
    return {stage: [args | limit]}


def bundle(
    folder: Path,
    hooks: Mapping[str, Any],
    annotations: Mapping[str, str],
    uid: int = 0,
    own: str = "pid",
    program: Sequence[str] = ("/bin/echo", STARTED),
) -> Path:
    """Write the bundle of a container that prints that it has started, or runs another program.

    Without ``own``, its processes are the host's.
    """
    (folder / "rootfs").mkdir()
    subprocess.run(["runc", "spec"], cwd=folder, check=True, timeout=PATIENCE)
    config = json.loads((folder / "config.json").read_text())
    process = config["process"]
    del process["rlimits"]
    process |= {"terminal": False, "args": list(program), "user": {"uid": uid, "gid": uid}}
    kinds = config["linux"]["namespaces"]
    kinds[:] = [kind for kind in kinds if kind["type"] != "pid" or own]
    for kind in kinds:
        if kind["type"] == "network":
            kind["path"] = NETWORK
    mounts = {path: path for path in dict.fromkeys(_AGENT) if Path(path).is_dir()}
    for name, text in (("hosts", "127.0.0.9 in-hosts\n"), ("resolv.conf", "nameserver 127.0.0.1\n")):
        (folder / name).write_text(text)
        mounts[f"/etc/{name}"] = str(folder / name)
    config["mounts"] += [
        {"destination": path, "source": source, "type": "bind", "options": ["rbind", "ro"]}
        for path, source in mounts.items()
    ]
    config |= {"hooks": dict(hooks), "annotations": dict(annotations)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def run(podman: Podman, runtime: str, folder: Path) -> Made:
    """Run the container of a bundle to its end."""
    words = podman.inside(runtime, f"--root={folder}/state", "run", "--bundle", folder, f"hooked-{folder.name}")
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
    )
    return Made(STARTED in done.stdout, done.stderr, done.returncode)
