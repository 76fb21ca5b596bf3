"""What declarations mean: every problem with its place and exact words, precedence; no secrets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.sources import gather, our_variables
from gatekeeper.model import Address, Dependency, GateOptions, Plan, Setting
from gatekeeper.options import GATE, variable
from gatekeeper.plan import make_plan
from gatekeeper.probes import KINDS
from gatekeeper.watch import unwatched

TCP = "endpoints, linger, send, expect"
COMMON = "timeout, attempt_timeout, interval, max_interval, successes, stable_for, delay, optional, invert, after, need"


def planned(*argv: str, **environ: str) -> Plan:
    """Return the plan of these arguments and this environment."""
    problems: list[Problem] = []
    arguments = parse_arguments(argv, problems, environ)
    return make_plan(gather(arguments.source, environ, problems), problems)


def problems(*argv: str, **environ: str) -> list[str]:
    """Return the problems of these arguments and this environment, as they are shown."""
    with pytest.raises(BadDeclarationError) as error:
        planned(*argv, **environ)
    return [str(problem) for problem in error.value.problems]


def only(*argv: str, **environ: str) -> Dependency:
    """Return the one dependency of a plan."""
    (dependency,) = planned(*argv, **environ).dependencies
    return dependency


ESCAPES = "\\r, \\n, \\t, \\0, \\\\ or \\xNN"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tpc://db:5432", "argument 1: unknown kind tpc; did you mean tcp?"),
        (
            "redis+sentinel://s:26379",
            "argument 1: unknown kind redis+sentinel: a Sentinel is asked as itself: write redis://HOST:26379",
        ),
        ("redis+socket:///s", "argument 1: unknown kind redis+socket: write redis://localhost unix=/PATH"),
        ("mqtt+ssl://b", "argument 1: unknown kind mqtt+ssl: write mqtts://HOST"),
        ("kafka+ssl://b", "argument 1: unknown kind kafka+ssl: write kafka://HOST, and tls=yes behind it"),
        ("smtp+tls://m", "argument 1: unknown kind smtp+tls: write smtp://HOST:587, and starttls=yes behind it"),
        (
            "elasticsearch+https://e",
            "argument 1: unknown kind elasticsearch+https: write elasticsearch://HOST:PORT, and tls=yes behind it",
        ),
        ("u:s3cret@tcp(db:3306)/app", "argument 1: is written as for Go's MySQL driver: put mysql:// before it"),
        (
            "a:9092,b:9092",
            "argument 1: has no kind: write KIND:// before the first server, as in kafka://a:9092,b:9092",
        ),
        (
            "c.redis.test:6380,password=s3cret,ssl=True",
            "argument 1: has no kind: write KIND:// before the first server, as in kafka://a:9092,b:9092",
        ),
        (
            "SASL_SSL://a:9092",
            "argument 1: has no kind: of a Kafka, write kafka:// before it, as in kafka://SASL_SSL://HOST:PORT",
        ),
        (
            "x=Server=tcp:db,1433;Password=s3cret",
            (
                "argument 1: has no kind, but looks like settings of a driver: "
                "write a URL, as in postgres://USER@HOST:PORT/DATABASE"
            ),
        ),
        ("gopher://db", f"argument 1: unknown kind gopher; known are {', '.join(KINDS)}"),
        ("tcp://db:5432 timout=2m", "argument 1: timout: tcp has no option timout; did you mean timeout?"),
        ("tcp://db:5432 optionl", "argument 1: optionl: tcp has no option optionl; did you mean optional?"),
        ("tcp://db:1 redirects=3", f"argument 1: redirects: tcp has no option redirects; known are {TCP}, {COMMON}"),
        ("tcp://db:5432 successes=0", "argument 1: successes: '0' is no whole number from 1 to 1000000"),
        ("tcp://db:5432 successes=two", "argument 1: successes: 'two' is no whole number from 1 to 1000000"),
        ("tcp://db:5432 successes", "argument 1: successes: needs a value"),
        (
            "tcp://db:5432 timeout=3x",
            "argument 1: timeout: '3x' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds",
        ),
        (
            "tcp://db:5432 delay=-1",
            "argument 1: delay: '-1' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds",
        ),
        ("tcp://db:5432 interval=0", "argument 1: interval: '0' is too short for a pause: write at least 1ms"),
        ("tcp://db:1 timeout=1 timeout=2", "argument 1: timeout: is given 2 times, and takes one value"),
        ("tcp://db:5432 optional=maybe", "argument 1: optional: 'maybe' is neither true nor false"),
        (
            "tcp://db:5432 interval=2s max_interval=1s",
            "argument 1: max_interval: max_interval is shorter than interval: make it as long at least",
        ),
        (
            "c=tcp://a:1|tcp://b:1 need=3",
            "argument 1: need: 3 are needed of 2: write at most that many",
        ),
        ("tcp://db:5432 need=2", "argument 1: need: 2 are needed of 1: write at most that many"),
        ("tcp://db:0", "argument 1: '0' is no port: write a number from 1 to 65535"),
        ("tcp://db:65536", "argument 1: '65536' is no port: write a number from 1 to 65535"),
        ("tcp://db:s3cret", "argument 1: has no number as its port (it is not shown): write a number from 1 to 65535"),
        ("tcp://db", "argument 1: has no port: write tcp://HOST:PORT"),
        (
            "http://etcd-0:2379,http://etcd-1:2379",
            "argument 1: takes one server: write several as alternatives, with | between their whole targets",
        ),
        ("postgres://app@db query=", "argument 1: query: must not be empty"),
        (
            "tcp://::1:5432",
            "argument 1: '::1:5432' looks like an IPv6 address: write it in brackets, as in [::1]:5432",
        ),
        (
            "tcp://[::g]:1",
            "argument 1: '[::g]:1' is no IPv6 address in brackets: write [::1] or [::1]:5432",
        ),
        ("tcp://db:1 endpoints=0", "argument 1: endpoints: '0' is neither any, all nor a whole number from 1"),
        (
            "tcp://db:1 expect=[",
            "argument 1: expect: '[' is no regular expression: unterminated character set at position 0",
        ),
        (
            "tcp://db:1 send=\\\\q",
            "argument 1: send: has an unknown escape (its text is not shown): write " + ESCAPES,
        ),
        ("a=tcp://db:1 after=b", "argument 1: after: there is no dependency named b; known are a"),
        ("a=tcp://db:1 after=a", "argument 1: after: goes in a circle: a after a"),
        ("tcp://db:1 after=' , '", "argument 1: after: must not be empty"),
    ],
)
def test_a_bad_dependency_is_told_with_its_place_and_what_would_be_right(line: str, problem: str) -> None:
    """One bad line for each rule, and just these words."""
    assert problems(line) == [problem]


def test_all_problems_are_told_at_once_each_with_its_place() -> None:
    """Arguments, variables and options are all looked at before anyone is told, problems found early first."""
    assert problems(
        "tcp://db:99999 succeses=2 timeout=x",
        "db=tcp://db:1 after=cashe",
        "cache=tcp://cache:1 optional=perhaps",
        "--sucesses=3",
        "--interval=soon",
        GATEKEEPER_TIMOUT="3",
        GATEKEEPER_SUCCESSES="-1",
    ) == [
        "--sucesses: unknown option; did you mean --successes?",
        "GATEKEEPER_TIMOUT: unknown variable; did you mean GATEKEEPER_TIMEOUT?",
        "--interval: 'soon' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds",
        "GATEKEEPER_SUCCESSES: '-1' is no whole number from 1 to 1000000",
        "argument 1: succeses: tcp has no option succeses; did you mean successes?",
        "argument 1: '99999' is no port: write a number from 1 to 65535",
        "argument 1: timeout: 'x' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds",
        "argument 3: optional: 'perhaps' is neither true nor false",
        "argument 2: after: there is no dependency named cashe; did you mean cache?",
    ]


def test_a_name_used_twice_is_told_and_so_is_what_else_is_wrong_with_the_second() -> None:
    """Two dependencies of one source need two names, whether given or made from the target."""
    assert problems("a=tcp://a:1", "a=tcp://b:70000", "tcp://c:1", "tcp://c:1 timout=3") == [
        "argument 2: the name a is used by argument 1 already: give it another",
        "argument 2: '70000' is no port: write a number from 1 to 65535",
        "argument 4: the name tcp://c:1 is used by argument 3 already: give it another",
        "argument 4: timout: tcp has no option timout; did you mean timeout?",
    ]


@pytest.mark.parametrize(
    ("lines", "place", "circle"),
    [
        (["a=tcp://a:1 after=b", "b=tcp://b:1 after=a"], "argument 1", "a after b after a"),
        (
            ["x=tcp://x:1", "a=tcp://a:1 after=x,b", "b=tcp://b:1 after=c", "c=tcp://c:1 after=x after=a"],
            "argument 2",
            "a after b after c after a",
        ),
    ],
)
def test_an_order_that_goes_in_a_circle_is_told_once(lines: list[str], place: str, circle: str) -> None:
    """A circle is told as it goes round, at the first of those in it."""
    assert problems(*lines) == [f"{place}: after: goes in a circle: {circle}"]


def test_what_leads_into_a_circle_is_not_in_it() -> None:
    """A dependency that comes after one in a circle is not blamed."""
    lines = ["d=tcp://d:1 after=a", "a=tcp://a:1 after=b", "b=tcp://b:1 after=a"]
    assert problems(*lines) == ["argument 2: after: goes in a circle: a after b after a"]


def test_an_order_without_a_circle_is_good() -> None:
    """Two ways to the same dependency are no circle."""
    lines = ["a=tcp://a:1", "b=tcp://b:1 after=a", "c=tcp://c:1 after=a", "d=tcp://d:1 after=b,c"]
    assert planned(*lines).dependencies[3].after == ("b", "c")


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--sucesses=3"], "--sucesses: unknown option; did you mean --successes?"),
        (["-z"], "-z: unknown option: --help shows the options"),
        (["--xyzzy=hunter2"], "--xyzzy: unknown option: --help shows the options"),
        (["--timeout"], "--timeout: needs a value: write --timeout D"),
        (["--timeout", "--", "true"], "--timeout: needs a value: write --timeout D"),
        (["-t"], "--timeout: needs a value: write --timeout D"),
        (["--timeout="], "--timeout: '' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds"),
        (["--timeout=1", "-t2"], "--timeout: is given 2 times, and takes one value"),
        (["--any=maybe"], "--any: 'maybe' is neither true nor false"),
        (["--on-timeout=ignore"], "--on-timeout: 'ignore' is not one of fail, continue"),
        (["--notify=of"], "--notify: 'of' is not one of auto, ready, status, off; did you mean off?"),
        (["--notify-fd=2"], "--notify-fd: '2' is no whole number from 3 to 1000000"),
        (["--bypass="], "--bypass: says no reason: write why in a line, or leave it out"),
        (
            ["--interval=2", "--max-interval=1"],
            "--max-interval: max_interval is shorter than interval: make it as long at least",
        ),
        (["--"], "--: no command follows: write -- COMMAND [ARG]..."),
        (["--", ""], "--: no command follows: write -- COMMAND [ARG]..."),
    ],
)
def test_a_bad_option_of_the_gate_is_told(argv: list[str], problem: str) -> None:
    """One bad option for each rule, and just these words; a value is shown only where it cannot be a secret."""
    assert problems("tcp://db:5432", *argv) == [problem]


def test_no_dependency_at_all_is_a_problem() -> None:
    """A gate in front of nothing was not meant, and is no gate that opens."""
    how = "name one as an argument (tcp://db:5432), in GATEKEEPER_DEPENDENCIES, or in a plan file (--file)"
    for environ in ({}, {"GATEKEEPER_DEPENDENCIES": " \n# none\n"}):
        assert problems(**environ) == [f"dependencies: there is none: {how}"]


def test_arguments_stand_in_any_order_before_the_command() -> None:
    """Options may precede and follow dependencies, in all their spellings; what follows -- is left alone."""
    found: list[Problem] = []
    argv = ["-q", "tcp://a:1", "-t5s", "--any", "b=tcp://b:1 timeout=2m", "--interval", "1s", "--", "./app", "-t", "--"]
    arguments = parse_arguments(argv, found, {})
    assert arguments.command == ("./app", "-t", "--")
    assert not arguments.wants_help
    plan = make_plan([arguments.source], found)
    assert [dependency.name for dependency in plan.dependencies] == ["tcp://a:1", "b"]
    assert [dependency.origin for dependency in plan.dependencies] == ["argument 1", "argument 2"]
    assert plan.options == GateOptions(timeout=5.0, any=True, quiet=True, interval=1.0)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_asked_for_anywhere(word: str) -> None:
    """Help is wanted wherever it is said, but not behind --."""
    assert parse_arguments(["tcp://a:1", word], [], {}).wants_help
    assert not parse_arguments(["tcp://a:1", "--", "app", word], [], {}).wants_help


def test_a_dependency_may_be_a_variable_and_nothing_else() -> None:
    """An application's own URL is a declaration, with a name and without, whichever argument it is."""
    problems: list[Problem] = []
    environ = {"DATABASE_URL": "redis://cache", "TIME": "3s"}
    argv = ["db=${DATABASE_URL}", "tcp://a:1", "other-db=${DATABASE_URL}", "${DATABASE_URL}"]
    found = parse_arguments(argv, problems, environ).source.dependencies
    assert problems == []
    assert [(each.name, each.targets[0].url) for each in found] == [
        ("db", "redis://cache"),
        (None, "tcp://a:1"),
        ("other-db", "redis://cache"),
        (None, "redis://cache"),
    ]
    parse_arguments(["tcp://a:1", "timeout=${TIME}"], problems, environ)
    assert [str(problem) for problem in problems] == [
        "argument 2: is an option: write it into the argument of its dependency, as 'tcp://db:5432 timeout=3s'"
    ]
    problems = []
    parse_arguments(["postgres://db", "table=orders"], problems, environ)
    assert len(problems) == 1, "a program may have been meant by a word, and is not by an option"


