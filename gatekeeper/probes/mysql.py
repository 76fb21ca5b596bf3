"""mysql://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]: a MySQL or MariaDB that takes logins (connection phase).

The server speaks first. Who hangs up then, or in the midst of what follows, is counted against `max_connect_errors` and
one day blocked together with everybody else of that host: so each attempt ends its handshake, as a user who is not
there and is refused, which is not counted. Never as one who is: failed logins may lock an account. What is said has no
need of what the server says, so that it can be left behind at a server that does not answer in time, too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from struct import pack
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import At
from gatekeeper.probes._database import Database, with_account
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn, read_dsn
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._mysqlerrors import is_refusal, meaning
from gatekeeper.probes._options import BadOptionsError, Options

_USER = b"gatekeeper"
_SSL = 0x800
# CLIENT_LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH and CONNECT_ATTRS: what both have had since 5.5.
_ABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000 | 0x100000
_UTF8, _LONGEST = 33, 1 << 24
# What Connector/J and the drivers of Python say in flags of their own, the strictest last.
_INSISTS = {
    "requiressl": "require",
    "verifyservercertificate": "verify-ca",
    "ssl_verify_cert": "verify-ca",
    "ssl_verify_identity": "verify-full",
}
_QUIT = b"\1\0\0\0\1"
_OK, _MORE, _SWITCH, _ERROR, _VERSION_10 = 0x00, 0x01, 0xFE, 0xFF, 0x0A
_MOST, _MOST_TURNS = 4096, 8  # bytes of a packet before a login, and how many there may be
# Seconds. A handshake of TLS that we break off is counted by the server, and no certificate gets better within one.
_TLS_PAUSE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mysql(Database):
    """A MySQL or MariaDB that takes logins."""

    EXAMPLE: ClassVar[str] = "db=mysql://mysql"
    PORTS: ClassVar[Mapping[str, int]] = {"mysql": 3306, "mariadb": 3306}
    DRIVER: ClassVar[str] = "pymysql"
    EXTRA: ClassVar[str] = "mysql"
    SAID: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("sslmode", "ssl-mode", "ssl_mode", "ssl", "tls", "usessl"), "sslmode"),
        **dict.fromkeys(("ssl-ca", "ssl_ca", "sslca"), "ca"),
        **dict.fromkeys(("ssl-cert", "ssl_cert", "sslcert"), "cert"),
        **dict.fromkeys(("ssl-key", "ssl_key", "sslkey"), "key"),
        **dict.fromkeys(("unix_socket", "unix-socket", "socket", "socketpath"), "unix"),
        **dict.fromkeys(("user", "password"), ""),
        # Left to the driver though they look like what is read here.
        **dict.fromkeys(("sql_mode", "sql-mode", "ssl_crl", "ssl-crl", "sslpassword"), ""),
    }

    @classmethod
    def parse(cls, target: str, options: Options) -> "Mysql":
        """Make the probe of a target; raises `BadOptionsError`."""
        probe = super(Mysql, cls).parse(target, options)
        if not probe.dsn.path and any("." not in name for name in probe.table):
            raise BadOptionsError(("table", "needs a database: write DATABASE.TABLE, or name it in the target"))
        return probe

    @classmethod
    def dsn_of(cls, target: str, *, needs_host: bool) -> Dsn:
        """Return the parts of a target; raises `BadValueError`."""
        target = _without_network(target)
        dsn = with_account(read_dsn(target, cls.PORTS, needs_host=False))
        has_socket = any(cls.SAID.get(key.lower()) == "unix" for key, _ in dsn.query)
        return dsn if dsn.places or has_socket else read_dsn(target, cls.PORTS, needs_host=needs_host)

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; raises `BadValueError`."""
        fields = dict(super(Mysql, cls).of_dsn(dsn))
        if fields.get("sslmode") == "disable":
            return fields
        says = {key.lower(): value.value.lower() in ("true", "1", "yes") for key, value in dsn.query}
        for key, mode in _INSISTS.items():
            if says.get(key):
                fields["sslmode"] = mode
        if says.get("ssl_check_hostname") is False and "ca" in fields:
            fields.setdefault("sslmode", "verify-ca")
        return fields

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """End a handshake as a user who is not there."""
        dialog.at_the_end(_answer(1))
        number, greeting = await _packet(dialog)
        if number != 0 or greeting[0] not in (_VERSION_10, _ERROR):
            return _wrong(dialog)
        if greeting[0] == _ERROR:
            return self._refusal(dialog, greeting)
        if self.wants_tls:
            await self._upgrade(dialog, name, greeting)
        await dialog.write(_answer(2 if dialog.is_secure else 1))
        dialog.at_the_end(b"")
        for _ in range(_MOST_TURNS):
            number, packet = await _packet(dialog)
            if packet[0] == _OK:  # somebody may log in without a name, or under this one
                dialog.at_the_end(_QUIT)
                return ready(dialog.where)
            if packet[0] == _ERROR:
                return self._refusal(dialog, packet)
            if packet[0] not in (_MORE, _SWITCH):
                break
            await dialog.write(_numbered(number + 1, b""))  # another method: there is no password in any
        return _wrong(dialog)

    async def log_in(self, at: At) -> Outcome:
        """Log in, and look at what was asked for."""
        from gatekeeper.probes._mysql_login import log_in  # noqa: PLC0415 - loads the driver

        return _patient(await log_in(self, at))

    async def _upgrade(self, dialog: Dialog, name: str, greeting: bytes) -> None:
        """Speak TLS, where the server says that it can."""
        fixed = greeting.find(b"\0") + 1 + 4 + 8 + 1  # behind its version: a number, half a nonce, a filler
        if not int.from_bytes(greeting[fixed : fixed + 2], "little") & _SSL:
            raise MissError(waiting(Reason.TLS_FAILED, f"{dialog.where} (it offers no TLS)"))
        await dialog.write(_numbered(1, pack("<IIB23x", _ABILITIES | _SSL, _LONGEST, _UTF8)))
        dialog.at_the_end(b"")
        try:
            await self.secure(dialog, name)
        except MissError as miss:
            raise MissError(_patient(miss.outcome)) from None

    def _refusal(self, dialog: Dialog, packet: bytes) -> Outcome:
        """Return what an ERR packet means."""
        dialog.at_the_end(b"")
        if len(packet) < 3:  # noqa: PLR2004 - its number has two bytes
            return dialog.wrong()
        number = int.from_bytes(packet[1:3], "little")
        if is_refusal(number):
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        return meaning(dialog.where, number)


