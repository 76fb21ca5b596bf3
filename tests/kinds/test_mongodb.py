"""MongoDB: servers that answer as its documents have it and as pymongo takes them; the real one is in no package."""

import asyncio
import contextlib
import gc
import ssl
import struct
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import bson
import certificates
import namespace
import pytest
from attempts import attempt, told
from badness import descriptors, left_over, refusing, saying, serving
from discretion import told_nowhere
from mongoserver import MongoServer
from realservers import PATIENCE

from gatekeeper import __version__
from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._bson import BrokenError, read, written
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.mongodb import Mongodb

SET = {"setName": "rs0", "hosts": ["a:27017", "b:27017"], "setVersion": 1, "me": "a:27017"}
STANDALONE: dict[str, Any] = {"isWritablePrimary": True}
PRIMARY = SET | {"isWritablePrimary": True, "secondary": False, "primary": "a:27017"}
SECONDARY = SET | {"isWritablePrimary": False, "secondary": True, "primary": "b:27017"}
LEFT_ALONE = SET | {"isWritablePrimary": False, "secondary": True}
ARBITER = SET | {"isWritablePrimary": False, "secondary": False, "arbiterOnly": True, "primary": "b:27017"}
RECOVERING = SET | {"isWritablePrimary": False, "secondary": False, "primary": "b:27017"}
NOT_INITIATED = {"isWritablePrimary": False, "secondary": False, "isreplicaset": True, "info": "Does not have ..."}
ROUTER = {"isWritablePrimary": True, "msg": "isdbgrid"}
WAITING, READY = State.WAITING, State.READY


@pytest.mark.parametrize(
    ("hello", "expected", "detail"),
    [
        (STANDALONE, (READY, Reason.READY), ""),
        (ROUTER, (READY, Reason.READY), ""),
        (PRIMARY, (READY, Reason.READY), ""),
        (SECONDARY, (READY, Reason.READY), ""),
        (LEFT_ALONE, (WAITING, Reason.STARTING), " (its replica set has no primary)"),
        (RECOVERING, (WAITING, Reason.STARTING), " (it is neither a primary nor a secondary yet)"),
        (NOT_INITIATED, (WAITING, Reason.STARTING), " (its replica set is not initiated)"),
        (ARBITER, (WAITING, Reason.UNWANTED_ANSWER), " (it is an arbiter, which has no data)"),
    ],
)
def test_what_a_server_says_of_itself(hello: dict[str, Any], expected: tuple[State, Reason], detail: str) -> None:
    """Somebody must take writes: the server itself, or the primary that a secondary knows."""
    with serving(MongoServer(hello)) as port:
        assert attempt(f"mongodb://127.0.0.1:{port}") == Outcome(*expected, f"127.0.0.1:{port}{detail}")


@pytest.mark.parametrize(
    ("hello", "query", "options", "expected"),
    [
        (PRIMARY, "?replicaSet=rs0", {"primary": "yes"}, ("ready", "ready")),
        (SECONDARY, "?replicaSet=rs0", {}, ("ready", "ready")),
        (SECONDARY, "?replicaSet=rs0", {"primary": "yes"}, ("waiting", "unwanted_answer")),
        (PRIMARY, "?replicaSet=rs1", {}, ("waiting", "unwanted_answer")),
        (STANDALONE, "?replicaset=rs0", {}, ("waiting", "unwanted_answer")),
        (NOT_INITIATED, "?replicaSet=rs0", {}, ("waiting", "starting")),
        (STANDALONE, "app?retryWrites=true&w=majority&connectTimeoutMS=300&ssl=false", {}, ("ready", "ready")),
        (STANDALONE, "app?tls=false", {"primary": "yes"}, ("ready", "ready")),
    ],
)
def test_what_is_wanted_of_it(
    hello: dict[str, Any], query: str, options: dict[str, str], expected: tuple[str, str]
) -> None:
    """The set of the URL, and with `primary` the primary itself."""
    with serving(MongoServer(hello)) as port:
        assert told(f"mongodb://127.0.0.1:{port}/{query}", **options) == expected