@pytest.mark.parametrize("argv", [["-t2s"], ["-t", "2s"], ["-t=2s"], ["--timeout", "2s"], ["--timeout=2s"]])
def test_an_option_may_be_spelled_in_every_usual_way(argv: Sequence[str]) -> None:
    """Short and long, with the value attached, behind an equals sign or as the next word."""
    assert planned("tcp://a:1", *argv).options.timeout == 2.0


def test_a_flag_may_be_repeated_and_taken_back() -> None:
    """The last word on a flag counts."""
    assert planned("tcp://a:1", "-v", "-v").options.verbose
    assert not planned("tcp://a:1", "--any", "--any=false").options.any


@pytest.fixture
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a plan file with a few options and dependencies."""
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(
        "timeout: 1m\nsuccesses: 2\ninterval: 3s\n"
        "dependencies:\n  db: tcp://file:1 timeout=9s\n  file: tcp://file:2\n  other: tcp://file:3\n"
    )
    return str(path)


def test_arguments_go_before_the_environment_before_the_file(plan_file: str) -> None:
    """Each option is taken from the highest place that says it, and the plan knows which."""
    environ = {"GATEKEEPER_SUCCESSES": "3", "GATEKEEPER_INTERVAL": "4s", "GATEKEEPER_FILE": plan_file}
    plan = planned("--interval=5s", **environ)
    assert (plan.options.timeout, plan.options.successes, plan.options.interval) == (60.0, 3, 5.0)
    settings = {setting.key: setting for setting in plan.settings}
    assert settings["interval"] == Setting("interval", "5s", "--interval")
    assert settings["successes"] == Setting("successes", "3", "GATEKEEPER_SUCCESSES")
    assert settings["timeout"] == Setting("timeout", "1m", f"{plan_file}: timeout")
    assert settings["on_timeout"] == Setting("on_timeout", "fail", "default")


def test_a_dependency_of_the_same_name_is_replaced_whole(plan_file: str) -> None:
    """Nothing of a replaced dependency survives, its options neither; its place in the plan stays."""
    plan = planned("db=tcp://argument:1", "--file", plan_file, GATEKEEPER_DEPENDENCIES="file=tcp://variable:2")
    assert [(each.name, each.target, each.timeout) for each in plan.dependencies] == [
        ("db", "tcp://argument:1", None),
        ("file", "tcp://variable:2", None),
        ("other", "tcp://file:3", None),
    ]
    assert [each.origin for each in plan.dependencies] == [
        "argument 1",
        "GATEKEEPER_DEPENDENCIES line 1",
        f"{plan_file}: dependencies.other",
    ]


def test_the_file_of_an_argument_replaces_that_of_the_environment(plan_file: str) -> None:
    """--file wins over GATEKEEPER_FILE, which is not read then."""
    assert planned("-f", plan_file, GATEKEEPER_FILE="/nowhere.yaml").options.timeout == 60.0


def test_a_plan_file_names_no_other(tmp_path: Path) -> None:
    """What would have no effect in a plan file is a problem there."""
    path = tmp_path / "plan.toml"
    path.write_text('file = "other.yaml"\n[dependencies]\na = "tcp://a:1"\n')
    assert problems("-f", str(path)) == [f"{path}: file: a plan file names no other: write all into one"]


def test_lower_places_are_checked_although_they_do_not_count() -> None:
    """A bad value is a problem even where a higher place says another."""
    assert problems("tcp://a:1", "--timeout=3s", GATEKEEPER_TIMEOUT="soon") == [
        "GATEKEEPER_TIMEOUT: 'soon' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds"
    ]


def test_an_empty_variable_is_as_good_as_none() -> None:
    """Where a manifest leaves a variable empty, the default counts."""
    assert planned("tcp://a:1", **{variable(key): "" for key in GATE}).options == GateOptions()


def test_every_option_of_the_gate_has_its_variable() -> None:
    """GATEKEEPER_MAX_INTERVAL is --max-interval, and so on for each; the command does not inherit them."""
    said = {
        "timeout": "1m",
        "attempt_timeout": "1s",
        "interval": "2s",
        "max_interval": "3s",
        "successes": "2",
        "stable_for": "4s",
        "any": "yes",
        "on_timeout": "continue",
        "bypass": "drill",
        "notify": "off",
        "notify_fd": "9",
        "ready_file": "/r",
        "export_env": "/e",
        "from_env": "A_*,!A_B",
        "needs": "A_SERVICE_HOST,B_SERVICE_HOST",
        "termination_log": "off",
        "report": "/p",
        "log_format": "json",
        "quiet": "1",
        "verbose": "on",
        "start_timeout": "5s",
        "stop_timeout": "6s",
        "watchdog": "7s",
        "status": "unix:/run/x.sock,[::1]:80,:8080",
        "keep_watching": "on",
        "pod_info": "/i",
        "context": "staging",
        "pod_condition": "example.com/open",
        "event": "on",
        "notify_socket": "/n",
        "notify_uid": "1000,1001",
        "notify_access": "main",
        "output": "json",
    }
    assert {*said, "file"} == set(GATE)
    options = planned("tcp://a:1", **{variable(key): text for key, text in said.items()}).options
    assert options == GateOptions(
        timeout=60.0,
        attempt_timeout=1.0,
        interval=2.0,
        max_interval=3.0,
        successes=2,
        stable_for=4.0,
        any=True,
        on_timeout="continue",
        start_timeout=5.0,
        stop_timeout=6.0,
        watchdog=7.0,
        status=(Address("/run/x.sock"), Address(None, "::1", 80), Address(None, None, 8080)),
        keep_watching=True,
        pod_info="/i",
        context="staging",
        pod_condition="example.com/open",
        event=True,
        notify_socket="/n",
        notify_uid=(1000, 1001),
        notify_access="main",
        bypass="drill",
        notify="off",
        notify_fd=9,
        ready_file="/r",
        export_env="/e",
        from_env=("A_*", "!A_B"),
        needs=("A_SERVICE_HOST", "B_SERVICE_HOST"),
        termination_log="off",
        report="/p",
        log_format="json",
        quiet=True,
        verbose=True,
        output="json",
    )
    assert our_variables() == {variable(key) for key in GATE} | {"GATEKEEPER_DEPENDENCIES"}


@pytest.mark.parametrize(
    "name",
    [
        "GATEKEEPER_SERVICE_HOST",
        "GATEKEEPER_SERVICE_PORT",
        "GATEKEEPER_SERVICE_PORT_HTTPS",
        "GATEKEEPER_PORT",
        "GATEKEEPER_PORT_443_TCP",
        "GATEKEEPER_PORT_443_TCP_PROTO",
        "GATEKEEPER_PORT_443_TCP_PORT",
        "GATEKEEPER_PORT_53_UDP_ADDR",
        "GATEKEEPER_WEB_SERVICE_HOST",
        "GATEKEEPER_WEB_PORT_8080_TCP",
    ],
)
def test_variables_of_a_service_are_not_meant_for_us(name: str) -> None:
    """Kubernetes sets these for a Service whose name begins with gatekeeper; they change nothing."""
    assert planned("tcp://a:1", **{name: "tcp://10.0.0.1:443"}).options == GateOptions()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("GATEKEEPER_TIMOUT", "unknown variable; did you mean GATEKEEPER_TIMEOUT?"),
        ("GATEKEEPER_DEPENDENCY", "unknown variable; did you mean GATEKEEPER_DEPENDENCIES?"),
        ("GATEKEEPER_XYZZY_XYZZY_XYZZY", "unknown variable; unset it, or rename it if it is not meant for gatekeeper"),
    ],
)
def test_an_unknown_variable_is_a_problem_and_its_value_is_not_shown(name: str, problem: str) -> None:
    """A typo in a variable must not silently mean the default."""
    assert problems("tcp://a:1", **{name: "hunter2"}) == [f"{name}: {problem}"]


def test_defaults_are_those_of_the_interface() -> None:
    """A dependency that says nothing has the defaults, and each says where it comes from."""
    dependency = only("tcp://a:1")
    assert dependency._replace(settings=(), alternatives=()) == Dependency("tcp://a:1", "argument 1", ())
    assert dependency.settings == (
        Setting("timeout", "5m", "default"),
        Setting("attempt_timeout", "3s", "default"),
        Setting("interval", "paced by outcome", "default"),
        Setting("max_interval", "paced by outcome", "default"),
        Setting("successes", "1", "default"),
        Setting("stable_for", "0", "default"),
    )


def test_a_dependency_inherits_what_the_gate_says_and_may_say_otherwise() -> None:
    """Options of the gate are the defaults of its dependencies, with their origin."""
    inherited, own = planned(
        "tcp://a:1", "tcp://b:1 successes=1 attempt_timeout=0", "--successes=4", "--attempt-timeout=1s"
    ).dependencies
    assert (inherited.successes, inherited.attempt_timeout) == (4, 1.0)
    assert Setting("successes", "4", "--successes") in inherited.settings
    assert (own.successes, own.attempt_timeout) == (1, None)
    assert Setting("successes", "1", "argument 2: successes") in own.settings


@pytest.mark.parametrize(
    ("line", "timeout"),
    [
        ("tcp://a:1", None),
        ("tcp://a:1 timeout=7", 7.0),
        ("tcp://a:1 optional", 10.0),
        ("tcp://a:1 optional=false", None),
        ("tcp://a:1 optional timeout=1m", 60.0),
        ("tcp://a:1 optional timeout=0", None),
    ],
)
def test_an_optional_one_has_ten_seconds_unless_it_says_otherwise(line: str, timeout: float | None) -> None:
    """Only an optional dependency has a limit of its own by default."""
    dependency = only(line, "--timeout=2m")
    assert dependency.timeout == timeout
    assert [setting.key for setting in dependency.settings].count("timeout") == 1


def test_a_gate_without_a_deadline() -> None:
    """0 is no limit, and the settings show what was said."""
    plan = planned("tcp://a:1", "--timeout=0")
    assert plan.options.timeout is None
    assert plan.dependencies[0].settings[0] == Setting("timeout", "0", "--timeout")


def test_alternatives_share_the_options_of_the_line() -> None:
    """What a line says holds for each of its targets."""
    dependency = only("c=tcp://a:1|tcp://b:1 endpoints=all need=2")
    assert [(each.kind, each.target) for each in dependency.alternatives] == [
        ("tcp", "tcp://a:1"),
        ("tcp", "tcp://b:1"),
    ]
    assert [getattr(each.probe, "endpoints", None) for each in dependency.alternatives] == ["all", "all"]
    assert (dependency.need, dependency.kind, dependency.target) == (2, "tcp", "tcp://a:1|tcp://b:1")
    assert only("c=tcp://a:1|unix:///b").kind == "any"


def test_an_alternative_has_options_of_its_own_in_a_file(tmp_path: Path) -> None:
    """In a plan file an alternative may say what only it has, but nothing that belongs to the dependency."""
    path = tmp_path / "plan.yaml"
    path.write_text(
        "dependencies:\n  c:\n    any:\n    - tcp://a:1\n    - target: http://b/\n      status: 204\n"
        "      optional: true\n"
    )
    assert problems("-f", str(path)) == [
        f"{path}: dependencies.c.any[1].optional: optional is said of the dependency, not of one of its alternatives"
    ]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("tcp://db:5432", "tcp://db:5432"),
        ("http://u:hunter2@api/healthz?token=hunter2#x", "http://***@api/healthz?***#***"),
        ("tcp://a:1|tcp://b:1", "tcp://a:1|tcp://b:1"),
        ("exec:'check --password hunter2'", "exec:check …"),
        ("file:///run/ready", "file:///run/ready"),
    ],
)
def test_a_name_is_made_from_the_target(line: str, name: str) -> None:
    """A dependency without a name is called by its target, without anything secret."""
    assert only(line).name == name


SECRET = "hunter2"  # what must not be seen; split words of it would be found too
SPILLING = [
    f"http://u:{SECRET}@api/",
    f"http://{SECRET}@api/",
    f"https://api/?token={SECRET}#{SECRET}",
    f"https://u:a/{SECRET}@api/",
    f"http://api header='Authorization: Bearer {SECRET}'",
    f"http://api header='Authorization Bearer {SECRET}'",
    f"http://api header=Authorization: Bearer {SECRET}",
    f"http://api header=Authorization: Bearer {SECRET}=",
    f"http://api body={SECRET}",
    f"http://api proxy=http://u:{SECRET}@proxy:3128",
    f"http://api proxy=socks://u:{SECRET}@proxy:3128",
    f"http://api proxy=u:{SECRET}@proxy:bad",
    f"http://u:{SECRET}@api:bad/",
    f"http://u:{SECRET}@[::1/",
    f"http://u:{SECRET}@/",
    f"tcp://u:{SECRET}@db:5432",
    f"tcp://u:{SECRET}@db",
    f"tcp://db:5432/?password={SECRET}",
    f"tcp://db:5432 send={SECRET}",
    f"tcp://db:5432 send={SECRET}\\\\q",
    f"tls://u:{SECRET}@db:5432",
    f"dns://u:{SECRET}@db",
    f"service://u:{SECRET}@db:5432",
    f"postgres://u:{SECRET}@db/app",
    f"exec:'curl -u u:{SECRET} http://api'",
    f"exec:'PASSWORD={SECRET} check'",
    f"exec:'\"check {SECRET}'",
    f"u:{SECRET}@db:5432",
    f"db=u:{SECRET}@db:5432",
    f"//u:{SECRET}@db",
    f"http://api header=Authorization: Basic {SECRET}==",
    f"tcp://db:5432 {SECRET}",
    f"tcp://db:5432 password={SECRET}",
]


def everything(lines: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return all text that comes of a declaration and may be shown: problems, or settings and reports."""
    try:
        plan = planned(*lines, **environ)
    except BadDeclarationError as error:
        return f"{error} {error.problems}"
    return f"{plan.settings} {[each.settings for each in plan.dependencies]} {unwatched(plan)}"


