"""The one-line grammar: ``[NAME=]TARGET [OPTION=VALUE | FLAG]...``, quoted as in a POSIX shell.

Knows neither kinds nor options. Messages show no target as a whole and no value, because both may hold secrets.
"""

import re
import shlex
from collections.abc import Mapping

from gatekeeper.declaration import Declaration, Given, Problem, Target
from gatekeeper.values import quoted

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)
NAME_RULE = "write at most 63 letters, digits, _ . - and begin with a letter or digit"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BEFORE_EQUALS = re.compile(r"([^=:/?]*)=")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", re.ASCII)
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|(?!exec:)[A-Za-z0-9_.-]+):[0-9]{1,5}", re.ASCII)
# What others write in the place of a target, and what to write instead.
_MEANT = (
    ("sasl_", ": of a Kafka, write kafka:// before it, as in kafka://SASL_SSL://HOST:PORT"),
    (r"[^:/?#@]+:[0-9]+[,;]", ": write KIND:// before the first server, as in kafka://a:9092,b:9092"),
    (
        "[^:/?#@]+=|[^:/?#@]+;",
        ", but looks like settings of a driver: write a URL, as in postgres://USER@HOST:PORT/DATABASE",
    ),
)
# A reference is stepped over as a whole, because its fallback may hold a `|`.
_BAR = re.compile(r"\$\{[^{}]*\}|\$\([^()]*\)|(\|)(?=[A-Za-z][A-Za-z0-9+.-]*:|\$[{(])", re.ASCII)


def parse_line(
    text: str, place: str, problems: list[Problem], environ: Mapping[str, str] | None = None
) -> Declaration | None:
    """Return the declaration of one line, without targets where those cannot be used, or None where there is no line.

    Every problem is added to the problems. With ``environ``, references in the target and in the values are replaced
    after the line has been split into words.
    """
    words = _words(text, place, problems)
    if not words:
        return None
    name, target = _name_and_target(words[0], place, problems)
    if name is None and target != words[0]:  # before the = stood no name: it may be a driver's settings
        return Declaration(None, (), _options(words[1:], place, problems, environ), place)
    targets = read_targets(target, place, problems, environ)
    return Declaration(name, targets, _options(words[1:], place, problems, environ), place)


def read_targets(
    text: str, place: str, problems: list[Problem], environ: Mapping[str, str] | None
) -> tuple[Target, ...]:
    """Return the alternatives of a target, or nothing where one of them is no target."""
    before = len(problems)
    parts = _alternatives(text)
    kind = _KIND.match(parts[0])
    targets = []
    for number, part in enumerate(parts, 1):
        here = place if len(parts) == 1 else f"{place}: alternative {number}"
        url = read_value(part, here, problems, environ)
        if url is None:
            continue
        problem = _fault_of_target(url, kind[0] if kind and number > 1 else "tcp", show=url == part)
        if problem:
            problems.append(Problem(here, problem))
        targets.append(Target(url, (), here))
    return tuple(targets) if len(problems) == before else ()


def read_value(text: str, place: str, problems: list[Problem], environ: Mapping[str, str] | None) -> str | None:
    """Return a value with its references replaced, or None where it cannot be used."""
    before = len(problems)
    value = text if environ is None or "$" not in text else _substituted(text, environ, place, problems)
    problem = _fault_of_text(value)
    if problem:
        problems.append(Problem(place, problem))
    return value if len(problems) == before else None


def _substituted(text: str, environ: Mapping[str, str], place: str, problems: list[Problem]) -> str:
    from gatekeeper.declare.substitute import substitute  # noqa: PLC0415 - most lines refer to nothing

    return substitute(text, environ, place, problems)


