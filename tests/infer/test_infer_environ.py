"""A whole environment: which variables are looked at, which stand together, what is ambiguous, what is left out."""

from collections.abc import Mapping, Sequence

import pytest

from gatekeeper.declaration import Declaration, Problem, Target
from gatekeeper.infer.environ import infer
from gatekeeper.model import Inference, Inferred, LeftOut
from gatekeeper.probes import KINDS

PG = "postgres" if "postgres" in KINDS else "tcp"
LINKS = {
    "DB_PORT": "tcp://10.0.0.1:5432",
    "DB_PORT_5432_TCP": "tcp://10.0.0.1:5432",
    "DB_PORT_5432_TCP_ADDR": "10.0.0.1",
    "DB_PORT_5432_TCP_PORT": "5432",
    "DB_PORT_5432_TCP_PROTO": "tcp",
}
SERVICE = {"DB_SERVICE_HOST": "10.0.0.1", "DB_SERVICE_PORT": "5432", "DB_SERVICE_PORT_PG": "5432", **LINKS}
FILES = {"file": "tcp://a:1", "dns": "tcp://b:53", "exec": "tcp://c:1"}
LEFT_NOTE = "did not exist when the container was made"


def inference(
    environ: Mapping[str, str],
    patterns: Sequence[str] = ("*",),
    needs: Sequence[str] = (),
    declared: Sequence[Declaration] = (),
) -> Inference:
    """Return what is inferred where there is no problem."""
    problems: list[Problem] = []
    source = infer(patterns, needs, environ, declared, problems)
    assert problems == []
    assert source.inference
    assert [each.name for each in source.dependencies] == [each.name for each in source.inference.found]
    return source.inference


def targets(environ: Mapping[str, str], *patterns: str, needs: Sequence[str] = ()) -> dict[str, str]:
    """Return the targets of what is inferred by name."""
    return {each.name: each.target for each in inference(environ, patterns or ("*",), needs).found}


