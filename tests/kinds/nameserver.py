"""A tiny real nameserver on UDP and TCP, subclassed and named by its misbehaviour."""

# ruff: noqa: ARG002, D102, D105, D107 - what a method does is said by the base class, how it misbehaves by its own class

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]
SOA = "ns.example. admin.example. 1 3600 600 86400 {minimum}"


class Nameserver:
    """Answers from a zone of ``{(name, type): records}``, truthfully and at once, with authority."""

    def __init__(self, zone: Zone | None = None, *, address: str = "127.0.0.1", port: int = 0) -> None:
        self.zone = {(name.lower(), rdtype): list(records) for (name, rdtype), records in (zone or {}).items()}
        self.address = address
        self.asked: list[tuple[str, str, str]] = []
        self.was_asked = threading.Event()
        self.stopped = threading.Event()
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp, self._tcp, self.port = self._bind(port)
        self._threads = [threading.Thread(target=target) for target in (self._serve_udp, self._serve_tcp)]

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message:
        """Return the answer to a query that came by udp or tcp."""
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        name, rdtype = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
        for _ in range(20):
            records = self.zone.get((name.to_text().lower(), rdtype))
            if records:
                answer.answer.append(dns.rrset.from_text(name, 5, "IN", rdtype, *records))
                return answer
            alias = self.zone.get((name.to_text().lower(), "CNAME"))
            if not alias:
                break
            answer.answer.append(dns.rrset.from_text(name, 5, "IN", "CNAME", *alias))
            name = dns.name.from_text(alias[0])
        if not any(known == name.to_text().lower() for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        """Return what is sent for a query that came by UDP, datagram by datagram."""
        yield self.answer(query, "udp").to_wire(max_size=65535)

    def stream(self, query: dns.message.Message) -> Iterator[bytes]:
        """Return what is sent for a query that came by TCP, piece by piece, before the connection is closed."""
        wire = self.answer(query, "tcp").to_wire(max_size=65535)
        yield struct.pack("!H", len(wire)) + wire

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for wake in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(self._family, wake) as sock, contextlib.suppress(OSError):
                sock.connect((self.address, self.port))
                sock.send(b"")
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    def _bind(self, port: int) -> tuple[socket.socket, socket.socket, int]:
        while True:
            tcp = socket.create_server((self.address, port), family=self._family)
            udp = socket.socket(self._family, socket.SOCK_DGRAM)
            try:
                udp.bind((self.address, tcp.getsockname()[1]))
            except OSError:
                udp.close()
                tcp.close()
                if port:
                    raise
            else:
                return udp, tcp, tcp.getsockname()[1]

    def _heard(self, wire: bytes, transport: str) -> dns.message.Message | None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        self.asked.append((transport, question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
        self.was_asked.set()
        return query

    def _serve_udp(self) -> None:
        while True:
            wire, sender = self._udp.recvfrom(65535)
            if self.stopped.is_set():
                return
            query = self._heard(wire, "udp")
            for datagram in self.datagrams(query) if query else ():
                with contextlib.suppress(OSError):
                    self._udp.sendto(datagram, sender)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection:
                if self.stopped.is_set():
                    return
                with contextlib.suppress(OSError, struct.error):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
        query = self._heard(connection.recv(length, socket.MSG_WAITALL), "tcp")
        for piece in self.stream(query) if query else ():
            connection.sendall(piece)


class Failing(Nameserver):
    """Answers every query with an error."""

    rcode = dns.rcode.SERVFAIL

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message:
        answer = super().answer(query, transport)
        answer.answer.clear()
        answer.set_rcode(self.rcode)
        return answer


class Refusing(Failing):
    """Refuses to answer."""

    rcode = dns.rcode.REFUSED


class FailingFor(Failing):
    """Fails for one name, with an error of choice."""

    def __init__(self, zone: Zone, name: str, rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> None:
        super().__init__(zone)
        self.name, self.rcode = name, rcode

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message:
        if query.question[0].name.to_text() == self.name:
            return super().answer(query, transport)
        return Nameserver.answer(self, query, transport)


class Silent(Nameserver):
    """Takes every query and never says a word."""

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        yield from ()

    def stream(self, query: dns.message.Message) -> Iterator[bytes]:
        self.stopped.wait()
        yield from ()


class SilentFor(Nameserver):
    """Says nothing to questions for one type of record."""

    def __init__(self, zone: Zone, rdtype: str) -> None:
        super().__init__(zone)
        self.rdtype = dns.rdatatype.from_text(rdtype)

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        if query.question[0].rdtype != self.rdtype:
            yield from super().datagrams(query)


class Lossy(Nameserver):
    """Loses the first datagram."""

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        if len(self.asked) > 1:
            yield from super().datagrams(query)


class Truncating(Nameserver):
    """Sends over UDP a header that says to ask again over TCP."""

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        yield answer.to_wire()


class CuttingShort(Nameserver):
    """Cuts its datagrams in the middle of a record, and says so in the header."""

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        answer = self.answer(query, "udp")
        answer.flags |= dns.flags.TC
        yield answer.to_wire()[:-2]


class Forged(Nameserver):
    """Precedes the answer with datagrams that are none: garbage, wrong ids and questions, queries, broken records."""

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        lie = dns.message.make_response(query)
        lie.set_rcode(dns.rcode.NXDOMAIN)
        other = dns.message.make_response(dns.message.make_query("forged.example.", "A", id=query.id))
        wire = self.answer(query, "udp").to_wire()
        yield b""
        yield b"\0"
        yield b"HTTP/1.1 400 Bad Request\r\n\r\n"
        yield (query.id ^ 1).to_bytes(2, "big") + lie.to_wire()[2:]
        yield other.to_wire()
        yield query.to_wire()
        yield wire[:-3]
        yield wire[:12]
        yield wire


class Breaking(Nameserver):
    """Precedes the answer with many copies of it that are broken here and there."""

    chance = random.Random(7)

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        wire = self.answer(query, "udp").to_wire()
        for _ in range(200):
            broken = bytearray(wire)
            for _ in range(self.chance.randint(1, 3)):
                broken[self.chance.randrange(2, len(wire))] = self.chance.randrange(256)
            yield bytes(broken)
        yield wire


class Flooding(Nameserver):
    """Sends garbage without an end, as fast as it can."""

    def datagrams(self, query: dns.message.Message) -> Iterator[bytes]:
        garbage = query.id.to_bytes(2, "big") + b"\x80" * 200
        while not self.stopped.is_set():
            yield garbage


class Garbage(Nameserver):
    """Answers over TCP with something else than DNS."""

    def stream(self, query: dns.message.Message) -> Iterator[bytes]:
        yield struct.pack("!H", 20) + b"\xff" * 20


class HangingUp(Nameserver):
    """Hangs up in the middle of an answer over TCP."""

    def stream(self, query: dns.message.Message) -> Iterator[bytes]:
        for piece in super().stream(query):
            yield piece[:-1]


class Dripping(Nameserver):
    """Sends its answers over TCP byte by byte."""

    def stream(self, query: dns.message.Message) -> Iterator[bytes]:
        for piece in super().stream(query):
            for byte in piece:
                yield bytes([byte])
                time.sleep(0.001)


class Caching(Nameserver):
    """Says no as a cache does: without authority, with an SOA record that says for how long."""

    ttl, minimum = 30, 7
    authority = False

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message:
        answer = super().answer(query, transport)
        answer.authority.append(
            dns.rrset.from_text("example.", self.ttl, "IN", "SOA", SOA.format(minimum=self.minimum))
        )
        if not self.authority:
            answer.flags &= ~dns.flags.AA
        return answer


class Authoritative(Caching):
    """Says no with an SOA record and with authority: no cache stands between."""

    authority = True


class Referring(Nameserver):
    """Only ever refers to other nameservers."""

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message:
        answer = super().answer(query, transport)
        answer.answer.clear()
        answer.flags &= ~dns.flags.AA
        answer.set_rcode(dns.rcode.NOERROR)
        answer.authority.append(dns.rrset.from_text("example.", 5, "IN", "NS", "ns.elsewhere."))
        return answer