def test_several_hosts_of_a_set() -> None:
    """Any of them will do, or the primary, or all: an arbiter among them is none to connect to."""
    with (
        serving(MongoServer(PRIMARY)) as one,
        serving(MongoServer(SECONDARY)) as two,
        serving(MongoServer(ARBITER)) as three,
        refusing() as gone,
    ):
        hosts = ",".join(f"127.0.0.1:{port}" for port in (gone, three, two, one))
        assert told(f"mongodb://{hosts}/?replicaSet=rs0") == ("ready", "ready")
        assert told(f"mongodb://{hosts}/?replicaSet=rs0", primary="yes") == ("ready", "ready")
        assert told(f"mongodb://127.0.0.1:{two},127.0.0.1:{three}", primary="yes")[0] == "waiting"
        assert told(f"mongodb://127.0.0.1:{one},127.0.0.1:{two}", endpoints="all") == ("ready", "ready")
        assert told(f"mongodb://{hosts}", endpoints="all")[0] == "waiting"
        assert told(f"mongodb://127.0.0.1:{gone}") == ("waiting", "refused")


def test_one_question_is_asked_and_names_who_asks() -> None:
    """In OP_MSG, byte by byte as the protocol has it; the answer may carry a checksum."""
    asked: list[bytes] = []

    def hear(client: Any, _over: object) -> None:
        asked.append(client.recv(65536))
        body = bson.encode({"isWritablePrimary": True, "ok": 1})
        client.sendall(struct.pack("<iiiiIB", 25 + len(body), 7, 1, 2013, 1, 0) + body + b"\1\2\3\4")

    with serving(hear) as port:
        assert told(f"mongodb://127.0.0.1:{port}") == ("ready", "ready")
    (message,) = asked
    assert message[:21] == struct.pack("<iiiiIB", len(message), 1, 0, 2013, 0, 0)
    driver = {"name": "gatekeeper", "version": __version__}
    client = {"application": {"name": "gatekeeper"}, "driver": driver, "os": {"type": "Linux"}}
    assert message[21:] == bson.encode({"hello": 1, "$db": "admin", "client": client})


def test_an_old_server_is_asked_in_its_old_words() -> None:
    """Before 4.4.2 there is no hello."""
    server = MongoServer({"ismaster": True}, errors={"hello": 59})
    with serving(server) as port:
        assert told(f"mongodb://127.0.0.1:{port}") == ("ready", "ready")
    assert [next(iter(asked)) for asked in server.heard] == ["hello", "isMaster"]


def test_a_server_that_stops_is_not_ready() -> None:
    """It says so by the number of an error."""
    with serving(MongoServer(STANDALONE, errors={"hello": 91})) as port:
        found = attempt(f"mongodb://127.0.0.1:{port}")
        assert found == Outcome(WAITING, Reason.STARTING, f"127.0.0.1:{port} (error 91)")


USERS = {"app": "pw-9c1e"}
SESSIONS = {"logicalSessionTimeoutMinutes": 30}


def test_a_login_by_the_driver() -> None:
    """The right password is ready, the wrong one and a user that is not there are forbidden; `login=no` tries none."""
    server = MongoServer(STANDALONE | SESSIONS, users=USERS)
    with serving(server) as port:
        at = f"127.0.0.1:{port}"
        assert attempt(f"mongodb://app:pw-9c1e@{at}/shop?authSource=admin") == Outcome(READY, Reason.READY, at)
        assert [asked["application"] for asked in (each.get("client", {}) for each in server.heard) if asked] == [
            {"name": "gatekeeper"}
        ] * 3
        assert next(iter(server.heard[-1])) == "endSessions"
        refused = Outcome(State.FAILED, Reason.FORBIDDEN, f"{at} (user or password is refused)", certain=True)
        assert attempt(f"mongodb://app:wrong-9c1e@{at}/?authMechanism=SCRAM-SHA-256") == refused
        assert attempt(f"mongodb://nobody:pw-9c1e@{at}") == refused
        server.heard.clear()
        assert told(f"mongodb://app:wrong@{at}", login="no") == ("ready", "ready")
        assert [next(iter(asked)) for asked in server.heard] == ["hello"]


