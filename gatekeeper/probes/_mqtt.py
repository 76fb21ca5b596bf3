"""CONNECT and CONNACK of MQTT, and what the codes mean (MQTT 3.1.1, 3.1 and 3.2; MQTT 5.0, 3.1, 3.2 and 2.4)."""

from collections.abc import Mapping

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._miss import MissError
from gatekeeper.values import raw

LEVELS: Mapping[str, int] = {"3.1.1": 4, "5": 5}
DISCONNECT = b"\xe0\x00"
_CLEAN = 0x02  # of the flags of CONNECT: no session is kept
_KEEP_ALIVE = 60  # seconds
_MOST = 4096  # bytes of a CONNACK: two, and in MQTT 5 what the broker grants
# The codes of MQTT 3.1.1 in terms of MQTT 5.
_OF_OLD = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
_ACCEPTED, _OTHER_VERSION = 0x00, 0x84
_REFUSED = (0x86, 0x87, 0x8C)  # bad user or password, not authorised, bad method of authentication
_MEANINGS = {
    0x88: (Reason.STARTING, "it says that it is unavailable"),
    0x89: (Reason.STARTING, "it says that it is busy"),
    0x9F: (Reason.STARTING, "it says that too many connections come at once"),
    0x85: (Reason.FORBIDDEN, "it refuses the client id"),
    0x8A: (Reason.FORBIDDEN, "it has banned this client"),
}


def connect(level: int, client: str) -> bytes:
    """Return CONNECT for a clean session of nobody."""
    name = raw(client)
    properties = b"\x00" if level >= LEVELS["5"] else b""
    head = b"\x00\x04MQTT" + bytes((level, _CLEAN)) + _KEEP_ALIVE.to_bytes(2, "big") + properties
    body = head + len(name).to_bytes(2, "big") + name
    return b"\x10" + _length(len(body)) + body


def _length(count: int) -> bytes:
    """Return a length in groups of seven bits (MQTT 3.1.1, 2.2.3)."""
    groups = b""
    while True:
        count, group = divmod(count, 128)
        groups += bytes((group | 128 if count else group,))
        if not count:
            return groups


async def connack(dialog: Dialog) -> int:
    """Return the code of the answer, as in MQTT 5; raises `MissError` for what is no CONNACK."""
    if await dialog.exactly(1) != b"\x20":
        raise MissError(dialog.wrong())
    size = await _size(dialog)
    if not 2 <= size <= _MOST:  # noqa: PLR2004 - flags and code
        raise MissError(dialog.wrong())
    flags, code = (await dialog.exactly(size))[:2]
    if flags > 1:
        raise MissError(dialog.wrong())
    return _OF_OLD.get(code, code)


async def _size(dialog: Dialog) -> int:
    size = 0
    for place in range(2):  # two groups hold more than what is taken
        group = (await dialog.exactly(1))[0]
        size |= (group & 127) << (7 * place)
        if group < 128:  # noqa: PLR2004 - the bit that says that more comes
            return size
    raise MissError(dialog.wrong())


def accepted(code: int) -> bool:
    """Tell whether a code stands for a connection."""
    return code == _ACCEPTED


def outcome_of(code: int, dialog: Dialog, version: str, *, credentials: bool) -> Outcome:
    """Return what a code means to who gave credentials or none."""
    where = dialog.where
    if code == _ACCEPTED:
        return ready(where)
    if code in _REFUSED:
        if credentials:
            # At once: further tries may lock the account, or ban the client.
            return failed(Reason.FORBIDDEN, f"{where} (it refuses user and password)")._replace(certain=True)
        return ready(where, reason=Reason.READY_AUTH_REQUIRED)
    if code == _OTHER_VERSION:
        other = next(each for each in LEVELS if each != version)
        return dialog.wrong(f"it takes no MQTT {version}: version={other} asks in the other one")
    if code in _MEANINGS:
        reason, why = _MEANINGS[code]
        return waiting(reason, f"{where} ({why})")
    return waiting(Reason.UNWANTED_ANSWER, f"{where} (code {code:#04x})")
