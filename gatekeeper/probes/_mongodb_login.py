"""Logging in to a MongoDB by pymongo, whose home this is, and a look at what is in it.

Of the driver's errors only code and class go on: their text may hold an address or a name. What it has started, its
watch over the server included, has ended when this returns.
"""

import asyncio
import gc
from traceback import clear_frames
from typing import Any, NamedTuple
from urllib.parse import quote
from weakref import WeakSet

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, ConfigurationError, NotPrimaryError, OperationFailure, PyMongoError

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._account import At
from gatekeeper.probes._miss import during
from gatekeeper.probes._tls import Trust
from gatekeeper.probes._together import obeying
from gatekeeper.values import Secret, quoted

Client = AsyncMongoClient[dict[str, Any]]

_GOODBYE = 0.2  # seconds: a server that takes longer will end the session by itself
# Server error codes (mongo/base/error_codes.yml): Unauthorized, AuthenticationFailed, and what 3.x said of the latter.
_MAY_NOT, _REFUSED = 13, (18, 11)
_SOON = 5.0  # seconds that a connection may be left, and between collections: each takes some 0.05 s
_due: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class Login(NamedTuple):
    """As whom to log in, and how; ``tls`` is whom to believe and who to be, None without."""

    user: str | None
    password: Secret | None
    source: str
    mechanism: str | None
    tls: Trust | None


async def log_in(at: At, login: Login, database: str, collection: str | None) -> Outcome:
    """Log in at one server and, where a collection is given, see that it is there."""
    try:
        return await _logged_in(at, login, database, collection)
    except asyncio.CancelledError as cancelled:
        # A connection that the driver was making is closed after an error alone: it is in these frames, or in a circle.
        clear_frames(cancelled.__traceback__)
        _collect_soon()
        raise


def _collect_soon() -> None:
    """Have what the driver has left collected, once for all logins that have ended by then: it holds the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _due:
        _due.add(loop)
        loop.call_later(_SOON, _collect, loop)


def _collect(loop: asyncio.AbstractEventLoop) -> None:
    _due.discard(loop)
    gc.collect()


async def _logged_in(at: At, login: Login, database: str, collection: str | None) -> Outcome:
    # In plain the address that was asked; over TLS the name that its certificate is for, which the driver looks up.
    host = at.name.removesuffix(".") if login.tls else at.host
    if at.unix:
        host = f"mongodb://{quote(at.unix, safe='')}"
    where = at.unix or (f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}")
    try:
        client: Client = AsyncMongoClient(host, at.port or None, **_options(login))
    except (ConfigurationError, OSError):  # it reads the files of TLS at once
        return waiting(Reason.TLS_FAILED, f"{where} (ca or cert cannot be used by the driver)")
    try:
        with during(f"logging in to {where}"):
            is_there = await obeying(_looked(client, database, collection))
    except PyMongoError as error:
        return _outcome(error, where, is_somebody=bool(login.password or login.mechanism))
    finally:
        await _close(client)
    if collection and not is_there:
        return waiting(Reason.NOT_FOUND, f"{where} (it has no collection {quoted(collection)})", gone=True)
    return ready(where)


async def _looked(client: Client, database: str, collection: str | None) -> bool:
    """Log in, and tell whether a collection is there, where one is looked for."""
    await client.admin.command("ping")
    if collection is None:
        return True
    names = await client[database].list_collection_names(
        filter={"name": collection},
        authorizedCollections=True,  # who has rights to single ones may see those
    )
    return names == [collection]


async def _close(client: Client) -> None:
    """Say goodbye to a server that listens, and close all in any case, also where that was cancelled."""
    try:
        with pymongo.timeout(_GOODBYE):
            await client.close()
    finally:
        await client.close()
        await asyncio.sleep(0)  # what it has closed is gone with the next turn of the loop


def _options(login: Login) -> dict[str, Any]:
    options: dict[str, Any] = {
        "appname": "gatekeeper",
        "directConnection": True,
        "serverMonitoringMode": "poll",
        "retryReads": False,
        "tls": login.tls is not None,
    }
    if login.tls:
        trust = login.tls
        options |= {"tlsInsecure": True} if trust.insecure else {"tlsAllowInvalidHostnames": trust.any_name}
        options |= {"tlsCAFile": trust.ca} if trust.ca and not trust.insecure else {}
        options |= {"tlsCertificateKeyFile": trust.cert} if trust.cert else {}
    if login.mechanism or login.password:
        options["authSource"] = "$external" if login.mechanism == "MONGODB-X509" else login.source
        options |= {"authMechanism": login.mechanism} if login.mechanism else {}
        options |= {"username": login.user} if login.user else {}
        options |= {"password": login.password.value} if login.password else {}
    return options


def _outcome(error: PyMongoError, where: str, *, is_somebody: bool) -> Outcome:
    code = error.code if isinstance(error, OperationFailure) else None
    if code in _REFUSED:  # at once: each further try would stand in its log
        return failed(Reason.FORBIDDEN, f"{where} (user or password is refused)")._replace(certain=True)
    if code == _MAY_NOT and is_somebody:  # to whom a role may be granted yet
        return waiting(Reason.FORBIDDEN, f"{where} (the user may not look, error {code})")
    if code == _MAY_NOT:
        return failed(Reason.FORBIDDEN, f"{where} (it lets users look only, error {code})")
    if isinstance(error, NotPrimaryError):
        return waiting(Reason.STARTING, f"{where} (it stops, or its part in the set changes)")
    if isinstance(error, AutoReconnect):
        return waiting(Reason.CLOSED, f"{where} (during the login)")
    known = f"error {code}" if code else type(error).__name__
    return waiting(Reason.UNWANTED_ANSWER, f"{where} (the login ends with {known})")