def test_a_mechanism_that_no_login_is_made_by_is_none_of_a_look_without() -> None:
    """An application may log in by what its cloud has."""
    url = "mongodb://{}/?authMechanism=MONGODB-AWS&authSource=$external"
    with serving(MongoServer(STANDALONE)) as port:
        assert told(url.format(f"127.0.0.1:{port}")) == ("ready", "ready")
        assert told(url.format(f"key:pw-9c1e@127.0.0.1:{port}"), login="no") == ("ready", "ready")


def test_a_collection_is_looked_for(tmp_path: Path) -> None:
    """In the database of the URL, with a login or without; who may not look is forbidden.

    A user may yet be given the right to.
    """
    (tmp_path / "password").write_text("pw-9c1e\n")
    file = {"password_file": str(tmp_path / "password")}
    with serving(MongoServer(PRIMARY | SESSIONS, users=USERS, collections={"shop": ["orders"]})) as port:
        at = f"127.0.0.1:{port}"
        assert told(f"mongodb://app@{at}/shop", collection="orders", **file) == ("ready", "ready")
        found = attempt(f"mongodb://app@{at}/shop", collection="order", **file)
        detail = f"{at} (it has no collection 'order')"
        assert found == Outcome(WAITING, Reason.NOT_FOUND, detail, gone=True)
        assert told(f"mongodb://{at}/shop", collection="orders") == ("failed", "forbidden")
    server = MongoServer(STANDALONE | SESSIONS, users=USERS, errors={"listCollections": 13})
    with serving(server) as port:
        assert told(f"mongodb://app@127.0.0.1:{port}/shop", collection="orders", **file) == ("waiting", "forbidden")
    (asked,) = [each for each in server.heard if "listCollections" in each]
    assert (asked["nameOnly"], asked["authorizedCollections"]) == (True, True)
    with serving(MongoServer(STANDALONE, collections={"shop": ["orders"]})) as port:
        assert told(f"mongodb://127.0.0.1:{port}/shop", collection="orders") == ("ready", "ready")


