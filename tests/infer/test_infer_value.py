"""What one value names: servers, or a reason why it names none; and never a secret."""

import pytest

from gatekeeper.infer.value import Named, NothingNamedError, read_value
from gatekeeper.probes import KINDS
from gatekeeper.probes._protocols import spoken

NO_PROTOCOLS = {"exec", "file", "notify", "k8s", "dns", "service", "tls"}
ANY_ANSWER = (("status", "100-499"),)


TWO_WAYS = "has an @ behind its host, or / ? # ; @ in its password: write them as %40 and %2F %3F %23 %3B"


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
        ("postgresql+psycopg://u:p@/app?host=a:1&host=b", [f"{PG}://a:1", f"{PG}://b:5432"]),
        ("postgres://u:p@/app?host=db&port=5433", [f"{PG}://db:5433"]),
        ("postgres:///app?host=a,::1&port=1%2C2&password=p@w", [f"{PG}://a:1", f"{PG}://[::1]:2"]),
        ("postgres://db:1/app?port=2", [f"{PG}://db:2"]),
        ("mysql://u:p@localhost/app?x=1&socket=/run/db.sock", ["unix:///run/db.sock"]),
        ("mysql+pymysql://u:p@/app?unix_socket=%2Frun%2Fmysqld.sock", ["unix:///run/mysqld.sock"]),
        ("amqp://u:p@a,u:p@b:1/v", [f"{AM}://a:5672", f"{AM}://b:1"]),
        ("mqtt+ssl://b", ["tcp://b:8883"]),
        ("amqp+ssl://b", ["tcp://b:5671"]),
        ("postgres://[fd00::7]:5432/app", [f"{PG}://[fd00::7]:5432"]),
        ("'redis://:pw@cache/0'", [f"{RE}://cache:6379"]),
        ("rediss://cache", [f"{kind('rediss')}://cache:6379"]),
        ("amqp://guest:guest@mq//", [f"{AM}://mq:5672"]),
        ("amqps://mq", [f"{kind('amqps')}://mq:5671"]),
        ("mongodb://u:p@a,b,c:27018/app?replicaSet=r", [f"{MO}://a:27017", f"{MO}://b:27017", f"{MO}://c:27018"]),
        ("nats://a:4222,nats://b:4222", [f"{NA}://a:4222", f"{NA}://b:4222"]),
        ("PLAINTEXT://a:9092,SSL://b:9093", [f"{KA}://a:9092", "tcp://b:9093"]),
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
        ("SASL_SSL://a:9092,b:9092", ["tcp://a:9092", "tcp://b:9092"]),
        ("SASL_PLAINTEXT://a", [f"{kind('kafka')}://a:9092"]),
        ("kafka+ssl://a:1,kafka+ssl://b:2", ["tcp://a:1", "tcp://b:2"]),
        ("redis://cache/0?ssl=true", ["tcp://cache:6379"]),
        ("redis+sentinel://a,b", [f"{kind('sentinel')}://a:26379", f"{kind('sentinel')}://b:26379"]),
        ("sentinel://a:1;sentinel://b:2", [f"{kind('sentinel')}://a:1", f"{kind('sentinel')}://b:2"]),
        ("postgresql://u:p@db:5433/app?schema=public", [f"{PG}://db:5433"]),
        ("postgres://db/app?options=a@b", [f"{PG}://db:5432"]),
        ("postgres://u:p%40w%2Fx@db/app", [f"{PG}://db:5432"]),
        ("postgres://u:p\n\udcffw@db/app", [f"{PG}://db:5432"]),
        ("postgres://u:p@w@db/app", [f"{PG}://db:5432"]),
        ("db+postgresql://u:p@db/app", [f"{PG}://db:5432"]),
        ("psql://db", [f"{PG}://db:5432"]),
        ("r2dbc:pool:postgresql://db/app", [f"{PG}://db:5432"]),
        ("jdbc:p6spy:mysql://db/app", [f"{MY}://db:3306"]),
        ("jdbc:aws-wrapper:postgresql://db/app", [f"{PG}://db:5432"]),
        ("jdbc:postgresql://db/app?user=u&password=p@w", [f"{PG}://db:5432"]),
        ("jdbc:sqlserver://db:1433;user name=u;password=p@w", [f"{kind('mssql')}://db:1433"]),
        ("pyamqp://u:p@mq//", [f"{AM}://mq:5672"]),
        ("clickhouse+http://u:p@ch/app", ["http://ch:8123"]),
        ("clickhouse+native://ch", [f"{kind('clickhouse')}://ch:9000"]),
        ("elasticsearch+https://es", ["https://es:9200"]),
        ('["http://a:9200","http://b:9200"]', ["http://a:9200", "http://b:9200"]),
        ('["a:1", "b:2"]', ["tcp://a:1", "tcp://b:2"]),
        ("https://unpkg.com/vue@3.2.1/dist", ["https://unpkg.com:443"]),
        ("http+unix://%2Frun%2Fapp.sock/v1", ["unix:///run/app.sock"]),
        ("http://my_db.:80", ["http://my_db.:80"]),
    ],
)
def test_servers_are_named_without_what_is_secret(value: str, targets: list[str]) -> None:
    """Each form gives host and port, the usual port where none is written, and the kind that there is."""
    assert list(read_value(value).targets) == targets


