"""Inference in real runs: what is printed, what is waited for, and what a program is given behind the gate."""

import json
import sys
import textwrap
from pathlib import Path

import pytest
from gate.program import events, listening, refusing, run

sys.path.insert(0, str(Path(__file__).parent.parent / "kinds"))
from network import in_a_network

SECRET = "hunter2"


def test_a_plan_says_what_was_inferred_and_what_was_left_out() -> None:
    """Text and JSON have a section of it, without a password."""
    env = {"AN_URL": f"tcp://u:{SECRET}@db:1/x", "B_URL": "sqlite:///x", "C_URL": "tcp://c:1"}
    done = run("plan", "--from-env=AN_*,B_*,C_*", "c=tcp://other:2", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "an: tcp://db:1 (variable AN_URL)" in done.stdout
    assert "inferred from the environment:\n  an  tcp://db:1  from AN_URL\n" in done.stdout
    assert "replaced by argument 1" in done.stdout
    assert "left out:\n  B_URL  names no server of a network\n" in done.stdout
    assert SECRET not in done.stdout
    data = json.loads(run("plan", "--from-env=AN_*,B_*,C_*", "c=tcp://other:2", "--output=json", env=env).stdout)
    assert data["inference"] == {
        "found": [
            {"name": "an", "target": "tcp://db:1", "variables": ["AN_URL"], "note": "", "replaced_by": None},
            {"name": "c", "target": "tcp://c:1", "variables": ["C_URL"], "note": "", "replaced_by": "argument 1"},
        ],
        "left_out": [{"variable": "B_URL", "why": "names no server of a network"}],
    }
    assert [each["target"] for each in data["dependencies"]] == ["tcp://db:1", "tcp://other:2"]


def test_a_wait_is_for_what_was_inferred_and_logs_it_once() -> None:
    """One line says from what; the gate opens when it is there, and not before."""
    with listening() as port:
        env = {"AN_URL": f"tcp://u:{SECRET}@127.0.0.1:{port}/x", "GATEKEEPER_FROM_ENV": "AN_*"}
        done = run("wait", "--log-format=json", env=env)
    assert done.returncode == 0, done.stderr
    (said,) = [event for event in events(done.stderr) if event["event"] == "plan.inferred"]
    assert said["summary"] == f"an from AN_URL: tcp://127.0.0.1:{port}"
    assert SECRET not in done.stderr
    with refusing() as port:
        env = {"AN_URL": f"tcp://127.0.0.1:{port}"}
        assert run("wait", "--from-env=AN_URL", "--timeout=200ms", env=env).returncode == 124


HOSTILE = {
    "A_URL": f"postgres://u:{SECRET}/x@127.0.0.1:1/app?password={SECRET}",
    "B_URL": f"postgres://u:p@{SECRET}/x@127.0.0.1:1/app",
    "C_URL": f"jdbc:postgresql://127.0.0.1:1/app?user=u&password=p@{SECRET}",
    "D_DSN": f"u:{SECRET}\n@tcp(127.0.0.1:1)/app",
    "E_DSN": f"host=127.0.0.1 port=1 password='{SECRET} {SECRET}'",
    "F_URL": f"https://hooks.example/{SECRET}.zip?x={SECRET}",
    "G_URL": f"http://127.0.0.1:1/{SECRET}?x={SECRET}",
    "H_URL": f"{SECRET}",
    "I_URL": f"amqp://u:\udcff{SECRET}@127.0.0.1:1",
    "J_URL": f"redis://:{SECRET}@$(X_SERVICE_HOST):1",
}


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "--from-env"],
        ["plan", "--from-env", "--output=json"],
        ["plan", f"--from-env={','.join(HOSTILE)}"],
        ["check", "--from-env=*,!J_*", "--output=json"],
        ["wait", "--from-env", "-v", "--log-format=console", "--timeout=200ms"],
        ["wait", "--from-env=*,!J_*", "-v", "--log-format=json", "--timeout=200ms"],
    ],
)
def test_no_password_of_the_environment_is_ever_told(words: list[str], tmp_path: Path) -> None:
    """Neither by a page nor in JSON, a log, a report or an error, whatever the value is like."""
    report = tmp_path / "report"
    env = {**HOSTILE, "GATEKEEPER_TERMINATION_LOG": str(tmp_path / "message"), "GATEKEEPER_REPORT": str(report)}
    done = run(*words, env=env)
    assert done.returncode in (0, 1, 2, 124), done.stderr
    files = "".join(path.read_text() for path in tmp_path.iterdir())
    assert SECRET not in done.stdout + done.stderr + files
    assert "Traceback" not in done.stderr


