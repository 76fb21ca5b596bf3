"""What a client of NATS says and hears before it is let in (NATS Client Protocol: CONNECT, -ERR), and who logs in."""

import json
from typing import NamedTuple

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.values import Secret

NAME = "gatekeeper"
CONNECT = (
    b"CONNECT " + json.dumps({"name": NAME, "lang": "python", "verbose": False, "pedantic": False}).encode() + b"\r\n"
)
_REFUSED = (b"authorization violation", b"authentication expired", b"authentication revoked")
_FULL = b"connections exceeded"
_TLS = b"tls required"


class Login(NamedTuple):
    """As whom to log in, and what must be there; ``place`` is the file of the credentials."""

    user: str | None
    password: Secret | None
    token: Secret | None
    creds: Secret | None
    place: str
    streams: tuple[str, ...]
    jetstream: bool

    @property
    def has_credentials(self) -> bool:
        """Whether anything is shown to the server that tells who comes."""
        return bool(self.user or self.password or self.token or self.creds)


def outcome_of_error(line: bytes, dialog: Dialog, *, login: Login | None = None) -> Outcome:
    """Return what an error of the server means, to a login or before one; its text is not repeated."""
    text, where = line.lower(), dialog.where
    if any(each in text for each in _REFUSED):
        if login:
            why = "refuses the credentials" if login.has_credentials else "wants credentials, and is given none"
            # At once: further tries are errors in its log.
            return failed(Reason.FORBIDDEN, f"{where} (it {why})")._replace(certain=True)
        return ready(where, reason=Reason.READY_AUTH_REQUIRED)
    if _FULL in text:
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (it has as many connections as it takes)")
    if _TLS in text:
        return waiting(Reason.TLS_FAILED, f"{where} (it requires TLS)")
    return waiting(Reason.UNWANTED_ANSWER, f"{where} (it says -ERR)")
