"""service: against real listeners, and a real nameserver in a network of the test's own."""

import asyncio
import dataclasses
import socket
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import namespace
import pytest
from nameserver import Caching, Nameserver, Refusing
from network import in_a_network, run

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.service import Service

EXAMPLE = "service://db:5432, service://db.prod:5432 or service://db:PORT-NAME"


@pytest.fixture
def listener() -> Iterator[int]:
    """Return a port of 127.0.0.1 that accepts connections and keeps them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """Return a port of 127.0.0.1 where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def attempt(target: str, **options: str) -> Outcome:
    """Return what one attempt finds."""
    return asyncio.run(Service.parse(target, {key: (value,) for key, value in options.items()}).attempt())


def attempt_with(server: Nameserver, folder: Path, target: str, **options: str) -> Outcome:
    """Return what one attempt finds that asks this nameserver for SRV records, with a search list."""
    conf = folder / "resolv.conf"
    conf.write_text(f"nameserver {server.address}\nsearch ns.svc.cluster.local\noptions ndots:5\n")
    probe = Service.parse(target, {key: (value,) for key, value in options.items()})
    return asyncio.run(dataclasses.replace(probe, resolv_conf=str(conf), dns_port=server.port).attempt())


def portless(server: Nameserver, folder: Path) -> Service:
    """Return the probe of a service without a port that asks this nameserver."""
    conf = folder / "resolv.conf"
    conf.write_text(f"nameserver {server.address}\nsearch ns.svc.cluster.local\noptions ndots:5\n")
    return Service("localhost", None, resolv_conf=str(conf), dns_port=server.port)


def test_a_service_that_accepts_connections_is_ready(listener: int) -> None:
    """A name that resolves to an address that accepts a connection is ready, and says at which address."""
    where = f"127.0.0.1:{listener} (via dns)"
    assert attempt(f"service://localhost:{listener}") == Outcome(State.READY, Reason.READY, where)


def test_a_service_that_resolves_is_not_ready_for_that(closed: int) -> None:
    """A name that resolves, as a ClusterIP does with nothing behind it, is refused where nothing accepts."""
    outcome = attempt(f"service://localhost:{closed}")
    assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, Reason.REFUSED, True)


def test_a_service_that_hangs_up_is_not_ready() -> None:
    """A connection that is accepted and hung up at once is not ready, as with tcp; linger=0 does not look."""

    async def hung_up(**options: str) -> Outcome:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            probe = Service.parse(f"service://localhost:{port}", {key: (value,) for key, value in options.items()})
            return await probe.attempt()

    assert asyncio.run(hung_up(linger="250ms")).reason is Reason.CLOSED
    assert asyncio.run(hung_up(linger="0")).state is State.READY


def test_as_many_endpoints_as_wanted_must_accept(listener: int) -> None:
    """More addresses wanted than the name has is not ready."""
    assert attempt(f"service://localhost:{listener}", endpoints="all").state is State.READY
    assert attempt(f"service://localhost:{listener}", endpoints="3").reason is Reason.NO_DATA


