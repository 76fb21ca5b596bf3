"""Plan files: the same plan in every format, every scalar as it was written, and files that are none."""

import io
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gatekeeper.declaration import Declaration, Given, Problem, Source, Target
from gatekeeper.declare.file import read_plan

YAML = """\
timeout: 5m
on-timeout: continue
dependencies:
  db: tcp://postgres:5432 timeout=2m
  api:
    target: https://api:8443/healthz
    status: [200, 204]
    attempt-timeout: 2.5
    optional: true
    header: {Accept: text/plain, X-N: 1}
  cache:
    any: [redis://a:6379|redis://b:6379 timeout=1s, {target: redis://c:6379, successes: 2}]
    need: 1
"""
JSON = """\
{"timeout": "5m", "on-timeout": "continue", "dependencies": {
  "db": "tcp://postgres:5432 timeout=2m",
  "api": {"target": "https://api:8443/healthz", "status": [200, 204], "attempt-timeout": 2.5, "optional": true,
          "header": {"Accept": "text/plain", "X-N": 1}},
  "cache": {"any": ["redis://a:6379|redis://b:6379 timeout=1s", {"target": "redis://c:6379", "successes": 2}],
            "need": 1}}}
"""
TOML = """\
timeout = "5m"
on-timeout = "continue"
[dependencies]
db = "tcp://postgres:5432 timeout=2m"
[dependencies.api]
target = "https://api:8443/healthz"
status = [200, 204]
attempt-timeout = 2.5
optional = true
header = {Accept = "text/plain", X-N = 1}
[dependencies.cache]
any = ["redis://a:6379|redis://b:6379 timeout=1s", {target = "redis://c:6379", successes = 2}]
need = 1
"""


def plan_of(text: str | bytes, environ: dict[str, str] | None = None) -> Source:
    """Return what YAML on stdin declares, which must be without a problem."""
    problems: list[Problem] = []
    data = text.encode() if isinstance(text, str) else text
    plan = read_plan("-", io.BytesIO(data), problems, environ)
    assert problems == []
    assert plan is not None
    return plan


def refused(path: str | Path, environ: dict[str, str] | None = None) -> list[str]:
    """Return what is said of a file of which nothing can be used."""
    problems: list[Problem] = []
    assert read_plan(str(path), None, problems, environ) is None
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(("name", "text"), [("p.yaml", YAML), ("p.YML", YAML), ("p.json", JSON), ("p.toml", TOML)])
def test_every_format_says_the_same(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan in YAML, JSON and TOML gives the same text with the same places."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    problems: list[Problem] = []
    at = f"{name}: dependencies"
    first, second = f"{at}.cache.any[0]", f"{at}.cache.any[1]"
    once = (Given("timeout", ("1s",), f"{first}: timeout"),)
    assert read_plan(name, None, problems, {}) == Source(
        (Given("timeout", ("5m",), f"{name}: timeout"), Given("on_timeout", ("continue",), f"{name}: on-timeout")),
        (
            Declaration(
                "db",
                (Target("tcp://postgres:5432", (), f"{at}.db"),),
                (Given("timeout", ("2m",), f"{at}.db: timeout"),),
                f"{at}.db",
            ),
            Declaration(
                "api",
                (Target("https://api:8443/healthz", (), f"{at}.api.target"),),
                (
                    Given("status", ("200", "204"), f"{at}.api.status"),
                    Given("attempt_timeout", ("2.5",), f"{at}.api.attempt-timeout"),
                    Given("optional", ("true",), f"{at}.api.optional"),
                    Given("header", ("Accept: text/plain", "X-N: 1"), f"{at}.api.header"),
                ),
                f"{at}.api",
            ),
            Declaration(
                "cache",
                (
                    Target("redis://a:6379", once, f"{first}: alternative 1"),
                    Target("redis://b:6379", once, f"{first}: alternative 2"),
                    Target("redis://c:6379", (Given("successes", ("2",), f"{second}.successes"),), f"{second}.target"),
                ),
                (Given("need", ("1",), f"{at}.cache.need"),),
                f"{at}.cache",
            ),
        ),
    )
    assert problems == []


@pytest.mark.parametrize(
    "text", ["no", "on", "1:30", "0200", "1_000", "0x1F", "1e3", "2026-01-01", "yes", ".inf", "'~'"]
)
def test_yaml_scalars_are_the_text_that_was_written(text: str) -> None:
    """None of the types that YAML 1.1 sees in a plain scalar exist."""
    assert plan_of(f"value: {text}\n").settings[0].values == (text.strip("'"),)


def test_anchors_aliases_and_merges_are_replaced() -> None:
    """A merge brings what is not written beside it, the first of several mappings first."""
    plan = plan_of(
        "dependencies:\n"
        "  a: &a {target: 'tcp://a:1', timeout: 1s, successes: 1}\n"
        "  b: &b {target: 'tcp://b:1', timeout: 2s, delay: 2s}\n"
        "  c: {<<: [*a, *b], successes: 3}\n"
    )
    merged = plan.dependencies[2]
    assert merged.targets[0].url == "tcp://a:1"
    assert {given.key: given.values for given in merged.options} == {
        "timeout": ("1s",),
        "successes": ("3",),
        "delay": ("2s",),
    }


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("exec:python manage.py migrate --check", "exec:python manage.py migrate --check"),
        ("exec:'python manage.py migrate --check'", "exec:python manage.py migrate --check"),
        ("exec:'a' 'b'", "exec:'a' 'b'"),
        ("exec:sh -c 'exit 0'", "exec:sh -c 'exit 0'"),
    ],
)
def test_a_command_needs_no_quotes_in_the_long_form(target: str, url: str) -> None:
    """A target of its own is no line: it is taken as it is, and quotes around a whole command are taken off."""
    plan = plan_of(f"dependencies:\n  m:\n    target: {target}\n")
    assert plan.dependencies[0].targets[0].url == url


