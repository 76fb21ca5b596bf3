"""From text to values: durations, numbers, words. Every error says what is wrong and what would be right.

Shared by the options of the gate and by the options of every kind; knows nothing of either.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_LABELS = re.compile(r"\?selector=[A-Za-z0-9=!,()<> %+_./-]+\Z")
_OF_JAVA = re.compile(r"(?:jdbc|r2dbc):[a-z0-9:-]+(?=://)", re.IGNORECASE)
_LONGEST = 10 * 365 * 86400.0
_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0")


class BadValueError(ValueError):
    """Raised for text that is no such value; its message quotes the text and says what would be right."""


def quoted(text: str) -> str:
    """Return text as an error message may show it: on one line, printable, cut at 60 characters, no URL's secrets."""
    text = safe_target(text) if "://" in text else text
    short = text if len(text) <= 60 else text[:57] + "…"  # noqa: PLR2004 - the width that the docstring names
    return repr(short)


def duration(text: str) -> float:
    """Return seconds from ``300ms``, ``2s``, ``1m30s``, ``1h``, ``14d`` or a bare number of seconds."""
    text = text.strip()
    seconds = None
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif text and _PART.sub("", text) == "":
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds is None:
        message = f"{quoted(text)} is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds"
        raise BadValueError(message)
    if seconds > _LONGEST:
        message = f"{quoted(text)} is longer than ten years: write 0 for no limit"
        raise BadValueError(message)
    return seconds


def limit(text: str) -> float | None:
    """Return a duration in seconds that bounds something; ``0`` means no limit and gives None."""
    return duration(text) or None


def pause(text: str) -> float:
    """Return a duration in seconds of at least a millisecond."""
    seconds = duration(text)
    if seconds < 0.001:  # noqa: PLR2004 - the millisecond that the docstring names
        message = f"{quoted(text)} is too short for a pause: write at least 1ms"
        raise BadValueError(message)
    return seconds


def shown(seconds: float | None) -> str:
    """Return a duration as a person writes it: ``300ms``, ``2.5s``, ``1m30s``; ``0`` for no limit."""
    if not seconds:
        return "0"
    if seconds < 1:
        return f"{min(round(seconds * 1000), 999)}ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{math.floor(seconds * 10) / 10:g}s"
    rest, text = int(seconds), ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        whole, rest = divmod(rest, size)
        text += f"{whole}{unit}" if whole else ""
    return text


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,18}", text.strip()) and low <= int(text) <= high:
            return int(text)
        message = f"{quoted(text)} is no whole number from {low} to {high}"
        raise BadValueError(message)

    return parse


def flag(text: str) -> bool:
    """Return a truth value from ``true``/``yes``/``on``/``1`` or ``false``/``no``/``off``/``0``."""
    word = text.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    message = f"{quoted(text)} is neither true nor false"
    raise BadValueError(message)


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that takes just these words, in any case."""

    def parse(text: str) -> str:
        for word in words:
            if word.lower() == text.strip().lower():
                return word
        message = f"{quoted(text)} is not one of {', '.join(words)}{nearest(text, words)}"
        raise BadValueError(message)

    return parse


def not_empty(text: str) -> str:
    """Return the text itself, which must not be empty."""
    if not text:
        message = "must not be empty"
        raise BadValueError(message)
    return text


def qualified_name(text: str) -> str:
    """Return a qualified name as Kubernetes takes it (apimachinery, IsQualifiedName), as ``example.com/gate-open``."""
    prefix, slash, name = text.rpartition("/")
    label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    well = re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", name) and len(name) <= 63  # noqa: PLR2004 - a label
    if slash:
        well = well and re.fullmatch(rf"{label}(\.{label})*", prefix) and len(prefix) <= 253  # noqa: PLR2004 - a subdomain
    if not well:
        message = f"{quoted(text)} is no qualified name: write DOMAIN/NAME, as example.com/gate-open"
        raise BadValueError(message)
    return text


def reason(text: str) -> str | None:
    """Return one line that says why; a word for no, which is what stands for it elsewhere, gives None."""
    words = " ".join(text.split())
    if words.lower() in _NO:
        return None
    if not words or not words.isprintable():
        message = "says no reason: write why in a line, or leave it out"
        raise BadValueError(message)
    return words


def raw(text: str) -> bytes:
    """Return the bytes that were typed: what was no UTF-8 has come with surrogate escapes; raises `BadValueError`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        message = f"{quoted(text)} holds half of a surrogate pair"
        raise BadValueError(message) from None


