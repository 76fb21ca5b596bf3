"""The CONNECT of somebody with a password, as the driver writes it.

The connection stays ours, so that nothing but it is to be given up: the driver would open one in a thread of its own.
"""

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


class _Paper:
    """What the driver takes for a socket: keeps what is written (`paho.mqtt.client.SocketLike`)."""

    def __init__(self) -> None:
        """Start empty."""
        self.written = b""

    def recv(self, _size: int) -> bytes:
        """Have nothing to say."""
        raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """Take it all."""
        self.written += bytes(data)
        return len(data)

    def close(self) -> None:
        """Have nothing to close."""

    def fileno(self) -> int:
        """Be no descriptor."""
        return -1

    def setblocking(self, _flag: bool) -> None:  # noqa: FBT001 - the signature is the driver's
        """Never block."""


class _Writer(Client):
    """A client that connects to paper."""

    paper: _Paper

    def _create_socket(self) -> _Paper:
        return self.paper


def connect_as(level: int, client: str, user: str, password: bytes | None) -> bytes:
    """Return CONNECT for a clean session of a user, whose password is of at most 65535 bytes."""
    clean = True if level < MQTTProtocolVersion.MQTTv5 else None  # in MQTT 5 that is said later, and the default
    writer = _Writer(CallbackAPIVersion.VERSION2, client, clean, protocol=MQTTProtocolVersion(level))
    writer.paper = _Paper()
    writer.username_pw_set(user, password)  # type: ignore[arg-type]  # bytes are taken as they are
    writer.connect("broker")
    return writer.paper.written
