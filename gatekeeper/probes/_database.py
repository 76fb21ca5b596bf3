"""Databases that are asked in SQL: how TLS is agreed on, what an application's DSN says of it, and what is looked for.

Speaks no protocol: that is the kind's, and its driver's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import Account
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._options import BadOptionsError, Options, option, options_of
from gatekeeper.probes._tls import Trust, context_of
from gatekeeper.values import BadValueError, Secret, nearest, not_empty

QUERY_TIME = 30  # seconds after which the server ends a query by itself, though nobody waits for it any more

_TYPO = 0.8  # how near a key must be to one of ours that it is none of a driver's
_NOTHING = (None, "", "0", "f", "false")
# libpq, 34.19.1; the words of MySQL's --ssl-mode; and what node-postgres, JDBC and Go's driver make of them.
_MODES: Mapping[str, str] = {
    "disable": "disable",
    "disabled": "disable",
    "false": "disable",
    "0": "disable",
    "allow": "allow",
    "prefer": "prefer",
    "preferred": "prefer",
    "require": "require",
    "required": "require",
    "no-verify": "require",
    "skip-verify": "require",
    "trust": "require",
    "true": "require",
    "1": "require",
    "verify-ca": "verify-ca",
    "verify-full": "verify-full",
    "verify-identity": "verify-full",
}


def ssl_mode(text: str) -> str:
    """Return one of PostgreSQL's words for how TLS is agreed on; raises `BadValueError`, which does not quote."""
    if text.startswith("{"):  # what node's drivers take, in the JSON that they take it in
        return "require" if re.search(r'"rejectUnauthorized"\s*:\s*false', text) else "verify-full"
    mode = _MODES.get(text.strip().lower().replace("_", "-"))
    if mode is None:
        message = "is none of disable, allow, prefer, require, verify-ca, verify-full"
        raise BadValueError(message)
    return mode


def said(dsn: Dsn, *keys: str) -> str | None:
    """Return what the query of a target says last under one of these keys, None where it is silent."""
    found = [value.value for key, value in dsn.query if key.lower() in keys]
    return found[-1] if found else None


def with_account(dsn: Dsn) -> Dsn:
    """Return a target in whose query stood who logs in, where it may stand as well."""
    password = said(dsn, "password")
    return dsn._replace(
        user=said(dsn, "user") or dsn.user, password=dsn.password if password is None else Secret(password)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database(Account):
    """A database that is asked in SQL."""

    UPGRADES: ClassVar[bool] = True
    LOOKS: ClassVar[tuple[str, ...]] = ("query", "table")
    # What the query of an application's DSN says, in lower case, and the option that it is; the rest is its driver's.
    SAID: ClassVar[Mapping[str, str]] = {}

    sslmode: str | None = option(
        ssl_mode,
        "disable, allow, prefer, require, verify-ca or verify-full",
        unset="verify-full with tls, ca, cert or server_name, else prefer",
    )
    table: tuple[str, ...] = option(
        not_empty,
        "table or view that must be there, [SCHEMA.]NAME, several with commas",
        default=(),
        many=True,
        commas=True,
    )
    query: str | None = option(
        not_empty, "SQL that must give a value, which is not NULL, 0 or false, or is what expect says", secret=True
    )
    expect: str | None = option(str, "the text that the query's value must be")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe = super(Database, cls).parse(target, options)
        if probe.logs_in and not probe.dsn.user:
            how = f"write {probe.dsn.scheme}://USER@HOST, or login=no to look whether it is up without"
            raise BadOptionsError(("", f"logging in needs a user: {how}"))
        return probe

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; raises `BadValueError`."""
        known = options_of(cls)
        fields: dict[str, Any] = {"dsn": dsn}
        for key, value in dsn.query:
            name = cls.SAID.get(key.lower())
            if name is None:
                near = nearest(key, cls.SAID, cutoff=_TYPO).removeprefix("; did you mean ").removesuffix("?")
                if near:
                    message = f"has a key in its query that is nearly {near}: write that, or leave it out"
                    raise BadValueError(message)
            elif name in known and value.value:  # what is empty is as good as left out (libpq, 34.1.2)
                try:
                    fields[name] = known[name].parse(value.value)
                except BadValueError:
                    message = f"has a {key.lower()} in its query that is not usable (its text is not shown)"
                    raise BadValueError(message) from None
        return fields

    @classmethod
    def clashes(cls, target: str, options: Options) -> list[tuple[str, str]]:
        """Return the options that do not go together."""
        wrong = super(Database, cls).clashes(target, options)
        if options.get("sslmode") in (("disable",), ("disabled",)):
            keys = [key for key in ("ca", "cert", "key", "server_name", "insecure") if key in options]
            wrong += [(key, "means nothing without TLS: leave out sslmode=disable") for key in keys]
        if "tls" in options and "sslmode" in options:
            wrong.append(("tls", "and sslmode say the same: keep one"))
        if "expect" in options and "query" not in options:
            wrong.append(("expect", "needs query, whose value it is compared with"))
        return wrong

    @property
    def mode(self) -> str:
        """How TLS is agreed on, in PostgreSQL's words; what is said of TLS in an option counts more than the DSN."""
        if self.tls is False or self.unix:
            return "disable"  # a socket file is as safe as TLS makes a network
        if self.insecure:
            return "require"
        said_so = self.sslmode if self.tls is None else None
        if said_so is None and (self.tls or self.ca or self.cert or self.server_name):
            return "verify-full"
        return "verify-ca" if said_so == "require" and self.ca else said_so or "prefer"

    @property
    def wants_tls(self) -> bool:
        """Whether TLS is a must."""
        return self.mode in ("require", "verify-ca", "verify-full")

    @property
    def trust(self) -> Trust:
        """Whom to believe and who to be."""
        verified = self.mode in ("verify-ca", "verify-full")
        return Trust(self.ca, self.cert, self.key, not verified, any_name=self.mode == "verify-ca")

    async def secure(self, dialog: Dialog, name: str, *alpn: str) -> None:
        """Speak TLS from here on, as it was declared."""
        await dialog.secure(context_of(self.trust._replace(alpn=alpn)), self.server_name or name)

    def judged(self, where: str, value: str | None) -> Outcome:
        """Return what the value of the query means; None where it gave no row, or NULL."""
        if self.expect is not None and value == self.expect:
            return ready(where)
        if self.expect is None and value not in _NOTHING:
            return ready(where)
        how = "no value, NULL, 0 or false" if self.expect is None else "another value than expected"
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (the query gives {how})")