def problems_of(environ: Mapping[str, str], *patterns: str, needs: Sequence[str] = ()) -> list[str]:
    """Return what is wrong."""
    problems: list[Problem] = []
    infer(patterns, needs, environ, (), problems)
    return list(map(str, problems))


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"DATABASE_URL": "postgres://u:p@db/app"}, {"database": f"{PG}://db:5432"}),
        ({"READ_DATABASE_URI": "postgres://db"}, {"read-database": f"{PG}://db:5432"}),
        ({"APP_DSN": "u:p@tcp(db:9)/x"}, {"app": f"{'mysql' if 'mysql' in KINDS else 'tcp'}://db:9"}),
        ({"VAULT_ADDR": "http://vault:8200"}, {"vault": "http://vault:8200"}),
        ({"BACKEND_ADDR": "backend:90"}, {"backend": "tcp://backend:90"}),
        ({"KAFKA_BROKERS": "a:1,b:2"}, {"kafka": "{0}://a:1|{0}://b:2".format("kafka" if "kafka" in KINDS else "tcp")}),
        ({"STREAM_BOOTSTRAP_SERVERS": "a:1,b:2"}, {"stream-bootstrap": "tcp://a:1|tcp://b:2"}),
        ({"DB_HOST": "db", "DB_PORT": "5432"}, {"db": "tcp://db:5432"}),
        ({"DB_HOST": "db:7", "DB_PORT": "5432"}, {"db": "tcp://db:7"}),
        (
            {"DB_HOST": "db", "DB_PORT": "tcp://10.0.0.1:5432"},
            {"db": "tcp://db:5432", "db-service": "service://db:5432"},
        ),
        (SERVICE, {"db": "service://db:5432"}),
        (LINKS, {"db": "service://db:5432"}),
        ({"DB_SERVICE_HOST": "10.0.0.1"}, {"db": "service://db"}),
        ({"A_B_SERVICE_HOST": "ab.prod", "A_B_SERVICE_PORT": "80"}, {"ab": "service://ab.prod:80"}),
        ({"_3DB_SERVICE_HOST": "10.0.0.1", "_3DB_SERVICE_PORT": "1"}, {"3db": "service://3db:1"}),
        (
            {"D_SERVICE_HOST": "10.0.0.2", "D_SERVICE_PORT": "53", "D_PORT": "udp://10.0.0.2:53"}
            | {"D_PORT_53_UDP": "udp://10.0.0.2:53", "D_PORT_54_TCP": "tcp://10.0.0.2:54"},
            {"d": "service://d:54"},
        ),
        ({"DB_HOST": "$(DB_SERVICE_HOST)"}, {"db": "service://db"}),
        ({"DB_HOST": "$(DB_SERVICE_HOST)", "DB_PORT": "5432"}, {"db": "service://db:5432"}),
        ({"URL": "pg://u:p@$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)/x"}, {"db": "service://db"}),
        ({"URL": "pg://u:p@$(DB_SERVICE_HOST):5432/x"}, {"db": "service://db:5432"}),
        ({"URL": "http://$(DB_SERVICE_HOST):$(DB_SERVICE_PORT_PG)"}, {"db": "service://db:pg"}),
        ({"URL": "http://$(DB_PORT_5432_TCP_ADDR)"}, {"db": "service://db:5432"}),
        ({"MY_URL": "x://$(DB_SERVICE_HOST):1", **SERVICE}, {"db": "service://db:5432"}),
        ({"REDIS_PORT": "6379"}, {}),
        ({"GRPC_SERVICE_PORT": "50051"}, {}),
        ({"A_SERVICE_HOST": "http://auth:80", "A_SERVICE_PORT": "80"}, {"a-service": "http://auth:80"}),
        ({"A_SERVICE_HOST": "auth:81"}, {"a-service": "tcp://auth:81"}),
        ({"A_SERVICE_HOST": "Db1", "A_SERVICE_PORT": "80"}, {"db1": "service://db1:80"}),
        ({"A_SERVICE_HOST": "fd00::7", "A_SERVICE_PORT": "80"}, {"a": "service://a:80"}),
        ({"PGHOST": "db", "PGPORT": "5433"}, {"pg": f"{PG}://db:5433"}),
        ({"PGHOST": "db"}, {"pg": f"{PG}://db:5432"}),
        ({"DB_HOST": "fd00::7", "DB_PORT": "5432"}, {"db": "tcp://[fd00::7]:5432"}),
        ({"DATABASE_HOST": "db:5432"}, {"database": "tcp://db:5432"}),
        ({"spring.datasource.url": "jdbc:postgresql://db/x"}, {"spring-datasource": f"{PG}://db:5432"}),
        ({"spring.data.host": "db", "spring.data.port": "1"}, {"spring-data": "tcp://db:1"}),
        ({"REDIS_EXPORTER_ADDR": "a:9121"}, {"redis-exporter": "tcp://a:9121"}),
        ({"KAFKA_BROKERS": "a:1,b:2", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, {"kafka": "tcp://a:1|tcp://b:2"}),
        (
            {"spring.kafka.bootstrap-servers": "a:1", "spring.kafka.security.protocol": "ssl"},
            {"spring-kafka-bootstrap": "tcp://a:1"},
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, {"otel-exporter-otlp": "tcp://c:4318"}),
        ({"TRACES_ENDPOINT": "http://c:4317"}, {"traces": "tcp://c:4317"}),
        ({"FILE_SERVER": "a:1", "DNS_SERVER": "b:53", "EXEC_URL": "exec://c:1"}, FILES),
        ({"MODEL_URL": "http://minio:9000/models/x.zip"}, {"model": "http://minio:9000"}),
        (
            {"DB_HOST_URL": "tcp://a:1", "DB_URL": "tcp://b:2", "DB_HOST": "c", "DB_PORT": "3"},
            {"db-host": "tcp://a:1", "db": "tcp://b:2", "db-host-2": "tcp://c:3"},
        ),
        ({"DB_URL": "redis://a:1", "DB_HOST": "b", "DB_PORT": "2"}, {"db": "redis://a:1", "db-host": "tcp://b:2"}),
        ({"SMTP_ADDRESS": "relay", "SMTP_PORT": "587"}, {"smtp": "smtp://relay:587"}),
        ({"REDIS_SERVER": "a:7", "REDIS_PORT": "8"}, {"redis": "redis://a:7"}),
        (
            {"POSTGRES_SEEDS": "pg", "CASSANDRA_SEEDS": "c"},
            {"postgres": f"{PG}://pg:5432", "cassandra": "tcp://c:9042"},
        ),
        ({"SPRING_KAFKA_BOOTSTRAPSERVERS": "k:29092"}, {"spring-kafka": "kafka://k:29092"}),
        (
            {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://u:p@pg/x", "OTHER_CONN": "keepalive:3"},
            {"airflow-database-sql-alchemy": f"{PG}://pg:5432"},
        ),
        ({"CELERY_RESULT_BACKEND": "db+postgresql://u:p@pg/x"}, {"celery": f"{PG}://pg:5432"}),
        ({"DB_SOURCE": "postgresql://u:p@pg/x", "DATA_SOURCE": "a:1"}, {"db": f"{PG}://pg:5432"}),
        ({"IMAGE_SOURCE": "https://git.example/x", "THEME_SOURCE": "git://git.example/x"}, {}),
        ({"GITALY_ADDRESS": "unix:/var/opt/gitaly.socket"}, {"gitaly": "unix:///var/opt/gitaly.socket"}),
    ],
)
def test_each_form_is_one_dependency(environ: dict[str, str], found: dict[str, str]) -> None:
    """What belongs together is one, with the name of the variable's stem."""
    if "redis" not in KINDS:
        found = {name: target.replace("redis://", "tcp://") for name, target in found.items()}
    assert targets(environ) == found


