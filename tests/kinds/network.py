"""Programs in a network namespace of their own, with a resolv.conf of their own; no trace of it stays."""

import subprocess
import sys
import textwrap
from pathlib import Path

CLUSTER = "prod.svc.cluster.local svc.cluster.local cluster.local"
HEAD = """
import asyncio, socket
from nameserver import *
from gatekeeper.probes.dns import Dns
from gatekeeper.probes.service import Service
"""


def run(command: list[str]) -> str:
    """Return what a program that must succeed says, run beside the test helpers."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_a_network(folder: Path, program: str) -> list[str]:
    """Return the lines that a program says in a network of its own, whose one nameserver is to be its 127.0.0.1.

    Needs root. The program finds the nameservers, the two kinds and the search list of a pod of namespace prod.
    """
    conf = folder / "resolv.conf"
    conf.write_text(f"nameserver 127.0.0.1\nsearch {CLUSTER}\noptions ndots:5\n")
    script = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'
    python = [sys.executable, "-c", HEAD + textwrap.dedent(program)]
    return run(["unshare", "--net", "--mount", "sh", "-c", script, str(conf), *python]).splitlines()