def nearest(word: str, words: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``; did you mean X?`` for the nearest of the known words, or nothing where none is near.

    ``cutoff`` is how near, from 0 to 1 (difflib.SequenceMatcher.ratio).
    """
    from difflib import get_close_matches  # noqa: PLC0415 - loaded for a typo only

    spelled = {each.lower(): each for each in words}
    found = get_close_matches(word.lower(), list(spelled), n=1, cutoff=cutoff)
    return f"; did you mean {spelled[found[0]]}?" if found else ""


def safe_target(url: str) -> str:
    """Return a target as it may be shown: on one line, without userinfo, query, fragment and arguments of a command."""
    kind, colon, rest = url.partition(":")
    if java := _OF_JAVA.match(url):  # whose scheme has more words than one
        kind, rest = java[0], url[java.end() + 1 :]
    if kind.lower() == "exec":
        command = rest.split()
        first = command[0].strip("'\"") if command else ""
        program = "***" if "=" in first else first
        shown = f"{kind}:{program} …" if len(command) > 1 else f"{kind}:{program}"
    elif rest.startswith("//"):
        hidden, selector = rest[2:], ""
        if kind.lower() == "k8s" and (labels := _LABELS.search(hidden)):  # which are no secret: they are what is meant
            hidden, selector = hidden[: labels.start()], labels[0]
        shown = f"{kind}://{_without_secrets(hidden)}{selector}"
    else:
        shown = f"{kind}:{_without_secrets(rest)}" if colon else _without_secrets(url)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown)


def _without_secrets(rest: str) -> str:
    found = re.search(r"[/?#]", rest)
    end = found.start() if found else len(rest)
    cut = rest.rfind("@", 0, end)
    # A password with an unescaped / ? or # ends the authority too early: then everything up to the last @ is hidden.
    if not re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?", rest[cut + 1 : end]):
        cut = rest.rfind("@")
        if re.search(r"\?\w[\w.-]*=", rest[: max(cut, 0)]):  # what follows may be the end of a value in a query
            return "***"
    shown = f"***@{rest[cut + 1 :]}" if cut >= 0 else rest
    # URLs behind the first, with users of their own: nats://u:p@a,nats://u:p@b; amqp://u:p@a//;amqp://u:p@b; http://a/http://u:p@b
    # The scheme is bounded, and what follows the last @ left out, so that the time grows with the length alone.
    last = shown.rfind("@") + 1
    hidden = re.sub(r"([a-z][a-z0-9+._-]{0,40}://).*@", r"\1***@", shown[:last], flags=re.DOTALL | re.IGNORECASE)
    shown = hidden + shown[last:]
    return re.sub(r"([?#])[^#]*", r"\1***", shown)


class Secret(NamedTuple):
    """A text that no message, no log and no traceback shows."""

    value: str

    def __repr__(self) -> str:
        """Return stars."""
        return "Secret(***)"


class Option(NamedTuple):
    """What a user may say under one name; ``parse`` turns one text into one value or raises `BadValueError`.

    ``many`` collects values in a tuple, ``commas`` also splits each text at commas. The text of a ``secret`` option is
    never shown, that of a ``local`` one names a file of this machine.
    """

    parse: Callable[[str], Any]
    help: str
    many: bool = False
    commas: bool = False
    secret: bool = False
    local: bool = False

    def read(self, texts: tuple[str, ...]) -> Any:  # noqa: ANN401 - as many types as there are options
        """Return the value of the texts that were given; no text at all is a bare flag."""
        if not texts and self.parse is not flag:
            message = "needs a value"
            raise BadValueError(message)
        if self.commas:
            texts = tuple(part.strip() for text in texts for part in text.split(",") if part.strip())
            if not texts:  # an expectation that came out empty must not mean that anything will do
                message = "must not be empty"
                raise BadValueError(message)
        if self.many:
            return tuple(self.parse(text) for text in texts)
        if len(texts) > 1:
            message = f"is given {len(texts)} times, and takes one value"
            raise BadValueError(message)
        return self.parse(texts[0]) if texts else True