@pytest.mark.parametrize(
    "name",
    [
        "http_proxy",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSH_AUTH_ADDR",
        "PWD",
        "OLDPWD",
        "HOSTNAME",
        "PATH",
        "GATEKEEPER_STATUS_ADDR",
        *("HOST", "PORT", "URL", "LD_LIBRARY_PATH", "LANG", "NOTIFY_SOCKET", "GOPROXY"),
        *("A\x1b[2J_URL", "A B_URL", "\udcff_URL", "\u00e9_URL"),
    ],
)
def test_noise_tells_of_nothing(name: str) -> None:
    """What every environment has, and what is ours, is not looked at, whatever it says."""
    assert inference({name: "http://10.0.0.1:80"}) == Inference()


def test_what_is_inferred_says_from_what() -> None:
    """All the variables of a dependency are told, and what was assumed."""
    assert inference({"DB_HOST": "$(DB_SERVICE_HOST)", "DB_URL": "x://$(DB_SERVICE_HOST)"}).found == (
        Inferred("db", "service://db", ("DB_HOST", "DB_URL"), f"{LEFT_NOTE}; its port is asked of DNS"),
    )


def test_what_is_left_out_says_why() -> None:
    """A variable that was looked at and tells of nothing is not passed over in silence."""
    environ = {"A_URL": "sqlite:///x", "B_URL": "/static", "C_HOST": "c", "D_PORT": "80", "E_URL": "http://e"}
    environ |= {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_PORT": "tcp://10.0.0.1:443"}
    assert [tuple(each) for each in inference(environ, ("*", "!E_*")).left_out] == [
        ("E_URL", "is excluded by the pattern"),
        ("KUBERNETES_SERVICE_HOST", "is the API server: --from-env='*,KUBERNETES_*' names it"),
        ("A_URL", "names no server of a network"),
        ("B_URL", "is a path"),
        ("D_PORT", "is a port without a host"),
        ("C_HOST", "names a host without a port, and no protocol that has a usual one"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("APP_URL", "http://localhost", "tells by its name where the program itself is to be found"),
        ("OAUTH_REDIRECT_URI", "https://my.example/x", "tells by its name where the program itself is to be found"),
        ("VIRTUAL_HOST", "my.example", "tells by its name where the program itself is to be found"),
        ("DJANGO_ALLOWED_HOSTS", "my.example:80", "tells by its name where the program itself is to be found"),
        ("GF_SERVER_ROOT_URL", "https://my.example", "tells by its name where the program itself is to be found"),
        ("KC_HOSTNAME_URL", "https://my.example", "tells by its name where the program itself is to be found"),
        ("FRONTEND_URL", "http://localhost:5173", "tells by its name where the program itself is to be found"),
        ("AIRFLOW__API__BASE_URL", "http://localhost", "tells by its name where the program itself is to be found"),
        ("NEXT_PUBLIC_API_URL", "http://localhost:4000", "is for a browser"),
        ("STATSD_ADDR", "statsd:8125", "is for datagrams by its name, which no connection can be made for"),
        ("PIP_INDEX_URL", "https://pypi.example/simple", "is a setting of a package manager"),
        ("PHP_URL", "https://php.example/distributions/php-8.2.1.tar.xz", "names a file of the web"),
        ("PHP_ASC_URL", "https://php.example/php-8.2.1.tar.xz.asc?x=1", "names a file of the web"),
        ("PYTHON_GET_PIP_URL", "https://hub.example/get-pip.py", "names a file of the web"),
    ],
)
def test_what_images_and_frameworks_have_for_themselves_is_passed_over(name: str, value: str, why: str) -> None:
    """Whoever waits for its own address waits for ever; the reason says how to name such a variable."""
    way_in = f"--from-env='*,{name}' names it"
    assert [tuple(each) for each in inference({name: value}).left_out] == [(name, f"{why}: {way_in}")]
    if name != "VIRTUAL_HOST":
        assert len(inference({name: value}, ("*", name)).found) == 1


def test_a_port_of_a_service_without_its_host_is_an_applications_own() -> None:
    """The kubelet makes the two together."""
    assert inference({"GRPC_SERVICE_PORT": "50051"}).left_out == (
        LeftOut("GRPC_SERVICE_PORT", "is a port without a host"),
    )
    assert targets({"DB_SERVICE_PORT": "1"}, needs=["DB_SERVICE_HOST"]) == {"db": "service://db:1"}


def test_a_namespace_of_thousands_of_services_is_a_short_story() -> None:
    """Ten of them are told each, and what to do about the rest; a pattern finds the one that is meant."""
    environ = {}
    for number in range(2500):
        environ |= {name.replace("DB", f"MY_DB{number}"): value for name, value in SERVICE.items()}
        environ |= {name.replace("DB", f"DB{number}"): value for name, value in SERVICE.items()}
    *ten, last = problems_of(environ, "*")
    assert len(ten) == 10
    assert all("may mean a service my-db" in each for each in ten)
    assert last == (
        "environment: 2490 more services may have two names each: name those that are needed, as in "
        "--from-env='DB_*,REDIS_*', or keep the others away (enableServiceLinks: false in the pod)"
    )
    assert targets(environ, "DB7_*") == {"db7": "service://db7:5432"}


def test_patterns_choose() -> None:
    """Several with commas, `!` for all but these, and an exact name for a variable of any name."""
    environ = {"A_URL": "tcp://a:1", "B_URL": "tcp://b:1", "BACKEND": "c:1"}
    assert targets(environ, "A_*") == {"a": "tcp://a:1"}
    assert targets(environ, "!A_*") == {"b": "tcp://b:1"}
    assert targets(environ, "A_URL", "BACKEND") == {"a": "tcp://a:1", "backend": "tcp://c:1"}
    assert targets(environ, "!*") == {}


def test_the_api_server_is_waited_for_where_it_is_named() -> None:
    """It is in a namespace of its own."""
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert targets(environ, "KUBERNETES_*") == {"kubernetes": "service://kubernetes.default:443"}


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        (["REDIS_SERVICE_HOST"], {"redis": "service://redis"}),
        (["REDIS_SERVICE_HOST", "REDIS_SERVICE_PORT_HTTP"], {"redis": "service://redis:http"}),
        (["REDIS_SERVICE_PORT_HTTP"], {"redis": "service://redis:http"}),
    ],
)
def test_what_is_needed_and_not_set_is_waited_for(needs: list[str], found: dict[str, str]) -> None:
    """The service is inferred from the name, with nothing in the environment and no pattern."""
    problems: list[Problem] = []
    source = infer((), needs, {"X_URL": "tcp://x:1"}, (), problems)
    assert problems == []
    assert source.inference
    assert {each.name: each.target for each in source.inference.found} == found