def test_a_url_of_http_is_probed_at_its_root_and_for_any_answer() -> None:
    """Path and query may be secrets, and are no page of health: the server is asked, and may say 404, but not 503."""
    named = read_value("https://u:p@api/hooks/T0/secret?token=s")
    assert named == Named(("https://api:443",), ANY_ANSWER, "the usual port 443")


@pytest.mark.parametrize("value", ["redis://:pw@cache/0", "rediss://cache", "valkey://cache", "cache:6379"])
def test_a_redis_is_asked_without_a_login(value: str) -> None:
    """No password is taken from a variable, and one that wants one tells at most that it is there."""
    assert read_value(value, "redis").options == (("login", "no"),)


def test_a_name_with_srv_records_is_left_to_its_kind() -> None:
    """The kind finds the hosts of a MongoDB itself; it needs neither user nor path."""
    named = read_value("mongodb+srv://u:p@cluster0.example.net/app?retryWrites=true")
    assert named == Named(("mongodb+srv://cluster0.example.net",))


@pytest.mark.parametrize("value", ["other+srv://u:p@h", "mongodb+srv://h/?ssl=false", "mongodb+srv://h/?tlsCAFile=/x"])
def test_a_name_with_srv_records_is_looked_up(value: str) -> None:
    """Where no kind finds the hosts, or it would insist on TLS or on authorities that are not meant."""
    named = read_value(value)
    assert named.targets[0].startswith("dns://_")
    assert named.options == (("type", "SRV"),)


@pytest.mark.parametrize(
    "value",
    [
        "rediss://:p@h:1/0?ssl_cert_reqs=CERT_NONE",
        "rediss://:p@h:1/0?x=y&ssl_ca_certs=/etc/ca.pem",
        "amqps://u:p@h:1/v?cacertfile=/ca.pem&verify=verify_peer",
        "mongodb://u:p@h:1/app?tls=true&tlsCAFile=/ca.pem",
    ],
)
def test_who_trusts_another_authority_is_only_reached(value: str) -> None:
    """The kind would never be content with a certificate that the program itself takes."""
    named = read_value(value)
    assert named.targets == ("tcp://h:1",)
    assert not named.options
    assert named.note.endswith("over TLS is spoken there, and its certificate trusted as the URL says")


def test_a_kind_that_there_is_is_not_denied() -> None:
    """Redis over TLS has a kind; whether the system trusts its certificate is another matter."""
    assert read_value("redis://h:1/0?ssl=true").note == "tcp, because redis over TLS may be spoken there"


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
    assert read_value("db:5432").note == "tcp, as nothing but its port tells of postgres"
    assert read_value("a:5432,b:3306").note == read_value("tcp://a:5432").note == read_value("web:80").note == ""
    assert read_value("mystery://x:99").note == "tcp: mystery is no scheme that is known"