@pytest.mark.parametrize("line", SPILLING)
def test_no_secret_is_ever_shown(line: str) -> None:
    """Whether a declaration is good or bad, nothing that comes of it contains the password or the token in it."""
    assert SECRET not in everything([line], {})
    assert SECRET not in everything([], {"GATEKEEPER_DEPENDENCIES": line})
    assert SECRET not in everything([line.replace(SECRET, "${TOKEN}")], {"TOKEN": SECRET})
    assert SECRET not in everything([line, line], {})


@pytest.mark.parametrize(
    ("target", "kind", "shown"),
    [
        ("postgresql+psycopg2://u:s3cret@db/app", "postgresql", "postgresql://***@db/app"),
        ("postgresql+asyncpg://u@db/app", "postgresql", "postgresql://***@db/app"),
        ("mysql+pymysql://u@db/app", "mysql", "mysql://***@db/app"),
        ("mariadb+mariadbconnector://u@db/app", "mariadb", "mariadb://***@db/app"),
        ("MySQL2://u@db/app", "mysql", "mysql://***@db/app"),
        ("postgis://u@db/app", "postgres", "postgres://***@db/app"),
        ("psql://u@db/app", "postgres", "postgres://***@db/app"),
        ("cockroachdb+psycopg2://u@db:26257/app", "postgres", "postgres://***@db:26257/app"),
        ("pyamqp://guest:s3cret@mq//", "amqp", "amqp://***@mq//"),
        ("pyamqp://u:s3cret@a//;pyamqp://u:s3cret@b//", "amqp", "amqp://***@a//;amqp://***@b//"),
        ("jdbc:postgresql://db/app?user=u&password=s3cret", "postgresql", "postgresql://db/app?***"),
        ("jdbc:aws-wrapper:mysql:loadbalance://a:1,b:2/app", "mysql", "mysql://a:1,b:2/app"),
        ("r2dbc:pool:MariaDB://u:s3cret@db/app", "mariadb", "mariadb://***@db/app"),
        ("mongodb+srv://db.shop.test", "mongodb+srv", "mongodb+srv://db.shop.test"),
    ],
)
def test_an_applications_name_for_its_database_is_understood(target: str, kind: str, shown: str) -> None:
    """Its URL names a driver as well, which is not what is waited for."""
    (alternative,) = only(f"x={target} login=no").alternatives
    assert (alternative.kind, alternative.target) == (kind, shown)