def _without_network(target: str) -> str:
    """Return the URL of a target that is written as for Go's driver, ``USER:PASSWORD@tcp(HOST:PORT)/DATABASE``."""
    form = r"(?P<before>[^:]+:(?://)?([^/?#]*@)?)(tcp[46]?|unix)?\((?P<place>[^()]*)\)(?P<path>/[^?]*)?(?P<rest>.*)"
    found = re.fullmatch(form, target, re.DOTALL)
    if not found:
        return target
    before, place, path, rest = found["before"], found["place"], found["path"] or "/", found["rest"]
    if place.startswith("/"):
        return f"{before}{path}?unix_socket={place}&{rest.removeprefix('?')}"
    return f"{before}{place}{path}{rest}"


async def _packet(dialog: Dialog) -> tuple[int, bytes]:
    """Return the number and the content of a packet, which is not empty."""
    header = await dialog.exactly(4)
    length = int.from_bytes(header[:3], "little")
    if not 0 < length <= _MOST:
        raise MissError(_wrong(dialog))
    return header[3], await dialog.exactly(length)


def _wrong(dialog: Dialog) -> Outcome:
    dialog.at_the_end(b"")
    return dialog.wrong()


def _answer(number: int) -> bytes:
    """Return a HandshakeResponse41 of a user who is not there: no password, and who we are as the program's name."""
    named = _counted(b"program_name") + _counted(b"gatekeeper")
    head = pack("<IIB23x", _ABILITIES, _LONGEST, _UTF8)
    return _numbered(number, head + _USER + b"\0" + _counted(b"") + b"mysql_native_password\0" + _counted(named))


def _counted(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _numbered(number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "little") + bytes((number & 0xFF,)) + content


def _patient(outcome: Outcome) -> Outcome:
    return outcome._replace(retry_after=_TLS_PAUSE) if outcome.reason is Reason.TLS_FAILED else outcome
