"""What is declared, as text: options, dependencies, where each was said, and what is wrong with it.

No meaning yet (that is the plan's), no I/O, no third party.
"""

from typing import NamedTuple

from gatekeeper.model import GateOptions, Inference


class Problem(NamedTuple):
    """What is wrong with a declaration: where, and what would be right. Both are free of secrets."""

    place: str
    message: str

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"{self.place}: {self.message}"


class BadDeclarationError(ValueError):
    """Raised for a declaration that cannot be used; holds every problem that was found, not only the first."""

    def __init__(self, problems: list[Problem], options: GateOptions | None = None) -> None:
        """Take the problems, in the order in which they were found, and the options that were good."""
        super().__init__(problems, options)
        self.problems = tuple(problems)
        self.options = options

    def __str__(self) -> str:
        """Return every problem, a line each."""
        return "\n".join(map(str, self.problems))


class Given(NamedTuple):
    """An option as text: its values (none for a bare flag) and where it was said."""

    key: str
    values: tuple[str, ...]
    place: str


class Target(NamedTuple):
    """One target of a declaration: a URL whose scheme is the kind, the options that are its own, and its place."""

    url: str
    options: tuple[Given, ...]
    place: str


class Declaration(NamedTuple):
    """A dependency as text. ``targets`` are alternatives, each with the options that only it has."""

    name: str | None
    targets: tuple[Target, ...]
    options: tuple[Given, ...]
    origin: str


class Source(NamedTuple):
    """What one place declares: options of the gate, and dependencies, with how they were inferred where they were."""

    settings: tuple[Given, ...] = ()
    dependencies: tuple[Declaration, ...] = ()
    inference: Inference | None = None
