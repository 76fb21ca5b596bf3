"""dns: against real nameservers of known badness."""

import asyncio
import dataclasses
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import dns.rcode
import pytest
from nameserver import (
    Authoritative,
    Breaking,
    Caching,
    CuttingShort,
    Dripping,
    Failing,
    FailingFor,
    Flooding,
    Forged,
    Garbage,
    HangingUp,
    Lossy,
    Nameserver,
    Referring,
    Refusing,
    Silent,
    SilentFor,
    Truncating,
)
from network import in_a_network

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.dns import Dns

ZONE = {("db.example.", "A"): ["10.0.0.7", "10.0.0.8"]}
RECORDS = {
    ("www.example.", "CNAME"): ["web.example."],
    ("web.example.", "A"): ["10.0.0.9"],
    ("web.example.", "AAAA"): ["2001:db8::9"],
    ("example.", "MX"): ["10 Mail.Example.", "20 mail2.example."],
    ("example.", "NS"): ["ns.example."],
    ("example.", "TXT"): ['"v=spf1 " "-all"', '"say \\"hi\\""'],
    ("example.", "CAA"): ['0 issue "letsencrypt.org"'],
    ("_pg._tcp.example.", "SRV"): ["0 5 5432 db-0.example.", "10 5 5433 db-1.example."],
    ("7.0.0.10.in-addr.arpa.", "PTR"): ["db.example."],
}


def probe(text: str, **options: str | tuple[str, ...]) -> Dns:
    """Return the probe of a target with these options."""
    given = {key: value if isinstance(value, tuple) else (value,) for key, value in options.items()}
    return Dns.parse(f"dns://{text}", given)


def ask(server: Nameserver, name: str, **options: str | tuple[str, ...]) -> Outcome:
    """Return what one attempt finds, with this server."""
    return asyncio.run(probe(name, server=f"127.0.0.1:{server.port}", **options).attempt())