@pytest.mark.parametrize(
    ("value", "hint", "port"),
    [
        ("h", "smtp", "465"),
        ("h:465", "mail", ""),
        ("ldap://h:636", "", ""),
        ("ldap://h:3269", "", ""),
        ("h:9093", "kafka", ""),
        ("PLAINTEXT://h:9096,PLAINTEXT://i:9096", "", ""),
        ("h:443", "elasticsearch", ""),
        ("grpc://h:443", "", ""),
        ("h.europe-west1.gcp.confluent.cloud:9092", "kafka", ""),
    ]
    + [(f"h.x.{domain}", hint, "") for domain, hint in (("confluent.cloud", "kafka"), ("tmprl.cloud", "temporal"))],
)
def test_a_server_at_the_port_for_tls_is_only_reached(value: str, hint: str, port: str) -> None:
    """Its protocol in plain would wait there for good, and nobody has said whom to trust."""
    named = read_value(value, hint, port)
    assert named.targets[0].startswith("tcp://h")
    assert "over TLS may be spoken there" in named.note


@pytest.mark.parametrize(
    ("value", "hint", "targets"),
    [
        ("a:9092,b:9093,c:9094", "kafka", [f"{kind('kafka')}://{host}" for host in ("a:9092", "b:9093", "c:9094")]),
        ("postgres://h:443/app", "", [f"{kind('postgres')}://h:443"]),
        ("nats://h:443", "", [f"{kind('nats')}://h:443"]),
        ("grpcs://h:443", "", [f"{kind('grpcs')}://h:443"]),
        ("https://h", "", ["https://h:443"]),
    ],
)
def test_a_port_alone_is_no_sign_of_tls(value: str, hint: str, targets: list[str]) -> None:
    """Several servers of one machine count their ports on; some speak in plain first; a scheme may say all of it."""
    assert list(read_value(value, hint).targets) == targets


def test_a_server_of_grpc_need_not_tell_its_health() -> None:
    """A collector of OpenTelemetry has no such service: a gate that nobody declared must not fail for that."""
    assert read_value("grpc://collector:4317").options == (("accept_unimplemented", "yes"),)


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
        ("mysql://u:p@localhost/app?socket=/cloudsql/a:b:c", "names no socket file that can be told"),
        ("postgres://u:p@localhost/app?host=/cloudsql/a:b:c", "names no host: a socket file of this machine is meant"),
        (
            "amqp://u:s3cret@a,v:s3cret@b/v",
            "names several users, or has , and @ in a password: write them as %2C and %40",
        ),
        ("host=a,b,c port=1,2", "has not as many ports as hosts"),
        ("0.0.0.0:8080", "is an address to listen at"),
        ("[::]:8080", "is an address to listen at"),
        (":8080", "is an address to listen at"),
        ("db", "names a host without a port, and no protocol that has a usual one"),
        ("db:99999", "has a port that is none"),
        ("locmem://", "names no server of a network"),
        ("REDIS_URL=none", "is neither a URL nor HOST:PORT"),
        ("none", "is a word for yes or no"),
        ("fd00::7:5432", "is an IPv6 address without brackets: where it ends and a port begins cannot be told"),
        ("a..b:1", "is neither a URL nor HOST:PORT"),
        ("1.2.3.400:1", "is neither a URL nor HOST:PORT"),
        ("[1:2]:1", "is neither a URL nor HOST:PORT"),
        (f"{'a' * 64}:1", "is neither a URL nor HOST:PORT"),
        (f"{'a.' * 127}b:1", "is neither a URL nor HOST:PORT"),
        ("[" * 5000, "is neither a URL nor HOST:PORT"),
        ("postgres://u:p@w/x@db/app", TWO_WAYS),
        ("postgres://u:1/x@db/app", TWO_WAYS),
        ("https://api:1/users/@me", TWO_WAYS),
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
    for value in (
        "x://" + " " * 100_000 + "!",
        "kafka://" + "," * 100_000,
        "a=a" * 20000,
        "a" * 50000 + "!",
        "jdbc:" + "a:" * 20000,
        "a=" * 20000 + "'",
    ):
        with pytest.raises(NothingNamedError):
            read_value(value)


