"""The one-line grammar: what a line declares, and what is said of one that declares nothing."""

import pytest

from gatekeeper.declaration import Declaration, Given, Problem, Target
from gatekeeper.declare.line import parse_line
from gatekeeper.values import safe_target


def parsed(text: str, environ: dict[str, str] | None = None) -> Declaration:
    """Return the declaration of a line that has no problem."""
    problems: list[Problem] = []
    declaration = parse_line(text, "argument 1", problems, environ)
    assert problems == []
    assert declaration is not None
    return declaration


def refused(text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return what is said of a line."""
    problems: list[Problem] = []
    parse_line(text, "argument 1", problems, environ)
    return [str(problem) for problem in problems]


def urls(text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return the targets of a line."""
    return [target.url for target in parsed(text, environ).targets]


def test_a_line_is_a_name_a_target_and_options() -> None:
    """Name, target, options with and without value arrive as text, each with its place."""
    assert parsed("db=postgres://postgres:5432 timeout=2m successes=3 optional") == Declaration(
        "db",
        (Target("postgres://postgres:5432", (), "argument 1"),),
        (
            Given("timeout", ("2m",), "argument 1: timeout"),
            Given("successes", ("3",), "argument 1: successes"),
            Given("optional", (), "argument 1: optional"),
        ),
        "argument 1",
    )


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("tcp://db:5432", None, "tcp://db:5432"),
        ("http://x/?a=b", None, "http://x/?a=b"),
        ("a.b-c_1=http://x/?a=b", "a.b-c_1", "http://x/?a=b"),
        ("exec:'python manage.py migrate --check'", None, "exec:python manage.py migrate --check"),
        ("m=exec:'A=b true'", "m", "exec:A=b true"),
        ("tcp://[::1]:80", None, "tcp://[::1]:80"),
        ("x:y=z", None, "x:y=z"),
        ("exec:7z", None, "exec:7z"),
    ],
)
def test_a_name_ends_at_an_equals_sign_before_the_kind(text: str, name: str | None, url: str) -> None:
    """Only what stands before the kind is a name; a URL's own equals sign is not."""
    declaration = parsed(text)
    assert (declaration.name, declaration.targets[0].url) == (name, url)


def test_a_repeated_option_gathers_its_values_in_order() -> None:
    """Two values of one option are one option with two values; a hyphen is an underscore."""
    given = parsed("http://x header='A: 1' attempt-timeout=2s header=B:2").options
    assert [(option.key, option.values) for option in given] == [
        ("header", ("A: 1", "B:2")),
        ("attempt_timeout", ("2s",)),
    ]


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("redis://a:6379|redis://b:6379", ["redis://a:6379", "redis://b:6379"]),
        ("tcp://a:1|exec:true|unix:///s", ["tcp://a:1", "exec:true", "unix:///s"]),
        ("http://x/?q=a|b", ["http://x/?q=a|b"]),
        ("exec:'sh -c \"true|cat\"'", ['exec:sh -c "true|cat"']),
        ("file:///tmp/a|b", ["file:///tmp/a|b"]),
    ],
)
def test_alternatives_are_parted_only_where_a_new_kind_follows(text: str, targets: list[str]) -> None:
    """A bar within a query, a command or a path parts nothing."""
    assert urls(text) == targets


def test_variables_are_replaced_within_words_and_never_become_syntax() -> None:
    """Spaces, quotes, bars and dollars in a variable are text: no option and no alternative comes out of them."""
    environ = {"EVIL": "x' optional timeout=0 |tcp://evil:1 ${SECRET}", "SECRET": "s3cret"}
    declaration = parsed('http://h/${EVIL} body="${EVIL}"', environ)
    assert [target.url for target in declaration.targets] == ["http://h/" + environ["EVIL"]]
    assert [(given.key, given.values) for given in declaration.options] == [("body", (environ["EVIL"],))]


def test_a_whole_target_may_come_from_the_environment() -> None:
    """The kind may stand in the variable, and each of several alternatives too."""
    environ = {"A_URL": "tcp://a:1", "B_URL": "tcp://b:2"}
    assert urls("db=${A_URL} timeout=1s", environ) == ["tcp://a:1"]
    assert urls("${A_URL}|$(B_URL)|${C_URL:-tcp://c:3}", environ) == ["tcp://a:1", "tcp://b:2", "tcp://c:3"]


def test_a_variable_injects_no_alternative() -> None:
    """A bar out of a variable is told instead of being one more target that will do."""
    assert refused("tcp://${H}:1", {"H": "a:1|tcp://b"}) == [
        "argument 1: has no kind behind |: write every alternative whole, as in redis://a:6379|redis://b:6379"
    ]


def test_without_an_environment_nothing_is_replaced() -> None:
    """The text stays as it is where no environment is given."""
    assert urls("http://h/${A}$$") == ["http://h/${A}$$"]


def test_keys_and_names_are_not_replaced() -> None:
    """A variable cannot name an option or a dependency."""
    assert refused("${N}=tcp://a:1 ${K}=1", {"N": "db", "K": "timeout"}) == [
        "argument 1: '${N}' is no name: write at most 63 letters, digits, _ . - and begin with a letter or digit",
        "argument 1: word 2 is neither OPTION=VALUE nor a FLAG: put quotes around a value with spaces",
    ]