def test_the_port_may_be_told_by_the_environment(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a port, the variable that the kubelet sets for services of the pod's namespace tells it."""
    monkeypatch.setenv("LOCALHOST_SERVICE_PORT", str(listener))
    assert attempt("service://localhost").state is State.READY


@pytest.mark.parametrize(
    ("target", "variable", "port"),
    [
        ("service://my-db", "MY_DB_SERVICE_PORT", 5432),
        ("service://1db", "_1DB_SERVICE_PORT", 5432),
        ("service://my-db:6432", "MY_DB_SERVICE_PORT", 6432),
        ("service://my-db:pg", "MY_DB_SERVICE_PORT", "pg"),
    ],
)
def test_the_variable_is_that_of_the_kubelet(
    target: str, variable: str, port: int | str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named as the kubelet names it; a namespace, or a port in the target, go before it."""
    monkeypatch.setenv(variable, "5432")
    assert Service.parse(target, {}).port == port


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", f"has no name: write {EXAMPLE}"),
        ("me:secret@db:5432", f"takes no user or password: write {EXAMPLE}"),
        ("db:5432/path", f"takes nothing behind the port: write {EXAMPLE}"),
        ("10.0.0.7:5432", "'10.0.0.7:5432' is an address, not a service: write tcp://HOST:PORT (IPv6 in brackets)"),
        ("[::1]:5432", "'[::1]:5432' is an address, not a service: write tcp://HOST:PORT (IPv6 in brackets)"),
        ("::1", "'::1' is an address, not a service: write tcp://HOST:PORT (IPv6 in brackets)"),
        ("db:0", "'0' is no port: write a number from 1 to 65535"),
        ("db:65536", "'65536' is no port: write a number from 1 to 65535"),
        ("db:", "'' is neither a port number nor the name of a port"),
        (
            "Db_1:PG",
            (
                "'Db_1' is no service name: lower-case letters, digits and -, a namespace behind a dot; "
                "'PG' is neither a port number nor the name of a port"
            ),
        ),
        ("db..prod:1", "'db..prod' is no service name: lower-case letters, digits and -, a namespace behind a dot"),
        ("bad", f"has no port, and BAD_SERVICE_PORT in the environment is none: write {EXAMPLE}"),
    ],
)
def test_bad_declarations(target: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with a target is told at once, with what would be right."""
    monkeypatch.setenv("BAD_SERVICE_PORT", "tcp://10.0.0.7:5432")
    with pytest.raises(BadOptionsError) as error:
        Service.parse(f"service://{target}", {"endpoints": ("none",)})
    endpoints = "'none' is neither any, all nor a whole number from 1"
    assert list(error.value.wrong) == [("", message), ("endpoints", endpoints)]


def test_a_port_number_needs_no_dns_library() -> None:
    """A service with a port number is attempted without dnspython loaded."""
    program = """
        import asyncio, sys
        from gatekeeper.probes.service import Service
        outcome = asyncio.run(Service.parse("service://localhost:1", {}).attempt())
        print(outcome.reason, "dns" in sys.modules)
    """
    assert run([sys.executable, "-c", textwrap.dedent(program)]) == "refused False\n"


@pytest.mark.parametrize(
    ("server", "reason", "gone"),
    [(Nameserver(), Reason.UNRESOLVED, True), (Refusing(), Reason.DNS_REFUSED, False)],
)
def test_a_named_port_without_record_is_waited_for(
    server: Nameserver,
    reason: Reason,
    gone: bool,  # noqa: FBT001 - a column of the table
    tmp_path: Path,
) -> None:
    """A headless service without a ready endpoint has no SRV record, and is asked for with the search list."""
    with server:
        outcome = attempt_with(server, tmp_path, "service://db:pg")
    assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, reason, gone)
    assert server.asked[0] == ("udp", "_pg._tcp.db.ns.svc.cluster.local.", "SRV")


def test_an_srv_record_may_say_that_there_is_no_service(tmp_path: Path) -> None:
    """An SRV record whose target is the root means that the service is decidedly not there (RFC 2782)."""
    with Nameserver({("_pg._tcp.db.ns.svc.cluster.local.", "SRV"): ["0 0 0 ."]}) as server:
        outcome = attempt_with(server, tmp_path, "service://db:pg")
    assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, Reason.NO_DATA, True)


def test_a_single_srv_answer_tells_the_port(listener: int, tmp_path: Path) -> None:
    """Without a port, SRV records of the service itself that agree on one tell it."""
    records = [f"0 50 {listener} db-0.example.", f"0 50 {listener} db-1.example."]
    with Nameserver({("localhost.ns.svc.cluster.local.", "SRV"): records}) as server:
        probe = portless(server, tmp_path)
        assert asyncio.run(probe.refuted()) is None
        assert asyncio.run(probe.attempt()).state is State.READY


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_port_that_nothing_tells_is_a_bad_declaration() -> None:
    """Without a port, a variable of this very name, or an answer of DNS, the declaration says how to name one."""
    script = """
        import asyncio
        from gatekeeper.probes.service import Service
        print(asyncio.run(Service.parse("service://no-such-service.invalid", {}).refuted()))
    """
    problem = namespace.run_with_nameserver(script)
    why = "no-such-service.invalid (Name or service not known)"
    assert problem.startswith("has no port, and no NO_SUCH_SERVICE_INVALID_SERVICE_PORT is in the environment: ")
    assert problem.endswith(f"{why}; write {EXAMPLE}")


def test_a_service_whose_dns_tells_no_port_or_several_is_a_bad_declaration(tmp_path: Path) -> None:
    """No SRV record, or records of several ports, tell no port."""
    how = "localhost does not tell its port: write localhost:5432, or a port's name, as in localhost:http"
    with Nameserver() as server:
        assert f"{how} (no SRV record); write {EXAMPLE}" in (asyncio.run(portless(server, tmp_path).refuted()) or "")
    with Nameserver({("localhost.", "SRV"): ["0 0 80 web.", "0 0 443 web."]}) as server:
        assert f"{how} (SRV records of 2 ports)" in (asyncio.run(portless(server, tmp_path).refuted()) or "")


