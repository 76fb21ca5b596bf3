"""The rules that hold the house together, kept by looking at what is imported: in the source, and in real runs."""

import ast
import dataclasses
import importlib.metadata
import inspect
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.declaration import Problem, Source
from gatekeeper.declare.line import parse_line
from gatekeeper.pages import example
from gatekeeper.plan import make_plan
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._options import options_of

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "gatekeeper"
MODULES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}

ANYBODY = {"model", "declaration", "verdict", "values", "options"}  # the nouns and what options mean: no step
KIND = {"model", "values", "resolve", "probes._", "kube."}  # what a kind may import, and the helpers beside it
# What else each part of the way imports. In the order of the flow: no part imports one that stands below it.
# A name with a dot or an underscore at its end stands for all that begin with it.
FLOW: dict[str, set[str]] = {
    "exits": set(),
    "model": set(),
    "declaration": set(),
    "verdict": set(),
    "values": set(),
    "options": set(),
    "turns": set(),
    "signals": set(),
    "resolve": set(),
    "handover.become": set(),
    "handover.leave": set(),
    "handover.": {"handover.become"},  # a child is started as we would become it
    "announce.received": set(),
    "announce.sdnotify": set(),
    "announce.relay": {"announce.received", "announce.sdnotify"},
    "announce.metrics": set(),
    "announce.status": set(),
    "lifecycle": set(),
    "announce.s6": set(),
    "declare.": {"declare."},
    "probes": set(),
    "probes._": {"resolve", "probes._"},
    "kube.": {"declare.formats", "kube.", "probes._"},  # the way of a kind to its server, over what kinds share
    "probes._protocols": {"probes"},  # what is a kind by now
    "probes._foreign": {"probes"},
    "probes.": KIND,
    "infer.": {"infer.", "probes._protocols", "probes._variables"},  # what a scheme and a variable's name mean
    "order": set(),
    "plan": {"order", "probes", "probes._foreign", "probes._options"},  # what a target means only its kind knows
    "pace": {"turns"},
    "standing": set(),
    "watch": {"pace", "standing", "turns"},  # a dependency at a time is what all of them together are made of
    "decide": set(),
    "log": set(),
    "screen": {"log"},  # for the sink that never blocks
    "announce.environ": set(),
    "announce.files": set(),
    "announce.ending": {
        "announce.environ",
        "announce.files",
        "announce.s6",
        "announce.sdnotify",
        "decide",
        "log",
    },  # in the verdict's words
    "announce.pod": {"decide", "kube.", "log", "probes._miss"},
    "announce.progress": {
        "announce.pod",
        "announce.sdnotify",
        "decide",
        "log",
        "screen",
        "watch",
    },  # asks a watch where things stand
    "exports": {"probes._variables"},
    "gate": {"announce.progress", "decide", "exports", "signals", "watch"},  # puts together what runs in the event loop
    "limit": set(),
    "job": {"handover."},
    "tend": {"announce.received", "announce.relay", "announce.sdnotify", "handover.", "job", "lifecycle", "limit"},
    "whole": {"announce.metrics", "announce.status", "decide", "lifecycle", "watch"},
    "keep": {"pace", "turns"},
    "run": {
        "announce.",
        "exports",
        "gate",
        "handover.",
        "keep",
        "lifecycle",
        "log",
        "signals",
        "tend",
        "watch",
        "whole",
    },
    "serve": {"announce.", "gate", "lifecycle", "limit", "log", "run", "signals", "whole"},
    "pages": {"probes", "probes._options", "screen"},
    "usage": {"screen"},
    "demo": set(),
    "install": set(),
    "__init__": {"declare.line", "gate", "plan"},  # the library face
    "declared": {"announce.files", "declare.", "infer.environ", "kube.own", "plan"},
    "hook.state": {"declare.formats", "declare.reading"},
    "hook.bundle": set(),
    "hook.enter": {"hook.bundle", "hook.state"},
    "hook.confined": {"probes", "probes._options"},  # what a kind reaches only the kind knows
    "hook.called": {"declare.argv", "declare.file", "declare.pod", "declare.sources", "declared", "hook."},
    "inject.tree": {"declare.formats", "declare.yaml_nodes"},
    "inject.written": set(),
    "inject.meaning": {"inject.tree"},
    "inject.insertion": {"inject.meaning", "inject.tree", "inject.written"},
    "inject.templates": {"inject.tree"},
    "inject.lines": {"declare.line"},
    "inject.unresolved": {"declare.argv", "declare.file", "plan"},
    "inject.words": {"declare.argv", "inject.lines", "inject.unresolved"},
    "inject.gate": {"inject.templates", "inject.tree", "inject.words"},
    "inject.containers": {"inject.gate", "inject.meaning", "inject.templates", "inject.tree", "inject.words"},
    "inject.warned": {"inject.containers", "inject.gate", "inject.templates", "inject.tree", "inject.words"},
    "inject.injected": {"declare.formats", "declare.reading", "inject."},
    "granted": {"kube.rights"},
    "asked": {
        "announce.",
        "declared",
        "demo",
        "exits",
        "gate",
        "granted",
        "inject.injected",
        "install",
        "log",
        "pages",
        "probes",
    }
    | {"signals", "usage"},
    "notify": {"announce.sdnotify"},
    "ask": set(),
    "quick": {"ask", "exits", "handover.", "notify", "pages", "usage"},
    "cli": {
        "announce.",
        "asked",
        "declare.sources",
        "declared",
        "exits",
        "exports",
        "gate",
        "handover.",
        "hook.",
        "log",
    }
    | {"pages", "run", "screen", "serve", "signals", "turns", "usage"},
    "__main__": {"cli", "quick"},
}
BARE = ("model", "values", "announce.sdnotify", "handover.become")

