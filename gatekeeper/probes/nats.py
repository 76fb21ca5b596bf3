"""nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT]: a NATS server that takes a client (NATS Client Protocol).

It listens at the end of its start and greets with INFO, which says whether it wants TLS or a login. Where it wants no
login it is asked with PING, under the name gatekeeper. There is no goodbye; who hangs up is in no log.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import Account, loaded
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._local import contents, file_path
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._nats import CONNECT, Login, outcome_of_error
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.values import BadValueError, Secret, flag, quoted

_MOST_LINES = 16  # before a PONG
_MOST_CREDS = 64 * 1024  # bytes


def stream_name(text: str) -> str:
    """Return the name of a stream (NATS JetStream, Naming); raises `BadValueError`."""
    if re.fullmatch(r"[^\s.*>/\\]{1,255}", text) and text.isprintable():
        return text
    message = f"{quoted(text)} is no name of a stream: it has no spaces and none of . * > / \\"
    raise BadValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nats(Account):
    """A NATS server that takes a client, and lets in whoever has a password, a token or credentials."""

    EXAMPLE: ClassVar[str] = "events=nats://nats"
    PORTS: ClassVar[Mapping[str, int]] = {"nats": 4222}
    UPGRADES: ClassVar[bool] = True
    DRIVER: ClassVar[str] = "nats.aio.transport"
    EXTRA: ClassVar[str] = "nats"
    LOOKS: ClassVar[tuple[str, ...]] = ("jetstream", "stream")
    IN_ONE: ClassVar[bool] = True

    lone: Secret | None = None  # what stands in front of the host without a password: a token
    creds: str | None = option(file_path, "file with the JWT and the seed of a user, read at each attempt", local=True)
    handshake_first: bool = option(flag, "speak TLS before the server greets, as it is configured", default=False)
    jetstream: bool | None = option(flag, "JetStream must answer", unset="no")
    stream: tuple[str, ...] = option(
        stream_name, "stream of JetStream that must exist; several by stream=A stream=B", default=(), many=True
    )

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        wrong = []
        if probe.creds and (probe.lone or probe.dsn.password or probe.password_file):
            wrong.append(("creds", "is another way to log in than a password or a token: leave one out"))
        if probe.creds and not find_spec("nkeys"):
            wrong.append(("creds", f"needs a driver: pip install 'gatekeeper-agent[{cls.EXTRA}]'"))
        if probe.login is False and probe.creds:
            wrong.append(("creds", "needs login: leave out login=no"))
        if wrong:
            raise BadOptionsError(*wrong)
        return probe

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return where the server is and who logs in; raises `BadValueError` for more."""
        if dsn.path or dsn.query:
            message = f"takes nothing behind the port: write {dsn.scheme}://HOST:PORT"
            raise BadValueError(message)
        if dsn.user and dsn.password is None:
            return {"dsn": dsn._replace(user=None), "lone": Secret(dsn.user)}
        return {"dsn": dsn}

    @property
    def logs_in(self) -> bool:
        """Whether to log in once the server has greeted."""
        if self.login is not None:
            return self.login
        given = (self.lone, self.dsn.password, self.password_file, self.creds, self.jetstream, self.stream)
        return any(given)

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Read the greeting, and ask for an answer or log in."""
        if self.handshake_first:
            await self.secure(dialog, name)
        greeting = await dialog.line()
        if greeting.startswith(b"-ERR"):
            return outcome_of_error(greeting, dialog)
        info = _info(greeting)
        if info is None:
            return dialog.wrong()
        if info.get("ldm"):
            return waiting(Reason.STARTING, f"{dialog.where} (it is about to stop)")
        await self._upgrade(dialog, name, info)
        if self.logs_in:
            await loaded("gatekeeper.probes._nats_login")
            from gatekeeper.probes._nats_login import log_in  # noqa: PLC0415 - the driver is for who logs in

            return await log_in(dialog, info, self._login())
        if info.get("auth_required"):  # a CONNECT without credentials would be an error in its log
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        return await _ping(dialog)

    async def _upgrade(self, dialog: Dialog, name: str, info: Mapping[str, Any]) -> None:
        required, offered = info.get("tls_required"), info.get("tls_available")
        if dialog.is_secure or not (required or self.wants_tls):
            return
        if self.tls is False:
            raise MissError(waiting(Reason.TLS_FAILED, f"{dialog.where} (it requires TLS: leave out tls=no)"))
        if not (required or offered):
            raise MissError(waiting(Reason.TLS_FAILED, f"{dialog.where} (it offers no TLS)"))
        await self.secure(dialog, name)

    def _login(self) -> Login:
        """Return as whom to log in and what to look for; raises `MissError` where a file cannot be read."""
        password = self.password()
        user = self.dsn.user
        if user is None and self.password_file:
            user = self.lone.value if self.lone else None
        creds = None
        if self.creds:
            creds = Secret(contents("creds", self.creds, _MOST_CREDS).decode("utf-8", "replace"))
        token = None
        if user is None and not creds:
            token = password or self.lone
        return Login(user, password, token, creds, self.creds or "", self.stream, jetstream=bool(self.jetstream))


def _info(line: bytes) -> Mapping[str, Any] | None:
    word, _, rest = line.partition(b" ")
    if word.upper() != b"INFO":
        return None
    try:
        found = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def _ping(dialog: Dialog) -> Outcome:
    await dialog.write(CONNECT + b"PING\r\n")
    for _ in range(_MOST_LINES):
        line = await dialog.line()
        if line == b"PONG":
            return ready(dialog.where)
        if line.startswith(b"-ERR"):
            return outcome_of_error(line, dialog)
        if line == b"PING":
            await dialog.write(b"PONG\r\n")
        elif line != b"+OK" and not line.startswith(b"INFO "):
            break
    return dialog.wrong()