def descriptors() -> int:
    """Return how many descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


async def cut_off(attempt: Coroutine[Any, Any, Outcome], server: Nameserver) -> list[str]:
    """Cancel an attempt once the server was asked; return what the cancellation says of the step."""
    task = asyncio.ensure_future(attempt)
    await asyncio.to_thread(server.was_asked.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    return getattr(cancelled.value, "__notes__", [])


@pytest.mark.parametrize(
    ("name", "options", "detail"),
    [
        ("db.example.", {}, "2 A or AAAA of db.example."),
        ("db.example.", {"expect": ("10.0.0.8", "10.0.0.7")}, "2 A or AAAA of db.example."),
        ("DB.Example.", {"type": "a", "min": "2"}, "2 A of DB.Example."),
        ("web.example.", {"type": "AAAA", "expect": "2001:DB8:0::9"}, "1 AAAA of web.example."),
        ("web.example.", {"expect": ("10.0.0.9", "2001:db8::9"), "min": "2"}, "2 A or AAAA of web.example."),
        ("www.example.", {"type": "A", "expect": "10.0.0.9"}, "1 A of www.example."),
        ("www.example.", {"type": "CNAME", "expect": "WEB.example"}, "1 CNAME of www.example."),
        ("example.", {"type": "MX", "expect": ("mail.example.", "20 mail2.EXAMPLE")}, "2 MX of example."),
        ("example.", {"type": "NS", "expect": "ns.example"}, "1 NS of example."),
        ("example.", {"type": "TXT", "expect": ("v=spf1 -all", 'say "hi"')}, "2 TXT of example."),
        ("example.", {"type": "CAA", "expect": ("letsencrypt.org", '0 issue "letsencrypt.org"')}, "1 CAA of example."),
        (
            "_pg._tcp.example.",
            {"type": "SRV", "expect": ("db-0.example", "DB-1.example.:5433", "0 5 5432 db-0.example.")},
            "2 SRV of _pg._tcp.example.",
        ),
        ("10.0.0.7", {"type": "PTR", "expect": "db.example"}, "1 PTR of 7.0.0.10.in-addr.arpa."),
    ],
)
def test_ready_where_the_wanted_records_are_there(name: str, options: dict[str, Any], detail: str) -> None:
    """A name with the wanted records of its type is ready, in whatever spelling they are expected."""
    with Nameserver({**ZONE, **RECORDS}) as server:
        outcome = ask(server, name, **options)
    assert (outcome.state, outcome.detail) == (State.READY, detail)


@pytest.mark.parametrize(
    ("server", "name", "reason", "gone"),
    [
        (Nameserver(ZONE), "cache.example.", Reason.UNRESOLVED, True),
        (Nameserver(ZONE | {("v.example.", "MX"): ["1 m."]}), "v.example.", Reason.NO_DATA, True),
        (Nameserver({("a.example.", "CNAME"): ["b.example."]}), "a.example.", Reason.UNRESOLVED, True),
        (Failing(ZONE), "db.example.", Reason.DNS_FAILED, False),
        (Refusing(ZONE), "db.example.", Reason.DNS_REFUSED, False),
        (Referring(ZONE), "db.example.", Reason.DNS_FAILED, False),
        (
            Nameserver({("a.example.", "CNAME"): ["b.example."], ("b.example.", "CNAME"): ["a.example."]}),
            "a.example.",
            Reason.DNS_FAILED,
            False,
        ),
    ],
)
def test_each_way_to_have_no_record_has_its_reason(server: Nameserver, name: str, reason: Reason, gone: bool) -> None:  # noqa: FBT001 - a column of the table
    """No such name, no data, failing, refusing, referring and looping are told apart; only a definite no is 'gone'."""
    with server:
        outcome = ask(server, name)
    assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, reason, gone)


def test_too_few_and_other_records_are_not_ready() -> None:
    """Too few records are no data, a missing expected record is an unwanted answer, and neither is 'gone'."""
    with Nameserver(ZONE) as server:
        few = ask(server, "db.example.", min="3")
        other = ask(server, "db.example.", expect="10.0.0.1")
    assert (few.reason, few.detail, few.gone) == (Reason.NO_DATA, "2 A or AAAA of db.example., 3 wanted", False)
    assert (other.reason, other.gone) == (Reason.UNWANTED_ANSWER, False)
    assert other.detail == "2 A or AAAA of db.example., without '10.0.0.1'"


def test_absent_is_ready_only_where_the_records_are_definitely_gone() -> None:
    """With absent, NXDOMAIN and no data are ready, a record is still there, and a failure proves nothing."""
    with Nameserver(ZONE) as server, Failing(ZONE) as failing:
        assert ask(server, "cache.example.", absent="yes").state is State.READY
        assert ask(server, "db.example.", type="MX", absent="yes").state is State.READY
        assert ask(server, "db.example.", absent="yes").reason is Reason.STILL_THERE
        assert ask(failing, "db.example.", absent="yes").reason is Reason.DNS_FAILED


@pytest.mark.parametrize(
    ("kind", "ttl", "minimum", "retry_after"),
    [(Caching, 30, 7, 7.0), (Caching, 5, 7, 5.0), (Caching, 0, 7, None), (Authoritative, 30, 7, None)],
)
def test_a_cached_no_says_for_how_long_it_will_be_repeated(
    kind: type[Caching], ttl: int, minimum: int, retry_after: float | None
) -> None:
    """The negative TTL is a hint to the pace where a cache stands between, and only there."""
    server = kind(ZONE)
    server.ttl, server.minimum = ttl, minimum
    with server:
        assert ask(server, "cache.example.").retry_after == retry_after
        assert ask(server, "db.example.", type="MX").retry_after == retry_after


def test_no_answer_ends_with_the_attempt_and_says_whom_it_asked() -> None:
    """A silent server is asked until the attempt is cancelled, whose note names the step; no socket stays open."""
    before = descriptors()
    with Silent() as server:
        for transport in ("udp", "tcp"):
            attempt = probe("db.example.", server=f"127.0.0.1:{server.port}", transport=transport, type="A").attempt()
            server.was_asked.clear()
            notes = asyncio.run(cut_off(attempt, server))
            assert notes == [f"asking 127.0.0.1:{server.port} for A of db.example."]
    assert descriptors() == before


@pytest.mark.parametrize(
    ("kind", "transport"),
    [(Nameserver, "udp"), (Silent, "udp"), (Truncating, "auto"), (Silent, "tcp"), (Dripping, "tcp")],
)
def test_nothing_stays_open_wherever_it_is_cancelled(kind: type[Nameserver], transport: str) -> None:
    """An attempt that is cancelled after any number of turns of the loop leaves no descriptor open."""

    async def cancel_after(turns: int) -> None:
        attempt = probe("db.example.", server=f"127.0.0.1:{server.port}", transport=transport).attempt()
        task = asyncio.ensure_future(attempt)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.sleep(turns / 10_000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    before = descriptors()
    with kind(ZONE) as server:
        for turns in range(40):
            asyncio.run(cancel_after(turns))
    assert descriptors() == before


def test_a_lost_datagram_is_sent_again() -> None:
    """Silence of a second is taken for a loss, and the question asked once more."""
    with Lossy(ZONE) as server:
        assert ask(server, "db.example.", type="A").state is State.READY
        assert server.asked == [("udp", "db.example.", "A")] * 2


def test_datagrams_that_are_no_answer_are_passed_over() -> None:
    """Garbage, wrong ids, wrong questions and broken records neither fail the attempt nor are believed."""
    with Forged(ZONE) as server:
        assert ask(server, "db.example.", type="A").state is State.READY


def test_a_flood_of_garbage_does_not_keep_the_clock_from_running() -> None:
    """Datagrams without an end leave the event loop to others, and the attempt can be cancelled in good time."""

    async def limited() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await probe("db.example.", server=f"127.0.0.1:{server.port}", type="A").attempt()
        return time.monotonic() - began

    with Flooding(ZONE) as server:
        assert asyncio.run(limited()) < 5


@pytest.mark.parametrize("kind", [Truncating, CuttingShort])
def test_an_answer_that_is_cut_short_is_asked_for_over_tcp(kind: type[Nameserver]) -> None:
    """A truncated answer over UDP is never used: the same server is asked again over TCP."""
    many = {("db.example.", "A"): [f"10.0.{i}.{j}" for i in range(8) for j in range(250)]}
    with kind(many) as server:
        assert ask(server, "db.example.", type="A", min="2000").state is State.READY
        assert [transport for transport, _, _ in server.asked] == ["udp", "tcp"]


def test_without_tcp_a_truncated_answer_is_no_answer() -> None:
    """With transport=udp a truncated answer is not ready, is not 'gone', and says what would help."""
    with Truncating(ZONE) as server:
        outcome = ask(server, "db.example.", type="A", transport="udp")
        assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, Reason.UNWANTED_ANSWER, False)
        assert outcome.detail.endswith("use transport=auto)")
        assert [transport for transport, _, _ in server.asked] == ["udp"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Nameserver, Reason.READY),
        (Dripping, Reason.READY),
        (Garbage, Reason.WRONG_PROTOCOL),
        (HangingUp, Reason.CLOSED),
    ],
)
def test_answers_over_tcp(kind: type[Nameserver], reason: Reason) -> None:
    """Over TCP an answer may come in pieces; one that is no DNS, or that ends early, is told for what it is."""
    with kind(ZONE) as server:
        outcome = ask(server, "db.example.", type="A", transport="tcp")
        assert (outcome.reason, outcome.gone) == (reason, False)
        assert {transport for transport, _, _ in server.asked} == {"tcp"}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_listens(transport: str) -> None:
    """A nameserver that is not there is refused, cheaply; of the name that says nothing."""
    with Nameserver() as server:
        port = server.port
    outcome = asyncio.run(probe("db.example.", server=f"127.0.0.1:{port}", transport=transport).attempt())
    assert outcome == Outcome(State.WAITING, Reason.REFUSED, f"nameserver 127.0.0.1:{port}", cheap=True)


def test_either_family_will_do() -> None:
    """Without a type, a question that stays unanswered does not hold up the other family's answer."""
    with SilentFor(ZONE, "AAAA") as server:
        assert ask(server, "db.example.").state is State.READY
    with Nameserver({("v6.example.", "AAAA"): ["2001:db8::1"]}) as server:
        assert ask(server, "v6.example.").detail == "1 A or AAAA of v6.example."