CONNECTIONS = (
    "postgres://u:{0}@db:5432/app?sslmode=require",
    "postgres://u:{0}@a,b:1/app",
    "redis://:{0}@cache",
    "redis://{0}@",
    "mongodb+srv://u:{0}@db.example/app",
    "mongodb://u:{0}@a,b,c/app?tls=true",
    "amqp://u:{0}@a,amqp://u:{0}@b",
    "SASL_SSL://u:{0}@a:1,b:2",
    "mystery://u:{0}@h:1/{0}",
    "https://u:{0}@api/x",
    "https://{0}@api.example/x",
    "https://api.example/{0}",
    "https://api.example/x?key={0}#{0}",
    "http+unix://u:{0}@%2Frun/x",
    "clickhouse+https://u:{0}@ch",
    "jdbc:postgresql://db/app?user=u&password={0}",
    "jdbc:postgresql://db/app?user=u&password={0}&ssl=true",
    "postgres:///app?host=db&password={0}",
    "mysql://db?password={0}",
    "jdbc:sqlserver://db:1433;user=u;password={0};encrypt=true",
    "jdbc:mysql://u:{0}@db/app",
    "jdbc:oracle:thin:u/{0}@db:1521:x",
    "r2dbc:mysql://u:{0}@db/app",
    "u:{0}@tcp(db:1)/app",
    "host=db password='{0}' dbname=app",
    "host=db password={0}",
    "Server=db;User Id=u;Password={0}",
    "u:{0}",
    '["http://u:{0}@a:1"]',
)
PASSWORDS = (
    *(f"huntah{between}zwelve" for between in "/?#@:;,\\&=%'\" \t\n\x00\u00e9\udcff"),
    *("huntah/@zwelve", "huntah@/zwelve", "huntah?a=@zwelve", "huntah;b=1@zwelve", "huntah://zwelve"),
    *("huntah,redis://zwelve", "huntah)/zwelve", "huntah(zwelve", "huntah]zwelve", "huntah%40zwelve"),
    *("huntah?host=zwelve&x", "huntah?socket=/zwelve&x", "huntah@zwelve?x=1"),
    *("huntah $(X) zwelve", "1/huntah@zwelve"),
)


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_no_password_is_told_whatever_is_in_it(connection: str) -> None:
    """What ends a host in a URL may stand in a password that nobody has escaped: rather nothing is taken."""
    for password in PASSWORDS:
        for hint in ("", "redis"):
            try:
                told = repr(read_value(connection.format(password), hint))
            except NothingNamedError as error:
                told = repr(error)
            assert "huntah" not in told, password
            assert "zwelve" not in told, password


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_names_no_kind_that_is_no_protocol(kind: str) -> None:
    """Whatever stands in an environment, no command is run for it and no file looked for."""
    if kind in ("http", "https") or kind.endswith(
        "+srv"
    ):  # the latter is looked up, as the name of a server that it is
        return
    for value, hint in ((f"{kind}://x:80", ""), ("x:80", kind), (f"{kind}+http://x:80", ""), (f"db+{kind}://x:80", "")):
        try:
            named = read_value(value, hint)
        except NothingNamedError:
            continue
        meant = spoken(kind)  # the kind by its own name, where this is another of its names
        may = {"tcp", "unix", "http", kind, meant and meant.kind} - NO_PROTOCOLS
        assert {target.partition(":")[0] for target in named.targets} <= may


@pytest.mark.parametrize(
    ("value", "port", "target"),
    [("fd00::7", "5432", "tcp://[fd00::7]:5432"), ("[fd00::7]", "5432", "tcp://[fd00::7]:5432")],
)
def test_a_host_may_be_an_ipv6_address_without_brackets(value: str, port: str, target: str) -> None:
    """No port can follow in a variable that is called a host."""
    assert read_value(value, "", port, is_host=True).targets == (target,)
