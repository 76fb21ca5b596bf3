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

# A nameserver for the namespace: names with "ok" are 127.0.0.9, those with "hang" get no answer, those with "lost" none
# at first, "formerr" is an error, "half" one of its two questions fails, and the rest is NXDOMAIN.
NAMESERVER = """
import os, socket, sys, threading

asked = []
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))

def answer():
    while True:
        query, client = server.recvfrom(512)
        asked.append(query)
        if b"hang" in query or (b"lost" in query and len(asked) <= 2):
            continue
        is_a, known = query[-4:-2] == bytes([0, 1]), b"ok" in query
        failed = b"formerr" in query or (b"half" in query and not is_a)
        flags = bytes([0x81, 0x80 if known else 0x81 if failed else 0x83])
        record = bytes.fromhex("c00c00010001000000010004 7f000009") if known and is_a else b""
        count = bytes([0, 1 if record else 0])
        end = query.index(0, 12) + 5
        server.sendto(query[:2] + flags + query[4:6] + count + bytes(4) + query[12:end] + record, client)

threading.Thread(target=answer, daemon=True).start()
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


def run_with_nameserver(script: str) -> str:
    """Run a script beside that nameserver; it leaves as the gate does, without waiting for stuck threads."""
    return run(NAMESERVER + dedent(script) + "\nsys.stdout.flush()\nos._exit(0)\n")
