"""What one value names: servers, or a reason why it names none; and never a secret."""

import pytest

from gatekeeper.infer.value import Named, NothingNamedError, read_value
from gatekeeper.probes import KINDS

ANY_ANSWER = (("status", "100-499"),)


def kind(name: str) -> str:
    """Return the kind of a protocol where there is one by now, else tcp."""
    return name if name in KINDS else "tcp"


PG, MY, RE, AM, KA, MO, NA = map(kind, ("postgres", "mysql", "redis", "amqp", "kafka", "mongodb", "nats"))


@pytest.mark.parametrize(
    ("value", "targets"),
    [
        ("postgres://db:5433/app", [f"{PG}://db:5433"]),
        ("postgresql://u:p@db/app?sslmode=require", [f"{PG}://db:5432"]),
        ("postgresql+psycopg2://u:p@db/app", [f"{PG}://db:5432"]),
        ("postgres://u:p/a?s#s@db:5432/app", [f"{PG}://db:5432"]),
        ("postgres://a:1,b:2/app", [f"{PG}://a:1", f"{PG}://b:2"]),
        ("postgres://[fd00::7]:5432/app", [f"{PG}://[fd00::7]:5432"]),
        ("'redis://:pw@cache/0'", [f"{RE}://cache:6379"]),
        ("rediss://cache", [f"{kind('rediss')}://cache:6379"]),
        ("amqp://guest:guest@mq//", [f"{AM}://mq:5672"]),
        ("amqps://mq", [f"{kind('amqps')}://mq:5671"]),
        ("mongodb://u:p@a,b,c:27018/app?replicaSet=r", [f"{MO}://a:27017", f"{MO}://b:27017", f"{MO}://c:27018"]),
        ("nats://a:4222,nats://b:4222", [f"{NA}://a:4222", f"{NA}://b:4222"]),
        ("PLAINTEXT://a:9092,SSL://b:9093", ["tcp://a:9092", "tcp://b:9093"]),
        ("jdbc:postgresql://db/app?user=u&password=p", [f"{PG}://db:5432"]),
        ("jdbc:mysql:replication://a:1,b:2/app", [f"{MY}://a:1", f"{MY}://b:2"]),
        ("jdbc:sqlserver://db:1433;databaseName=app;password=p", [f"{kind('mssql')}://db:1433"]),
        ("jdbc:oracle:thin:@//db:1521/x", [f"{kind('oracle')}://db:1521"]),
        ("jdbc:oracle:thin:@db:1521:sid", [f"{kind('oracle')}://db:1521"]),
        ("user:p@ss@tcp(db:3307)/app?parseTime=true", [f"{MY}://db:3307"]),
        ("user@tcp(db)/app", [f"{MY}://db:3306"]),
        ("user@unix(/run/mysqld.sock)/app", ["unix:///run/mysqld.sock"]),
        ("host=db port=5433 user=u password='p w' dbname=app", [f"{PG}://db:5433"]),
        ("host=a,b dbname=app", [f"{PG}://a:5432", f"{PG}://b:5432"]),
        ("host=a,b port=1,2", [f"{PG}://a:1", f"{PG}://b:2"]),
        ("hostaddr=fd00::7", [f"{PG}://[fd00::7]:5432"]),
        ("tcp://10.0.0.11:6379", ["tcp://10.0.0.11:6379"]),
        ("db:5432", ["tcp://db:5432"]),
        ("a:9092, b:9092", ["tcp://a:9092", "tcp://b:9092"]),
        ("unix:///run/app.sock", ["unix:///run/app.sock"]),
        ("mystery://x:99/path", ["tcp://x:99"]),
        ("wss://x/path", ["tcp://x:443"]),
    ],
)
def test_servers_are_named_without_what_is_secret(value: str, targets: list[str]) -> None:
    """Each form gives host and port, the usual port where none is written, and the kind that there is."""
    assert list(read_value(value).targets) == targets


def test_a_url_of_http_is_probed_at_its_root_and_for_any_answer() -> None:
    """Path and query may be secrets, and are no page of health: the server is asked, and may say 404, but not 503."""
    named = read_value("https://u:p@api/hooks/T0/secret?token=s")
    assert named == Named(("https://api:443",), ANY_ANSWER, "the usual port 443")