@pytest.mark.parametrize(
    ("code", "expected"),
    [(13, ("waiting", "forbidden")), (91, ("waiting", "starting")), (8000, ("waiting", "unwanted_answer"))],
)
def test_an_error_after_the_login_is_told_by_its_number(code: int, expected: tuple[str, str]) -> None:
    """What the server says of it stays with the server."""
    with serving(MongoServer(STANDALONE, users=USERS, errors={"ping": code})) as port:
        found = attempt(f"mongodb://app:pw-9c1e@127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason) == expected
    assert "SECRET" not in found.detail


@pytest.mark.parametrize("silent", [("hello",), ("ismaster",), ("saslStart",), ("ping",), ("ping", "endSessions")])
def test_a_server_that_falls_silent_holds_nobody(silent: tuple[str, ...]) -> None:
    """At whatever step, the attempt ends when its time is over, and the driver leaves nothing behind."""
    import_module("pymongo")  # which may take longer than the attempt
    with serving(MongoServer(STANDALONE | SESSIONS, users=USERS, silent=silent)) as port:
        late = attempt(f"mongodb://app:pw-9c1e@127.0.0.1:{port}", 0.3)
        assert late in (f"logging in to 127.0.0.1:{port}", f"waiting for an answer of 127.0.0.1:{port}")


# The driver closes a connection that it is making after an error alone. After a cancellation the collector does, at the
# latest when the timer of the connection, which holds on to it, is over (20 s).
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_cancelled_login_leaves_nothing_behind() -> None:
    """Neither a task nor a socket, at whatever step it comes."""

    async def run(port: int) -> None:
        probe = Mongodb.parse(f"mongodb://app:pw-9c1e@127.0.0.1:{port}/shop", {"collection": ("orders",)})
        await probe.attempt()
        before = descriptors()
        for turns in range(0, 120, 3):
            task = asyncio.ensure_future(probe.attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        ends = time.monotonic() + PATIENCE
        while descriptors() - before and time.monotonic() < ends:
            await asyncio.sleep(0.05)
            gc.collect()
        assert left_over(before) == set()

    with serving(MongoServer(STANDALONE | SESSIONS, users=USERS)) as port:
        asyncio.run(run(port))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_many_logins_that_end_at_once_are_collected_after_once() -> None:
    """A collection holds the loop: one for each would hold the deadline and signals of all for seconds."""
    import_module("pymongo")
    collected = 0
    once = asyncio.Event()

    def count(phase: str, info: dict[str, int]) -> None:
        nonlocal collected
        if phase == "stop" and info["generation"] == 2:
            collected += 1
            once.set()

    async def one(probe: Mongodb) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await probe.attempt()

    async def run(port: int) -> None:
        probe = Mongodb.parse(f"mongodb://app:pw-9c1e@127.0.0.1:{port}", {})
        await asyncio.gather(*(one(probe) for _ in range(20)))
        await asyncio.wait_for(once.wait(), PATIENCE)

    gc.disable()
    gc.callbacks.append(count)
    try:
        with serving(MongoServer(STANDALONE | SESSIONS, users=USERS, silent=("saslStart",))) as port:
            asyncio.run(run(port))
    finally:
        gc.callbacks.remove(count)
        gc.enable()
    assert collected == 1


def test_over_tls(tmp_path: Path) -> None:
    """By the options of other kinds, or as an application's URL says it; the driver speaks it too."""
    authority = certificates.authority(tmp_path)
    leaf, client = certificates.leaf(tmp_path, authority, "localhost"), certificates.leaf(tmp_path, authority, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    context.load_verify_locations(authority.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    both = tmp_path / "client.pem"
    both.write_bytes(client.key.read_bytes() + client.cert.read_bytes())
    ca, cert = str(authority.cert), str(both)
    with serving(MongoServer(STANDALONE | SESSIONS, users=USERS, tls=context)) as port:
        at = f"localhost:{port}"
        assert told(f"mongodb://{at}", ca=ca, cert=cert) == ("ready", "ready")
        assert told(f"mongodb://{at}", ca=ca, cert=str(client.cert), key=str(client.key)) == ("ready", "ready")
        url = f"mongodb://app:pw-9c1e@{at}/?tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={cert}"
        assert told(url) == ("ready", "ready")
        assert told(f"mongodb://app:no@{at}/?ssl=true&tlsInsecure=true", cert=cert) == ("failed", "forbidden")
        assert told(f"mongodb://{at}/?ssl=true", cert=cert) == ("waiting", "tls_failed")
        assert told(f"mongodb://{at}")[1] in ("closed", "reset", "wrong_protocol")
        assert told(f"mongodb://127.0.0.1:{port}", ca=ca, cert=cert) == ("waiting", "tls_failed")
        other_name = (
            f"app:pw-9c1e@127.0.0.1:{port}/?tls=true&tlsAllowInvalidHostnames=true&tlsCertificateKeyFile={cert}"
        )
        assert told(f"mongodb://{other_name}&tlsCAFile={ca}") == ("ready", "ready")
        assert told(f"mongodb://{other_name}") == ("waiting", "tls_failed")


def test_a_socket_file_in_the_place_of_a_host(tmp_path: Path) -> None:
    """Percent-encoded, as connection strings have it; the driver logs in over it."""
    path = f"{tmp_path}/mongodb-27017.sock"
    escaped = path.replace("/", "%2F")
    assert Mongodb.names_files(f"mongodb://{escaped}")
    assert told(f"mongodb://{escaped}") == ("waiting", "not_found")
    with serving(MongoServer(STANDALONE | SESSIONS, users=USERS), path=path):
        assert attempt(f"mongodb://{escaped}/?appName=shop") == Outcome(READY, Reason.READY, path)
        assert told(f"mongodb://app:pw-9c1e@{escaped}/shop?authSource=admin") == ("ready", "ready")
        assert told("mongodb://app:pw-9c1e@", unix=path) == ("ready", "ready")
        assert told(f"mongodb://app:wrong@{escaped}") == ("failed", "forbidden")


SRV = """
import sys
sys.path[:0] = {path!r}
from attempts import attempt
from badness import serving
from mongoserver import MongoServer
from nameserver import Nameserver

PRIMARY = {{"isWritablePrimary": True, "setName": "rs0", "logicalSessionTimeoutMinutes": 30}}
with serving(MongoServer(PRIMARY, users={{"app": "pw-9c1e"}})) as port:
    zone = {{
        ("_mongodb._tcp.db.shop.test.", "SRV"): [f"0 5 1 b.shop.test.", f"0 9 {{port}} a.shop.test."],
        ("db.shop.test.", "TXT"): ['"authSource=admin&replicaSet=rs0"'],
        ("a.shop.test.", "A"): ["127.0.0.1"],
        ("b.shop.test.", "A"): ["127.0.0.1"],
        ("_mongodb._tcp.other.shop.test.", "SRV"): [f"0 5 {{port}} a.shop.test."],
        ("other.shop.test.", "TXT"): ['"replicaSet=rs1"'],
        ("_customname._tcp.bare.shop.test.", "SRV"): ["0 0 0 ."],
        ("_mongodb._tcp.away.shop.test.", "SRV"): [f"0 5 {{port}} a.shop.test.", f"0 5 {{port}} a.else.test."],
        ("_mongodb._tcp.none.shop.test.", "SRV"): ["0 0 0 ."],
        ("_mongodb._tcp.bare.shop.test.", "SRV"): [f"0 5 {{port}} a.shop.test."],
    }}
    with Nameserver(zone, port=53):
        for target in (
            "app:pw-9c1e@db.shop.test/shop?tls=false",
            "app:wrong@bare.shop.test/?tls=false&authSource=admin",
            "db.shop.test/?tls=false&replicaSet=rs2",
            "other.shop.test/?ssl=false",
            "bare.shop.test/?tls=false",
            "away.shop.test",
            "none.shop.test",
            "nosuch.test",
            "bare.shop.test/?tls=false&srvServiceName=customname",
            "db.shop.test",
        ):
            found = attempt("mongodb+srv://" + target, 10)
            print(target.rpartition("@")[2], found.state, found.reason, found.gone)
"""


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_the_hosts_of_a_name_are_found_in_dns() -> None:
    """With their set and where the users are; none is followed out of the domain, and TLS is spoken unless declined."""
    here = Path(__file__).parent
    *found, over_tls = namespace.run(SRV.format(path=[str(here), str(here.parent)])).splitlines()
    assert found == [
        "db.shop.test/shop?tls=false ready ready False",
        "bare.shop.test/?tls=false&authSource=admin failed forbidden False",
        "db.shop.test/?tls=false&replicaSet=rs2 waiting unwanted_answer False",
        "other.shop.test/?ssl=false waiting unwanted_answer False",
        "bare.shop.test/?tls=false ready ready False",
        "away.shop.test waiting unwanted_answer False",
        "none.shop.test waiting no_data True",
        "nosuch.test waiting unresolved True",
        "bare.shop.test/?tls=false&srvServiceName=customname waiting no_data True",
    ]
    assert over_tls in ("db.shop.test waiting closed False", "db.shop.test waiting reset False")


def message(document: bytes, *, length: int = 0, answers: int = 1, operation: int = 2013, flags: int = 0) -> bytes:
    """Return an answer in the form of the protocol, or with one thing wrong in it."""
    return struct.pack("<iiiiIB", length or 21 + len(document), 5, answers, operation, flags, 0) + document


GOOD = bson.encode({"isWritablePrimary": True, "ok": 1})


@pytest.mark.parametrize(
    "answer",
    [
        message(GOOD, answers=2),
        message(GOOD, operation=1),
        message(GOOD, flags=2),
        message(GOOD, length=2**31 - 1),
        message(GOOD, length=21),
        message(GOOD, length=-1),
        message(GOOD[:-1] + b"\1"),
        message(b"\0" * 30),
        message(bson.encode({"isWritablePrimary": True})),
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nIt looks like you are trying to access MongoDB over HTTP",
        b"SSH-2.0-OpenSSH_9.2\r\n" + b"." * 40,
    ],
)
def test_what_is_no_mongodb_is_said_and_waited_out(answer: bytes) -> None:
    """No length and no number of it is trusted."""
    with serving(saying(answer)) as port:
        found = attempt(f"mongodb://127.0.0.1:{port}")
    assert found == Outcome(WAITING, Reason.WRONG_PROTOCOL, f"127.0.0.1:{port} (it answers in another protocol)")


def test_bson_is_read_as_the_driver_writes_it() -> None:
    """Of every type what stands behind it is found; numbers, texts and truth values are kept."""
    known = {"a": 1, "b": 2.5, "c": "text", "d": True, "e": False, "f": bson.Int64(2**40), "g": -7}
    others = {
        "null": None,
        "id": bson.ObjectId(),
        "date": bson.datetime_ms.DatetimeMS(0),
        "stamp": bson.Timestamp(1, 2),
        "binary": bson.Binary(b"123", 4),
        "regex": bson.Regex("^a", "i"),
        "decimal": bson.Decimal128("1.5"),
        "list": [1, {"ok": 0}],
        "document": {"ok": 0},
        "code": bson.Code("x"),
        "scope": bson.Code("x", {"y": 1}),
        "least": bson.MinKey(),
        "most": bson.MaxKey(),
    }
    for name, value in others.items():
        if name != "regex":  # two texts without a length, which no answer to hello holds
            assert read(bson.encode({name: value} | known)) == known, name
    assert written({"a": 1, "b": "ü", "c": {"d": -1}}) == bson.encode({"a": 1, "b": "ü", "c": {"d": -1}})
    whole = bson.encode(known | others)
    for count in range(len(whole)):
        with pytest.raises(BrokenError):
            read(whole[:count])
        with pytest.raises(BrokenError):
            read(struct.pack("<i", count) + whole[4:count])


@pytest.mark.parametrize(
    ("target", "options", "wrong"),
    [
        (
            "mongodb://db",
            {"collection": "a"},
            ("collection", "needs its database: write mongodb://HOST:PORT/DATABASE"),
        ),
        (
            "mongodb://u:p@db/?authMechanism=MONGODB-AWS",
            {},
            (
                "",
                (
                    "has an authMechanism that cannot be logged in by: write one of SCRAM-SHA-1, SCRAM-SHA-256, PLAIN, "
                    "MONGODB-X509, or login=no to look whether it is up without"
                ),
            ),
        ),
        (
            "mongodb://:p@db",
            {},
            ("", "has a password and no user: write mongodb://USER:PASSWORD@HOST:PORT"),
        ),
        (
            "mongodb://u:p@db/?authMechanism=MONGODB-X509",
            {},
            ("", "has a password, which MONGODB-X509 is without"),
        ),
        (
            "mongodb+srv://a,b",
            {},
            ("", "takes one name and no port, for both are found in DNS: write mongodb+srv://NAME"),
        ),
        (
            "mongodb+srv://a:1",
            {},
            ("", "takes one name and no port, for both are found in DNS: write mongodb+srv://NAME"),
        ),
        (
            "mongodb://u:p@%2Ftmp%2Fm.sock,db:1/app",
            {},
            ("", "lists a socket file with other servers: declare each, with | between them"),
        ),
        (
            "mongodb://u:p@",
            {"unix": "/run/mongodb"},
            (
                "unix",
                (
                    "is no socket file that can be logged in over: the driver wants one that ends in .sock; "
                    "login=no looks whether it is up without"
                ),
            ),
        ),
        ("mongodb://db/?tls=perhaps", {}, ("", "'perhaps' is neither true nor false")),
        (
            "mongodb://u:p@db",
            {"cert": "/c", "key": "/k"},
            ("key", "goes into the file of cert, which is what the driver takes"),
        ),
        (
            "mongodb://u:p@db",
            {"server_name": "x"},
            ("server_name", "is not for a login: the driver takes the host's name"),
        ),
    ],
)
def test_a_bad_declaration_says_what_would_be_right(target: str, options: dict[str, str], wrong: object) -> None:
    """Each with the option that is wrong."""
    with pytest.raises(BadOptionsError) as caught:
        Mongodb.parse(target, {key: (value,) for key, value in options.items()})
    assert caught.value.wrong == (wrong,)


def test_no_output_holds_the_password(tmp_path: Path) -> None:
    """Neither the plan, the log, the report nor the termination message, whether it is right or wrong."""
    with serving(MongoServer(STANDALONE | SESSIONS, users=USERS)) as port:
        lines = (f"{word}=mongodb://app:{word}-9c1e@127.0.0.1:{port}/shop" for word in ("pw", "wrong"))
        assert "forbidden" in told_nowhere("9c1e", "\n".join(lines), tmp_path)