def _words(text: str, place: str, problems: list[Problem]) -> list[str]:
    problem = _fault_of_text(text)
    words: list[str] = []
    if not problem:
        try:
            words = shlex.split(text)
        except ValueError as error:
            quote = "quotation" in str(error)
            problem = (
                "has a quote that is not closed: close it, or put a \\ before a quote of its own"
                if quote
                else "ends with a \\ that stands before nothing: write \\\\ for a backslash"
            )
    if not problem and not (words and words[0]):
        problem = "is empty: write [NAME=]TARGET [OPTION=VALUE]..., as in db=tcp://db:5432 timeout=2m"
    if problem:
        problems.append(Problem(place, problem))
        return []
    return words


def _name_and_target(word: str, place: str, problems: list[Problem]) -> tuple[str | None, str]:
    match = _BEFORE_EQUALS.match(word)
    if not match:
        return None, word
    if NAME.fullmatch(match[1]):
        return match[1], word[match.end() :]
    problems.append(Problem(place, f"{quoted(match[1])} is no name: {NAME_RULE}"))
    return None, word[match.end() :]


def _options(
    words: list[str], place: str, problems: list[Problem], environ: Mapping[str, str] | None
) -> tuple[Given, ...]:
    given: dict[str, Given] = {}
    for number, word in enumerate(words, 2):
        written, equals, text = word.partition("=")
        if not KEY.fullmatch(written):
            problems.append(Problem(place, _fault_of_word(word, number)))
            continue
        key = written.replace("-", "_")
        here = f"{place}: {key}"
        old = given.get(key)
        if old is not None and not (equals and old.values):
            problems.append(Problem(here, "is given twice, and once without a value: keep one"))
            continue
        value = read_value(text, here, problems, environ) if equals else None
        if value is not None:
            given[key] = Given(key, (*(old.values if old else ()), value), here)
        elif not equals:
            given[key] = Given(key, (), here)
    return tuple(given.values())


def _fault_of_word(word: str, number: int) -> str:
    if "://" in word.partition("=")[0]:
        return f"word {number} is another target: declare one dependency here, or put | between alternatives"
    return f"word {number} is neither OPTION=VALUE nor a FLAG: put quotes around a value with spaces"


def _alternatives(text: str) -> list[str]:
    cuts = [match.start() for match in _BAR.finditer(text) if match[1]]
    return [text[start:end] for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(text)], strict=True)]


def _fault_of_target(url: str, kind: str, *, show: bool) -> str | None:
    if not url:
        return "has no target: write one, as in tcp://db:5432"
    if not _KIND.match(url) or _HOST_AND_PORT.fullmatch(re.split("[/,;]", url, maxsplit=1)[0]):
        return _fault_of_kind(url, kind, show=show)
    if not url.startswith("exec:") and not url.isprintable():
        return "has a line break, a tab or an invisible character in its target: remove it"
    authority = re.match(r"[^:/]+://([^/?#]*)", url)
    if authority and "|" in authority[1]:
        return "has no kind behind |: write every alternative whole, as in redis://a:6379|redis://b:6379"
    return None


def _fault_of_kind(url: str, kind: str, *, show: bool) -> str:
    if url.startswith("/"):
        return "has no kind: write file:///PATH for a file or unix:///PATH for a socket"
    if show and _HOST_AND_PORT.fullmatch(url):
        return f"has no kind: write {kind}://{url}"
    if show and re.search(r"\.(ya?ml|json|toml)$", url):
        return f"is no dependency, but looks like a plan file: write --file {url}"
    if show and NAME.fullmatch(url):
        return f"has no kind: write {kind}://{url}:PORT"
    meant = next((how for form, how in _MEANT if re.match(form, url, re.IGNORECASE)), None)
    return f"has no kind{meant or ': write KIND:// before it, as in tcp://db:5432'}"


def _fault_of_text(text: str) -> str | None:
    if _SURROGATE.search(text):
        return "is not UTF-8: write it in UTF-8"
    found = _CONTROL.search(text)
    if found:
        return f"has a control character (U+{ord(found[0]):04X}): remove it"
    return None