def test_references_are_replaced_in_targets_and_values_and_nowhere_else() -> None:
    """Variables go into targets, values, items and settings; keys and names stay."""
    plan = plan_of(
        "timeout: ${T}\ndependencies:\n  db: tcp://${H}:1 expect=${T}\n"
        "  api: {target: 'http://${H}/', status: ['${T}'], header: {'X-${T}': '${T}'}}\n",
        {"T": "5 m: {", "H": "h"},
    )
    assert plan.settings[0].values == ("5 m: {",)
    assert [each.targets[0].url for each in plan.dependencies] == ["tcp://h:1", "http://h/"]
    assert [given.values for each in plan.dependencies for given in each.options] == [
        ("5 m: {",),
        ("5 m: {",),
        ("X-${T}: 5 m: {",),
    ]


def test_a_byte_order_mark_and_line_ends_of_windows_are_taken() -> None:
    """What an editor of another system adds is no fault."""
    plan = plan_of(b"\xef\xbb\xbfdependencies:\r\n  db: tcp://a:1\r\n")
    assert plan.dependencies[0].targets[0].url == "tcp://a:1"


def test_a_thousand_dependencies_are_a_plan_like_any_other() -> None:
    """A long plan is read whole."""
    lines = [f"  d{number}: tcp://127.0.0.1:{number + 1}" for number in range(1000)]
    assert len(plan_of("\n".join(["dependencies:", *lines])).dependencies) == 1000


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a directory and a socket each have their words."""
    monkeypatch.chdir(tmp_path)
    Path("plans.yaml").mkdir()
    assert refused("none.yaml") == ["none.yaml: is not there: check the path"]
    assert refused("plans.yaml") == ["plans.yaml: is a directory: name a file in it"]
    assert refused("a\0.yaml") == [r"'a\x00.yaml': has a NUL byte in its name"]
    assert refused("plans.yaml/a.yaml") == ["plans.yaml/a.yaml: is not there: check the path"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.yaml")
        assert refused("s.yaml") == ["s.yaml: cannot be read: No such device or address"]


def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    """A file that this user may not read is told as such."""
    path = tmp_path / "plan.yaml"
    path.write_text(YAML)
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        said = refused(path)
    finally:
        if user == 0:
            os.seteuid(user)
    assert said == [f"{path}: may not be read by this user: change its owner or mode"]


def test_a_file_beyond_all_plans_is_not_read_whole(tmp_path: Path) -> None:
    """A file of 100 MB, and one without an end, are refused for their size at once."""
    large, endless = tmp_path / "large.yaml", tmp_path / "endless.json"
    with large.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    endless.symlink_to("/dev/zero")
    start = time.monotonic()
    assert refused(large) == [f"{large}: is larger than 1 MiB: a plan is not"]
    assert refused(endless) == [f"{endless}: is larger than 1 MiB: a plan is not"]
    assert time.monotonic() - start < 5


def test_a_pipe_without_a_writer_does_not_hold_us(tmp_path: Path) -> None:
    """A FIFO that nobody opens for writing is given up after a bounded time."""
    fifo = tmp_path / "plan.yaml"
    os.mkfifo(fifo)
    start = time.monotonic()
    assert refused(fifo) == [f"{fifo}: gave no whole plan within 3 s: is it a pipe that nobody writes to?"]
    assert time.monotonic() - start < 20


HUNG = """
import ctypes, os, signal, subprocess, sys, time
device = os.open("/dev/fuse", os.O_RDWR)  # that nobody reads: whoever opens a file there waits for ever
how = f"fd={device},rootmode=40000,user_id=0,group_id=0"
assert ctypes.CDLL(None).mount(b"hung", sys.argv[1].encode(), b"fuse", 0, how.encode()) == 0
wait = [sys.executable, "-m", "gatekeeper", "wait", "--timeout=1s", f"--file={sys.argv[1]}/plan.yaml"]
left, ended = [subprocess.Popen(wait, stderr=subprocess.PIPE, text=True) for _ in range(2)]
while len(os.listdir(f"/proc/{ended.pid}/task")) < 2:  # a thread is about to open it
    time.sleep(0.01)
