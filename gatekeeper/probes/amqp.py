"""amqp://[USER[:PASSWORD]@]HOST[:PORT][/VHOST]: a broker that begins to greet, and one that lets an application in.

It answers our header with Connection.Start, before any word of credentials (AMQP 0-9-1, 2.2.4). RabbitMQ opens its port
at the end of its start. Before a login AMQP has no goodbye: RabbitMQ notes that somebody came, and that he hung up. A
server of AMQP 1.0 alone answers with the header of that version, and is up as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import Account, loaded
from gatekeeper.probes._amqp import CLOSE, START, Wanted, greeting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn, asked_for_tls
from gatekeeper.probes._local import file_path
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._tls import server_name
from gatekeeper.values import BadValueError, Secret, raw

_LONGEST = 255  # bytes of a name: a shortstr (AMQP 0-9-1, 4.2.5.3)


def short_name(text: str) -> str:
    """Return the name of a queue or an exchange; raises `BadValueError`."""
    if text and text.isprintable() and len(raw(text)) <= _LONGEST:
        return text
    message = f"is empty, longer than {_LONGEST} bytes, or has a character that cannot be shown"
    raise BadValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp(Account):
    """A broker of AMQP that greets, and lets in whoever has a password."""

    EXAMPLE: ClassVar[str] = "broker=amqp://mq"
    PORTS: ClassVar[Mapping[str, int]] = {"amqp": 5672, "amqps": 5671, "rabbitmq": 5672}
    SECURE: ClassVar[frozenset[str]] = frozenset({"amqps"})
    DRIVER: ClassVar[str] = "pika.credentials"
    EXTRA: ClassVar[str] = "amqp"
    LOOKS: ClassVar[tuple[str, ...]] = ("queue", "exchange")
    IN_ONE: ClassVar[bool] = True

    queue: tuple[str, ...] = option(
        short_name, "queue that must exist; several by queue=A queue=B", default=(), many=True
    )
    exchange: tuple[str, ...] = option(
        short_name, "exchange that must exist; several by exchange=A exchange=B", default=(), many=True
    )

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        if probe.logs_in and probe.dsn.user and not (probe.dsn.password or probe.password_file or probe.cert):
            raise BadOptionsError(("", "has a user to log in as, and no password: give one, or password_file"))
        return probe

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return where the server is, and what the query says of TLS (RabbitMQ, URI Query Parameters).

        What else stands there is how an application wants its own connection to be.
        """
        if len(raw(dsn.path)) > _LONGEST:
            message = f"has a virtual host that is longer than {_LONGEST} bytes"
            raise BadValueError(message)
        return {"dsn": dsn, **asked_for_tls(dsn)} | {
            field: value for key, said in dsn.query for field, value in _of_query(key.lower(), said.value)
        }

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Wait for the greeting, and log in where that is wanted."""
        del name
        found = await greeting(dialog)
        if isinstance(found, Outcome):
            return dialog.wrong("it speaks AMQP 1.0, which nobody logs in with here") if self.logs_in else found
        if found.method == CLOSE:
            return waiting(Reason.STARTING, f"{dialog.where} (it takes nobody)")
        if found.method != START:
            return dialog.wrong()
        if not self.logs_in:
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        await loaded("gatekeeper.probes._amqp_login")
        from gatekeeper.probes._amqp_login import Login  # noqa: PLC0415 - the driver is for who logs in

        return await Login(dialog, self.wanted()).log_in(found)

    def wanted(self) -> Wanted:
        """Return as whom to log in and what to look for; raises `MissError` where a file cannot be read.

        Without a user that is ``guest``, as it is for an application with such a target (AMQP URI Specification,
        appendix A).
        """
        password = self.password()
        if password is None and self.dsn.user is None:
            password = Secret("guest")
        external = self.cert is not None and self.password_file is None and self.dsn.password is None
        user = self.dsn.user or "guest"
        return Wanted(user, password, self.dsn.path or "/", self.queue, self.exchange, external=external)


def _of_query(key: str, value: str) -> list[tuple[str, Any]]:
    if key in ("cacertfile", "cafile"):
        return [("ca", file_path(value))]
    if key in ("certfile", "keyfile"):
        return [(key.removesuffix("file"), file_path(value))]
    if key == "server_name_indication" and value != "disable":
        return [("server_name", server_name(value))]
    if (key, value) in (("verify", "verify_none"), ("no_verify_ssl", "1")):
        return [("insecure", True)]
    return []
