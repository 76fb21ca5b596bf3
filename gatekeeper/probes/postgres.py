"""postgres://[USER[:PASSWORD]@]HOST[:PORT][,…][/DATABASE]: a PostgreSQL that takes sessions (its manual, 55.2, 55.7).

Its port accepts, and agrees to TLS, while it recovers: only what it says to a StartupMessage tells. It is asked for a
login and hung up on when it wants to know more, which it takes without a word in its log. An empty user it refuses even
while it starts, so that nothing of it could be told by that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from struct import pack, unpack
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import At
from gatekeeper.probes._database import Database, said, with_account
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn, Place, read_dsn
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._postgres_target import folder_of, places_of, with_socket_in_query
from gatekeeper.probes._socketfile import socket_path
from gatekeeper.probes._sqlstate import missing, not_yet
from gatekeeper.probes._target import port_number
from gatekeeper.resolve import Peer
from gatekeeper.values import BadValueError, one_of

_USER, _DATABASE = "gatekeeper", "postgres"  # asked for where nobody is named
_SYSTEM = "system"  # in the place of a file: the system's certificates, and the name is verified (libpq, 34.1.2)
_OF_POOLERS = ("08P01", "XX000")  # what poolers (XX000: Supabase's), and others that speak the protocol, say of much
# What PgBouncer, CockroachDB and others say where they want TLS, for which they have no code of their own.
_WANTS_TLS = re.compile(rb"\b(SSL|TLS|sslmode|insecure)\b", re.IGNORECASE)
# targetServerType, as Java's driver has it; what merely prefers one takes any.
_SESSIONS_OF_JAVA = {"primary": "primary", "master": "primary", "secondary": "standby", "slave": "standby"}
_ALPN = "postgresql"
_SSL_REQUEST = pack(">II", 8, 80877103)
_TERMINATE = b"X\0\0\0\4"
_MOST, _MOST_MESSAGES = 30_000, 200  # bytes of a message as libpq allows it here, and how many come before a session
# Read here, or left to libpq though they look like what is read here.
_NO_OPTION: tuple[str, ...] = ("host", "hostaddr", "port", "user", "password", "dbname", "options")
_NO_OPTION += ("sslnegotiation", "sslcrl", "sslcrldir", "sslcertmode", "sslpassword")


class _WantsTlsError(Exception):
    """Raised where a server turns away whoever asks in plain, and who asked does not insist on that."""


def session_attrs(text: str) -> str | None:
    """Return one of libpq's words for what a session must be, None where any will do; raises `BadValueError`."""
    word = one_of("any", "read-write", "read-only", "primary", "standby", "prefer-standby")(text)
    return None if word in ("any", "prefer-standby") else word


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres(Database):
    """A PostgreSQL that takes sessions."""

    EXAMPLE: ClassVar[str] = "db=postgres://postgres/app"
    PORTS: ClassVar[Mapping[str, int]] = {"postgres": 5432, "postgresql": 5432}
    DRIVER: ClassVar[str] = "asyncpg"
    EXTRA: ClassVar[str] = "postgres"
    LOOKS: ClassVar[tuple[str, ...]] = ("query", "table", "target_session_attrs")
    SAID: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("sslmode", "ssl-mode", "ssl_mode", "ssl"), "sslmode"),
        **dict.fromkeys(("sslrootcert", "ssl-root-cert", "ssl_root_cert", "ssl-ca", "ssl_ca"), "ca"),
        **dict.fromkeys(("sslcert", "ssl-cert", "ssl_cert"), "cert"),
        **dict.fromkeys(("sslkey", "ssl-key", "ssl_key"), "key"),
        "target_session_attrs": "target_session_attrs",
    } | dict.fromkeys(_NO_OPTION, "")

    target_session_attrs: str | None = option(
        session_attrs, "read-write, read-only, primary or standby: what a session must be", unset="any"
    )

    @classmethod
    def parse(cls, target: str, options: Options) -> "Postgres":
        """Make the probe of a target; raises `BadOptionsError`."""
        probe = super(Postgres, cls).parse(target, options)
        if probe.is_direct and not probe.wants_tls:
            raise BadOptionsError(("", "has sslnegotiation=direct, which needs sslmode=require or stricter"))
        if probe.logs_in and probe.unix and not re.match(r"/.*\.s\.PGSQL\.", probe.unix):
            how = "the driver wants one that ends in .s.PGSQL.PORT; login=no looks whether it is up without"
            raise BadOptionsError(("unix", f"is no socket file that can be logged in over: {how}"))
        return probe

    @classmethod
    def dsn_of(cls, target: str, *, needs_host: bool) -> Dsn:
        """Return the parts of a target, where libpq's query may say as much as the rest; raises `BadValueError`."""
        dsn = with_account(read_dsn(with_socket_in_query(target), cls.PORTS, needs_host=False))
        dsn = dsn._replace(places=places_of(dsn, cls.PORTS[dsn.scheme]), path=said(dsn, "dbname") or dsn.path)
        if needs_host and not dsn.places and not folder_of(dsn):
            message = f"has no host: write {dsn.scheme}://HOST:PORT, or ?host=/FOLDER for that of a socket file"
            raise BadValueError(message)
        return dsn

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; raises `BadValueError`."""
        fields = dict(super(Postgres, cls).of_dsn(dsn))
        if session := _SESSIONS_OF_JAVA.get((said(dsn, "targetservertype") or "").lower()):
            fields["target_session_attrs"] = session
        if fields.get("ca") == _SYSTEM:
            fields |= {"ca": None, "sslmode": "verify-full"}
        if folder := folder_of(dsn):
            port = port_number(said(dsn, "port") or str(cls.PORTS[dsn.scheme]))
            fields["unix"] = socket_path(f"{folder.rstrip('/')}/.s.PGSQL.{port}")
        return fields

    async def attempt_at(self, place: Place, peer: Peer) -> Outcome:
        """Ask at one address, over TLS where the server wants that and whoever declared it leaves it open."""
        try:
            return await Database.attempt_at(self, place, peer)
        except _WantsTlsError:
            return await Database.attempt_at(replace(self, sslmode="require"), place, peer)

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask for a session, and see what is wanted for it."""
        if self.wants_tls:
            await self._upgrade(dialog, name)
        said_first = {
            "user": self.dsn.user or _USER,
            "database": self.dsn.path or self.dsn.user or _DATABASE,
            **self._settings(),
        }
        words = "".join(f"{key}\0{value}\0" for key, value in said_first.items()) + "\0"
        message = pack(">I", 196608) + words.encode("utf-8", "surrogateescape")
        await dialog.write(pack(">I", len(message) + 4) + message)
        for _ in range(_MOST_MESSAGES):
            kind, length = unpack(">cI", await dialog.exactly(5))
            if kind not in b"RESNKZv" or not 4 <= length <= _MOST:  # noqa: PLR2004 - the length counts itself
                break
            found = self._told(dialog, kind, await dialog.exactly(length - 4))
            if found:
                return found
        return dialog.wrong()

    async def log_in(self, at: At) -> Outcome:
        """Log in, and look at what was asked for."""
        from gatekeeper.probes._postgres_login import log_in  # noqa: PLC0415 - loads the driver

        return await log_in(self, at, self._settings(), self.target_session_attrs, _ALPN if self.is_direct else None)

    @property
    def is_direct(self) -> bool:
        """Whether TLS begins at once, without a word in plain, as PostgreSQL 17 and newer can (libpq, 34.1.2)."""
        return said(self.dsn, "sslnegotiation") == "direct" and not self.unix

    def _settings(self) -> dict[str, str]:
        options = said(self.dsn, "options")
        return {"application_name": "gatekeeper"} | ({"options": options} if options else {})

    async def _upgrade(self, dialog: Dialog, name: str) -> None:
        if self.is_direct:
            await self.secure(dialog, name, _ALPN)
            return
        await dialog.write(_SSL_REQUEST)
        answer = await dialog.exactly(1)
        if answer == b"N":
            raise MissError(waiting(Reason.TLS_FAILED, f"{dialog.where} (it offers no TLS)"))
        if answer != b"S":
            raise MissError(dialog.wrong())
        await self.secure(dialog, name)

    def _told(self, dialog: Dialog, kind: bytes, body: bytes) -> Outcome | None:
        """Return what a message means, None where more is to come."""
        if kind == b"R" and body[:4] != bytes(4):
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        if kind == b"R":
            dialog.at_the_end(_TERMINATE)  # it asks for no password: a session is on its way
        if kind == b"Z":
            return ready(dialog.where)
        return self._refusal(dialog, body) if kind == b"E" else None

    def _refusal(self, dialog: Dialog, body: bytes) -> Outcome:
        """Return what an ErrorResponse means, by its SQLSTATE (55.8)."""
        dialog.at_the_end(b"")
        fields = {field[:1]: field[1:] for field in body.split(b"\0") if field}
        if not re.fullmatch(rb"[0-9A-Z]{5}", fields.get(b"C", b"")):
            return dialog.wrong()
        code = fields[b"C"].decode()
        if code.startswith("28") or code == "42501":
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        if code == "3D000" and not self.dsn.path:
            return ready(dialog.where)
        if code in _OF_POOLERS and self.mode in ("prefer", "allow") and _WANTS_TLS.search(fields.get(b"M", b"")):
            raise _WantsTlsError
        hint = "it may want a user and a database that it knows: " if code in _OF_POOLERS else ""
        unwanted = waiting(Reason.UNWANTED_ANSWER, f"{dialog.where} ({hint}SQLSTATE {code})")
        return not_yet(dialog.where, code) or missing(dialog.where, code) or unwanted