ended.send_signal(signal.SIGTERM)
print(ended.wait(50), left.wait(50))
print(left.stderr.read())
"""


@pytest.mark.root
@pytest.mark.needs("unshare")
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no FUSE here")
def test_a_file_system_that_hangs_is_told_of_and_deaf_to_nothing(tmp_path: Path) -> None:
    """A plan on an NFS or FUSE whose server is gone ends the start with a word; SIGTERM ends it at once."""
    folder = tmp_path / "hung"
    folder.mkdir()
    unshare = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", HUNG, folder]
    done = subprocess.run(unshare, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    first, *message = done.stdout.splitlines()
    assert first == "143 2"
    assert f"{folder}/plan.yaml: is not answered for within 10 s: its file system hangs" in message


def test_a_pipe_that_is_written_to_is_read_to_its_end(tmp_path: Path) -> None:
    """A FIFO whose writer comes and goes gives its plan."""
    fifo = tmp_path / "plan.toml"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_text, args=(TOML,))
    writer.start()
    problems: list[Problem] = []
    plan = read_plan(str(fifo), None, problems)
    writer.join()
    assert problems == []
    assert plan is not None
    assert len(plan.dependencies) == 3


def test_stdin_is_read_to_its_end_even_where_it_does_not_block() -> None:
    """A non-blocking pipe whose writer takes two turns gives the whole plan and not its first half."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    halfway = threading.Event()

    def write() -> None:
        with open(writer, "wb", buffering=0) as pipe:
            pipe.write(b"dependencies:\n  a: tcp://a:1\n")
            halfway.wait(10)
            pipe.write(b"  b: tcp://b:1\n")

    class Noticing(io.FileIO):
        def fileno(self) -> int:
            halfway.set()
            return super().fileno()

    thread = threading.Thread(target=write)
    thread.start()
    problems: list[Problem] = []
    with Noticing(reader) as stdin:
        plan = read_plan("-", stdin, problems)
    thread.join()
    assert problems == []
    assert plan is not None
    assert [each.name for each in plan.dependencies] == ["a", "b"]


def test_a_closed_stdin_is_told() -> None:
    """A process without stdin gets a problem and not a fault."""
    problems: list[Problem] = []
    assert read_plan("-", None, problems) is None
    assert [str(problem) for problem in problems] == ["stdin: is closed: give it a plan, or name a file"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "[" * 1_000_000),
        ("b.yaml", "{a: " * 250_000),
        ("c.yaml", "- " * 500_000),
        ("d.json", "[" * 1_000_000),
        ("e.json", '{"a":' * 200_000),
        ("f.toml", "a=" + "[" * 1_000_000),
        ("g.toml", "a=" + "{a=" * 300_000),
        ("h.toml", "a." * 500_000 + "a=1"),
        ("i.toml", "[" + '"".' * 300_000 + '""]'),
    ],
)
def test_endless_nesting_is_told_quickly(name: str, text: str, tmp_path: Path) -> None:
    """A plan that nests a million deep is refused in every format, without exhausting stack or patience."""
    path = tmp_path / name
    path.write_text(text)
    start = time.process_time()
    [said] = refused(path)
    assert said.endswith(": nests more than 32 levels deep: a plan needs 5")
    assert time.process_time() - start < 10


def test_a_number_beyond_all_numbers_is_told(tmp_path: Path) -> None:
    """What Python itself refuses to read is a problem of the plan, in each format."""
    toml, yaml = tmp_path / "a.toml", tmp_path / "b.yaml"
    toml.write_text("timeout = " + "1" * 5000)
    yaml.write_text('timeout: "\\UFFFFFFFF"')
    assert refused(toml) == [f"{toml}: has a number of too many digits: write a shorter one"]
    assert refused(yaml) == [f"{yaml}: is no YAML: a number in an escape or a directive is too large"]


def test_more_keys_and_values_than_any_plan_has_are_told(tmp_path: Path) -> None:
    """A file that is small and yet has more to compose than anyone would wait for is refused."""
    path = tmp_path / "a.yaml"
    path.write_text("-\n" * 110_000)
    assert refused(path) == [f"{path}: holds more than 100000 keys and values: split it"]


def test_nothing_but_problems_comes_out_of_nonsense() -> None:
    """Random pieces of the formats give a plan or printable problems, and never an exception."""
    chance = random.Random(20)
    pieces = [
        *"[]{}:,-|>&*!%#?'\"\\\n\t =.$@`~\0",
        "  ",
        "dependencies:",
        "target: ",
        "any: ",
        "tcp://a:1",
        "&a ",
        "*a",
    ]
    pieces += [
        "<<: *a\n",
        "!!python/x ",
        "---\n",
        "null",
        "${A}",
        "$(B)",
        "\ud800",
        "\x85",
        "\u2028",
        "é",
        "\\UFFFFFFFF",
    ]
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randrange(30)))
        problems: list[Problem] = []
        plan = read_plan("-", io.BytesIO(text.encode("utf-8", "surrogatepass")), problems, {"A": "1"})
        assert plan is not None or problems
        assert all(str(problem).isprintable() for problem in problems)
