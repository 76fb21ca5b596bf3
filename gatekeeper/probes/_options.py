"""How a kind declares its options, and how text becomes a probe with every problem told at once.

A kind is a frozen dataclass. Fields made by `option` can be set by a user; the others come from the target.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

from gatekeeper.values import BadValueError, Option

Options = Mapping[str, tuple[str, ...]]
K = TypeVar("K")


class SecretValueError(BadValueError):
    """Raised for the text of a secret option; its message says what would be right and does not quote the text."""


class BadOptionsError(ValueError):
    """Raised by a kind's ``parse``: pairs of an option's name (empty for the target) and what is wrong with it."""

    def __init__(self, *wrong: tuple[str, str]) -> None:
        """Take every problem that was found."""
        self.wrong = wrong
        super().__init__("; ".join(f"{key or 'target'}: {message}" for key, message in wrong))


def option(
    parse: Callable[[str], Any],
    text: str,
    *,
    default: Any = None,  # noqa: ANN401 - as many types as there are options
    many: bool = False,
    commas: bool = False,
    secret: bool = False,
    local: bool = False,
    unset: str = "none",
) -> Any:  # noqa: ANN401 - a field of the type that the class body says
    """Declare a dataclass field that users may set; ``text`` is its help, a phrase without a full stop.

    ``unset`` says what counts where there is no default value. ``local`` says that the text names a file of this
    machine.
    """
    spec = Option(parse, text, many or commas, commas, secret, local)
    return dataclasses.field(default=default, metadata={"option": spec, "unset": unset})


def later(module: str, name: str) -> Callable[[str], Any]:
    """Return the parser of this name in a helper beside the kinds, which is loaded when the option is first given."""

    def parse(text: str) -> Any:  # noqa: ANN401 - what the parser returns
        return getattr(import_module(f"gatekeeper.probes.{module}"), name)(text)

    return parse


def options_of(kind: type) -> dict[str, Option]:
    """Return the options that a kind takes, in the order of its class body."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(kind) if "option" in field.metadata}


def defaults_of(kind: type) -> dict[str, str]:
    """Return what counts for each option that is not given, as text."""
    fields = (field for field in dataclasses.fields(kind) if "option" in field.metadata)
    return {field.name: _as_text(field.default) or field.metadata["unset"] for field in fields}


def _as_text(value: Any) -> str:  # noqa: ANN401 - as many types as there are options
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def build(
    kind: type[K],
    options: Options,
    target: Callable[[], Mapping[str, Any]],
    clashes: Sequence[tuple[str, str]] = (),
) -> K:
    """Make a probe of this kind from its options and the fields that ``target`` reads out of the URL.

    Raises `BadOptionsError` with every problem of both, and the ``clashes`` that the kind has found between options.
    The caller has seen to it that the kind has these options.
    """
    known = options_of(kind)
    fields: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    try:
        fields.update(target())
    except BadValueError as error:
        wrong.append(("", str(error)))
    for key, texts in options.items():
        try:
            fields[key] = known[key].read(texts)
        except BadValueError as error:
            hidden = known[key].secret and any(texts) and not isinstance(error, SecretValueError)
            wrong.append((key, "is not usable (its text is not shown)" if hidden else str(error)))
    if wrong or clashes:
        raise BadOptionsError(*wrong, *clashes)
    return kind(**fields)