def test_a_plan_file_may_ask_for_it(tmp_path: Path) -> None:
    """The keys are those of the options."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("from_env: [AN_*, '!AN_X*']\nneeds: [DB_SERVICE_HOST]\n")
    done = run("plan", "-f", plan, env={"AN_URL": "tcp://a:1", "AN_X_URL": "tcp://b:1"})
    assert done.returncode == 0, done.stderr
    assert "an: tcp://a:1" in done.stdout
    assert "db: service://db (" in done.stdout


def test_nothing_inferred_and_nothing_declared_is_an_error_that_says_what_was_looked_at() -> None:
    """An open gate is not what an empty environment means."""
    done = run("wait", "--from-env=AN_*", env={"AN_URL": "sqlite:///x"})
    assert done.returncode == 2
    assert "the environment tells of none (AN_URL names no server of a network)" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from-env", "DATABASE_URL"], "--from-env: takes its value behind =: write --from-env=DATABASE_URL"),
        (["--from-env=a b"], "--from-env: 'a b' is no pattern: write NAME with * and ?, several with commas"),
        (["--needs=a b"], "--needs: 'a b' is no name of a variable: write one, as in REDIS_SERVICE_HOST"),
        (["--needs=A_B_SERVICE_HOST"], "variable A_B_SERVICE_HOST: may mean a service a-b or a.b: write it out"),
        (["tcp://a:1", "--export-env=/tmp/x.env"], "--export-env: no dependency is a service"),
        (["service://a:1", "--export-env=-"], "--export-env: there is no COMMAND whose environment"),
        (["service://a:1", "--export-env=/no/x.env"], "--export-env: /no/x.env: there is no folder /no"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_probed(words: list[str], message: str) -> None:
    """Exit 2, with what would be right."""
    done = run("wait", *words)
    assert done.returncode == 2
    assert message in done.stderr


CLUSTER = """
import subprocess, sys, os, threading
zone = {("redis.prod.svc.cluster.local.", "A"): ["127.0.0.7"],
        ("redis.prod.svc.cluster.local.", "SRV"): ["0 100 6379 redis.prod.svc.cluster.local."],
        ("_http._tcp.redis.prod.svc.cluster.local.", "SRV"): ["0 100 6379 redis.prod.svc.cluster.local."],
        ("many.prod.svc.cluster.local.", "A"): ["127.0.0.7", "127.0.0.8"]}
def gatekeeper(*words, **env):
    done = subprocess.run([sys.executable, "-m", "gatekeeper", *words], env=dict(os.environ, **env),
                          capture_output=True, text=True, timeout=50)
    return done