HOMES = {
    "tenacity": "pace",
    "structlog": "log",
    "yaml": "declare.yaml_nodes",
    "dns": "probes._dns",
    "certifi": "probes._tls",
    "httpx": "probes._http",
    "h11": "probes._http1",
    "h2": "probes._http2",
    "jsonpath": "probes._json",
    "regex": "probes._pattern",
    "asyncpg": "probes._postgres_login",
    "pymysql": "probes._mysql_login",
    "redis": "probes._redis_login",
    "pymongo": "probes._mongodb_login",
    "pika": "probes._amqp_login",
    "paho": "probes._mqtt_login",
    "nats": "probes._nats_login",
    "kafka": "probes._kafka_login",
}


def imported(module: str) -> Iterator[str]:
    """Yield the full name of each module that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            source = node.module or ""
            submodules = [f"{source}.{alias.name}" for alias in node.names]
            ours = [name for name in submodules if name.removeprefix("gatekeeper.") in MODULES]
            yield from ours or [source]


def of_ours(module: str) -> set[str]:
    """Return the modules of ours that a module imports; the version is no module."""
    names = {name for name in imported(module) if name.split(".")[0] == "gatekeeper"}
    return {name.removeprefix("gatekeeper.") for name in names if name != "gatekeeper"}


def covers(entry: str, module: str) -> bool:
    """Tell whether an entry of the table stands for a module."""
    return module.startswith(entry) if entry.endswith((".", "_")) else module == entry


def entry_of(module: str) -> str | None:
    """Return the entry of the table that stands for a module: its own, or that of its folder."""
    return module if module in FLOW else next((entry for entry in FLOW if covers(entry, module)), None)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    """Each module imports what its entry allows and nothing else of ours; one without an entry, the nouns alone."""
    may = FLOW.get(entry_of(module) or "", set())
    beyond = {each for each in of_ours(module) - ANYBODY if not any(covers(entry, each) for entry in may)}
    assert not beyond


def test_the_table_is_in_the_order_of_the_flow() -> None:
    """What may be imported stands above, so that there is no way round in a circle."""
    order = list(FLOW)
    for number, (part, may) in enumerate(FLOW.items()):
        above = order[: number + 1]
        for entry in may:
            assert any(covers(entry, other) or covers(other, entry) for other in above), (part, entry)


def test_the_table_allows_nothing_that_nobody_uses() -> None:
    """An exception that is no longer needed goes away."""
    for part, may in FLOW.items():
        used = {each for module in MODULES if entry_of(module) == part for each in of_ours(module)}
        assert not {entry for entry in may if not any(covers(entry, each) for each in used)}, part


@pytest.mark.parametrize("module", BARE)
def test_the_nouns_and_what_may_be_taken_alone_import_nothing_of_ours(module: str) -> None:
    """The model, the values, the datagram and the hand-over stand on their own."""
    assert of_ours(module) == set()


@pytest.mark.parametrize("module", [each for each in MODULES if each.startswith("probes.") and "._" not in each])
def test_a_kind_imports_no_other_kind(module: str) -> None:
    """A kind knows the nouns and the helpers beside it: no other kind, no clock, no plan, no log, not the table."""
    allowed = {"model", "values", "resolve"}
    assert {each for each in of_ours(module) - allowed if not each.startswith(("probes._", "kube."))} == set()


def third_party(module: str) -> set[str]:
    """Return the packages that are neither ours nor Python's."""
    tops = {name.split(".")[0] for name in imported(module)}
    return {top for top in tops if top not in sys.stdlib_module_names and top != "gatekeeper"}


def test_every_third_party_package_has_one_home() -> None:
    """Replacing one of them touches one file."""
    homes: dict[str, list[str]] = {}
    for module in MODULES:
        for package in third_party(module):
            homes.setdefault(package, []).append(module)
    assert homes == {package: [home] for package, home in HOMES.items()}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    """No dependency comes by accident of another, and none is dragged along unused."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + [each for extra in extras.keys() - {"dev"} for each in extras[extra]]
    names = {re.split(r"[\[<>=~ ]", each)[0].lower() for each in declared}
    distributions = importlib.metadata.packages_distributions()
    assert names == {distributions[package][0].lower() for package in HOMES}


def at_import(module: str) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: everything but the bodies of functions."""
    left: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while left:
        node = left.pop()
        yield node
        inside = ast.iter_child_nodes(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = iter([*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)])
        elif isinstance(node, ast.Lambda):
            continue
        left += inside


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_read_at_import(module: str) -> None:
    """No module looks at the environment, the arguments or a file before it is asked to."""
    nodes = list(at_import(module))
    read = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not read & {"os.environ", "sys.argv", "sys.stdin"}
    assert not called & {"open", "os.getenv", "os.open", "import_module", "logging.getLogger", "structlog.configure"}


