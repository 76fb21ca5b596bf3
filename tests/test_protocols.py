"""What docs/protocols.md says of the kinds that speak a server's own protocol is what they take."""

import re
from pathlib import Path

import pytest

from gatekeeper.declaration import Problem, Source
from gatekeeper.declare.line import parse_line
from gatekeeper.plan import make_plan
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._options import options_of
from gatekeeper.probes._server import Server
from gatekeeper.probes.ntp import Ntp

PAGE = (Path(__file__).parent.parent / "docs/protocols.md").read_text()
SECTIONS = dict(re.findall(r"^## ([a-z, ]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
DECLARED = [
    (title, line) for title, text in SECTIONS.items() for line in re.findall(r"^    (\w+=.*)", text, re.MULTILINE)
]


@pytest.mark.parametrize(("title", "line"), DECLARED)
def test_every_declaration_of_the_page_is_a_good_one(title: str, line: str) -> None:
    """What a user copies is taken as it is, with the URL of an application where one is meant."""
    problems: list[Problem] = []
    path = "" if title == "nats" else "/app"
    environ = dict.fromkeys(("DATABASE_URL", "AMQP_URL", "NATS_URL"), f"{title}://app:secret@db{path}")
    declaration = parse_line(line, "the page", problems, environ)
    assert declaration, problems
    (dependency,) = make_plan([Source(dependencies=(declaration,))], problems).dependencies
    assert problems == []
    assert KINDS[dependency.kind] in {KINDS[name] for name in title.split(", ")}


STATES = re.search(r"^## What was brought about\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]  # type: ignore[index]  # it is there, or no test runs
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*", STATES, re.MULTILINE)]
# What brings a state about, where one thing does for all kinds.
BROUGHT_ABOUT = {"stopping": "goes_for_good(", "paused": "paused("}


def test_every_kind_was_brought_into_each_state() -> None:
    """Or cannot be; what is said to have been done is done in the tests of the kind."""
    (_, *states), _, *rows = ROWS
    speaking = {KINDS[kind] for kind in KINDS if issubclass(load(kind), Server | Ntp)}
    assert sorted(KINDS[kind.strip("`")] for kind, *_ in rows) == sorted(speaking)
    for kind, *marks in rows:
        name = kind.strip("`")
        tests = (Path(__file__).parent / f"kinds/test_{name}.py").read_text()
        assert all(mark.startswith(("✓", "○", "none", "nobody", "not run", "as `")) for mark in marks), name
        found = dict(zip(states, marks, strict=True))
        for state, call in BROUGHT_ABOUT.items():
            assert found[state].startswith("✓") == (call in tests), (name, state)
        if name not in ("ntp", "temporal"):  # which is over UDP, and which has no server of its own
            assert (found["ready"] == "✓") == ("is_nothing_else(" in tests), name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(load(kind), Server)])
def test_every_kind_has_its_row(kind: str) -> None:
    """With the server that it was run against; and what it takes besides is explained on the page."""
    names = "|".join(re.escape(each) for each in KINDS if KINDS[each] == KINDS[kind])
    assert re.search(rf"^\| [^|]*`({names})`[^|]*\|(?:[^|]*\|){{4}}$", PAGE, re.MULTILINE)
    for option in options_of(load(kind)):
        assert f"`{option}`" in PAGE or f"`{option}=" in PAGE, option