listeners = [socket.create_server((host, 6379)) for host in ("127.0.0.7", "127.0.0.8")]
"""
SHOW = "env | grep -E '^(REDIS|MY)_' | sort"
EXPECTED = [
    "MY_URL=redis://127.0.0.7:6379/0",
    "REDIS_PORT=tcp://127.0.0.7:6379",
    "REDIS_PORT_6379_TCP=tcp://127.0.0.7:6379",
    "REDIS_PORT_6379_TCP_ADDR=127.0.0.7",
    "REDIS_PORT_6379_TCP_PORT=6379",
    "REDIS_PORT_6379_TCP_PROTO=tcp",
    "REDIS_SERVICE_HOST=127.0.0.7",
    "REDIS_SERVICE_PORT=6379",
]


@pytest.mark.root
@pytest.mark.parametrize("command", ["wait", "run"])
def test_a_program_has_the_variables_of_a_service_that_came_later(tmp_path: Path, command: str) -> None:
    """DNS tells of the service in the middle of the wait; file and environment then have it all."""
    file = tmp_path / "services.env"
    program = f"""
    with Nameserver({{}}, port=53) as server:
        def create():
            server.was_asked.wait(40)
            server.zone.update(zone)
        words = ["--status=off"] if {command!r} == "run" else []
        threading.Thread(target=create, daemon=True).start()
        done = gatekeeper({command!r}, "--needs", "REDIS_SERVICE_HOST", "--export-env", {str(file)!r}, "--timeout=40s",
                          *words, "--", "sh", "-c", {SHOW!r},
                          MY_URL="redis://$(REDIS_SERVICE_HOST):$(REDIS_SERVICE_PORT)/0", REDIS_SERVICE_HOST="")
        print(done.stdout if done.returncode == 0 else done.stderr)
    """
    lines = in_a_network(tmp_path, CLUSTER + textwrap.dedent(program))
    assert [line for line in lines if line] == EXPECTED
    assert "REDIS_SERVICE_HOST='127.0.0.7'\nREDIS_SERVICE_PORT='6379'\n" in file.read_text()


@pytest.mark.root
def test_a_service_of_several_ports_has_the_variables_of_each(tmp_path: Path) -> None:
    """The one that was declared first is its first port, since DNS tells no order; the file may be read by anybody."""
    file = tmp_path / "services.env"
    program = f"""
    also = socket.create_server(("127.0.0.7", 6380))
    os.umask(0o022)
    with Nameserver(zone, port=53) as server:
        words = ["a=service://redis:6380", "b=service://redis:http", "--export-env", {str(file)!r}]
        print(gatekeeper("wait", *words).returncode)
    """
    assert [line for line in in_a_network(tmp_path, CLUSTER + textwrap.dedent(program)) if line] == ["0"]
    assert file.read_text().splitlines() == [
        "REDIS_SERVICE_HOST='127.0.0.7'",
        "REDIS_SERVICE_PORT='6380'",
        "REDIS_PORT='tcp://127.0.0.7:6380'",
        *(f"REDIS_PORT_6380_TCP{form}" for form in ("='tcp://127.0.0.7:6380'", "_PROTO='tcp'", "_PORT='6380'")),
        "REDIS_PORT_6380_TCP_ADDR='127.0.0.7'",
        "REDIS_SERVICE_PORT_HTTP='6379'",
        *(f"REDIS_PORT_6379_TCP{form}" for form in ("='tcp://127.0.0.7:6379'", "_PROTO='tcp'", "_PORT='6379'")),
        "REDIS_PORT_6379_TCP_ADDR='127.0.0.7'",
    ]
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("words", [["--timeout=100ms"], ["bogus://x"], ["--nonsense"], ["-f", "/none.yaml"]])
def test_no_file_of_an_earlier_run_stays_where_the_gate_is_shut(tmp_path: Path, words: list[str]) -> None:
    """Whatever keeps it shut, even a word that is not understood: a program would take it for today's."""
    file = tmp_path / "services.env"
    file.write_text("REDIS_SERVICE_HOST='10.0.0.1'")
    done = run("wait", "service://nobody.invalid:1", *words, "--export-env", file)
    assert done.returncode in (2, 124)
    assert not file.exists()


@pytest.mark.root
def test_what_cannot_be_made_keeps_the_gate_shut(tmp_path: Path) -> None:
    """A headless service has no variables, a port that was not waited for has none, and neither is passed over."""
    file = tmp_path / "services.env"
    file.write_text("old")
    program = f"""
    with Nameserver(zone, port=53) as server:
        for words in (["service://many:6379"], ["redis=service://redis:6379", "--needs=REDIS_SERVICE_PORT_HTTP"]):
            done = gatekeeper("wait", *words, "--export-env", {str(file)!r}, "--", "echo", "opened")
            print(done.returncode, done.stdout, done.stderr.splitlines()[-1])
        done = gatekeeper("wait", "--needs=REDIS_SERVICE_PORT_HTTP", "--export-env=-", "--", "sh", "-c",
                          "echo $REDIS_SERVICE_PORT_HTTP")
        print(done.returncode, done.stdout)
    """
    headless, port, good = [line for line in in_a_network(tmp_path, CLUSTER + textwrap.dedent(program)) if line]
    assert headless.startswith("70 ")
    assert "many has 2 addresses, as a headless service has" in headless
    assert not file.exists()
    assert port.startswith("70 ")
    assert "REDIS_SERVICE_PORT_HTTP would still not be set" in port
    assert good == "0 6379"
