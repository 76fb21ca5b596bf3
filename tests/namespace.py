"""Python run in network and mount namespaces of its own: nothing but a loopback, and a nameserver if one is wanted."""

import subprocess
import sys
import tempfile
from textwrap import dedent

_SET_UP = """
ip link set lo up &&
mount --bind "$1" /etc/resolv.conf &&
shift &&
exec "$@"
"""


def run(script: str, nameserver: str = "127.0.0.1", seconds: float = 60) -> str:
    """Run a script and return what it prints."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"nameserver {nameserver}\noptions timeout:30 attempts:1\n")
        file.flush()
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", _SET_UP, "sh", file.name, sys.executable, "-c", dedent(script)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