def test_ipv6_nameserver() -> None:
    """A nameserver may have an IPv6 address, written in brackets."""
    with Nameserver(ZONE, address="::1") as server:
        outcome = asyncio.run(probe("db.example.", server=f"[::1]:{server.port}").attempt())
    assert outcome.state is State.READY


class Conf:
    """A resolv.conf of the test's own."""

    def __init__(self, folder: Path) -> None:
        """Take the folder that it is in."""
        self.path = folder / "resolv.conf"

    def ask(self, port: int, name: str, *lines: str, **options: str) -> Outcome:
        """Return what one attempt finds with these lines."""
        self.path.write_text("\n".join(lines))
        settled = dataclasses.replace(probe(name, **options), resolv_conf=str(self.path), port=port)
        return asyncio.run(settled.attempt())


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    """Return a resolv.conf that is not there yet."""
    return Conf(tmp_path)


SEARCH = ("nameserver 127.0.0.1", "search ns.svc.cluster.local svc.cluster.local", "options timeout:1 ndots:2")


@pytest.mark.parametrize(
    ("name", "options", "asked"),
    [
        ("db", {}, ["db.ns.svc.cluster.local.", "db.svc.cluster.local.", "db."]),
        ("db.prod", {}, ["db.prod.ns.svc.cluster.local.", "db.prod.svc.cluster.local.", "db.prod."]),
        ("a.b.c", {}, ["a.b.c.", "a.b.c.ns.svc.cluster.local.", "a.b.c.svc.cluster.local."]),
        ("db.", {}, ["db."]),
        ("db", {"search": "no"}, ["db."]),
    ],
)
def test_relative_names_are_searched_in_the_order_of_glibc(
    conf: Conf, name: str, options: dict[str, str], asked: list[str]
) -> None:
    """Search list and ndots say which names are tried; what is found under none of them is gone."""
    with Nameserver() as server:
        outcome = conf.ask(server.port, name, *SEARCH, type="A", **options)
        assert [question for _, question, _ in server.asked] == asked
    assert (outcome.reason, outcome.gone) == (Reason.UNRESOLVED, True)
    assert outcome.detail == ", ".join(f"{question} (NXDOMAIN)" for question in asked)


