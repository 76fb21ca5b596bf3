"""mongodb://[USER:PASSWORD@]HOST[:PORT][,…]/[DATABASE][?replicaSet=NAME&…]: a MongoDB with a primary to write to.

mongodb+srv://[USER:PASSWORD@]NAME/… is the same over TLS, its hosts to be found in DNS at each attempt.

Asked with hello (MongoDB Wire Protocol, OP_MSG; MongoDB Handshake; Server Discovery And Monitoring), which needs no
login. A secondary names the primary that it knows; one that knows of none is not there yet for who wants to write.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gatekeeper import __version__
from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._account import Account, At
from gatekeeper.probes._bson import BrokenError, Read, Written, read, written
from gatekeeper.probes._dialog import MOST, Dialog
from gatekeeper.probes._dsn import Dsn, read_dsn
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._socketfile import socket_path
from gatekeeper.probes._target import host_name, unescaped
from gatekeeper.probes._tls import Trust
from gatekeeper.values import BadValueError, Secret, flag, not_empty, quoted

_PORT = 27017
_OP_MSG = 2013
_HEADER = struct.Struct("<iiiiIB")  # length, request, response to, operation, flags; and the kind of the first section
_NO_SUCH_COMMAND = 59
_CLIENT: Mapping[str, Written] = {
    "application": {"name": "gatekeeper"},
    "driver": {"name": "gatekeeper", "version": __version__},
    "os": {"type": "Linux"},
}
_FILES = {"tlsCAFile": "ca", "tlsCertificateKeyFile": "cert", "ssl_ca_certs": "ca", "ssl_certfile": "cert"}
_SOCKET_FILE = r"(?i)%2F.*\.sock"  # in the place of a host, percent-encoded (Connection String, Host Information)
_MECHANISMS = ("SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN", "MONGODB-X509")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mongodb(Account):
    """A MongoDB with a primary to write to."""

    EXAMPLE: ClassVar[str] = "db=mongodb://mongo-0,mongo-1,mongo-2/app?replicaSet=rs0"
    PORTS: ClassVar[Mapping[str, int]] = {"mongodb": _PORT, "mongodb+srv": _PORT}
    SECURE: ClassVar[frozenset[str]] = frozenset({"mongodb+srv"})
    DRIVER: ClassVar[str] = "pymongo"
    EXTRA: ClassVar[str] = "mongodb"
    LOOKS: ClassVar[tuple[str, ...]] = ("collection",)

    replica_set: str | None = None
    source: str | None = None
    mechanism: str | None = None
    any_name: bool = False
    srv_service: str = "mongodb"
    collection: str | None = option(not_empty, "collection of the database that must be there")
    primary: bool = option(flag, "of the hosts, the primary must be reached itself", default=False)

    @classmethod
    def parse(cls, target: str, options: Options) -> "Mongodb":
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Mongodb = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super()
        wrong = []
        if probe.collection and not probe.dsn.path:
            wrong.append(("collection", "needs its database: write mongodb://HOST:PORT/DATABASE"))
        if probe.logs_in and probe.unix and not re.fullmatch(r"/.*\.sock", probe.unix):
            how = "the driver wants one that ends in .sock; login=no looks whether it is up without"
            wrong.append(("unix", f"is no socket file that can be logged in over: {how}"))
        if probe.logs_in and probe.key:
            wrong.append(("key", "goes into the file of cert, which is what the driver takes"))
        if probe.logs_in and probe.server_name:
            wrong.append(("server_name", "is not for a login: the driver takes the host's name"))
        if probe.logs_in and probe.mechanism not in (None, *_MECHANISMS):
            how = f"write one of {', '.join(_MECHANISMS)}, or login=no to look whether it is up without"
            wrong.append(("", f"has an authMechanism that cannot be logged in by: {how}"))
        if probe.logs_in and probe.mechanism == "MONGODB-X509" and (probe.dsn.password or probe.password_file):
            wrong.append(("", "has a password, which MONGODB-X509 is without"))
        elif probe.logs_in and not probe.dsn.user and (probe.dsn.password or probe.password_file):
            wrong.append(("", "has a password and no user: write mongodb://USER:PASSWORD@HOST:PORT"))
        if wrong:
            raise BadOptionsError(*wrong)
        return probe

    @classmethod
    def dsn_of(cls, target: str, *, needs_host: bool) -> Dsn:
        """Return the parts of a target, whose host may be a socket file; raises `BadValueError`."""
        hosts = re.search(r"(?i)(?<=^mongodb://)[^/?#]*", target)
        path = hosts[0].rpartition("@")[2] if hosts else ""
        if not hosts or not any(re.fullmatch(_SOCKET_FILE, each) for each in path.split(",")):
            return read_dsn(target, cls.PORTS, needs_host=needs_host)
        if "," in path:
            message = "lists a socket file with other servers: declare each, with | between them"
            raise BadValueError(message)
        without = target[: hosts.end() - len(path)] + target[hosts.end() :]
        dsn = read_dsn(without, cls.PORTS, needs_host=False)
        return dsn._replace(query=(*dsn.query, ("unix", Secret(unescaped(path)))))

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives (Connection String); what is for an application alone is left out."""
        if dsn.scheme in cls.SECURE and (len(dsn.places) != 1 or dsn.places[0].port != _PORT):
            message = f"takes one name and no port, for both are found in DNS: write {dsn.scheme}://NAME"
            raise BadValueError(message)
        query = {key.lower(): value.value for key, value in dsn.query}
        fields: dict[str, Any] = {"unix": socket_path(query["unix"])} if "unix" in query and not dsn.places else {}
        for theirs, ours in _FILES.items():
            if theirs.lower() in query:
                fields[ours] = file_path(query[theirs.lower()])
        for theirs, ours in (("ssl", "tls"), ("tls", "tls")):
            if theirs in query:
                fields[ours] = flag(query[theirs])
        if any(flag(query.get(key, "no")) for key in ("tlsinsecure", "tlsallowinvalidcertificates")):
            fields["insecure"] = True
        mechanism = query.get("authmechanism") or "DEFAULT"
        return {
            "dsn": dsn,
            "replica_set": query.get("replicaset") or None,
            "source": query.get("authsource") or None,
            "mechanism": None if mechanism == "DEFAULT" else mechanism,
            "srv_service": host_name(query.get("srvservicename") or "mongodb", "srvServiceName=NAME"),
            "any_name": flag(query.get("tlsallowinvalidhostnames", "no")),
            **fields,
        }

    @property
    def trust(self) -> Trust:
        """Whom to believe and who to be."""
        return Trust(self.ca, self.cert, self.key, self.insecure, any_name=self.any_name)

    async def attempt(self) -> Outcome:
        """Ask the hosts, which DNS may have to tell first."""
        if self.dsn.scheme not in self.SECURE or self.unix:
            return await Account.attempt(self)
        from gatekeeper.probes._mongodb_srv import seeds_of  # noqa: PLC0415 - loads what knows DNS

        try:
            places, replica_set, source = await seeds_of(self.dsn.places[0].host, self.srv_service)
        except MissError as miss:
            return miss.outcome
        found = replace(
            self,
            dsn=self.dsn._replace(places=places),
            replica_set=self.replica_set or replica_set,
            source=self.source or source,
        )
        return await Account.attempt(found)

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask what it is, and what it knows of its set."""
        del name
        said = await _asked(dialog, {"hello": 1, "$db": "admin", "client": _CLIENT})
        if said.get("code") == _NO_SUCH_COMMAND:  # before 4.4.2, and the versions that were mended with it
            said = await _asked(dialog, {"isMaster": 1, "$db": "admin"})
        if "ok" not in said:
            return dialog.wrong()
        if said["ok"] != 1:
            return waiting(Reason.STARTING, f"{dialog.where} (error {said.get('code', 'without a code')})")
        return self._judged(said, dialog.where)

    def _judged(self, said: Mapping[str, Read], where: str) -> Outcome:
        of = said.get("setName")
        if said.get("isreplicaset") is True:
            return waiting(Reason.STARTING, f"{where} (its replica set is not initiated)")
        if self.replica_set and of != self.replica_set:
            why = f"of another replica set than {quoted(self.replica_set)}" if of else "of no replica set"
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (it is {why})")
        if said.get("isWritablePrimary", said.get("ismaster")) is True or said.get("msg") == "isdbgrid":
            return ready(where)
        return self._judged_as_a_member(said, where)

    def _judged_as_a_member(self, said: Mapping[str, Read], where: str) -> Outcome:
        if said.get("arbiterOnly") is True:
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (it is an arbiter, which has no data)")
        if said.get("secondary") is not True:
            return waiting(Reason.STARTING, f"{where} (it is neither a primary nor a secondary yet)")
        if not said.get("primary"):
            return waiting(Reason.STARTING, f"{where} (its replica set has no primary)")
        if self.primary:
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (it is a secondary)")
        return ready(where)

    async def log_in(self, at: At) -> Outcome:
        """Log in, and look for the collection."""
        from gatekeeper.probes._mongodb_login import Login, log_in  # noqa: PLC0415 - loads the driver

        tls = self.trust if self.wants_tls else None
        login = Login(self.dsn.user, self.password(), self.source or self.dsn.path or "admin", self.mechanism, tls)
        return await log_in(at, login, self.dsn.path, self.collection)


async def _asked(dialog: Dialog, question: Mapping[str, Written]) -> dict[str, Read]:
    """Send a command and return its answer; raises `MissError`."""
    body = written(question)
    await dialog.write(_HEADER.pack(_HEADER.size + len(body), 1, 0, _OP_MSG, 0, 0) + body)
    length, _, answers, operation, flags, kind = _HEADER.unpack(await dialog.exactly(_HEADER.size))
    if not _HEADER.size < length <= MOST or (answers, operation, flags & ~1, kind) != (1, _OP_MSG, 0, 0):
        raise MissError(dialog.wrong())
    document = await dialog.exactly(length - _HEADER.size)
    try:
        return read(document[:-4] if flags & 1 else document)  # behind it a checksum
    except BrokenError:
        raise MissError(dialog.wrong()) from None
