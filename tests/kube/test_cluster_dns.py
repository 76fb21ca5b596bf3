"""gatekeeper in a pod: against a real nameserver that answers as a cluster's does, with the resolv.conf of a pod."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusterdns import ClusterDns, cluster_ip, headless, until

pytestmark = [pytest.mark.root, pytest.mark.needs("named", "unshare", "nsenter", "ip")]

WAITS = {
    "address": "service://db:5432",
    "namespace": "service://db.prod:5432",
    "named": "service://db:postgres",
    "portless": "service://db",
    "records": "dns://db",
    "srv": "dns://_postgres._tcp.db type=SRV",
    "absolute": "dns://db.prod.svc.cluster.local.",
    "tcp": "tcp://db:5432",
}


class Gate:
    """`gatekeeper wait` in that network."""

    def __init__(self, dns: ClusterDns, *dependencies: str) -> None:
        """Start it; its log and its report are kept beside the nameserver's."""
        self._log, self._report = dns.folder / "gate.log", dns.folder / "report.json"
        wait = [sys.executable, "-m", "gatekeeper", "wait", "--timeout=60s", "--log-format=json"]
        self._process = dns.begin([*wait, f"--report={self._report}", *dependencies], self._log)

    def reaches(self, reasons: dict[str, str]) -> None:
        """Wait until the last that was said of these dependencies is this, with the gate shut all the while."""
        until(lambda: self.reasons().items() >= reasons.items(), lambda: f"{reasons}, but {self.reasons()}")
        assert self._process.poll() is None, self._log.read_text()

    def reasons(self) -> dict[str, str]:
        """Return the last reason of each dependency."""
        said = [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return {line["name"]: line["reason"] for line in said if line["event"].startswith("dependency.")}

    def opens(self) -> dict[str, list[str]]:
        """Wait for the gate to open; return the reasons that the report has of each dependency, in order."""
        assert self._process.wait(60) == 0, self._log.read_text()
        self.ended = time.time()
        report: dict[str, Any] = json.loads(self._report.read_text())
        assert (report["gate"], report["cause"]) == ("open", "ready")
        return {
            dependency["name"]: [change["reason"] for change in dependency["changes"]]
            for dependency in report["dependencies"]
        }


def all_of(reason: str, *but: str) -> dict[str, str]:
    """Return that reason for all of `WAITS`, or for all but some."""
    return dict.fromkeys(sorted(set(WAITS) - set(but)), reason)


def written(waits: dict[str, str]) -> list[str]:
    """Return dependencies as arguments."""
    return [f"{name}={target}" for name, target in waits.items()]


@pytest.fixture
def dns(tmp_path: Path) -> Iterator[ClusterDns]:
    """Give a network with a nameserver that has not yet heard of its cluster."""
    with ClusterDns(tmp_path) as dns:
        yield dns


def test_each_way_to_name_a_service_waits_for_dns_then_its_name_then_its_port(dns: ClusterDns) -> None:
    """SERVFAIL, NXDOMAIN, and a ClusterIP with nothing behind it hold the gate, told apart; a listener opens it."""
    looked_up = ("records", "srv", "absolute")  # which ask for records, and connect to nothing
    gate = Gate(dns, *written(WAITS))
    asks = dict.fromkeys(("named", *looked_up), "dns_failed")
    gate.reaches(all_of("unresolved") | asks)
    dns.synced()
    gate.reaches(all_of("unresolved"))
    dns.synced(*cluster_ip("db.prod", "10.96.0.7", postgres=5432))
    gate.reaches(all_of("refused", *looked_up) | dict.fromkeys(looked_up, "ready"))
    dns.listen(5432, "10.96.0.7")
    went = gate.opens()
    assert went == {
        name: [
            "dns_failed" if name in asks else "unresolved",
            *(["unresolved"] if name in asks else []),
            *([] if name in looked_up else ["refused"]),
            "ready",
        ]
        for name in WAITS
    }


def test_a_headless_service_is_there_with_its_first_ready_endpoint(dns: ClusterDns) -> None:
    """Without a ready endpoint its name is NXDOMAIN; with endpoints=all each of those in DNS must accept."""
    waits = {
        "any": "service://db:5432",
        "all": "service://db:5432 endpoints=all",
        "two": "tcp://db:5432 endpoints=2",
        "named": "service://db:postgres endpoints=all",
        "records": "dns://db type=SRV min=2",
    }
    one, two = "10.244.0.4", "10.244.1.4"
    dns.synced()
    gate = Gate(dns, *written(waits))
    gate.reaches(dict.fromkeys(waits, "unresolved"))
    dns.synced(*headless("db.prod", one, postgres=5432))
    gate.reaches({**dict.fromkeys(waits, "refused"), "records": "no_data"})
    dns.synced(*headless("db.prod", one, two, postgres=5432))
    gate.reaches({**dict.fromkeys(waits, "refused"), "records": "ready"})
    dns.listen(5432, one)
    gate.reaches({"any": "ready", "all": "refused", "two": "refused", "named": "refused"})
    dns.listen(5432, two)
    went = gate.opens()
    assert went == {
        **{name: ["unresolved", "refused", "ready"] for name in waits},
        "records": ["unresolved", "no_data", "ready"],
    }


def test_an_external_name_is_what_it_points_to(dns: ClusterDns) -> None:
    """A CNAME out of the cluster is followed: the name that it points to must be there, and then its port counts."""
    waits = {"service": "service://db:5432", "tcp": "tcp://db:5432", "name": "dns://db"}
    alias = "db.prod.svc CNAME db.example.com."
    dns.synced(alias)
    gate = Gate(dns, "alias=dns://db type=CNAME expect=db.example.com", *written(waits))
    gate.reaches({"alias": "ready", **dict.fromkeys(waits, "unresolved")})
    dns.synced(alias, outside=["db.example.com. A 10.200.0.1"])
    gate.reaches({"service": "refused", "tcp": "refused", "name": "ready"})
    dns.listen(5432, "10.200.0.1")
    assert gate.opens() == {
        "alias": ["ready"],
        "service": ["unresolved", "refused", "ready"],
        "tcp": ["unresolved", "refused", "ready"],
        "name": ["unresolved", "ready"],
    }


def test_a_cluster_dns_can_be_waited_for_by_its_version(dns: ClusterDns) -> None:
    """The TXT record dns-version, which each cluster's DNS has, tells when it knows its cluster."""
    gate = Gate(dns, "cluster=dns://dns-version.cluster.local. type=TXT expect=1.1.0")
    gate.reaches({"cluster": "dns_failed"})
    dns.synced('dns-version TXT "1.1.0"')
    assert gate.opens() == {"cluster": ["dns_failed", "ready"]}


def test_a_service_of_two_families_is_there_at_either_address(dns: ClusterDns) -> None:
    """Of the two addresses of a dual-stack ClusterIP one that accepts will do, and endpoints=all wants both."""
    addresses = ("10.96.0.7", "fd00:10:96::7")
    dns.synced(*cluster_ip("db.prod", *addresses, postgres=5432))
    gate = Gate(dns, "any=service://db:postgres", "all=service://db:5432 endpoints=all", "six=dns://db type=AAAA")
    gate.reaches({"any": "refused", "all": "refused", "six": "ready"})
    dns.listen(5432, addresses[1])
    gate.reaches({"any": "ready", "all": "refused"})
    dns.listen(5432, addresses[0])
    assert gate.opens() == {"any": ["refused", "ready"], "all": ["refused", "ready"], "six": ["ready"]}


@pytest.mark.needs("iptables")
def test_a_service_whose_packets_are_dropped_has_timed_out(dns: ClusterDns) -> None:
    """Where a network policy drops what is sent to the service, its name is not enough, and the silence is told."""
    drop = ["-d", "10.96.0.7", "-j", "DROP"]
    dns.synced(*cluster_ip("db.prod", "10.96.0.7", postgres=5432))
    dns.run("iptables", "-A", "INPUT", *drop)
    dns.listen(5432, "10.96.0.7")
    gate = Gate(dns, "service=service://db:postgres attempt_timeout=300ms", "tcp=tcp://db:5432 attempt_timeout=300ms")
    gate.reaches({"service": "timed_out", "tcp": "timed_out"})
    dns.run("iptables", "-D", "INPUT", *drop)
    assert gate.opens() == {"service": ["timed_out", "ready"], "tcp": ["timed_out", "ready"]}


def asked_in_ten_seconds(dns: ClusterDns, target: str) -> Counter[tuple[str, str]]:
    """Return how often each question was asked for a target that is not ready in that time."""
    wait = ["-m", "gatekeeper", "wait", "--timeout=10s", "--quiet", target]
    done = subprocess.run(dns.inside([sys.executable, *wait]), stderr=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 124
    return Counter((name, rdtype) for _, name, rdtype in dns.asked())


@pytest.mark.parametrize("target", ["service://db:5432", "tcp://db:5432", "dns://db"])
def test_a_name_that_is_not_there_is_asked_for_without_a_flood(dns: ClusterDns, target: str) -> None:
    """Of the names of the search list each is asked for once a second, after a first second that is quick."""
    dns.synced()
    asked = asked_in_ten_seconds(dns, target)
    assert set(asked) == {
        (name, rdtype)
        for name in ("db.prod.svc.cluster.local", "db.svc.cluster.local", "db.cluster.local", "db")
        for rdtype in ("A", "AAAA")
    }
    assert max(asked.values()) <= 15  # at 0, 0.1, 0.2, 0.4, 0.8, 1.6 and each second from there on


def test_a_name_that_costs_little_is_asked_for_more_often(dns: ClusterDns) -> None:
    """With a dot at its end it is two questions each time, and not eight: no more than eight a second either."""
    dns.synced()
    asked = asked_in_ten_seconds(dns, "dns://db.prod.svc.cluster.local.")
    assert set(asked) == {("db.prod.svc.cluster.local", rdtype) for rdtype in ("A", "AAAA")}
    assert max(asked.values()) <= 42


@pytest.mark.parametrize("cached", [False, True], ids=["coredns", "cache"])
@pytest.mark.parametrize("target", ["service://db:5432", "dns://db"])
def test_a_name_that_comes_is_seen_soon(tmp_path: Path, target: str, *, cached: bool) -> None:
    """The gate opens soon after it, whatever the SOA record says, or once a cache has stopped to say no."""
    with ClusterDns(tmp_path, ttl=3 if cached else 30, cached=cached) as dns:
        dns.synced()
        dns.listen(5432, "10.96.0.7")
        gate = Gate(dns, f"db={target}")
        gate.reaches({"db": "unresolved"})
        since = dns.synced(*cluster_ip("db.prod", "10.96.0.7", postgres=5432))
        assert gate.opens() == {"db": ["unresolved", "ready"]}
        assert (
            gate.ended < since + (3 if cached else 0) + 10
        )  # however slow the machine is; on an idle one, 0.5 s and 3.5 s