EMPTY = "is empty: write [NAME=]TARGET [OPTION=VALUE]..., as in db=tcp://db:5432 timeout=2m"
NO_NAME = "is no name: write at most 63 letters, digits, _ . - and begin with a letter or digit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", EMPTY),
        (" \t ", EMPTY),
        ("'' timeout=1", EMPTY),
        ("db=", "has no target: write one, as in tcp://db:5432"),
        ("=tcp://a:1", f"'' {NO_NAME}"),
        ("-a=tcp://a:1", f"'-a' {NO_NAME}"),
        (f"{'a' * 64}=tcp://a:1", f"'{'a' * 57}…' {NO_NAME}"),
        ("db:5432", "has no kind: write tcp://db:5432"),
        ("[::1]:5432", "has no kind: write tcp://[::1]:5432"),
        ("localhost", "has no kind: write tcp://localhost:PORT"),
        ("/run/app.sock", "has no kind: write file:///PATH for a file or unix:///PATH for a socket"),
        ("db:5432/x", "has no kind: write KIND:// before it, as in tcp://db:5432"),
        (":hunter2@db:5432", "has no kind: write KIND:// before it, as in tcp://db:5432"),
        (
            "redis://a:1|10.0.0.1:1",
            "has no kind behind |: write every alternative whole, as in redis://a:6379|redis://b:6379",
        ),
        ("tcp://a:1 'x", "has a quote that is not closed: close it, or put a \\ before a quote of its own"),
        ("tcp://a:1 \\", "ends with a \\ that stands before nothing: write \\\\ for a backslash"),
        ("tcp://a:1\0", "has a control character (U+0000): remove it"),
        ("tcp://a:1 send=\x1b[2J", "has a control character (U+001B): remove it"),
        ("tcp://a:1\udcff", "is not UTF-8: write it in UTF-8"),
        ("'tcp://a\n:1'", "has a line break, a tab or an invisible character in its target: remove it"),
        ("tcp://a:1 tcp://b:1", "word 2 is another target: declare one dependency here, or put | between alternatives"),
    ],
)
def test_a_bad_line_is_told_with_what_would_be_right(text: str, message: str) -> None:
    """Each fault of a line has its one message, which says what to write."""
    assert refused(text) == [f"argument 1: {message}"]


def test_an_option_both_with_and_without_a_value_is_told() -> None:
    """A flag cannot be repeated and cannot also have a value."""
    message = "argument 1: optional: is given twice, and once without a value: keep one"
    assert refused("tcp://a:1 optional optional=no") == [message]
    assert refused("tcp://a:1 optional=no optional") == [message]


def test_every_problem_of_a_line_is_told_at_once() -> None:
    """The faults of the target and of every option come together."""
    assert refused("localhost x!=1 timeout=${T} optional optional", {}) == [
        "argument 1: has no kind: write tcp://localhost:PORT",
        "argument 1: word 2 is neither OPTION=VALUE nor a FLAG: put quotes around a value with spaces",
        "argument 1: timeout: ${T}: T is not set; set it or write ${T:-fallback}",
        "argument 1: optional: is given twice, and once without a value: keep one",
    ]


def test_no_problem_shows_a_secret() -> None:
    """Neither userinfo, nor a value, nor what came out of the environment appears in a message."""
    environ = {"PW": "hunter2"}
    lines = [
        "postgres:hunter2@db:5432",
        "db;Pwd=hunter2",
        "db=${PW}",
        "db=postgres://u:hunter2@db/|x hunter2!",
        "tcp://a:1 token=hunter2\x01",
        "tcp://a:1 body=${X}hunter2",
        "${X:?hunter2}",
        "tcp://a:1 'hunter2",
    ]
    assert [line for line in lines if "hunter2" in " ".join(refused(line, environ))] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tcp://db:5432", "tcp://db:5432"),
        ("tcp://[::1]:80", "tcp://[::1]:80"),
        ("postgres://u:p@host:5432/db", "postgres://***@host:5432/db"),
        ("redis://:p@host", "redis://***@host"),
        ("nats://u:p@a,nats://u:p@b", "nats://***@a,nats://***@b"),
        ("nats://u:p@a:1,nats://u:p@b:1", "nats://***@b:1"),
        ("nats://a,nats://p/q@b,nats://r@c:1/x", "nats://a,nats://***@c:1/x"),
        ("kafka://SASL_SSL://u:p@a:1", "kafka://SASL_SSL://***@a:1"),
        ("kafka://SASL_SSL://a:1,SASL_SSL://u:p@b", "kafka://SASL_SSL://***@b"),
        ("amqp://u:p@a:1//;amqp://u:p@b:1//", "amqp://***@a:1//;amqp://***@b:1//"),
        ("jdbc:mysql:aws://u:p@db/?x=1&password=p@w", "jdbc:mysql:aws://***@db/?***"),
        ("redis://a:x,redis://b?password=p@w", "redis://***"),
        ("http://a/https://u:p@b/", "http://a/https://***@b/"),
        ("postgres://u:p/q@host", "postgres://***@host"),
        ("postgres://u@v:p?q@host/db", "postgres://***@host/db"),
        ("http://h/p?token=1#part", "http://h/p?***#***"),
        ("https://h/@user", "https://h/@user"),
        ("unix:///run/a.sock", "unix:///run/a.sock"),
        ("user:p@host:5432", "user:***@host:5432"),
        ("exec:true", "exec:true"),
        ("exec:psql -c 'select 1'", "exec:psql …"),
        ("exec:PGPASSWORD=p psql", "exec:*** …"),
        ("exec:", "exec:"),
        ("http://h/a\nb\x1b", "http://h/a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_shown_target_holds_no_secret(url: str, shown: str) -> None:
    """Userinfo, query, fragment and the arguments of a command are hidden, and it stays on one line."""
    assert safe_target(url) == shown
