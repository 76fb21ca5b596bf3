"""smtp://HOST[:PORT], smtps://…: a mail server that greets and takes EHLO, over TLS and with a login where declared.

SMTP (RFC 5321), STARTTLS (RFC 3207), AUTH (RFC 4954). It is asked for nothing else, and left with QUIT; nothing is said
before its greeting, which some servers hold back to catch those who do not wait. No mail is sent.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._account import Account
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._server import Server
from gatekeeper.values import BadValueError, Secret, flag

_MOST, _MOST_LINES = 2048, 100  # bytes of a line (4.5.3.1.5 has 512), and lines of a reply
_GREETING, _GO_AHEAD, _DONE, _LOGGED_IN, _MORE = 220, 220, 250, 235, 334
_UNKNOWN = (500, 501, 502, 503, 504, 530)  # to a command that every server of SMTP knows; 530 is what FTP says
_WANTS_TLS = (530, 538)  # to a login (RFC 3207, 4; RFC 4954, 6)
_TRANSIENT = range(400, 500)


class Reply(NamedTuple):
    """A reply: its code, and the text of its lines."""

    code: int
    lines: tuple[bytes, ...]

    def offers(self, keyword: bytes) -> list[bytes]:
        """Return the words behind a keyword of EHLO in capitals, with the keyword itself; none where it is missing."""
        found = (line.upper().split() for line in self.lines[1:])
        return next((words for words in found if words[:1] == [keyword]), [])


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer(Account):
    """A mail server that greets and takes EHLO."""

    EXAMPLE: ClassVar[str] = "mail=smtp://mail:587 starttls=yes ca=/etc/tls/ca.crt"
    PORTS: ClassVar[Mapping[str, int]] = {"smtp": 25, "smtps": 465}
    SECURE: ClassVar[frozenset[str]] = frozenset({"smtps"})
    UPGRADES: ClassVar[bool] = True

    starttls: bool = option(flag, "ask for TLS in the midst of the connection (STARTTLS)", default=False)

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        wrong = []
        if probe.starttls and (probe.dsn.scheme in cls.SECURE or probe.tls is not None):
            wrong.append(("starttls", "begins without TLS: write smtp:// and leave out tls"))
        if probe.logs_in and not probe.dsn.user:
            wrong.append(("", f"logs in without a user: write {probe.dsn.scheme}://USER@HOST:PORT"))
        if probe.logs_in and probe.dsn.password is None and not probe.password_file:
            wrong.append(("login", "needs a password: give password_file"))
        if wrong:
            raise BadOptionsError(*wrong)
        return probe

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Take a user and a password."""
        if dsn.path or dsn.query:
            message = f"takes nothing behind the port: write {dsn.scheme}://HOST:PORT"
            raise BadValueError(message)
        return {"dsn": dsn}

    # The login is a part of the conversation: there is no second connection.
    attempt_at = Server.attempt_at
    attempt_at_file = Server.attempt_at_file

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Wait for the greeting, say EHLO, and what else is declared."""
        if self.wants_tls and not self.starttls:
            await self.secure(dialog, name)
        reply = await _reply(dialog)
        if reply.code != _GREETING:
            return _refused(reply.code, dialog.where)
        dialog.at_the_end(b"QUIT\r\n")
        reply = await _hello(dialog)
        if self.starttls:
            if not reply.offers(b"STARTTLS"):
                return waiting(Reason.TLS_FAILED, f"{dialog.where} (it offers no STARTTLS)")
            if (code := (await _ask(dialog, b"STARTTLS")).code) != _GO_AHEAD:
                return waiting(Reason.TLS_FAILED, f"{dialog.where} (it refuses STARTTLS: {code})")
            dialog.at_the_end(b"")
            await self.secure(dialog, name)
            dialog.at_the_end(b"QUIT\r\n")
            reply = await _hello(dialog)
        return await self._logged_in(dialog, reply.offers(b"AUTH")) if self.logs_in else ready(dialog.where)

    async def _logged_in(self, dialog: Dialog, offered: list[bytes]) -> Outcome:
        user, password = (self.dsn.user or "").encode(), (self.password() or Secret("")).value
        secret = password.encode("utf-8", "surrogateescape")
        if b"PLAIN" in offered:  # RFC 4616
            steps = [b"AUTH PLAIN " + _base64(b"\0" + user + b"\0" + secret)]
        elif b"LOGIN" in offered:
            steps = [b"AUTH LOGIN", _base64(user), _base64(secret)]
        else:
            why = "by PLAIN or LOGIN" if dialog.is_secure else "by PLAIN or LOGIN, and perhaps does with starttls=yes"
            return waiting(Reason.UNWANTED_ANSWER, f"{dialog.where} (it offers no login {why})")
        code = _MORE
        for step in steps:
            if code == _MORE:
                code = (await _ask(dialog, step)).code
        if code == _LOGGED_IN:
            return ready(dialog.where)
        if code in _TRANSIENT:
            return waiting(Reason.STARTING, f"{dialog.where} (it answers {code})")
        if code in _WANTS_TLS and not dialog.is_secure:
            why = "it takes no login without TLS: starttls=yes asks for it"
            return failed(Reason.FORBIDDEN, f"{dialog.where} ({why})")
        # At once: further tries may lock the account.
        return failed(Reason.FORBIDDEN, f"{dialog.where} (user or password is refused: {code})")._replace(certain=True)


async def _hello(dialog: Dialog) -> Reply:
    """Say who asks; raises `MissError` where that is refused."""
    reply = await _ask(dialog, b"EHLO gatekeeper")
    if reply.code in _UNKNOWN:
        reply = await _ask(dialog, b"HELO gatekeeper")  # what every server of SMTP knows (RFC 5321, 3.2)
    if reply.code in _UNKNOWN:
        raise MissError(dialog.wrong())
    if reply.code != _DONE:
        raise MissError(_refused(reply.code, dialog.where))
    return reply


async def _ask(dialog: Dialog, command: bytes) -> Reply:
    await dialog.write(command + b"\r\n")
    return await _reply(dialog)


async def _reply(dialog: Dialog) -> Reply:
    """Return a reply of one or several lines (RFC 5321, 4.2); raises `MissError`."""
    lines: list[bytes] = []
    while len(lines) < _MOST_LINES:
        line = await dialog.line(_MOST)
        code, mark, text = line[:3], line[3:4], line[4:]
        if not code.isdigit() or len(code) != 3 or mark not in (b"", b" ", b"-"):  # noqa: PLR2004 - its digits
            break
        lines.append(text)
        if mark != b"-":
            return Reply(int(code), tuple(lines))
    raise MissError(dialog.wrong())


def _refused(code: int, where: str) -> Outcome:
    reason = Reason.STARTING if code in _TRANSIENT else Reason.UNWANTED_ANSWER
    return waiting(reason, f"{where} (it answers {code})")


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)
