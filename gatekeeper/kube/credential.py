"""What a request shows of who asks: a token that is read again in time, a password, or what a plugin gives.

Every event loop holds what it was given, so that a hundred dependencies ask a plugin once. No message here holds what
was given, nor what a plugin said on the way.
"""

import asyncio
import json
import os
import re
from binascii import b2a_base64
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from gatekeeper.kube.access import Access, Plugin, TokenFile, User
from gatekeeper.kube.memory import in_memory
from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._aside import reachable
from gatekeeper.probes._command import MOST_HEARD, Run
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._local import contents
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._stream import Fields
from gatekeeper.probes._tls import Trust
from gatekeeper.values import Secret

READ_AGAIN = 60.0  # seconds, as client-go does: the kubelet rotates a token at 80 % of its life
RENEWED_BEFORE = 10.0  # seconds before it expires
LONGEST_RUN = 30.0  # seconds that a plugin may take: some ask a service of the cloud
_MOST_TOKEN = 64 * 1024


class Given(NamedTuple):
    """Header fields to send, whom to be in TLS, and until when (the loop's time, None for always)."""

    fields: Fields
    trust: Trust
    until: float | None = None


# Of each loop, since its locks and its time are its own; a loop that has gone takes what it held along.
_held: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Access, "_Held"]] = WeakKeyDictionary()


class _Held:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.given: Given | None = None


async def credentials(access: Access, *, refused: Given | None = None) -> Given:
    """Return what to show; raises `MissError`. ``refused`` is what the server did not take: it is not given again."""
    loop = asyncio.get_running_loop()
    held = _held.setdefault(loop, {}).setdefault(access, _Held())
    async with held.lock:
        given = held.given
        if given is None or given is refused or (given.until is not None and loop.time() >= given.until):
            held.given = given = await _asked(access)
        return given


async def _asked(access: Access) -> Given:
    now, credential = asyncio.get_running_loop().time(), access.credential
    if isinstance(credential, Plugin):
        return await _of_plugin(credential, access.trust)
    if isinstance(credential, TokenFile):
        await reachable(credential.path)
        return Given(_bearer(_token_of(credential.path)), access.trust, now + READ_AGAIN)
    if isinstance(credential, Secret):
        return Given(_bearer(credential.value), access.trust)
    if isinstance(credential, User):
        plain = f"{credential.name}:{credential.password.value}".encode()
        return Given(((b"Authorization", b"Basic " + b2a_base64(plain, newline=False)),), access.trust)
    return Given((), access.trust)


def _token_of(path: str) -> str:
    token = contents("token", path, _MOST_TOKEN).decode("ascii", "replace").strip()
    if not token:
        raise MissError(waiting(Reason.NOT_FOUND, f"token {path} (empty)"))
    return token


def _bearer(token: str) -> Fields:
    if not re.fullmatch(r"[!-~]+", token):
        raise MissError(waiting(Reason.UNWANTED_ANSWER, "the token has characters that no header can hold"))
    return ((b"Authorization", b"Bearer " + token.encode("ascii")),)


async def _of_plugin(plugin: Plugin, trust: Trust) -> Given:
    name = os.path.basename(plugin.argv[0])
    try:
        run = Run(plugin.argv, {**_told(plugin), **{key: value.value for key, value in plugin.environ}}, errors=False)
    except OSError as error:
        raise MissError(_unstarted(plugin, name, error)) from None
    with during(f"running the credential plugin {name}"):
        try:
            async with asyncio.timeout(LONGEST_RUN), run:
                status = await run.ended()
        except TimeoutError:
            raise MissError(waiting(Reason.TIMED_OUT, f"credential plugin {name} took over {LONGEST_RUN:g}s")) from None
    if status != 0:
        raise MissError(waiting(Reason.COMMAND_FAILED, f"credential plugin {name} (exit {status})"))
    return _read(plugin, name, run.head, trust)


def _told(plugin: Plugin) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster:
        spec["cluster"] = json.loads(plugin.cluster)
    told = {"kind": "ExecCredential", "apiVersion": plugin.version, "spec": spec}
    return {"KUBERNETES_EXEC_INFO": json.dumps(told)}


def _unstarted(plugin: Plugin, name: str, error: OSError) -> Outcome:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        hint = f"; {' '.join(plugin.hint.split())}" if plugin.hint else ""
        return waiting(Reason.NOT_FOUND, f"credential plugin {name} is not installed{hint}")
    exhausted = outcome_of(error, name)
    if exhausted.reason is Reason.EXHAUSTED:
        return exhausted
    return waiting(Reason.COMMAND_FAILED, f"credential plugin {name} cannot be executed ({error.strerror})")


def _read(plugin: Plugin, name: str, said: bytes, trust: Trust) -> Given:
    """Return what an ExecCredential holds; nothing of a text that is none is shown."""
    status = None
    if len(said) < MOST_HEARD:
        try:
            document = json.loads(said)
            if document["kind"] == "ExecCredential" and document["apiVersion"] == plugin.version:
                status = document["status"]
        except (ValueError, TypeError, KeyError, RecursionError):
            status = None
    if not isinstance(status, dict):
        raise MissError(
            waiting(Reason.UNWANTED_ANSWER, f"credential plugin {name} (no ExecCredential of {plugin.version})")
        )
    token, cert, key = (status.get(each) or "" for each in ("token", "clientCertificateData", "clientKeyData"))
    if not all(isinstance(each, str) for each in (token, cert, key)) or not (token or (cert and key)):
        raise MissError(
            waiting(
                Reason.UNWANTED_ANSWER, f"credential plugin {name} (neither a token nor a certificate with its key)"
            )
        )
    if cert and key:
        trust = trust._replace(cert=in_memory(cert.encode()), key=in_memory(key.encode()))
    return Given(_bearer(token) if token else (), trust, _until(status.get("expirationTimestamp"), name))


def _until(text: Any, name: str) -> float | None:  # noqa: ANN401 - whatever a plugin said
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise MissError(
            waiting(Reason.UNWANTED_ANSWER, f"credential plugin {name} (expirationTimestamp is no time)")
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    left = (at - datetime.now(UTC)).total_seconds() - RENEWED_BEFORE
    return asyncio.get_running_loop().time() + max(left, 1.0)  # one that is short-lived is still of use at once
