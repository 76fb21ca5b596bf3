"""dns://NAME: a name that has (or no longer has) records of a type, as a stub resolver sees it."""

import dataclasses
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._dns import Records, Resolver, look_up
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError, Options, build, option
from gatekeeper.probes._resolvconf import DNS_PORT, RESOLV_CONF
from gatekeeper.probes._target import host_name, rest_of, split_port
from gatekeeper.values import BadValueError, flag, not_empty, one_of, quoted, whole

TYPES = ("A", "AAAA", "CNAME", "MX", "NS", "TXT", "SRV", "PTR", "CAA")


def _server(text: str) -> tuple[str, int | None]:
    return split_port(text, "server=10.96.0.10, 10.96.0.10:53 or [fd00::10]:53")


@dataclass(frozen=True, slots=True)
class Dns:
    """A name that has records, or that has none any more."""

    EXAMPLE: ClassVar[str] = "search=dns://search.default.svc type=SRV min=3"
    OVER_THE_NETWORK: ClassVar[bool] = True

    name: str
    type: str | None = option(one_of(*TYPES), f"type of record: {', '.join(TYPES)}", unset="A or AAAA")
    server: tuple[str, int | None] | None = option(
        _server, "nameserver as HOST or HOST:PORT", unset="those of resolv.conf"
    )
    expect: tuple[str, ...] = option(not_empty, "a record that must be among them", default=(), many=True)
    min: int = option(whole(1, 10_000), "at least so many records", default=1)
    absent: bool = option(flag, "ready when there definitely is no such record", default=False)
    search: bool = option(
        flag, "try a relative name with the search list of resolv.conf, as an application", default=True
    )
    transport: str = option(
        one_of("udp", "tcp", "auto"), "auto: udp, and tcp where an answer is cut short", default="auto"
    )
    resolv_conf: str = RESOLV_CONF
    port: int = DNS_PORT

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            return {"name": _name(rest_of(target))}

        return cls._settled(build(cls, options, read), options)

    @classmethod
    def _settled(cls, probe: Self, options: Options) -> Self:
        """Return the probe with what depends on more than one option, or raise every problem of that."""
        wrong = []
        name, expect = probe.name, []
        address = _address(name)
        if address and probe.type == "PTR":
            name = f"{address.reverse_pointer}."
        elif address:
            wrong.append(("", f"{name} is an address: add type=PTR to ask for its name"))
        for text in probe.expect:
            try:
                expect.append(_wanted(probe.type, text))
            except BadValueError as error:
                wrong.append(("expect", str(error)))
        wrong += [
            (key, "does not go with absent, which wants no record at all")
            for key in ("expect", "min")
            if probe.absent and key in options
        ]
        if wrong:
            raise BadOptionsError(*wrong)
        return dataclasses.replace(probe, name=name, expect=tuple(expect))

    async def attempt(self) -> Outcome:
        """Ask for the records, and see whether they are the wanted ones."""
        server = self.server and (self.server[0], self.server[1] or self.port)
        resolver = Resolver(server, self.search, self.transport, self.resolv_conf, self.port)
        try:
            records = await look_up(resolver, self.name, self._types, self._enough)
        except MissError as miss:
            return ready(miss.outcome.detail) if self.absent and miss.outcome.gone else miss.outcome
        return self._judge(records)

    @property
    def _types(self) -> Sequence[str]:
        return (self.type,) if self.type else ("A", "AAAA")

    def _enough(self, records: Records) -> bool:
        return self.absent or (len(records) >= self.min and not self._missing(records))

    def _judge(self, records: Records) -> Outcome:
        there = f"{len(records)} {' or '.join(self._types)} of {self.name}"
        if self.absent:
            return waiting(Reason.STILL_THERE, there)._replace(questions=len(self._types))
        missing = self._missing(records)
        if missing:
            without = f"{there}, without {', '.join(map(quoted, missing))}"
            return waiting(Reason.UNWANTED_ANSWER, without)._replace(questions=len(self._types))
        if len(records) < self.min:
            return waiting(Reason.NO_DATA, f"{there}, {self.min} wanted")._replace(questions=len(self._types))
        return ready(there)

    def _missing(self, records: Records) -> list[str]:
        found = {spelling for record in records for spelling in _spellings(self.type, record)}
        return [text for text in self.expect if text not in found]


def _name(text: str) -> str:
    example = "dns://NAME type=SRV server=10.96.0.10"
    if _address(text.strip("[]")):
        return text.strip("[]")
    name, port = split_port(text, example)
    if port is not None:
        message = f"takes no port: write {example}"
        raise BadValueError(message)
    return name


def _wanted(rdtype: str | None, text: str) -> str:
    """Return an expected record in the one spelling that `_spellings` has for it; raises `BadValueError`."""
    match rdtype:
        case None | "A" | "AAAA":
            address = _address(text)
            if not address or (rdtype and address.version != (4 if rdtype == "A" else 6)):
                message = f"{quoted(text)} is no {rdtype or 'A or AAAA'} record: write one address, without a port"
                raise BadValueError(message)
            return str(address)
        case "CNAME" | "NS" | "PTR":
            return _plain(host_name(text, "expect=www.example.com"))
        case "MX":
            example = "expect=mx.example.com or expect='10 mx.example.com'"
            return _record(text, r"(?:\d+ )?(\S+)", example)
        case "SRV":
            example = "expect=db.example.com, expect=db.example.com:5432 or expect='0 5 5432 db.example.com'"
            return _record(text, r"(?:\d+ \d+ \d+ )?([^\s:]+)(?::\d+)?", example)
    return _unquoted(text) if rdtype == "CAA" else text


def _record(text: str, form: str, example: str) -> str:
    record = " ".join(text.split())
    match = re.fullmatch(form, record, re.ASCII)
    if not match:
        message = f"{quoted(text)} is no such record: write {example}"
        raise BadValueError(message)
    host = host_name(match[1], example)
    return record[: match.start(1)] + _plain(host) + record[match.end(1) :]


def _spellings(rdtype: str | None, record: str) -> set[str]:
    """Return the ways to write a record that came, any of which may be expected."""
    words = record.split()
    match rdtype:
        case None | "A" | "AAAA":
            return {str(ipaddress.ip_address(record))}
        case "CNAME" | "NS" | "PTR":
            return {_plain(record)}
        case "MX" | "SRV":
            host = _plain(words[-1])
            return {host, f"{host}:{words[-2]}", " ".join([*words[:-1], host])}
        case "CAA":
            return {_unquoted(" ".join(words[start:])) for start in range(3)}
    return {record}


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _unquoted(text: str) -> str:
    return " ".join(text.replace('"', "").split()).lower()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address