def test_a_nameserver_that_refuses_refutes_nothing(tmp_path: Path) -> None:
    """What is not certain is left to the attempts: a resolver may be late too."""
    with Refusing() as server:
        assert asyncio.run(portless(server, tmp_path).refuted()) is None


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_silent_nameserver_holds_up_no_declaration(tmp_path: Path) -> None:
    """Ten services without a port are asked for all at once, in bounded time, and then waited for."""
    program = """
        import time, gatekeeper
        with Silent(port=53):
            began = time.monotonic()
            report = gatekeeper.check(*[f"service://db{n} attempt_timeout=100ms" for n in range(10)])
            print(report.cause, {d.reason.value for d in report.dependencies}, time.monotonic() - began < 8)
    """
    assert in_a_network(tmp_path, program) == ["timeout {'timed_out'} True"]


def test_what_dns_told_once_may_change_until_the_attempt(tmp_path: Path) -> None:
    """An attempt asks again; a no that comes out of a cache is not final then, and a refusal says nothing."""
    with Caching() as server:
        outcome = asyncio.run(portless(server, tmp_path).attempt())
    assert (outcome.state, outcome.reason, outcome.retry_after) == (State.WAITING, Reason.NO_DATA, 7.0)
    assert not outcome.gone
    with Refusing() as server:
        outcome = asyncio.run(portless(server, tmp_path).attempt())
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.DNS_REFUSED)


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_named_port_by_srv_records_and_search_domains(tmp_path: Path) -> None:
    """A service is found with the search list, its named port by SRV, and every target counts with endpoints=all."""
    program = """
        zone = {
            ("_pg._tcp.db.prod.svc.cluster.local.", "SRV"): [
                "10 50 5433 db-1.db.prod.svc.cluster.local.", "0 50 5432 db-0.db.prod.svc.cluster.local."],
            ("db-0.db.prod.svc.cluster.local.", "A"): ["127.0.0.10"],
            ("db-1.db.prod.svc.cluster.local.", "A"): ["127.0.0.11"],
        }
        any_of, all_of = (Service.parse("service://db.prod:pg", {"endpoints": (n,)}) for n in ("any", "all"))
        def show():
            for probe in (any_of, all_of):
                outcome = asyncio.run(probe.attempt())
                where = outcome.detail.removesuffix(" (via dns)").replace("; ", ", ")
                print(outcome.state, outcome.reason, *sorted(where.split(", ")))
        with Nameserver(zone, port=53):
            show()
            with socket.create_server(("127.0.0.11", 5433)):
                show()
                with socket.create_server(("127.0.0.10", 5432)):
                    show()
    """
    assert in_a_network(tmp_path, program) == [
        "waiting refused 127.0.0.10:5432 127.0.0.11:5433",
        "waiting refused 0 of 2 addresses 127.0.0.10:5432 127.0.0.11:5433",
        "ready ready 127.0.0.11:5433",
        "waiting refused 1 of 2 addresses 127.0.0.10:5432",
        "ready ready 127.0.0.10:5432",
        "ready ready 2 of 2 addresses",
    ]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_target_that_does_not_resolve_counts_where_all_must_pass(tmp_path: Path) -> None:
    """One of two SRV targets without an address is passed over for any and for a number, not for all."""
    program = """
        zone = {
            ("_pg._tcp.db.prod.svc.cluster.local.", "SRV"): ["0 0 5432 gone.example.", "1 0 5432 there.example."],
            ("there.example.", "A"): ["127.0.0.11"],
        }
        with Nameserver(zone, port=53), socket.create_server(("127.0.0.11", 5432)):
            for wanted in ("any", "1", "all"):
                outcome = asyncio.run(Service.parse("service://db:pg", {"endpoints": (wanted,)}).attempt())
                print(outcome.state, outcome.reason, outcome.detail.removesuffix(" (via dns)"))
    """
    assert in_a_network(tmp_path, program) == [
        "ready ready 127.0.0.11:5432",
        "ready ready 1 of 1 addresses",
        "waiting unresolved gone.example. (Name or service not known)",
    ]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_service_comes_and_goes_in_the_dns(tmp_path: Path) -> None:
    """A service that is not there yet is unresolved; once it is, DNS and a listener make it ready, port and all."""
    program = """
        probe = Service("db", None)
        def show():
            outcome = asyncio.run(probe.attempt())
            print(outcome.state, outcome.reason, outcome.detail.removesuffix(" (via dns)"), outcome.gone)
        with Nameserver(port=53) as server, socket.create_server(("127.0.0.9", 5432)):
            show()
            server.zone["db.prod.svc.cluster.local.", "A"] = ["127.0.0.9"]
            server.zone["db.prod.svc.cluster.local.", "SRV"] = ["0 100 5432 db.prod.svc.cluster.local."]
            show()
    """
    assert in_a_network(tmp_path, program) == [
        "waiting unresolved db (Name or service not known) True",
        "ready ready 127.0.0.9:5432 False",
    ]
