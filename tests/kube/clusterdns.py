"""A network of the test's own whose DNS is named of BIND 9, with the records that CoreDNS has of a cluster's services.

The gate's part of it is a pod's: resolv.conf of a pod of namespace prod, and addresses of services and pods that are
all this host's, so that a port where nobody listens refuses. Needs root; no trace of it stays.
"""

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

ZONE = "cluster.local"
SEARCH = f"prod.svc.{ZONE} svc.{ZONE} {ZONE}"
DNS = "10.96.0.10"
CACHE = "169.254.20.10"  # where NodeLocal DNSCache listens

# The second server asks the first one and remembers its answers, a no included.
_NAMED = """
options {{
    directory "{folder}";
    listen-on {{ {address}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    lock-file none;
    querylog yes;
    dnssec-validation no;
    qname-minimization off;
    {options}
}};
controls {{ }};
"""
_ZONES = """
zone "cluster.local" {{ type primary; file "{folder}/cluster.local"; }};
zone "." {{ type primary; file "{folder}/root"; }};
"""
_HEAD = """
$ORIGIN {zone}
$TTL {ttl}
@ SOA ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 {ttl}
@ NS ns.dns.cluster.local.
ns.dns.cluster.local. A 10.96.0.10
"""
_SET_UP = """
ip link set lo up && ip route add local 10.0.0.0/8 dev lo && ip address add fd00:10:96::7/128 dev lo nodad &&
ip address add 10.96.0.10/32 dev lo &&
ip address add 169.254.20.10/32 dev lo &&
mount --bind "$0" /etc/resolv.conf && echo made && exec sleep infinity
"""
_ASKED = re.compile(r"^(\S+ \S+) .*: query: (\S+) IN (\S+) ")
_LISTENER = """
import socket, sys, threading
def serve(listener):
    while True:
        held.append(listener.accept())
held = []
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, int(sys.argv[1])), family=family)
    threading.Thread(target=serve, args=(listener,)).start()
print("listens", flush=True)
"""


def until(there: Callable[[], Any], what: Callable[[], str], seconds: float = 60) -> None:
    """Wait for what nobody tells of."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f"not in {seconds} s: {what()}"
        time.sleep(0.02)


def cluster_ip(name: str, *addresses: str, **ports: int) -> list[str]:
    """Return the records of a Service with addresses of its own: there with or without a pod behind it."""
    records = [f"{name}.svc {'AAAA' if ':' in address else 'A'} {address}" for address in addresses]
    for port, number in ports.items():
        records += [f"{owner} SRV 0 100 {number} {name}.svc" for owner in (f"{name}.svc", f"_{port}._tcp.{name}.svc")]
    return records


def headless(name: str, *ready: str, **ports: int) -> list[str]:
    """Return the records of a headless Service: of its ready endpoints alone, and none where no endpoint is ready."""
    records = []
    for address in ready:
        host = f"{address.replace('.', '-')}.{name}.svc"
        records += [f"{name}.svc A {address}", f"{host} A {address}"]
        for port, number in ports.items():
            owners = (f"{name}.svc", f"_{port}._tcp.{name}.svc")
            records += [f"{owner} SRV 0 {100 // len(ready)} {number} {host}" for owner in owners]
    return records


class ClusterDns:
    """The network, its nameserver, and what is run there."""

    def __init__(self, folder: Path, *, ttl: int = 30, cached: bool = False) -> None:
        """Prepare a nameserver that fails until `synced` is called; negative answers are good for ``ttl`` seconds."""
        self.folder, self._ttl, self._serial = folder, ttl, 0
        self._server = CACHE if cached else DNS
        self._cached = cached
        self._running = contextlib.ExitStack()
        (folder / "resolv.conf").write_text(f"search {SEARCH}\nnameserver {self._server}\noptions ndots:5\n")

    def __enter__(self) -> Self:
        """Make the network and start its nameserver, whose zone is not there yet."""
        unshare = ["unshare", "--mount", "--net", "sh", "-c", _SET_UP, str(self.folder / "resolv.conf")]
        self._holder = self._start(unshare, "made").pid
        # Like CoreDNS it follows an alias itself, to the root zone that stands for the rest of the world.
        self._named = self._serve("dns", DNS, "recursion yes;", _ZONES)
        if self._cached:
            ask = f"recursion yes; forward only; forwarders {{ {DNS}; }}; max-ncache-ttl {self._ttl};"
            self._serve("cache", CACHE, ask, "")
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started."""
        self._running.close()

    def synced(self, *records: str, outside: Sequence[str] = ()) -> float:
        """Let the cluster's zone hold these records from now on, and return when it does; ``outside`` is all else's.

        Records have no TTL of their own, and are relative to the zone.
        """
        self._serial += 1
        self._write("cluster.local", f"{ZONE}.", records)
        self._write("root", ".", outside)
        self._named.send_signal(signal.SIGHUP)
        loaded = [f"zone {zone}/IN: loaded serial {self._serial}\n" for zone in (ZONE, ".")]
        until(lambda: all(line in self._log() for line in loaded), self._log)
        # The first, for a server that has not come to its first load yet loads once more for the signal.
        line = next(line for line in self._log().splitlines(keepends=True) if line.endswith(loaded[0]))
        return _moment(" ".join(line.split()[:2]))

    def asked(self) -> list[tuple[float, str, str]]:
        """Return every question that the cluster's nameserver was asked: when, for what name, for what type."""
        found = map(_ASKED.match, self._log().splitlines())
        return [(_moment(match[1]), match[2], match[3]) for match in found if match]

    def listen(self, port: int, *addresses: str) -> None:
        """Let something accept connections at these addresses."""
        self._start(self.inside([sys.executable, "-c", _LISTENER, str(port), *addresses]), "listens")

    def run(self, *command: str) -> str:
        """Run a command that must succeed to its end, and return what it says."""
        done = subprocess.run(self.inside(command), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command there that writes a log, and end it with the network."""
        with log.open("w") as file:
            process = subprocess.Popen(self.inside(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self._running.enter_context(_ended(process))
        return process

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command there."""
        return ["nsenter", "--target", str(self._holder), "--mount", "--net", *command]

    def _start(self, command: Sequence[str], says: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._running.enter_context(_ended(process))
        assert process.stdout
        assert process.stdout.readline() == f"{says}\n"
        return process

    def _serve(self, name: str, address: str, options: str, zones: str) -> subprocess.Popen[bytes]:
        folder = self.folder / name
        folder.mkdir()
        conf = folder / "named.conf"
        conf.write_text((_NAMED + zones).format(folder=folder, address=address, options=options))
        if zones:
            self._write("root", ".", ())
        named = self.begin(["named", "-4", "-n", "1", "-g", "-c", str(conf)], folder / "log")
        until(lambda: "running" in (folder / "log").read_text(), (folder / "log").read_text)
        return named

    def _write(self, file: str, zone: str, records: Sequence[str]) -> None:
        head = _HEAD.format(zone=zone, ttl=self._ttl, serial=self._serial)
        (self.folder / "dns" / file).write_text(head + "".join(f"{record}\n" for record in records))

    def _log(self) -> str:
        return (self.folder / "dns" / "log").read_text()


def _moment(stamp: str) -> float:
    """Return the time of a line of named's log, which is in the zone of the machine."""
    return datetime.strptime(stamp, "%d-%b-%Y %H:%M:%S.%f").astimezone(UTC).timestamp()


@contextlib.contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.communicate(timeout=30)
