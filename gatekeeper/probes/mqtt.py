"""mqtt://[USER[:PASSWORD]@]HOST[:PORT]: a broker that takes a connection (MQTT 3.1.1, 3.1 and 3.2; MQTT 5.0, likewise).

It is asked with CONNECT for a clean session, under another client id at each attempt, so that nobody's session is taken
over. Its CONNACK tells all: whether it serves, starts, or wants a login. DISCONNECT is a proper end.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._account import Account, loaded
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._mqtt import DISCONNECT, LEVELS, accepted, connack, connect, outcome_of
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.values import BadValueError, one_of, raw

_LONGEST = 65535  # bytes of a text (MQTT 3.1.1, 1.5.3)


def text_of_mqtt(text: str) -> str:
    """Return a text as MQTT can hold it; raises `BadValueError`, whose message does not quote it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if 0 < size <= _LONGEST and text.isprintable():
        return text
    message = f"is empty, longer than {_LONGEST} bytes, or has a character that MQTT cannot hold"
    raise BadValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt(Account):
    """A broker of MQTT that takes a connection, and lets in whoever has a password."""

    EXAMPLE: ClassVar[str] = "broker=mqtt://mosquitto"
    PORTS: ClassVar[Mapping[str, int]] = {"mqtt": 1883, "mqtts": 8883}
    SECURE: ClassVar[frozenset[str]] = frozenset({"mqtts"})
    DRIVER: ClassVar[str] = "paho.mqtt.enums"
    EXTRA: ClassVar[str] = "mqtt"
    IN_ONE: ClassVar[bool] = True

    version: str = option(one_of(*LEVELS), "version of MQTT to ask in: 3.1.1 or 5", default="3.1.1")
    client_id: str | None = option(
        text_of_mqtt, "client identifier", unset="gatekeeper- and twelve digits, others each time"
    )

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        if probe.logs_in and not probe.dsn.user:
            raise BadOptionsError(("", "logs in and names no user: write mqtt://USER@HOST"))
        return probe

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return where the server is and who logs in; raises `BadValueError` for more."""
        if dsn.path or dsn.query:
            message = f"takes nothing behind the port: write {dsn.scheme}://HOST:PORT"
            raise BadValueError(message)
        if dsn.user:
            text_of_mqtt(dsn.user)
        return {"dsn": dsn}

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask for a connection, with the credentials where that is wanted."""
        del name
        who = self.client_id or f"gatekeeper-{os.urandom(6).hex()}"  # 23 bytes: what every broker takes
        level = LEVELS[self.version]
        await dialog.write(await self._login(dialog, level, who) if self.logs_in else connect(level, who))
        code = await connack(dialog)
        if accepted(code):
            dialog.at_the_end(DISCONNECT)
        return outcome_of(code, dialog, self.version, credentials=self.logs_in)

    async def _login(self, dialog: Dialog, level: int, who: str) -> bytes:
        await loaded("gatekeeper.probes._mqtt_login")
        from gatekeeper.probes._mqtt_login import connect_as  # noqa: PLC0415 - the driver is for who logs in

        password = self.password()
        given = raw(password.value) if password else None
        if given and len(given) > _LONGEST:
            raise MissError(waiting(Reason.FORBIDDEN, f"{dialog.where} (no password of MQTT is that long)"))
        return connect_as(level, who, self.dsn.user or "", given)