def test_the_search_ends_at_the_first_name_that_is_there(conf: Conf) -> None:
    """The first name with records is the answer, and no further name is asked for."""
    with Nameserver({("db.svc.cluster.local.", "A"): ["10.0.0.7"]}) as server:
        assert conf.ask(server.port, "db", *SEARCH, type="A").state is State.READY
        assert len(server.asked) == 2


def test_a_failing_search_domain_is_passed_over_but_proves_nothing(conf: Conf) -> None:
    """As with glibc, SERVFAIL for one name sends the search on to the next; the name is then not 'gone'."""
    with FailingFor({("db.svc.cluster.local.", "A"): ["10.0.0.7"]}, "db.ns.svc.cluster.local.") as server:
        assert conf.ask(server.port, "db", *SEARCH).state is State.READY
        outcome = conf.ask(server.port, "cache", *SEARCH)
    assert (outcome.reason, outcome.gone) == (Reason.UNRESOLVED, True)
    with FailingFor({}, "db.ns.svc.cluster.local.") as server:
        outcome = conf.ask(server.port, "db", *SEARCH)
    assert (outcome.reason, outcome.gone) == (Reason.DNS_FAILED, False)


def test_a_refused_search_domain_ends_the_search(conf: Conf) -> None:
    """As with glibc, any other failure ends the search: only the name as it is is still tried."""
    zone = {("db.svc.cluster.local.", "A"): ["10.0.0.7"]}
    with FailingFor(zone, "db.ns.svc.cluster.local.", dns.rcode.REFUSED) as server:
        outcome = conf.ask(server.port, "db", *SEARCH, type="A")
        assert [question for _, question, _ in server.asked] == ["db.ns.svc.cluster.local.", "db."]
    assert (outcome.reason, outcome.gone) == (Reason.DNS_REFUSED, False)


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        (["domain example.com."], ["db.example.com.", "db."]),
        (["search a b", "domain example.com"], ["db.example.com.", "db."]),
        (["search a b", "options rotate ndots:x ndots:0"], ["db.", "db.a.", "db.b."]),
        (["search .", "options edns0"], ["db."]),
        ([f"search {'x' * 64} ü {'y.' * 125}com ok"], ["db.ok.", "db."]),
    ],
)
def test_resolv_conf_is_read_as_glibc_reads_it(conf: Conf, lines: list[str], asked: list[str]) -> None:
    """The last of domain and search counts, unknown options are ignored, and so are domains that make no name."""
    with Nameserver() as server:
        conf.ask(server.port, "db", "nameserver 127.0.0.1", *lines, type="A")
        assert [question for _, question, _ in server.asked] == asked


