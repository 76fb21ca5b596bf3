"""Declarations whose references only the pod can replace: as they stand, and what is wrong whatever they come to."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from gatekeeper.declaration import BadDeclarationError, Problem, Source
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.file import read_plan
from gatekeeper.plan import make_plan

# What a reference may come to: a problem that is there whatever it comes to is one of what is written.
_PERHAPS = ("1", "localhost", "200", "tcp://localhost:1")


class _Perhaps(dict[str, str]):
    """An environment in which every variable has the same value."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self.value = value

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return self.value

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002 - as dict has it
        return self.value


ANYTHING: Mapping[str, str] = _Perhaps("1")


def refusals(words: Sequence[str], stdin: bytes | None) -> list[Problem]:
    """Return the problems that are there whatever the references come to."""
    told: list[Problem] | None = None
    for value in _PERHAPS:
        found: list[Problem] = []
        try:
            make_plan(sources(words, stdin, found, _Perhaps(value)), found)
        except BadDeclarationError as error:
            told = [problem for problem in error.problems if told is None or problem in told]
        else:
            return []
    return told or []


def sources(
    words: Sequence[str], stdin: bytes | None, problems: list[Problem], environ: Mapping[str, str] | None
) -> tuple[Source, Source]:
    """Return what the arguments declare, and what the plan file does that they name."""
    arguments = parse_arguments(words, problems, environ).source
    named = [given.values[-1] for given in arguments.settings if given.key == "file" and given.values]
    plan = read_plan(named[0], BytesIO(stdin or b""), problems, environ) if named and named[0] else None
    plan = plan or Source()
    problems += [
        Problem(given.place, "a plan file names no other: write all into one")
        for given in plan.settings
        if given.key == "file"
    ]
    return arguments, plan
