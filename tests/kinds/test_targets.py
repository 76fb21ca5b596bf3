"""The targets of servers: where, as whom, and what else they hold."""

import time
from contextlib import suppress

import pytest

from gatekeeper.probes import as_kind, load
from gatekeeper.probes._dsn import Place
from gatekeeper.probes._options import BadOptionsError, options_of


@pytest.mark.parametrize(
    ("hosts", "user", "password"),
    [
        ("a:1,b:2", None, None),
        ("u:p@a:1,b:2", "u", "p"),
        ("u:p@a:1,u:p@b:2", "u", "p"),
        ("u:p,q@a:1,b:2", "u", "p,q"),
        ("u:p%40x%2Cy@a:1,u:p%40x%2Cy@b:2", "u", "p@x,y"),
    ],
)
@pytest.mark.parametrize("kind", ["amqp", "mqtt", "mongodb", "kafka"])
def test_several_servers_may_be_listed_with_the_user_at_each(
    kind: str, hosts: str, user: str | None, password: str | None
) -> None:
    """As the clients of brokers list them: none is lost, and none is taken for a piece of a password."""
    dsn = load(kind).parse(f"{kind}://{hosts}", {"login": ("no",)}).dsn
    assert dsn.places == (Place("a", 1), Place("b", 2))
    assert (dsn.user, dsn.password.value if dsn.password else None) == (user, password)


@pytest.mark.parametrize(
    ("target", "user"),
    [
        ("amqp://u:secret@a:1/v;amqp://u:secret@b:2/v", "u"),
        ("amqp://u:secret@a:1/v; amqp://b:2/v", "u"),
        ("nats://u:secret@a:1, nats://b:2", "u"),
        ("redis://a:1,redis://b:2", None),
        ("MONGODB://u:secret@a:1,b:2", "u"),
    ],
)
def test_several_servers_may_be_listed_whole(target: str, user: str | None) -> None:
    """As Celery lists brokers (with semicolons) and NATS its servers (with commas): one thing at several places."""
    dsn = load(target.partition(":")[0].lower()).parse(target, {"login": ("no",)}).dsn
    assert dsn.places == (Place("a", 1), Place("b", 2))
    assert (dsn.user, bool(dsn.password)) == (user, user is not None)


@pytest.mark.parametrize("target", ["amqp://a/v;amqp://b/w", "amqp://a;amqps://b", "redis://a/0?x=1,redis://b/0"])
def test_listed_servers_are_of_one_kind(target: str) -> None:
    """Where they differ in more than the place, which of both is meant of each cannot be told."""
    with pytest.raises(BadOptionsError, match="differ in more than host and port"):
        load(target.partition(":")[0]).parse(target, {})


@pytest.mark.parametrize(
    "hosts",
    ["u:secret@a:1,v:secret@b:2", "u:sec@ret,x@a:1", "u:secret@a:1;amqp://v:secret@b:2", "a:1;amqp://v:secret@b:2"],
)
def test_several_users_are_refused(hosts: str) -> None:
    """Whose password would be tried at which server cannot be told; no password is shown."""
    with pytest.raises(BadOptionsError, match="names several users") as refused:
        load("amqp").parse(f"amqp://{hosts}/v", {"login": ("no",)})
    assert "sec" not in str(refused.value).replace("several", "")


@pytest.mark.parametrize(
    "target",
    [
        "nats://a:1,tls://b:2",
        "redis://a:1/0; sentinel://b:2/0",
        "amqp://app:s3cret@a:1/v amqp://app:s3cret@b:2/v",
    ],
)
def test_urls_of_several_protocols_are_no_target(target: str) -> None:
    """The second is not taken for a path of the first, and the message says how several servers are written."""
    kind = target.partition(":")[0]
    with pytest.raises(BadOptionsError, match=f"lists several URLs: write one, with {kind}://HOST:PORT,HOST:PORT"):
        load(kind).parse(target, {})


def test_a_second_protocol_in_a_target_is_told() -> None:
    """As a listener's own name before a Kafka, of which nobody can tell whether it speaks TLS."""
    with pytest.raises(BadOptionsError, match="has a second :// in it: write kafka://HOST:PORT"):
        load("kafka").parse("kafka://EXTERNAL://a:9092", {})


@pytest.mark.parametrize(
    "target",
    [
        "mysql:host=db;dbname=app;password=s3cret",
        "tcp:db,1433;Password=s3cret",
        "mqtt://app:s3cret",
        "postgres://app:s3cret:5432",
        "kafka://app:s3cret,broker:9092",
        "amqp://s3cret}",
        "postgres://app:x@tcp(s3cret",
    ],
)
def test_what_may_be_a_password_is_not_shown_in_the_place_of_a_host(target: str) -> None:
    """Connection strings of other drivers, and URLs in which the @ was forgotten."""
    with pytest.raises(BadOptionsError, match="not shown") as refused:
        load(target.partition(":")[0]).parse(target, {})
    assert "s3cret" not in str(refused.value.wrong)


