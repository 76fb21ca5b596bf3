"""Logging in to PostgreSQL, and looking for tables and the value of a query. The one home of asyncpg.

It runs on asyncio's transports, which close a turn of the loop later than they are told to: those turns are waited for,
so that nothing is open when an attempt ends or is cancelled.
"""

import asyncio
import ssl
from collections.abc import Mapping

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import At
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._database import QUERY_TIME, Database
from gatekeeper.probes._driver_tls import driver_context
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._sqlstate import of_login, of_look
from gatekeeper.probes._tls import tls_outcome

_PORT = 5432  # where a socket file is named; without one it looks in a variable
_NO_LIMIT = 86400.0  # seconds: the pace holds the clock
_TURNS = 8  # of the loop, in which a transport and the TLS on it close
# A session reads only, and its query ends with us: after a time, or as soon as the server sees that we are gone.
_BOUNDS = f"""
    BEGIN READ ONLY;
    SET LOCAL statement_timeout = '{QUERY_TIME}s';
    SELECT set_config(name, '1s', true) FROM pg_settings
    WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'
"""  # noqa: S608 - the only variable part is a number of ours


_CLOSED = (asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)


async def log_in(
    database: Database, at: At, settings: Mapping[str, str], attrs: str | None, alpn: str | None
) -> Outcome:
    """Return what was found at an address by somebody who has logged in; may raise `MissError`.

    With ``alpn`` TLS begins at once, with that name of the protocol.
    """
    where = at.unix or (f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}")
    try:
        session = await _session(database, at, where, settings, attrs, alpn)
        try:
            return await _look(database, session, where)
        finally:
            session.terminate()
    finally:
        for _ in range(_TURNS):
            await asyncio.sleep(0)


async def _session(
    database: Database, at: At, where: str, settings: Mapping[str, str], attrs: str | None, alpn: str | None
) -> "asyncpg.Connection[asyncpg.Record]":
    """Return a session, with TLS or without, as the mode has it; where both will do, the second is tried as well."""
    password = database.password()
    trust = database.trust._replace(alpn=(alpn,) if alpn else ())
    context = None if database.mode == "disable" else driver_context(trust, database.server_name or at.name)
    ways = {"prefer": (context, None), "allow": (None, context)}.get(database.mode, (context,))
    for way in ways:
        try:
            with during(f"logging in to {where}"):
                return await asyncpg.connect(
                    host=at.unix or at.host,
                    port=at.port or _PORT,
                    user=database.dsn.user,
                    password=password.value if password else "",  # for None it looks in variables and files
                    database=database.dsn.path or database.dsn.user,
                    ssl=way or False,
                    direct_tls=alpn is not None,
                    server_settings=dict(settings),
                    target_session_attrs=SessionAttribute(attrs or "any"),
                    statement_cache_size=0,  # a pooler may give each statement to another server
                    timeout=_NO_LIMIT,
                )
        except Exception as error:  # noqa: BLE001 - whatever the driver makes of it, the server is not to be had
            if way is ways[-1] or not _is_about_tls(error):
                raise MissError(_refused(error, where, attrs, is_final=not at.unix)) from None
    raise AssertionError


def _is_about_tls(error: Exception) -> bool:
    """Tell whether the other way is worth a try: no TLS there, or pg_hba.conf has no line for this way."""
    if isinstance(error, asyncpg.InvalidPasswordError):
        return False
    return isinstance(error, asyncpg.InvalidAuthorizationSpecificationError | ssl.SSLError) or _is_upgrade(error)


def _is_upgrade(error: Exception) -> bool:
    return type(error) is ConnectionError  # asyncpg's own, for an SSLRequest that is not answered with yes


def _refused(error: Exception, where: str, attrs: str | None, *, is_final: bool) -> Outcome:
    """Return what the end of a login means."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (it is not {attrs})")
    if isinstance(error, ssl.SSLError):
        return tls_outcome(error, where)
    if _is_upgrade(error):
        return waiting(Reason.TLS_FAILED, f"{where} (it offers no TLS)")
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _CLOSED):
        return of_login(where, error.sqlstate or "", is_final=is_final)
    return _broken(error, where)


def _broken(error: Exception, where: str) -> Outcome:
    if isinstance(error, (*_CLOSED, asyncpg.InternalClientError)):
        return waiting(Reason.CLOSED, where)
    if isinstance(error, OSError):
        return outcome_of(error, where)
    return waiting(Reason.UNWANTED_ANSWER, f"{where} (the driver says {type(error).__name__})")


async def _look(database: Database, session: "asyncpg.Connection[asyncpg.Record]", where: str) -> Outcome:
    """Return what is found of tables and of the value of the query."""
    if not (database.table or database.query):
        return ready(where)
    try:
        with during(f"asking {where}"):
            await session.execute(_BOUNDS)
            for name in database.table:
                if not await session.fetchval("SELECT to_regclass($1::text) IS NOT NULL", name):
                    return waiting(Reason.NOT_FOUND, f"{where} (no table {name})")
            if not database.query:
                return ready(where)
            # As a text, which is what it can be compared with; a comment at its end ends with its line.
            asked = database.query.strip().removesuffix(";")
            value = await session.fetchval(f"WITH asked(value) AS ({asked}\n) SELECT value::text FROM asked LIMIT 1")  # noqa: S608 - the user's own
    except asyncpg.PostgresError as error:
        return _broken(error, where) if isinstance(error, _CLOSED) else of_look(where, error.sqlstate or "")
    except Exception as error:  # noqa: BLE001 - as above
        return _broken(error, where)
    return database.judged(where, value)
