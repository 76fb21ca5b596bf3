"""Logging in to a NATS server, and looking for JetStream and its streams (NATS, JetStream wire API).

The driver's client runs on a transport of ours, so that the connection stays ours and with it its end.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from nats import errors
from nats.aio.client import Client, RawCredentials
from nats.aio.transport import Transport

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._nats import NAME, Login, outcome_of_error
from gatekeeper.probes._together import obeying, together

_NEVER = 86_400  # seconds: the driver has no time limit of its own, the attempt has one
_PAUSE = 10.0  # seconds between logins of an account that may be made known yet
_MOST = 256 * 1024  # bytes that are read in all
_MEANINGS: Mapping[Any, tuple[Reason, str]] = {
    404: (Reason.NOT_FOUND, "no {}"),
    503: (Reason.STARTING, "{} is not available"),
}
# What of the greeting concerns the driver: TLS is spoken by now, and other servers are not its matter.
_KEPT = ("auth_required", "headers", "jetstream", "max_payload", "nonce", "proto", "server_id", "version")


class _OnDialog(Transport):
    """A transport over a connection of ours, whose first line has been read; `miss` is how it has ended."""

    def __init__(self, dialog: Dialog, info: Mapping[str, Any]) -> None:
        self.miss: MissError | None = None
        self._dialog = dialog
        kept = {key: value for key, value in info.items() if key in _KEPT}
        self._greeting = b"INFO " + json.dumps(kept).encode() + b"\r\n"
        self._to_send = b""
        self._greeted = False
        self._read = 0

    async def connect(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - the signature is the driver's
        """Do nothing: it is connected."""

    async def connect_tls(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - as above
        """Do nothing: TLS is spoken by now, where it is."""

    def write(self, payload: bytes) -> None:
        self._to_send += payload

    def writelines(self, payload: list[bytes]) -> None:
        self._to_send += b"".join(payload)

    async def drain(self) -> None:
        data, self._to_send = self._to_send, b""
        try:
            await self._dialog.write(data)
        except MissError as miss:
            self.miss = miss
            raise ConnectionError from None

    async def read(self, buffer_size: int) -> bytes:
        """Return what has come, nothing at the end: what is raised here, the driver would log."""
        del buffer_size
        try:
            data = await self._dialog.exactly(len(await self._dialog.some()))
        except MissError as miss:
            self.miss = miss
            return b""
        self._read += len(data)
        if self._read > _MOST:
            self.miss = MissError(self._dialog.wrong())
            return b""
        return data

    async def readline(self) -> bytes:
        """Return the greeting, and then the line that answers the login; raises `MissError`."""
        line, self._greeting = self._greeting, b""
        while not line.startswith((b"INFO ", b"PONG", b"-ERR")) or (self._greeted and line.startswith(b"INFO ")):
            if line.startswith(b"PING"):
                await self._dialog.write(b"PONG\r\n")
            elif line and not line.startswith((b"+OK", b"INFO ")):
                raise MissError(self._dialog.wrong())
            line = await self._dialog.line() + b"\r\n"
        self._greeted = True
        return line

    async def wait_closed(self) -> None:
        """Wait for nothing: the dialog is closed by whoever opened it."""

    def close(self) -> None:
        """Leave it to the owner of the dialog."""

    def at_eof(self) -> bool:
        return self.miss is not None

    def __bool__(self) -> bool:
        return True


async def log_in(dialog: Dialog, info: Mapping[str, Any], login: Login) -> Outcome:
    """Log in, and look for what must be there; raises `MissError`."""
    session = _Session(dialog, info, login)
    try:
        with during(lambda: session.step):
            return await obeying(session.run())
    finally:
        await session.end()


class _Session:
    """One client of the driver, from its login to its end."""

    def __init__(self, dialog: Dialog, info: Mapping[str, Any], login: Login) -> None:
        self.step = f"logging in to {dialog.where}"
        self._dialog = dialog
        self._login = login
        self._transport = _OnDialog(dialog, info)
        self._client = Client()
        self._client._transport = self._transport  # noqa: SLF001 - the driver takes one in no other way
        self._said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def run(self) -> Outcome:
        refused = await self._enter()
        if refused:
            return refused
        asked = [("JetStream", "$JS.API.INFO")] if self._login.jetstream else []
        asked += [(f"stream {name}", f"$JS.API.STREAM.INFO.{name}") for name in self._login.streams]
        for what, subject in asked:
            self.step = f"asking {self._dialog.where} for {what}"
            missing = await self._ask(what, subject)
            if missing:
                return missing
        return ready(self._dialog.where)

    async def end(self) -> None:
        with suppress(Exception):  # whatever the driver makes of a connection that has ended
            await self._client.close()
        for _ in range(2):  # its tasks are cancelled by now, and end at the next turn
            await asyncio.sleep(0)

    async def _hear(self, error: Exception | None = None) -> None:
        if not self._said.done():
            self._said.set_result(str(error or "").encode())

    async def _enter(self) -> Outcome | None:
        """Return why nobody is let in, None where the login has succeeded."""
        login = self._login
        try:
            await self._client.connect(
                "nats://server",
                error_cb=self._hear,
                closed_cb=self._hear,
                name=NAME,
                allow_reconnect=False,
                connect_timeout=_NEVER,
                user=login.user,
                password=login.password.value if login.password else None,
                token=login.token.value if login.token else None,
                user_credentials=RawCredentials(login.creds.value) if login.creds else None,
            )
        except MissError as miss:
            return miss.outcome
        except errors.Error as error:
            outcome = outcome_of_error(str(error).encode(), self._dialog, login=login)
            if login.creds and outcome.reason is Reason.FORBIDDEN:
                # The server may not have been told of the account yet, which an operator pushes to it once it runs.
                return waiting(Reason.FORBIDDEN, outcome.detail, retry_after=_PAUSE)
            return outcome
        except Exception:  # noqa: BLE001 - whatever the driver makes of a file or a server that nobody vouches for
            if login.creds and not self._transport.miss:
                return waiting(Reason.FORBIDDEN, f"creds {login.place} (cannot be used)")
            return self._ended()
        return None

    async def _ask(self, what: str, subject: str) -> Outcome | None:
        """Return why something is not there, None where it is."""
        where = self._dialog.where
        async with together() as running:
            request: asyncio.Future[Any] = asyncio.ensure_future(self._client.request(subject, timeout=_NEVER))
            running.add(request)
            either: set[asyncio.Future[Any]] = {request, self._said}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                denied = b"permissions violation" in self._said.result().lower()
                why = f"{where} (no permission to ask for {what})"
                return waiting(Reason.FORBIDDEN, why) if denied else self._ended()
        try:
            error = json.loads(request.result().data).get("error")
            code = error["code"] if error else None
        except errors.NoRespondersError:
            return waiting(Reason.STARTING, f"{where} (no JetStream answers)")
        except Exception:  # noqa: BLE001 - whatever the driver makes of bytes that nobody vouches for
            return self._ended()
        reason, why = _MEANINGS.get(code, (Reason.UNWANTED_ANSWER, "{}: an error"))
        return waiting(reason, f"{where} ({why.format(what)})") if error else None

    def _ended(self) -> Outcome:
        return self._transport.miss.outcome if self._transport.miss else self._dialog.wrong()
