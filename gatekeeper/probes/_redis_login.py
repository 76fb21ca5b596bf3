"""Logging in to a Redis by redis-py, whose home this is; over a connection that was made as every kind makes them.

Of the driver's errors only class and code go on: their text may hold an address or what was sent.
"""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Connection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    RedisError,
    TryAgainError,
)

from gatekeeper.probes._dialog import MOST, Dialog
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._resp import Ask, RefusedError, code_of
from gatekeeper.values import Secret

# How answers begin that ours have: none is a list. What the driver makes of others is its own exceptions, and Python's.
_BEGINNING = re.compile(rb"[+-].*|:-?[0-9]{1,19}|\$(-1|[0-9]{1,5})", re.DOTALL)
_NOT_OK = "Invalid Username or Password"  # the driver's own text, for what is neither yes nor an error

_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (NoPermissionError, "NOPERM"),
    (BusyLoadingError, "LOADING"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (TryAgainError, "TRYAGAIN"),
    (MovedError, "MOVED"),
    (AskError, "MOVED"),
)


@asynccontextmanager
async def logged_in(dialog: Dialog, user: str | None, password: Secret | None) -> AsyncIterator[Ask]:
    """Log in over a fresh connection, and give what asks on; raises `RefusedError` and `MissError`.

    Without a password nobody logs in, and asks all the same.
    """
    connection = _Over(dialog, user, password)

    async def ask(*words: bytes) -> bytes:
        try:
            await connection.send_command(*words, check_health=False)
            answer = await connection.read_response()
        except RedisError as error:
            raise RefusedError(_code(error)) from None
        if isinstance(answer, bytes | int):
            return answer if isinstance(answer, bytes) else str(answer).encode()
        raise MissError(dialog.wrong())

    try:
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except AuthenticationError as error:
            if str(error) == _NOT_OK:
                raise MissError(dialog.wrong()) from None
            raise
        with suppress(RefusedError):  # who may not give itself a name has none
            await ask(b"CLIENT", b"SETNAME", b"gatekeeper")
        yield ask
    except RedisError as error:
        raise RefusedError(_code(error)) from None
    finally:
        connection.let_go()


class _Over(Connection):
    """A connection of the driver's over one of ours: what the driver knows is the login and the answers."""

    def __init__(self, dialog: Dialog, user: str | None, password: Secret | None) -> None:
        given = (user, password.value) if password else (None, None)
        super().__init__(
            username=given[0],
            password=given[1],
            encoding_errors="surrogateescape",
            socket_timeout=None,  # the pace holds the clock
            socket_connect_timeout=None,
            protocol=2,
            parser_class=_AsyncRESP2Parser,  # not hiredis, where that is installed: it reads on without a limit
        )
        # It would say which library it is, which a server before 7.2 refuses, and one may not be allowed to.
        self.driver_info = self.lib_name = self.lib_version = None
        self._dialog = dialog

    async def _connect(self) -> None:
        self._reader: Any = _Reader(self._dialog)
        self._writer: Any = _Writer(self._dialog)

    def let_go(self) -> None:
        self._reader = self._writer = None


class _Reader:
    """What the driver reads of a stream: lines, and lengths that the other side has named."""

    _buffer = b""

    def __init__(self, dialog: Dialog) -> None:
        self._dialog = dialog

    def at_eof(self) -> bool:
        return False

    async def readline(self) -> bytes:
        line = await self._dialog.until(b"\r\n")
        if not _BEGINNING.fullmatch(line[:-2]):
            raise MissError(self._dialog.wrong())
        return line

    async def readexactly(self, count: int) -> bytes:
        if count > MOST:
            raise MissError(self._dialog.wrong())
        return await self._dialog.exactly(count)


class _Writer:
    """What the driver does with the other half of it."""

    def __init__(self, dialog: Dialog) -> None:
        self._dialog = dialog
        self._left: list[bytes] = []

    def writelines(self, parts: Iterable[bytes]) -> None:
        self._left += parts

    async def drain(self) -> None:
        parts, self._left = self._left, []
        await self._dialog.write(b"".join(parts))

    def close(self) -> None:
        self._left = []

    async def wait_closed(self) -> None:
        """Return: whose connection it is closes it."""


def _code(error: RedisError) -> str:
    """Return the code of an error that the server has answered, ``ERR`` where the driver does not tell."""
    if isinstance(error, AuthenticationError):
        if re.search("without any password configured|no password is set", str(error)):  # since version 6, and before
            return "NOPASS"
        return "NOAUTH" if str(error).startswith("Authentication required") else "WRONGPASS"
    known = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    return known or code_of(str(error).encode("utf-8", "replace")) or "ERR"
