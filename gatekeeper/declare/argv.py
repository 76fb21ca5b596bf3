"""Arguments: which command, which options and dependencies as text, and the command line that takes over.

Options and dependencies may stand in any order before ``--``; every problem is collected.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gatekeeper.declaration import Declaration, Given, Problem, Source
from gatekeeper.declare.line import parse_line, read_value
from gatekeeper.options import COMMON, GATE, spelled
from gatekeeper.values import nearest, quoted

_SHORT = {row.short: key for key, row in GATE.items() if row.short}
# What a shell made a word of its own because the argument was not quoted: an option or a flag without its dependency.
_STRAY = re.compile(rf"(?:{'|'.join(COMMON)})(?:=[^:/|]*)?|[a-z_-]+=(?!\$[{{(])[^:/|]*")
# What a variable holds, which may be a whole target: db=${DATABASE_URL}.
_REFERENCE = re.compile(r"([A-Za-z0-9_.-]+=)?\$[{(]")
# What can be no dependency, and is taken for the value of an option that takes one behind = only.
_VARIABLES = re.compile(r"!?[A-Z0-9_*?]+(,!?[A-Z0-9_*?]+)*")
_EXAMPLE = "'tcp://db:5432 timeout=3s'"


class Arguments(NamedTuple):
    """What the arguments say. ``command`` is what stands behind ``--``, None without one."""

    source: Source
    command: tuple[str, ...] | None
    wants_help: bool


def parse_arguments(argv: Sequence[str], problems: list[Problem], environ: Mapping[str, str] | None) -> Arguments:
    """Read the arguments behind the name of our own command."""
    words = list(argv)
    command: tuple[str, ...] | None = None
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], tuple(words[at + 1 :])
        if not command or not command[0]:
            problems.append(Problem("--", "no command follows: write -- COMMAND [ARG]..."))
    settings: list[Given] = []
    texts: list[str] = []
    wants_help = False
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            wants_help = True
        elif word.startswith("-"):
            _option(word, words, settings, problems, environ)
        else:
            texts.append(word)
    problems.extend(
        Problem(f"argument {number}", f"is an option: write it into the argument of its dependency, as {_EXAMPLE}")
        for number, text in enumerate(texts, 1)
        if _STRAY.fullmatch(text)
    )
    plain = [text for text in texts[1:] if ":" not in text and not _STRAY.fullmatch(text)]
    if command is None and any(not _REFERENCE.match(text) for text in plain):
        problems.append(Problem("--", "is not there: write it before a command, if one was meant to follow"))
    parsed = [
        parse_line(text, f"argument {number}", problems, environ)
        for number, text in enumerate(texts, 1)
        if not _STRAY.fullmatch(text)
    ]
    dependencies: tuple[Declaration, ...] = tuple(each for each in parsed if each)
    return Arguments(Source(tuple(settings), dependencies), command, wants_help)


def _option(
    word: str, words: list[str], settings: list[Given], problems: list[Problem], environ: Mapping[str, str] | None
) -> None:
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        key = name[2:].replace("-", "_")
    else:
        name, value = word[:2], word[2:].removeprefix("=")
        equals = "=" if value else ""
        key = _SHORT.get(word[1:2], "")
    row = GATE.get(key)
    if row is None:
        known = [spelled(each) for each in GATE]
        hint = nearest(name, known) or ": --help shows the options"
        problems.append(Problem(name if name.isprintable() else quoted(name), f"unknown option{hint}"))
    elif row.is_flag:
        _add(settings, Given(key, (value,) if equals else (), spelled(key)), repeatable=True)
    elif row.bare and not equals:
        _add(settings, Given(key, (row.bare,), spelled(key)))
        if words and _VARIABLES.fullmatch(words[0]):
            what = f"takes its value behind =: write {spelled(key)}={words.pop(0)}"
            problems.append(Problem(spelled(key), what))
    elif equals or words:
        read = read_value(value if equals else words.pop(0), spelled(key), problems, environ)
        if read is not None:
            _add(settings, Given(key, (read,), spelled(key)))
    else:
        problems.append(Problem(spelled(key), f"needs a value: write {spelled(key)} {row.metavar}"))


def _add(settings: list[Given], given: Given, *, repeatable: bool = False) -> None:
    """Gather the values of an option that is given more than once, so that the plan can say so."""
    for index, earlier in enumerate(settings):
        if earlier.key == given.key:
            values = given.values if repeatable else earlier.values + given.values
            settings[index] = Given(given.key, values, given.place)
            return
    settings.append(given)