def test_the_front_door_is_free_of_imports() -> None:
    """Nothing is loaded before main is called."""
    imports = [node for node in at_import("__main__") if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == []


def loaded_by(program: str, *options: str) -> set[str]:
    """Return the modules that a program has loaded at its end, in a Python that knows no third-party package."""
    code = f"import sys; sys.path.insert(0, sys.argv[1]); {program}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", *options, "-c", code, str(ROOT)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing() -> None:
    """What a library user imports is a page, whatever the wait will need later."""
    loaded = loaded_by("import gatekeeper")
    assert {each for each in loaded if each.startswith("gatekeeper")} == {"gatekeeper"}
    assert not loaded & {"asyncio", "dataclasses", "datetime", "socket"}


@pytest.mark.parametrize("module", ["__main__", "cli", "gate", "plan", "pages", "demo"])
def test_the_way_in_needs_no_third_party_package(module: str) -> None:
    """Importing succeeds where nothing but Python is installed, and loads no kind."""
    loaded = loaded_by(f"import gatekeeper.{module}")
    assert not {each for each in loaded if each.startswith("gatekeeper.probes.") and "._" not in each}


def loaded_in_a_run(*argv: str) -> set[str]:
    """Return the modules that a real run of gatekeeper loads, as Python itself says, for we leave without a trace."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gatekeeper", *argv], capture_output=True, text=True, check=True
    )
    return {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port that keeps connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_run_loads_what_it_uses(port: int) -> None:
    """A run for TCP alone loads no other kind, no parser of files, and no package that only they or a retry need."""
    loaded = loaded_in_a_run("wait", f"tcp://127.0.0.1:{port}", "--", "true")
    tops = {each.split(".")[0] for each in loaded}
    assert not tops & (HOMES.keys() - {"structlog"})
    assert not tops & {"argparse", "difflib", "random", "tomllib", "urllib"}
    needed = {"probes"}  # what a kind itself imports; the kind is loaded by its name, which is not in this list
    left = ["probes.tcp"]
    while left:
        more = of_ours(left.pop()) - needed
        needed |= more
        left += more
    assert {each for each in loaded if each.startswith("gatekeeper.probes")} <= {
        f"gatekeeper.{each}" for each in needed
    }
    assert not {each for each in loaded if each.startswith("gatekeeper.declare.")} - {
        f"gatekeeper.declare.{each}" for each in ("argv", "line", "sources", "environ", "substitute")
    }


@pytest.mark.parametrize("command", ["plan", "check"])
def test_looking_at_a_plan_loads_no_package_of_a_kind(port: int, command: str) -> None:
    """Neither a table nor a look at TCP needs anything but Python."""
    tops = {each.split(".")[0] for each in loaded_in_a_run(command, f"tcp://127.0.0.1:{port}")}
    assert not tops & HOMES.keys()


def test_the_list_of_kinds_exists_once() -> None:
    """No other file has a list of several kinds, and every file of a kind is in the table."""
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict) and module != "probes":
                words = {each.value for each in ast.iter_child_nodes(node) if isinstance(each, ast.Constant)}
                # The names of one kind are its own business.
                assert len({KINDS[word] for word in words & set(KINDS)}) <= 2, f"{module}, line {node.lineno}"
    files = {each.removeprefix("probes.") for each in MODULES if re.fullmatch(r"probes\.[a-z]\w*", each)}
    assert {place.partition(":")[0] for place in KINDS.values()} == files


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_complete(kind: str) -> None:
    """A kind is a frozen record with an example that works, says what it is, and has tests of its own."""
    made_by = load(kind)
    assert dataclasses.is_dataclass(load(kind))
    assert getattr(made_by, "__dataclass_params__").frozen  # noqa: B009 - what the type stubs do not know
    assert all(map(inspect.getdoc, (made_by, made_by.parse, made_by.attempt, sys.modules[made_by.__module__])))
    assert all(option.help and not option.help.endswith(".") for option in options_of(load(kind)).values())
    module = made_by.__module__.rpartition(".")[2]
    names = [path.stem for path in (ROOT / "tests/kinds").glob("test_*.py")]
    assert any(name == f"test_{module}" or name.startswith(f"test_{module}_") for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_a_kind_is_a_good_declaration(kind: str) -> None:
    """What a user copies from the list of kinds is taken as it is."""
    problems: list[Problem] = []
    declaration = parse_line(example(kind), "the example", problems, {})
    assert declaration
    (dependency,) = make_plan([Source(dependencies=(declaration,))], problems).dependencies
    assert KINDS[dependency.kind] == KINDS[kind]