def test_the_next_nameserver_is_asked_while_the_first_is_silent(conf: Conf) -> None:
    """A dead first nameserver does not eat the attempt."""
    with Silent() as silent, Nameserver(ZONE, address="127.0.0.2", port=silent.port) as server:
        lines = ("nameserver 127.0.0.1", "nameserver 127.0.0.2")
        assert conf.ask(server.port, "db.example.", *lines, type="A").state is State.READY
        assert silent.asked
        assert len(server.asked) == 1


@pytest.mark.parametrize("kind", [Failing, Refusing, None])
def test_the_next_nameserver_is_asked_when_one_fails(conf: Conf, kind: type[Nameserver] | None) -> None:
    """A nameserver that fails, refuses, or is not there sends the question on to the next, at once."""
    lines = ("nameserver 127.0.0.2", "nameserver 127.0.0.1")
    with Nameserver(ZONE) as server:
        if kind is None:
            assert conf.ask(server.port, "db.example.", *lines).state is State.READY
        else:
            with kind(address="127.0.0.2", port=server.port):
                assert conf.ask(server.port, "db.example.", *lines).state is State.READY


def test_a_definite_no_is_not_asked_again_elsewhere(conf: Conf) -> None:
    """NXDOMAIN of the first nameserver holds: the second is not asked."""
    with Nameserver() as first, Nameserver(ZONE, address="127.0.0.2", port=first.port) as second:
        outcome = conf.ask(first.port, "db.example.", "nameserver 127.0.0.1", "nameserver 127.0.0.2")
        assert (outcome.reason, second.asked) == (Reason.UNRESOLVED, [])


def test_resolv_conf_is_read_at_each_attempt(conf: Conf) -> None:
    """A resolv.conf that is missing means this host; what it says later counts at the next attempt."""
    with Nameserver(ZONE, address="127.0.0.2") as server:
        waiting = dataclasses.replace(probe("db.example."), resolv_conf=str(conf.path), port=server.port)
        assert asyncio.run(waiting.attempt()).reason is Reason.REFUSED
        conf.path.write_text("; ours\n# ours\nnameserver nonsense\nnameserver 127.0.0.2\nnameserver\n\xff\n")
        assert asyncio.run(waiting.attempt()).state is State.READY


def test_an_unreadable_resolv_conf_is_an_outcome(tmp_path: Path) -> None:
    """A resolv.conf that cannot be read is said, and does not raise."""
    outcome = asyncio.run(dataclasses.replace(probe("db"), resolv_conf=str(tmp_path)).attempt())
    assert (outcome.state, outcome.detail) == (State.WAITING, f"{tmp_path} (Is a directory)")


@pytest.mark.parametrize(("name", "rdtype"), [(name, rdtype) for name, rdtype in RECORDS if rdtype != "A"])
def test_broken_answers_never_raise(name: str, rdtype: str) -> None:
    """Whatever bytes come instead of an answer, they are passed over or judged, never an exception."""
    with Breaking(RECORDS) as server:
        outcomes = [ask(server, name, type=rdtype, min="9") for _ in range(8)]
    assert {outcome.state for outcome in outcomes} == {State.WAITING}


