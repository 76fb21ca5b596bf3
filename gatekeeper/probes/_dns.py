"""Names to records: the only home of dnspython, of which only names and messages are loaded.

Its resolver and its asyncquery are left alone: they load several times as much (with some releases all of httpx), and
neither asks a second server while the first is still silent. Whom to ask is `_resolvconf`'s, how is `_nameserver`'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from dns.message import QueryMessage
from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT

from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._connect import addresses, outcome_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._nameserver import over_tcp, over_udp
from gatekeeper.probes._race import first_of
from gatekeeper.probes._resolvconf import DNS_PORT, RESOLV_CONF, candidates, read
from gatekeeper.resolve import Peer

Records = tuple[str, ...]

# A dead first nameserver must not eat the attempt, nor a slow one be doubled by each question.
HEAD_START = 1.0


class Resolver(NamedTuple):
    """Whom to ask and how: ``server`` (host and port) instead of those of ``resolv_conf``, which listen on ``port``."""

    server: tuple[str, int] | None = None
    search: bool = True
    transport: str = "auto"
    resolv_conf: str = RESOLV_CONF
    port: int = DNS_PORT


class Target(NamedTuple):
    """Where an SRV record points to; ``host`` is absolute."""

    host: str
    port: int


async def look_up(resolver: Resolver, name: str, types: Sequence[str], enough: Callable[[Records], bool]) -> Records:
    """Return the records of these types as text, of the first of the names to try that has any.

    The text is that of a zone file, but a TXT is in one piece, and it and a CAA are without quotes and escapes. Does
    not wait for the other types once ``enough`` is true of what came. Raises `MissError`.
    """
    servers, tried = await _to_ask(resolver, name)
    servers = list(servers)  # from now on in the order in which they are asked
    misses: list[Outcome] = []
    searching = True
    for candidate in tried:
        if not searching and candidate != f"{name}.":
            continue
        asked = f"asking {', '.join(map(str, servers))} for {' and '.join(types)} of {candidate}"
        try:
            with during(asked):
                return await _records_of(candidate, types, partial(_ask, servers, resolver.transport), enough)
        except MissError as miss:
            misses.append(miss.outcome)
            # As glibc has it: no such name, and SERVFAIL, lead on to the next; all else leaves only the name as it is.
            searching = searching and (miss.outcome.gone or miss.outcome.reason is Reason.DNS_FAILED)
    worst = _worst(misses)
    raise MissError(worst._replace(questions=0 if worst.cheap else len(misses) * len(types)))


def srv_targets(records: Records) -> tuple[Target, ...]:
    """Return where SRV records point to, the preferred first (RFC 2782); a target of ``.`` means that there is none."""
    services = [record.split() for record in records]
    services.sort(key=lambda service: (int(service[0]), -int(service[1])))
    return tuple(dict.fromkeys(Target(host, int(port)) for _, _, port, host in services if host != "."))


async def _to_ask(resolver: Resolver, name: str) -> tuple[Sequence[Peer], Sequence[str]]:
    """Return the nameservers to ask, and the names to try; raises `MissError`."""
    try:
        conf = read(resolver.resolv_conf, resolver.port)
        servers = await addresses(*resolver.server) if resolver.server else conf.servers
    except OSError as error:
        raise MissError(outcome_of(error, resolver.resolv_conf)) from None
    except MissError as miss:
        # That the nameserver has no address says nothing of the name that it was to be asked for.
        raise MissError(miss.outcome._replace(detail=f"nameserver {miss.outcome.detail}", gone=False)) from None
    return servers, candidates(name, conf if resolver.search else conf._replace(search=()))


async def _records_of(
    name: str,
    types: Sequence[str],
    ask: Callable[[str, str], Awaitable[Records]],
    enough: Callable[[Records], bool],
) -> Records:
    records: Records = ()
    misses: list[Outcome] = []

    async def one(rdtype: str) -> Records:
        try:
            return await ask(name, rdtype)
        except MissError as miss:
            misses.append(miss.outcome)
            return ()

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(one(rdtype)) for rdtype in types]
        for answered in asyncio.as_completed(asking):
            records += await answered
            if records and enough(records):
                for task in asking:
                    task.cancel()
                break
    if not records:
        raise MissError(_worst(misses))
    return records


async def _ask(servers: list[Peer], transport: str, name: str, rdtype: str) -> Records:
    """Ask one server after the other, listening to all of them, until one gives an answer that holds.

    That one is asked first from then on: a dead server costs its head start once, and not for each name to try.
    """
    query = dns.message.make_query(dns.name.from_text(name), rdtype)

    async def ask(server: Peer) -> tuple[Peer, Records | Outcome]:
        return server, _meaning(await _answer(server, transport, query), name, rdtype, server)

    first, found = await first_of(tuple(servers), ask, head_start=HEAD_START)
    servers.sort(key=lambda server: server != first)
    if isinstance(found, Outcome):
        raise MissError(found)
    return found


async def _answer(server: Peer, transport: str, query: QueryMessage) -> QueryMessage:
    wire = query.to_wire()
    if transport != "tcp":
        answer = await over_udp(server, wire, partial(_answer_to, query))
        if not answer.flags & dns.flags.TC:
            return answer
        if transport == "udp":
            # RFC 2181, 9: what a truncated answer holds is not to be used.
            detail = f"nameserver {server} (the answer does not fit in a datagram: use transport=auto)"
            raise MissError(waiting(Reason.UNWANTED_ANSWER, detail))
    return await over_tcp(server, wire, partial(_answer_to, query))


def _answer_to(query: QueryMessage, wire: bytes) -> QueryMessage | None:
    """Return the answer to this very question, None for anything else."""
    if wire[:2] != query.id.to_bytes(2, "big"):
        return None
    try:
        answer = dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=True)
    except dns.message.Truncated as truncated:
        answer = truncated.message()  # type: ignore[no-untyped-call]  # dnspython left it untyped
    except dns.exception.DNSException:
        return None
    return answer if isinstance(answer, QueryMessage) and query.is_response(answer) else None


def _meaning(answer: QueryMessage, name: str, rdtype: str, server: Peer) -> Records | Outcome:
    """Return the records, or the outcome where there definitely are none; raises `MissError` for a failing server."""
    rcode = answer.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        reason = Reason.DNS_REFUSED if rcode == dns.rcode.REFUSED else Reason.DNS_FAILED
        raise MissError(waiting(reason, f"{name} {rdtype} ({dns.rcode.to_text(rcode)} of {server})"))
    try:
        found = answer.resolve_chaining().answer
    except dns.exception.DNSException:
        detail = f"{name} {rdtype} (aliases without an end, or a contradictory answer of {server})"
        raise MissError(waiting(Reason.DNS_FAILED, detail)) from None
    if found:
        return tuple(map(_text, found))
    if rcode == dns.rcode.NXDOMAIN:
        return waiting(Reason.UNRESOLVED, f"{name} (NXDOMAIN)", retry_after=_negative_ttl(answer), gone=True)
    if _is_referral(answer):
        raise MissError(waiting(Reason.DNS_FAILED, f"{name} {rdtype} ({server} only refers to other servers)"))
    return waiting(Reason.NO_DATA, f"{name} (no {rdtype} record)", retry_after=_negative_ttl(answer), gone=True)


def _text(record: dns.rdata.Rdata) -> str:
    if isinstance(record, TXT):
        return b"".join(record.strings).decode(errors="replace")
    if isinstance(record, CAA):
        return f"{record.flags} {record.tag.decode(errors='replace')} {record.value.decode(errors='replace')}"
    return record.to_text()


def _soa(answer: QueryMessage) -> tuple[int, SOA] | None:
    for rrset in answer.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            for record in rrset:
                if isinstance(record, SOA):
                    return rrset.ttl, record
    return None


def _is_referral(answer: QueryMessage) -> bool:
    # RFC 2308, 2.2: no data comes with an SOA record or without any; nameservers alone mean "ask those".
    refers = any(rrset.rdtype == dns.rdatatype.NS for rrset in answer.authority)
    return refers and not answer.flags & dns.flags.AA and _soa(answer) is None


def _negative_ttl(answer: QueryMessage) -> float | None:
    """Return for how many seconds a cache goes on saying no (RFC 2308, 5); None where no cache stands between."""
    soa = _soa(answer)
    if answer.flags & dns.flags.AA or soa is None:
        return None
    ttl, record = soa
    return float(min(ttl, record.minimum)) or None


def _worst(misses: Sequence[Outcome]) -> Outcome:
    """Return what several names, or types of one name, come to: gone only where each of them definitely is."""
    failures = [miss for miss in misses if not miss.gone]
    if failures:
        return failures[0]
    kept = [miss for miss in misses if miss.reason is Reason.NO_DATA] or list(misses)
    details = ", ".join(dict.fromkeys(miss.detail for miss in kept[:8]))
    ttls = [miss.retry_after for miss in misses if miss.retry_after is not None]
    return kept[0]._replace(detail=details, retry_after=min(ttls) if len(ttls) == len(misses) else None)