def test_what_is_needed_and_set_is_waited_for_by_its_value() -> None:
    """Being set is not being there."""
    assert inference(SERVICE, (), ["DB_SERVICE_HOST"]).found[0].target == "service://db:5432"
    assert inference({"DATABASE_URL": "postgres://db"}, (), ["DATABASE_URL"]).found[0].target == f"{PG}://db:5432"


A_B = "may mean a service a-b or a.b: write it out, as in a-b=service://a-b:PORT"


DOUBT = (
    "variable DB_SERVICE_PORT: may be a port of db or a link of db-service, not being set: "
    "write --needs DB_SERVICE_HOST or --needs DB_SERVICE_SERVICE_HOST"
)


@pytest.mark.parametrize(
    ("environ", "needs", "message"),
    [
        ({}, ["A_B_SERVICE_HOST"], f"variable A_B_SERVICE_HOST: {A_B}"),
        (
            {"A_B_SERVICE_HOST": "10.0.0.1"},
            [],
            f"variable A_B_SERVICE_HOST: {A_B}, or leave it out with --from-env='*,!A_B_*'",
        ),
        (
            {"X_HOST": "$(A_B_SERVICE_HOST)"},
            [],
            f"variable X_HOST: {A_B}, or leave it out with --from-env='*,!X_HOST'",
        ),
        ({"X_HOST": "$(DB_SERVICE_PORT_80_TCP_ADDR)"}, [], DOUBT.replace("DB_SERVICE_PORT", "X_HOST", 1)),
        (
            {},
            ["DB_SERVICE_PORT"],
            DOUBT,
        ),
        (
            {},
            ["DB_PORT"],
            "variable DB_PORT: may be an application's own or a link: write --needs DB_SERVICE_HOST",
        ),
        (
            {},
            ["DB_URL"],
            "variable DB_URL: is not set, and names no service: write its dependency out, or --needs X_SERVICE_HOST",
        ),
        ({"DB_URL": "/x"}, ["DB_URL"], "variable DB_URL: is a path: write its dependency out, as in db=tcp://db:5432"),
    ],
)
def test_what_could_be_two_things_is_a_problem(environ: dict[str, str], needs: list[str], message: str) -> None:
    """Nothing is guessed; the message says how to write it out."""
    assert problems_of(environ, "*", needs=needs) == [message]


def test_a_variable_that_is_named_and_not_set_is_a_problem() -> None:
    """Whoever names one means it."""
    assert problems_of({}, "DB_URL") == [
        "--from-env: DB_URL is not set: set it, or say --needs X_SERVICE_HOST of a service that is yet to come"
    ]


@pytest.mark.parametrize(
    "declaration",
    [
        Declaration("a-b", (Target("tcp://x:1", (), "argument 1"),), (), "argument 1"),
        Declaration("x", (Target("service://a-b.prod:1", (), "argument 1"),), (), "argument 1"),
    ],
)
def test_what_is_written_out_is_ambiguous_no_more(declaration: Declaration) -> None:
    """The way out that the message tells is one."""
    assert inference({"A_B_SERVICE_HOST": "10.0.0.1"}, declared=[declaration]).found == ()
