"""ldap://HOST[:PORT][/DN], ldaps://…: a directory that answers a search, and an entry where one is declared.

Everybody may ask for the root DSE (RFC 4512, 5.1); a directory that refuses even that wants a login, and is up. It
opens its databases before it listens; one that is away for now, and itself on its way down, it calls unavailable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes import _ldap
from gatekeeper.probes._account import Account
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._ldap import Ldap
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._server import Server
from gatekeeper.values import BadValueError, Secret, flag, not_empty

_NEVER = (
    _ldap.STRONGER_AUTH_REQUIRED,
    _ldap.CONFIDENTIALITY_REQUIRED,
    _ldap.INAPPROPRIATE_AUTHENTICATION,
    _ldap.INSUFFICIENT_ACCESS,
)
_HIDDEN = (*_NEVER, _ldap.UNWILLING, _ldap.NO_SUCH_OBJECT)  # of the root DSE, which is always there

_WANTS = {
    _ldap.CONFIDENTIALITY_REQUIRED: "it wants TLS",
    # Active Directory's word to a password in plain, where it requires that messages are signed.
    _ldap.STRONGER_AUTH_REQUIRED: "it wants a stronger login, or TLS: LDAP's result 8",
}
_PAUSE = 10.0  # seconds between logins that may be refused for either reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory(Account):
    """A directory that answers a search and, where one is declared, has an entry."""

    EXAMPLE: ClassVar[str] = "directory=ldap://ldap/dc=example,dc=org starttls=yes ca=/etc/tls/ca.crt"
    PORTS: ClassVar[Mapping[str, int]] = {"ldap": 389, "ldaps": 636}
    SECURE: ClassVar[frozenset[str]] = frozenset({"ldaps"})
    UPGRADES: ClassVar[bool] = True

    base: str | None
    starttls: bool = option(flag, "ask for TLS in the midst of the connection (StartTLS)", default=False)
    bind_dn: str | None = option(not_empty, "name to log in with, as cn=app,dc=example,dc=org", unset="the user")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        wrong = []
        if probe.bind_dn and probe.dsn.user:
            wrong.append(("bind_dn", "is a second user: leave one out"))
        if probe.starttls and (probe.dsn.scheme in cls.SECURE or probe.tls is not None):
            wrong.append(("starttls", "begins without TLS: write ldap:// and leave out tls"))
        if probe.logs_in and not probe.user:
            wrong.append(("", "logs in without a user: give bind_dn"))
        # A bind without a password succeeds for everybody (RFC 4513, 5.1.2), and says nothing.
        if probe.logs_in and not probe.password_file and not (probe.dsn.password and probe.dsn.password.value):
            wrong.append(("", "logs in without a password: give password_file"))
        if probe.bind_dn and not probe.logs_in and probe.login is not False:
            wrong.append(("bind_dn", "needs a password: give password_file"))
        if wrong:
            raise BadOptionsError(*wrong)
        return probe

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Take a user, a password, and the name of an entry (RFC 4516)."""
        if dsn.query:
            message = f"takes no attributes, scope or filter: write {dsn.scheme}://HOST:PORT/DN"
            raise BadValueError(message)
        return {"dsn": dsn, "base": dsn.path or None}

    # The login is a part of the conversation: there is no second connection.
    attempt_at = Server.attempt_at
    attempt_at_file = Server.attempt_at_file

    @property
    def user(self) -> str | None:
        """The name to log in with."""
        return self.bind_dn or self.dsn.user

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask for the root DSE, then for the entry; log in between where that is declared."""
        talk, where = Ldap(dialog), dialog.where
        if refused := await self._secured(talk, dialog, name):
            return refused
        dialog.at_the_end(_ldap.GOODBYE)
        code = (await talk.look_for("")).code
        shown = code == _ldap.SUCCESS
        if not shown and code not in _HIDDEN:
            return _not_ready(code, where)
        if self.logs_in and (refused := await self._refusal(talk, where)):
            return refused
        if self.base is not None:
            return await self._entry(talk, self.base, where)
        return ready(where, reason=Reason.READY if shown or self.logs_in else Reason.READY_AUTH_REQUIRED)

    async def _secured(self, talk: Ldap, dialog: Dialog, name: str) -> Outcome | None:
        if self.starttls and (code := await talk.start_tls()):
            if code == _ldap.BUSY:
                return _not_ready(code, dialog.where)
            return waiting(Reason.TLS_FAILED, f"{dialog.where} (it refuses StartTLS: LDAP's result {code})")
        if self.starttls or self.wants_tls:
            await self.secure(dialog, name)
        return None

    async def _refusal(self, talk: Ldap, where: str) -> Outcome | None:
        user, password = self.user or "", self.password() or Secret("")
        if not password.value:
            return waiting(Reason.NOT_FOUND, f"password_file {self.password_file} (is empty)")
        code = await talk.bind(user, password.value)
        if code == _ldap.SUCCESS:
            return None
        if code == _ldap.INVALID_CREDENTIALS:
            # Said of an entry that is not there as well (RFC 4511, A.2), which may be on its way into the directory. A
            # directory that does not tell which it is gets no second try, which may lock the account.
            code, entry = await talk.look_for(user)
            if code == _ldap.NO_SUCH_OBJECT and not entry:
                why = f"{where} (the password is wrong, or the entry not there yet)"
                return waiting(Reason.FORBIDDEN, why, retry_after=_PAUSE)
            return failed(Reason.FORBIDDEN, f"{where} (user or password is refused)")._replace(certain=True)
        if code in _NEVER:
            return _forbidden(code, where)
        return _not_ready(code, where)

    async def _entry(self, talk: Ldap, base: str, where: str) -> Outcome:
        code, entry = await talk.look_for(base)
        if code == _ldap.SUCCESS and entry:
            return ready(where)
        if code in (_ldap.SUCCESS, _ldap.NO_SUCH_OBJECT):  # or not to be seen: that it is gone nobody knows
            return waiting(Reason.NOT_FOUND, f"{where} (entry {base})")
        if code == _ldap.UNWILLING and not self.logs_in:  # OpenLDAP without a login; others while they import
            return waiting(Reason.FORBIDDEN, f"{where} (it does not show the entry to everybody)")
        if code == _ldap.INSUFFICIENT_ACCESS:  # rules of access may come with the entries
            return waiting(Reason.FORBIDDEN, f"{where} (no permission for the entry)")
        if code in (*_NEVER, _ldap.OPERATIONS_ERROR):  # the latter is Active Directory's word for it
            return _forbidden(code, where)
        return _not_ready(code, where)


def _forbidden(code: int, where: str) -> Outcome:
    why = _WANTS.get(code, f"LDAP's result {code}")
    return failed(Reason.FORBIDDEN, f"{where} ({why})")


def _not_ready(code: int, where: str) -> Outcome:
    reason = Reason.STARTING if code in (_ldap.BUSY, _ldap.UNAVAILABLE) else Reason.UNWANTED_ANSWER
    return waiting(reason, f"{where} (LDAP's result {code})")