@pytest.mark.parametrize(
    "password", ["s3@cret/x", "s3@cret?x", "s3@cret?=", "s3@cret?x=1", "s3@cret#x", "s3/cret", "s3?cret", "s3#cret"]
)
@pytest.mark.parametrize("kind", ["redis", "amqp", "mongodb", "mysql", "postgres", "ldap"])
def test_a_password_that_ends_a_host_is_no_host(kind: str, password: str) -> None:
    """A piece of it is neither looked up nor shown, and the message says how it is written."""
    with pytest.raises(BadOptionsError, match="cannot be read: in user and password, write") as refused:
        load(kind).parse(f"{kind}://app:{password}@db:1/app", {})
    assert "cret" not in str(refused.value.wrong)


def test_an_at_in_a_query_is_no_password() -> None:
    """As connection strings of Azure have it."""
    dsn = load("mongodb").parse("mongodb://u:p@h:1/?ssl=true&appName=@shop@", {"login": ("no",)}).dsn
    assert (dsn.places, dsn.user) == ((("h", 1),), "u")


@pytest.mark.parametrize("kind", ["redis", "amqp", "mongodb", "elasticsearch", "influxdb", "postgres", "mysql"])
def test_tls_in_the_query_is_not_dropped(kind: str) -> None:
    """Clients have it there as well as in a scheme; left out, a password would be sent in plain."""
    probe = load(kind)
    for key in ("ssl", "tls") if kind != "postgres" else ("ssl",):
        assert probe.parse(f"{kind}://h?{key}=true", {}).wants_tls
        assert not probe.parse(f"{kind}://h?{key}=false", {}).wants_tls
    assert not probe.parse(f"{kind}://h", {}).wants_tls


def test_a_redis_may_have_its_login_in_the_query() -> None:
    """As redis-py reads it; what stands before the host counts more."""
    parse = load("redis").parse
    dsn = parse("rediss://h?username=u&password=p%40&skip_verify=true", {"login": ("no",)}).dsn
    assert (dsn.user, dsn.password.value) == ("u", "p@")
    assert not parse("redis://h?username=&password=", {}).logs_in  # as redis-py leaves out what is empty
    dsn = parse("redis://v:q@h?username=u&password=p", {"login": ("no",)}).dsn
    assert (dsn.user, dsn.password.value) == ("v", "q")
    assert parse("rediss://h?skip_verify=true", {}).trust.insecure


@pytest.mark.parametrize(
    ("target", "options", "wrong"),
    [
        ("influxdb://h", {"login": "yes"}, "logs in without a user or a password: write influxdb://USER@HOST:PORT"),
        (
            "elasticsearch://h",
            {"password_file": "/p"},
            "write elasticsearch://USER@HOST:PORT, and password_file behind",
        ),
        ("elasticsearch://u@h", {"login": "yes"}, "logs in without a user or a password"),
    ],
)
def test_a_login_that_cannot_be_is_refused(target: str, options: dict[str, str], wrong: str) -> None:
    """It is not left out in silence, with a gate that opens for want of it."""
    kind = target.partition(":")[0]
    with pytest.raises(BadOptionsError) as refused:
        load(kind).parse(target, {key: (value,) for key, value in options.items()})
    assert wrong in "; ".join(f"{key}: {message}" for key, message in refused.value.wrong)


def test_an_etcd_has_no_options_of_a_login() -> None:
    """Its health is told without a user, so that a password would do nothing."""
    assert {"password_file", "login"}.isdisjoint(options_of(load("etcd")))


@pytest.mark.parametrize(
    "target",
    [
        "jdbc:" + "mysql:" * 70_000,
        "mongodb://" + "%2Fa.sock," * 40_000 + "@h",
        "kafka://u@" + "SSL://" * 70_000 + "x",
        "redis://" + "a:1," * 10_000 + "b",
        "amqp://" + "a;amqp://" * 10_000 + "b",
    ],
)
def test_the_time_for_a_target_grows_with_its_length_alone(target: str) -> None:
    """However often it repeats what something is looked for behind: else these took minutes."""
    began = time.monotonic()
    url = as_kind(target)
    with suppress(BadOptionsError, KeyError):  # jdbc is no kind
        load(url.partition(":")[0]).parse(url, {})
    assert time.monotonic() - began < 20
