"""Logging in to a broker of AMQP 0-9-1, and looking for queues and exchanges by passive declaration (1.6.2.3, 1.7.2.3).

Methods and credentials are the driver's; the connection stays ours, so that nothing but it is to be given up.
"""

from contextlib import suppress
from typing import Any

from pika import frame, spec  # type: ignore[import-untyped]
from pika.credentials import ExternalCredentials, PlainCredentials  # type: ignore[import-untyped]

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._amqp import Frame, Wanted, next_method
from gatekeeper.probes._dialog import MOST, Dialog
from gatekeeper.probes._miss import MissError
from gatekeeper.values import raw

Method = Any  # a method of the driver, which has no types

# With this capability a refused login is said, and not only hung up on (RabbitMQ, Authentication Failure Notification).
_WHO = {
    "product": "gatekeeper",
    "connection_name": "gatekeeper",
    "capabilities": {"authentication_failure_close": True},
}
_FORCED, _REFUSED, _NOT_FOUND, _NOT_ALLOWED, _INTERNAL = 320, 403, 404, 530, 541
_CLOSE = spec.Connection.Close(200, "", 0, 0)


class Login:
    """The conversation behind the greeting."""

    def __init__(self, dialog: Dialog, wanted: Wanted) -> None:
        """Take a dialog over."""
        self._dialog = dialog
        self._wanted = wanted

    async def log_in(self, start: Frame) -> Outcome:
        """Log in, look for what must be there, and leave as one should; raises `MissError`."""
        await self._enter(self._decoded(start))
        outcome = await self._look()
        self._dialog.at_the_end(b"")
        await self._dialog.write(_bytes(_CLOSE))
        with suppress(MissError):  # RabbitMQ takes it for an accident if the connection ends before its answer
            while not isinstance(self._decoded(await next_method(self._dialog)), spec.Connection.CloseOk):
                pass
        return outcome

    async def _enter(self, start: spec.Connection.Start) -> None:
        wanted = self._wanted
        password = raw(wanted.password.value) if wanted.password else b""
        credentials = ExternalCredentials() if wanted.external else PlainCredentials(raw(wanted.user), password)
        mechanism, response = credentials.response_for(start)
        if mechanism is None:
            why = "it takes no certificate for a login" if wanted.external else "it takes no password for a login"
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{self._dialog.where} ({why})"))
        start_ok = spec.Connection.StartOk(_WHO, mechanism, response, "en_US")
        tune = await self._ask(_bytes(start_ok), spec.Connection.Tune)
        most = min(tune.frame_max or MOST, MOST)
        tune_ok = spec.Connection.TuneOk(tune.channel_max, most, 0)  # 0: no heartbeats, for so short a while
        both = _bytes(tune_ok) + _bytes(spec.Connection.Open(raw(wanted.vhost)))
        await self._ask(both, spec.Connection.OpenOk)
        self._dialog.at_the_end(_bytes(_CLOSE))

    async def _look(self) -> Outcome:
        queues = [("queue", each, spec.Queue.Declare(queue=raw(each), passive=True)) for each in self._wanted.queues]
        exchanges = [
            ("exchange", each, spec.Exchange.Declare(exchange=raw(each), passive=True))
            for each in self._wanted.exchanges
        ]
        if queues or exchanges:
            await self._ask(_bytes(spec.Channel.Open(), 1), spec.Channel.OpenOk)
        for what, name, declare in (*queues, *exchanges):
            there = (spec.Queue.DeclareOk, spec.Exchange.DeclareOk)
            answer = await self._ask(_bytes(declare, 1), *there, spec.Channel.Close)
            if isinstance(answer, spec.Channel.Close):
                await self._dialog.write(_bytes(spec.Channel.CloseOk(), 1))
                return self._missing(f"{what} {name}", answer.reply_code)
        return ready(self._dialog.where)

    def _missing(self, what: str, code: int) -> Outcome:
        where = self._dialog.where
        if code == _NOT_FOUND:
            return waiting(Reason.NOT_FOUND, f"{where} (no {what})")
        if code == _REFUSED:
            return waiting(Reason.FORBIDDEN, f"{where} (no permission for {what})")
        return waiting(Reason.UNWANTED_ANSWER, f"{where} ({what}: code {code})")

    async def _ask(self, methods: bytes, *answers: type[Method]) -> Method:
        await self._dialog.write(methods)
        answer = self._decoded(await next_method(self._dialog))
        if isinstance(answer, spec.Connection.Close):
            self._dialog.at_the_end(_bytes(spec.Connection.CloseOk()))
            raise MissError(self._closed(answer.reply_code, str(answer.reply_text)))
        if not isinstance(answer, answers):
            raise MissError(self._dialog.wrong())
        return answer

    def _closed(self, code: int, text: str) -> Outcome:
        """Return what it means that the server ends the connection (AMQP 0-9-1, 1.1; the texts are RabbitMQ's)."""
        where = self._dialog.where
        if code == _REFUSED:
            # At once: further tries may lock the account.
            return failed(Reason.FORBIDDEN, f"{where} (it refuses user and password)")._replace(certain=True)
        if code in (_FORCED, _INTERNAL):
            return waiting(Reason.STARTING, f"{where} (code {code})")
        if code == _NOT_ALLOWED and text.startswith("NOT_ALLOWED - vhost ") and text.endswith(" not found"):
            return waiting(Reason.NOT_FOUND, f"{where} (no such virtual host)")
        if code == _NOT_ALLOWED and text.startswith("NOT_ALLOWED - access to vhost "):
            return waiting(Reason.FORBIDDEN, f"{where} (no permission for the virtual host)")
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (code {code})")

    def _decoded(self, found: Frame) -> Method:
        try:
            return frame.decode_frame(found.data)[1].method
        except Exception:  # noqa: BLE001 - whatever the driver makes of bytes that nobody vouches for
            raise MissError(self._dialog.wrong()) from None


def _bytes(method: Method, channel: int = 0) -> bytes:
    return bytes(frame.Method(channel, method).marshal())
