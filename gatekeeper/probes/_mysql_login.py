"""Logging in to MySQL or MariaDB, and looking for tables and the value of a query. The one home of PyMySQL.

It blocks, in a thread of its own, over a connection that is made here: shutting that down ends whatever it waits for.
"""

import socket
import ssl
from contextlib import closing, suppress
from traceback import clear_frames
from typing import Any, TypeAlias

import pymysql
from pymysql.constants import CR

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import At
from gatekeeper.probes._aside import aside
from gatekeeper.probes._connect import connect_to, outcome_of
from gatekeeper.probes._database import QUERY_TIME, Database
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._mysqlerrors import meaning
from gatekeeper.probes._socketfile import connect_file
from gatekeeper.probes._tls import context_of, tls_outcome
from gatekeeper.values import Secret

Session: TypeAlias = "pymysql.Connection[Any]"
_LOST = (CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR)
_NAMES_TABLE = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"


async def log_in(database: Database, at: At) -> Outcome:
    """Return what was found at an address by somebody who has logged in; may raise `MissError`."""
    how = _how(database, at, database.password())
    sock, where = await _connected(at)
    try:
        held = sock.dup()  # to end the connection by, which the driver closes or puts TLS around
    except OSError as error:
        sock.close()
        return outcome_of(error, where)
    try:
        with during(f"logging in to {where}"):
            return await aside("logging in", lambda: _logged_in(database, sock, where, how))
    except MissError:  # no thread was to be had, which would have closed it
        sock.close()
        raise
    except pymysql.MySQLError as error:
        return _outcome(error, where, is_final=not at.unix)
    except Exception as error:  # noqa: BLE001 - whatever the driver makes of it, the server is not to be had
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (the driver says {type(error).__name__})")
    finally:
        with held, suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)


async def _connected(at: At) -> tuple[socket.socket, str]:
    if at.unix:
        return connect_file(at.unix), at.unix
    sock, peer = await connect_to(at.host, at.port)
    return sock, str(peer)


def _how(database: Database, at: At, password: Secret | None) -> dict[str, Any]:
    """Return the driver's arguments; may raise `MissError` for what the files of TLS lack."""
    tls: dict[str, Any] = {}  # the driver's own way: where it is offered, unverified
    if database.mode == "disable":
        tls = {"ssl_disabled": True}
    elif database.wants_tls:
        tls = {"ssl": context_of(database.trust)}
    return tls | {
        "host": (database.server_name or at.name).removesuffix(".").partition("%")[0],
        "user": database.dsn.user,
        "password": password.value.encode("utf-8", "surrogateescape") if password else b"",
        "database": database.dsn.path or None,
        "charset": "utf8mb4",
        "program_name": "gatekeeper",
        "autocommit": None,
        "conv": {},  # values as the server writes them
    }


def _logged_in(database: Database, sock: socket.socket, where: str, how: dict[str, Any]) -> Outcome:
    session = pymysql.Connection(defer_connect=True, **how)
    try:
        session.connect(sock)
    except pymysql.MySQLError as error:
        # It holds what went wrong below in a circle, and a socket in its frames, which a collection alone would close.
        if below := getattr(error, "original_exception", None):
            clear_frames(below.__traceback__)
        raise
    with closing(session):
        _value(session, "SELECT 1")  # which a Galera node that is not in sync refuses
        if not (database.table or database.query):
            return ready(where)
        _bound(session)
        for name in database.table:
            schema, _, table = name.rpartition(".")
            if _value(session, _NAMES_TABLE, schema or database.dsn.path, table) is None:
                return waiting(Reason.NOT_FOUND, f"{where} (no table {name})")
        return database.judged(where, _value(session, database.query)) if database.query else ready(where)


def _bound(session: Session) -> None:
    """See to it that a query only reads, gives one row, and ends by itself one day."""
    with session.cursor() as cursor:
        cursor.execute("SET SESSION sql_select_limit = 1")
        is_mariadb = "MariaDB" in session.get_server_info()  # type: ignore[no-untyped-call]  # its stubs
        limit = f"max_statement_time = {QUERY_TIME}" if is_mariadb else f"max_execution_time = {QUERY_TIME * 1000}"
        with suppress(pymysql.MySQLError):  # what speaks the same protocol may have neither
            cursor.execute(f"SET SESSION {limit}")
        cursor.execute("START TRANSACTION READ ONLY")


def _value(session: Session, query: str, *arguments: str) -> str | None:
    """Return the first column of the first row as text, None where there is none, or NULL."""
    with session.cursor() as cursor:
        cursor.execute(query, arguments or None)
        row = cursor.fetchone()
    value = row[0] if row else None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _outcome(error: pymysql.MySQLError, where: str, *, is_final: bool) -> Outcome:
    """Return what an error of the driver means: of the network, of TLS, or of the server."""
    below = getattr(error, "original_exception", None)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if isinstance(below, ssl.SSLError):
        return tls_outcome(below, where)
    if isinstance(below, OSError):
        return outcome_of(below, where)
    if number == CR.CR_SSL_CONNECTION_ERROR:
        return waiting(Reason.TLS_FAILED, f"{where} (it offers no TLS)")
    if number in _LOST:
        return waiting(Reason.CLOSED, where)
    if not number:
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (the driver says {type(error).__name__})")
    return meaning(where, number, is_final=is_final)