def test_a_name_with_srv_records_is_looked_up() -> None:
    """`mongodb+srv` names no host with an address."""
    named = read_value("mongodb+srv://u:p@cluster0.example.net/app")
    assert named.targets == ("dns://_mongodb._tcp.cluster0.example.net",)
    assert named.options == (("type", "SRV"),)


@pytest.mark.parametrize(
    ("value", "hint", "port", "targets"),
    [
        ("db", "", "5432", ["tcp://db:5432"]),
        ("db", "postgres", "", [f"{PG}://db:5432"]),
        ("a,b:9093", "kafka", "", [f"{KA}://a:9092", f"{KA}://b:9093"]),
        ("db:1", "", "5432", ["tcp://db:1"]),
        ("10.0.0.1", "redis", "7000", [f"{RE}://10.0.0.1:7000"]),
    ],
)
def test_a_name_helps_a_value(value: str, hint: str, port: str, targets: list[str]) -> None:
    """A word of the variable's name tells a protocol and its port, the variable beside it a port."""
    assert list(read_value(value, hint, port).targets) == targets


def test_what_was_taken_for_it_is_said() -> None:
    """That a protocol is only reached, and that a port was not written, stands in the note."""
    assert read_value("db:1", "cassandra").note == "tcp, there being no kind for cassandra"
    assert read_value("db", "cassandra").note == "tcp, there being no kind for cassandra, the usual port 9042"
    assert read_value("mystery://x:99").note == "tcp: mystery is no scheme that is known"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "is empty"),
        ("''", "is empty"),
        ("postgres://${HOST}/app", "holds a reference that nobody has replaced"),
        ("$(OTHER)", "holds a reference that nobody has replaced"),
        ("sqlite:///app.db", "names no server of a network"),
        ("sqlite://", "names no server of a network"),
        ("file:///var/lib", "names no server of a network"),
        ("jdbc:h2:mem:app", "names no server of a network"),
        ("jdbc:sqlite:/app.db", "names no server of a network"),
        ("mailto:a@b.example", "names no server of a network"),
        ("udp://syslog:514", "is for datagrams, which no connection can be made for"),
        ("/static/logo.png", "is a path"),
        ("postgres:///app", "names no host"),
        ("host=/run/postgresql dbname=app", "names no host: a socket file of this machine is meant"),
        ("host=a,b,c port=1,2", "has not as many ports as hosts"),
        ("0.0.0.0:8080", "is an address to listen at"),
        ("[::]:8080", "is an address to listen at"),
        (":8080", "is an address to listen at"),
        ("db", "names a host without a port, and no protocol that has a usual one"),
        ("db:99999", "has a port that is none"),
        ("s3://bucket/key", "names a host without a port, and no protocol that has a usual one"),
        ("hello world", "is neither a URL nor HOST:PORT"),
        ("12345", "is neither a URL nor HOST:PORT"),
        ("redis://a,http://b", "lists servers of several kinds: declare them"),
        ("a\x1b[2Jb:1", "holds a control character"),
    ],
)
def test_what_names_no_server_says_why(value: str, why: str) -> None:
    """A value that tells of no dependency is left out with a reason."""
    with pytest.raises(NothingNamedError) as error:
        read_value(value)
    assert str(error.value) == why


def test_no_message_and_no_target_holds_a_secret() -> None:
    """Wherever a password stands, nothing that is told has it."""
    for value in (
        "postgres://u:hunter2@db/app",
        "postgres://u:hunter2@/app",
        "u:hunter2@tcp(db)/x",
        "u:hunter2@tcp(d b)/x",
        "host=db password=hunter2",
        "password=hunter2 dbname=x",
        "https://x/hunter2?hunter2",
        "redis://hunter2@",
        "u:hunter2",
        "postgres://u:hunter2/x@db:1/a",
        "jdbc:postgresql://db:1/a?password=hunter2",
        "jdbc:oracle:thin:u/hunter2@db:1521:x",
    ):
        try:
            told = repr(read_value(value))
        except NothingNamedError as error:
            told = str(error)
        assert "hunter2" not in told, value


def test_a_long_value_that_is_nothing_is_seen_through_at_once() -> None:
    """No pattern takes time that grows with more than the length."""
    for value in ("a=a" * 20000, "a" * 50000 + "!", "jdbc:" + "a:" * 20000, "a=" * 20000 + "'"):
        with pytest.raises(NothingNamedError):
            read_value(value)
