"""``check``, ``plan``, ``kinds``, ``demo`` and the help: reports on stdout, for people and for programs."""

import json
import re

import pytest
from program import listening, refusing, run

from gatekeeper.pages import kind_page
from gatekeeper.probes import KINDS


def test_check_shows_a_table() -> None:
    """One attempt at each, a row for each, the summary last, and 1 where something required is missing."""
    with refusing() as port, listening() as there:
        done = run("check", f"db=tcp://127.0.0.1:{port}", f"web=tcp://127.0.0.1:{there}")
    head, db, web, summary = done.stdout.splitlines()
    assert head.split() == ["NAME", "STATE", "REASON", "TIME", "DETAIL"]
    assert db.split()[:3] == ["db", "waiting", "refused"]
    assert web.split()[:3] == ["web", "ready", "ready"]
    assert summary == f"1 of 2 not ready: db (refused: 127.0.0.1:{port})"
    assert (done.returncode, done.stderr) == (1, "")


def test_check_of_what_is_there() -> None:
    """0 where everything required is there; the JSON is the report of a wait."""
    done = run("check", "--output=json", "file:///", "x=file:///missing optional")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert (told["gate"], told["cause"]) == ("open", "ready")
    assert [each["state"] for each in told["dependencies"]] == ["ready", "waiting"]
    assert [each["attempts"] for each in told["dependencies"]] == [1, 1]


def test_plan_probes_nothing_and_shows_origins() -> None:
    """Every value stands there with its origin, and nothing was connected."""
    with listening(0) as port:
        env = {"GATEKEEPER_DEPENDENCIES": f"db=tcp://127.0.0.1:{port} timeout=2m", "GATEKEEPER_TIMEOUT": "7m"}
        text = run("plan", "--attempt-timeout=1s", env=env)
        data = json.loads(run("plan", "--attempt-timeout=1s", "--output=json", env=env).stdout)
    assert text.returncode == 0
    assert re.search(rf"^db: tcp://127.0.0.1:{port} \(GATEKEEPER_DEPENDENCIES line 1\)$", text.stdout, re.MULTILINE)
    assert re.search(r"^ +timeout +2m +GATEKEEPER_DEPENDENCIES line 1\b", text.stdout, re.MULTILINE)
    assert re.search(r"^ +attempt_timeout +1s +--attempt-timeout$", text.stdout, re.MULTILINE)
    assert data["gate"]["timeout"] == {"value": "7m", "origin": "GATEKEEPER_TIMEOUT"}
    assert data["dependencies"][0]["options"]["timeout"]["value"] == "2m"


@pytest.mark.parametrize("command", ["wait", "check", "plan"])
def test_every_problem_is_told_at_once(command: str) -> None:
    """A bad declaration is 2 with each problem and its place, and nothing on stdout."""
    done = run(command, "tcp://a", "htp://b", "--timeout=soon")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gatekeeper: 3 problems, nothing was probed\n")
    assert "did you mean http" in done.stderr


def test_kinds_are_listed_and_explained() -> None:
    """Each kind has a row, and a page of its own with its options and an example; all but that fits 80 columns."""
    lines = run("kinds").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-2] if not line.startswith(" ")] == list(KINDS)
    assert max(map(len, lines)) <= 80
    for kind in KINDS:
        page = kind_page(kind)
        assert max(len(line) for line in page.splitlines()[3:]) <= 80
        assert page.startswith(f"{kind}: ")
        assert "attempt_timeout" in page
    for kind in ("https", "amqps", "rabbitmq", "grpcs", "mariadb"):
        assert f"={kind}://" in kind_page(kind)
    assert "gatekeeper-agent[amqp]" in kind_page("amqps")
    assert "gatekeeper-agent" not in kind_page("ssh") + kind_page("tcp")
    shown = run("kinds", "amqps")
    assert (shown.returncode, shown.stdout) == (0, kind_page("amqps"))
    assert run("kinds", "tpc").returncode == 2


@pytest.mark.parametrize(
    "words", [("--help",), ("-h",), ("help",), ("wait", "--help"), ("check", "-h"), ("plan", "--help")]
)
def test_help_is_no_error(words: tuple[str, ...]) -> None:
    """Help goes to stdout and leaves with 0."""
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "DEPENDENCY is [NAME=]TARGET" in done.stdout


def test_what_is_unknown_is_named_with_what_is_near() -> None:
    """No command, or a wrong one, is 2 with a hint."""
    assert run().returncode == 2
    assert "did you mean wait?" in run("wiat").stderr
    assert "write gatekeeper wait tcp://db:1" in run("tcp://db:1").stderr
    assert re.fullmatch(r"gatekeeper \d+\.\d+.*\n", run("--version").stdout)


def test_the_demo_shows_the_main_job() -> None:
    """Within ten seconds or so the program runs, after everything it needs was waited for."""
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert "hello from the program" in done.stdout
    assert "gate.open" in done.stderr
