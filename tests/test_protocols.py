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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(load(kind), Server)])
def test_every_kind_has_its_row(kind: str) -> None:
    """With the server that it was run against; and what it takes besides is explained on the page."""
    names = "|".join(re.escape(each) for each in KINDS if KINDS[each] == KINDS[kind])
    assert re.search(rf"^\| [^|]*`({names})`[^|]*\|(?:[^|]*\|){{4}}$", PAGE, re.MULTILINE)
    for option in options_of(load(kind)):
        assert f"`{option}`" in PAGE or f"`{option}=" in PAGE, option
