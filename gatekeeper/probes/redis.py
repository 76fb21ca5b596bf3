"""redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]: a Redis or Valkey that has loaded its data and serves.

Its answer to PING tells whether it is loading, and nothing else does before a login: a server that wants a password
says so (NOAUTH) of every command, loaded or not (seen in 7.0). Without one, that is not taken for ready.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, State, failed, ready, waiting
from gatekeeper.probes._account import Account, At
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn, asked_for_tls
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._options import Options, option
from gatekeeper.probes._resp import Ask, RefusedError, ask
from gatekeeper.probes._server import Server
from gatekeeper.probes._tls import Trust
from gatekeeper.values import BadValueError, Secret, flag, not_empty, quoted, raw, whole

_LAST_DATABASE = 2**31 - 1
_FILES = {"ssl_ca_certs": "ca", "ssl_certfile": "cert", "ssl_keyfile": "cert_key"}  # as redis-py has them in a URL
_NOT_YET = {
    "LOADING": "it is loading its data",
    "MASTERDOWN": "its master is down, and it serves no stale data",
    "BUSY": "it is busy with a script",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster is moving data",
    "CROWDED": "it has as many clients as it takes",
}
_UNWANTED = {
    "MISCONF": "it cannot save its data, and takes no writes",
    "MOVED": "the key is another node's: name that one too",
    "WRONGTYPE": "the key holds no text",
}
_LOCKED = ("NOAUTH", "NOPERM")
_OF_LOGIN = ("WRONGPASS", "NOPASS")
_NEVER = {
    "WRONGPASS": "user or password is refused",
    "NOPASS": "it has no password, and is given one",
    "DENIED": "it is in protected mode: without a password it takes local clients only",
    "NOAUTH": "it wants a password",
}


def _key(text: str) -> str:
    raw(text)
    return not_empty(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis(Account):
    """A Redis or Valkey that has loaded its data and serves."""

    EXAMPLE: ClassVar[str] = "cache=redis://cache:6379"
    PORTS: ClassVar[Mapping[str, int]] = {"redis": 6379, "rediss": 6379, "valkey": 6379, "valkeys": 6379}
    SECURE: ClassVar[frozenset[str]] = frozenset({"rediss", "valkeys"})
    DRIVER: ClassVar[str] = "redis"
    EXTRA: ClassVar[str] = "redis"
    LOOKS: ClassVar[tuple[str, ...]] = ("key",)

    database: int = 0
    any_name: bool = False
    key: str | None = option(_key, "key that must be there (not that of cert, which is cert_key)")
    cert_key: str | None = option(file_path, "PEM file of the key of cert", local=True, unset="in cert")
    value: bytes | None = option(raw, "text that the key must hold, exactly", secret=True, unset="any")

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; what its query says of an application's own client is left out."""
        query = {key: value.value for key, value in dsn.query}
        fields: dict[str, Any] = {ours: file_path(query[theirs]) for theirs, ours in _FILES.items() if theirs in query}
        if query.get("ssl_cert_reqs", "").lower().removeprefix("cert_") in ("none", "0"):
            fields["insecure"] = True
        if flag(query.get("skip_verify") or "no"):
            fields["insecure"] = True
        fields["any_name"] = not flag(query.get("ssl_check_hostname") or "yes")
        try:
            database = whole(0, _LAST_DATABASE)(query.get("db") or dsn.path.removesuffix("/") or "0")
        except BadValueError:
            message = f"has no number of a database as its path or db: write {dsn.scheme}://HOST:PORT/0"
            raise BadValueError(message) from None
        return {"dsn": _with_account(dsn, query), "database": database, **asked_for_tls(dsn), **fields}

    @classmethod
    def clashes(cls, target: str, options: Options) -> list[tuple[str, str]]:
        """Return the options that do not go together."""
        # What others know as key is cert_key here.
        others = {{"key": "", "cert_key": "key"}.get(key, key): texts for key, texts in options.items()}
        wrong = Server.clashes.__func__(cls, target, others)  # type: ignore[attr-defined]  # slots: no super() here
        wrong = [("cert_key" if key == "key" else key, message) for key, message in wrong]
        if "cert" in options and any(text.startswith("/") for text in options.get("key", ())):
            wrong.append(("key", "is a key to look for here: write cert_key for the file with that of cert"))
        if "value" in options and "key" not in options:
            wrong.append(("value", "needs key, which holds it"))
        return wrong

    @property
    def trust(self) -> Trust:
        """Whom to believe and who to be."""
        return Trust(self.ca, self.cert, self.cert_key, self.insecure, any_name=self.any_name)

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask without a login."""
        del name
        try:
            return await _standing(partial(ask, dialog), dialog)
        except RefusedError as refused:
            if refused.code not in _LOCKED:
                return _outcome(refused.code, dialog.where)
            if self.logs_in or self.login is False:
                return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
            how = "it wants a password, and tells nobody else whether it is loading: give one, or login=no not to ask"
            return waiting(Reason.STARTING, f"{dialog.where} ({how})")

    async def log_in(self, at: At) -> Outcome:
        """Log in, ask once more, and look at the key."""
        from gatekeeper.probes._redis_login import logged_in  # noqa: PLC0415 - loads the driver

        password = self.password()
        with await self.connected(at) as dialog, during(f"logging in to {dialog.where}"):
            try:
                async with logged_in(dialog, self.dsn.user, password) as asked:
                    outcome = await _standing(asked, dialog)
                    if outcome.state is not State.READY:
                        return outcome
                    if self.database:
                        await self._select(asked, dialog.where)
                    return await self._look(asked, dialog.where) if self.key is not None else outcome
            except RefusedError as refused:
                return _outcome(refused.code, dialog.where)

    async def _select(self, asked: Ask, where: str) -> None:
        try:
            await asked(b"SELECT", b"%d" % self.database)
        except RefusedError as refused:
            if refused.code != "ERR":
                raise
            raise MissError(waiting(Reason.NOT_FOUND, f"{where} (it has no database {self.database})")) from None

    async def _look(self, asked: Ask, where: str) -> Outcome:
        key, shown = raw(self.key or ""), quoted(self.key or "")
        if await asked(b"EXISTS", key) != b"1":
            return waiting(Reason.NOT_FOUND, f"{where} (it has no key {shown})", gone=True)
        # One byte more than is wanted: whatever it holds, no more than that is sent.
        if self.value is not None and await asked(b"GETRANGE", key, b"0", b"%d" % len(self.value)) != self.value:
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (the key {shown} holds something else)")
        return ready(where)


def _with_account(dsn: Dsn, query: Mapping[str, str]) -> Dsn:
    """Return a target in whose query stood who logs in, where redis-py reads it unless it stands in front."""
    password = Secret(query["password"]) if query.get("password") else None  # to redis-py, empty is left out
    return dsn._replace(user=dsn.user or query.get("username") or None, password=dsn.password or password)


async def _standing(asked: Ask, dialog: Dialog) -> Outcome:
    """Ask whether it serves; raises `RefusedError` and `MissError`.

    A node of a cluster answers PING whatever the cluster is like.
    """
    if await asked(b"PING") != b"PONG":
        return dialog.wrong()
    if await _is_up(asked):
        return ready(dialog.where)
    return _outcome("CLUSTERDOWN", dialog.where)


async def _is_up(asked: Ask) -> bool:
    with suppress(RefusedError, MissError):  # a proxy or a limited user may know PING alone
        if re.search(rb"^cluster_enabled:1\r?$", await asked(b"INFO", b"cluster"), re.MULTILINE):
            return bool(re.search(rb"^cluster_state:ok\r?$", await asked(b"CLUSTER", b"INFO"), re.MULTILINE))
    return True


def _outcome(code: str, where: str) -> Outcome:
    if code in _NOT_YET:
        return waiting(Reason.STARTING, f"{where} ({_NOT_YET[code]})")
    if code in _NEVER:  # of a login at once: each further try would stand in its log
        return failed(Reason.FORBIDDEN, f"{where} ({_NEVER[code]})")._replace(certain=code in _OF_LOGIN)
    if code == "NOPERM":  # which may be granted yet
        return waiting(Reason.FORBIDDEN, f"{where} (the user may not do this)")
    return waiting(Reason.UNWANTED_ANSWER, f"{where} ({_UNWANTED.get(code, 'it answers with an error')})")
