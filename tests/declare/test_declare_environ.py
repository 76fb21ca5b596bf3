"""References to variables, and the dependencies that a variable declares."""

import pytest

from gatekeeper.declaration import Problem
from gatekeeper.declare.environ import dependencies_of, substitute

ENVIRON = {"A": "a", "EMPTY": "", "DOLLARS": "$$ ${A} $(A)", "A.b-c": "dotted"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}-$(A)", "a-a"),
        ("${NOT_SET:-b c}", "b c"),
        ("${EMPTY:-b}", "b"),
        ("${A:-b}", "a"),
        ("[${EMPTY}]", "[]"),
        ("${NOT_SET:-}", ""),
        ("${NOT_SET:-$$5}", "$5"),
        ("$$ $${A} $$(A) $$$$", "$ ${A} $(A) $$"),
        ("$ $A ^a$ $) $", "$ $A ^a$ $) $"),
        ("${DOLLARS}", "$$ ${A} $(A)"),
        ("$(A.b-c)", "dotted"),
        ("$${", "${"),
    ],
)
def test_references_are_replaced_once(text: str, result: str) -> None:
    """References are replaced, doubled dollars halved, lone ones kept, and no result is read again."""
    problems: list[Problem] = []
    assert substitute(text, ENVIRON, "here", problems) == result
    assert problems == []


OPEN = (
    "{0} is not closed by {1}, or holds another reference: close it, put quotes around a word with spaces, "
    "and write ${0} for a plain {0}"
)
NO_SERVICE = (
    "DB_SERVICE_HOST is not set, and the kubelet leaves $(…) unexpanded where the variable does not exist; "
    "set it, or name a Service by DNS"
)
NO_NAME = "${…} holds no name of a variable: write ${NAME} or ${NAME:-fallback}, and $${ for a plain ${"
POD = "for a hook only variables tell fields of the pod"
PASS = "pass it in one, or write a :-fallback"
NAMES = " (POD_NAMESPACE, MY_POD_NAMESPACE, METADATA_NAMESPACE)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${DB_HOST}", "${DB_HOST}: DB_HOST is not set; set it or write ${DB_HOST:-fallback}"),
        (
            "$(DB_SERVICE_HOST)",
            "$(DB_SERVICE_HOST): " + NO_SERVICE,
        ),
        ("${}", NO_NAME),
        ("${A?message}", NO_NAME),
        ("${1}", NO_NAME),
        ("$(date +%s)", "$(…) holds no name of a variable: no shell runs here; write $(NAME), and $$( for a plain $("),
        ("${A", OPEN.format("${", "}")),
        ("$(A", OPEN.format("$(", ")")),
        ("${$.metadata.namespace}", f"${{$.metadata.namespace}}: {POD}{NAMES}: {PASS}"),
        ("${$.metadata.labels['k']}", f"${{$.metadata.labels['k']}}: {POD}: {PASS}"),
    ],
)
def test_a_reference_that_cannot_be_replaced_is_told(text: str, message: str) -> None:
    """An unset variable, a broken reference and a path of the pod are problems that say what would be right."""
    problems: list[Problem] = []
    assert substitute(f"x{text}y", ENVIRON, "here", problems) == f"x{text}y"
    assert problems == [Problem("here", message)]


def test_a_fallback_holds_no_reference() -> None:
    """A reference within a reference is told, because nothing is replaced twice."""
    problems: list[Problem] = []
    substitute("${NOT_SET:-${A}}", ENVIRON, "here", problems)
    assert [problem.message for problem in problems] == [OPEN.format("${", "}")]


def test_a_variable_declares_a_dependency_a_line() -> None:
    """Blank lines and comments say nothing, ends of line of any system are taken, places count every line."""
    problems: list[Problem] = []
    text = "# the database\r\ndb=tcp://${HOST}:5432\r\n\r\n  api=http://api/ optional\nlocalhost\n"
    found = dependencies_of(text, problems, {"HOST": "h"})
    assert [(each.name, each.targets[0].url, each.origin) for each in found if each.targets] == [
        ("db", "tcp://h:5432", "GATEKEEPER_DEPENDENCIES line 2"),
        ("api", "http://api/", "GATEKEEPER_DEPENDENCIES line 4"),
    ]
    assert [str(problem) for problem in problems] == [
        "GATEKEEPER_DEPENDENCIES line 5: has no kind: write tcp://localhost:PORT"
    ]