@pytest.mark.parametrize(
    ("target", "options", "wrong"),
    [
        ("", {}, [("", "has no host: write dns://NAME type=SRV server=10.96.0.10")]),
        ("db:53", {}, [("", "takes no port: write dns://NAME type=SRV server=10.96.0.10")]),
        ("me@db", {}, [("", "takes no user or password: write dns://NAME type=SRV server=10.96.0.10")]),
        ("db/x", {}, [("", "takes nothing behind the port: write dns://NAME type=SRV server=10.96.0.10")]),
        ("a..b", {}, [("", "'a..b' is no host name")]),
        ("10.0.0.7", {}, [("", "10.0.0.7 is an address: add type=PTR to ask for its name")]),
        ("[::1]", {"type": ("MX",)}, [("", "::1 is an address: add type=PTR to ask for its name")]),
        (
            "db",
            {"type": ("AAA",), "min": ("0",), "transport": ("quic",), "server": ("::1",)},
            [
                ("type", "'AAA' is not one of A, AAAA, CNAME, MX, NS, TXT, SRV, PTR, CAA; did you mean AAAA?"),
                ("min", "'0' is no whole number from 1 to 10000"),
                ("transport", "'quic' is not one of udp, tcp, auto"),
                ("server", "'::1' looks like an IPv6 address: write it in brackets, as in [::1]:5432"),
            ],
        ),
        (
            "db",
            {"absent": (), "expect": ("10.0.0.1:80",), "min": ("2",)},
            [
                ("expect", "'10.0.0.1:80' is no A or AAAA record: write one address, without a port"),
                ("expect", "does not go with absent, which wants no record at all"),
                ("min", "does not go with absent, which wants no record at all"),
            ],
        ),
        (
            "db",
            {"type": ("A",), "expect": ("::1",)},
            [("expect", "'::1' is no A record: write one address, without a port")],
        ),
        (
            "db",
            {"type": ("MX",), "expect": ("ten mx.example.com",)},
            [
                (
                    "expect",
                    "'ten mx.example.com' is no such record: write expect=mx.example.com or expect='10 mx.example.com'",
                )
            ],
        ),
    ],
)
def test_bad_declarations(target: str, options: dict[str, tuple[str, ...]], wrong: list[tuple[str, str]]) -> None:
    """What is wrong with a declaration is told all at once, with what would be right."""
    with pytest.raises(BadOptionsError) as error:
        Dns.parse(f"dns://{target}", options)
    assert list(error.value.wrong) == wrong


@pytest.mark.parametrize(
    ("address", "name"),
    [("10.0.0.7", "7.0.0.10.in-addr.arpa."), ("[2001:db8::7]", f"7.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa.")],
)
def test_an_address_is_reversed_for_ptr(address: str, name: str) -> None:
    """With type=PTR an address stands for the name that tells its name."""
    assert probe(address, type="PTR").name == name


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_nameserver_without_address_proves_nothing(tmp_path: Path) -> None:
    """Where the nameserver's own name does not exist, the name to ask for is neither gone nor absent."""
    program = """
        with Nameserver(port=53):
            outcome = asyncio.run(Dns.parse("dns://db.", {"server": ("ns.example",), "absent": ()}).attempt())
        print(outcome.state, outcome.gone, outcome.detail)
    """
    assert in_a_network(tmp_path, program) == ["waiting False nameserver ns.example (Name or service not known)"]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
@pytest.mark.parametrize("name", ["db", "db.prod", "a.b.c.d.e", "a.b.c.d.e.f", "db."])
@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_names_are_searched_as_the_c_library_searches_them(name: str, rcode: str, tmp_path: Path) -> None:
    """The dns kind asks for the names that getaddrinfo(3) asks for, in the same order, also past a failing one."""
    program = f"""
        class Server(FailingFor):
            def __init__(self):
                Nameserver.__init__(self, port=53)
                self.name, self.rcode = "{name}.svc.cluster.local.", dns.rcode.{rcode}
        def order(look):
            with Server() as server:
                look()
            print(*dict.fromkeys(name for _, name, _ in server.asked))
        def as_the_application():
            try:
                socket.getaddrinfo("{name}", 80, type=socket.SOCK_STREAM)
            except socket.gaierror:
                pass
        order(as_the_application)
        order(lambda: asyncio.run(Dns.parse("dns://{name}", {{}}).attempt()))
    """
    theirs, ours = in_a_network(tmp_path, program)
    assert ours == theirs
