"""Regular expressions of users over the bytes of peers: what they mean, and that a slow one holds nobody up."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from badness import saying, serving
from webservers import answer, answering
from webservers import serving as web_serving

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import _pattern, load
from gatekeeper.probes._json import Assertion
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._pattern import pattern
from gatekeeper.values import BadValueError

SLOW = "(x+x+)+y"
FOOD = b"x" * 5000
MORE_FOOD = b"x" * 50_000  # for a match of the whole, which gives up sooner
LATE = 5.0  # seconds; a slow search that held the loop would take years


def matches(text: str, data: bytes) -> bool:
    """Search for a pattern."""
    return asyncio.run(pattern(text).found_in(data, "here"))


def test_patterns_are_over_bytes_and_lines() -> None:
    """A dot matches a newline, letters beyond ASCII are their UTF-8, and classes are those of ASCII."""
    assert matches("a.b", b"a\nb")
    assert matches("ü", "für".encode())
    assert matches("(?i)READY$", b"not yet\nready")
    assert not matches(r"^\w$", b"\xe9")


def test_a_pattern_of_bytes_that_are_no_utf8_matches_those_bytes() -> None:
    """An argument that is no UTF-8 reaches Python with surrogate escapes, and means the bytes that were typed."""
    assert matches("\udcff+", b"\xff\xff")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "a{99999999999999999999}",
        "(?u)a",
        "(?P<x",
        "\ud800",
        "(" * 5000 + ")" * 5000,
        r"\p{L}",
        "(?V1)a",
        "(?R)",
    ],
)
def test_what_is_no_pattern_is_a_bad_value(text: str) -> None:
    """Whatever a compiler raises is the declaration's fault; what Python's `re` does not know is not taken either."""
    with pytest.raises(BadValueError) as bad:
        pattern(text)
    assert str(bad.value).isprintable()


@pytest.mark.parametrize("text", ["\0", "\x1b[31m", "💥" * 100, "\udc80", " "])
def test_strange_text_is_a_pattern(text: str) -> None:
    """A pattern may hold any character, and matches it."""
    assert matches(text.replace("[", r"\["), text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("text", ["ready{e}", "ready{i<=1}", "(?:ready){s}", "[{e]ready{d}"])
def test_a_brace_that_counts_nothing_is_itself(text: str) -> None:
    """Python's `re` takes it literally, and so do we: a gate must not open because of what is nearly right."""
    assert not matches(text, b"reXdy")
    assert matches(
        text.replace("(?:ready)", "ready").replace("[{e]", r"[{e]"), b"{ready{e}ready{i<=1}ready{s}{ready{d}"
    )


def test_a_brace_that_counts_still_counts() -> None:
    """Escaped braces and repetitions stay what they were."""
    assert matches(r"^\{a{2}b{,1}c{1,}\}$", b"{aacc}")


def test_a_dubious_pattern_warns_nobody() -> None:
    """A possible set within a set is compiled without a line on stderr (here a warning would be an error)."""
    assert matches("[[a]", b"a")


def test_a_search_that_takes_a_while_ends_all_the_same() -> None:
    """What takes longer than a moment is matched beside the loop, with the same result."""
    text, data = "(?:.*,){12}P", b"1,2,3,4,5,6,7,8,9,10,11,12,13,14" * 30
    assert matches(text, data + b",P") is True
    assert matches(text, data) is False


def test_a_search_that_takes_too_long_is_an_unwanted_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is given up after its bound, and the outcome says whose answer it was."""
    monkeypatch.setattr(_pattern, "MOST", 0.05)
    with pytest.raises(MissError) as miss:
        matches(SLOW, FOOD)
    assert miss.value.outcome.reason is Reason.UNWANTED_ANSWER
    assert miss.value.outcome.detail == "here (the pattern takes too long)"


def test_a_search_that_was_given_up_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a cancelled search is a daemon, and is gone when its bound is up."""
    monkeypatch.setattr(_pattern, "MOST", 0.3)

    async def give_up() -> list[threading.Thread]:
        before = set(threading.enumerate())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pattern(SLOW).found_in(FOOD, "here")
        return [thread for thread in threading.enumerate() if thread not in before]

    (thread,) = asyncio.run(give_up())
    assert thread.daemon
    thread.join(LATE)
    assert not thread.is_alive()


@contextmanager
def _tcp(_: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    with serving(saying(FOOD)) as port:
        yield "tcp", f"tcp://127.0.0.1:{port}", {"expect": SLOW}


def _web(options: dict[str, str], said: bytes) -> Callable[[Path], Any]:
    @contextmanager
    def opened(_: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
        with web_serving(answering(said)) as server:
            yield "http", f"http://127.0.0.1:{server.port}/", options

    return opened


@contextmanager
def _file(folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    (folder / "f").write_bytes(FOOD)
    yield "file", f"file://{folder}/f", {"contains": SLOW}


@contextmanager
def _exec(folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    (folder / "f").write_bytes(FOOD)
    yield "exec", f"exec:cat {folder}/f", {"expect": SLOW}


@pytest.mark.parametrize(
    "opened",
    [
        _tcp,
        _web({"expect_body": SLOW}, answer(200, FOOD)),
        _web({"expect_header": f"x: {SLOW}"}, answer(200, x=FOOD.decode())),
        _web({"expect_json": f'search($.a, "{SLOW}")'}, answer(200, b'{"a": "%s"}' % FOOD)),
        _web({"expect_json": f'match($.a, "{SLOW}")'}, answer(200, b'{"a": "%s"}' % MORE_FOOD)),
        _file,
        _exec,
    ],
    ids=["tcp", "body", "header", "search", "match", "file", "exec"],
)
def test_a_slow_pattern_holds_nobody_up(opened: Callable[[Path], Any], tmp_path: Path) -> None:
    """The attempt ends when it is cancelled, says that it was matching, and the event loop goes on meanwhile."""

    async def attempt(probe: Any) -> tuple[list[str], float]:
        gaps = [0.0]

        async def tick() -> None:
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.001)
                gaps.append(time.monotonic() - began)

        ticking = asyncio.ensure_future(tick())
        with pytest.raises(TimeoutError) as late:
            async with asyncio.timeout(0.6):
                await probe.attempt()
        ticking.cancel()
        return late.value.__context__.__notes__, max(gaps)  # type: ignore[union-attr]

    with opened(tmp_path) as (kind, target, options):
        probe = load(kind).parse(target, {key: (text,) for key, text in options.items()})
        began = time.monotonic()
        notes, longest = asyncio.run(attempt(probe))
    assert notes[0].startswith(("matching the pattern", "looking at the JSON"))
    assert longest < 0.3
    assert time.monotonic() - began < LATE


def test_a_slow_pattern_in_json_is_an_unwanted_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All searches of an evaluation share one bound."""
    monkeypatch.setattr("gatekeeper.probes._json.MOST", 0.1)
    body = b"[" + b", ".join([b'"%s"' % FOOD] * 100) + b"]"

    async def judged() -> Outcome | bool:
        try:
            return await Assertion(f'$[?search(@, "{SLOW}")]').holds(body, "here")
        except MissError as miss:
            return miss.outcome

    began = time.monotonic()
    outcome = asyncio.run(judged())
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.detail) == (State.WAITING, "here (the pattern takes too long)")
    assert time.monotonic() - began < LATE


def test_evaluations_that_were_given_up_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at once, and the next answer is not looked at until one of them has ended."""
    monkeypatch.setattr("gatekeeper.probes._json.MOST", 1.0)
    body = b'{"a": "%s"}' % FOOD

    async def flooded() -> list[Outcome]:
        assertion = Assertion(f'search($.a, "{SLOW}")')
        answers = await asyncio.gather(*(assertion.holds(body, "here") for _ in range(6)), return_exceptions=True)
        return [each.outcome for each in answers if isinstance(each, MissError)]

    details = sorted(outcome.detail for outcome in asyncio.run(flooded()))
    assert details == [
        *["here (earlier answers are still being looked at)"] * 2,
        *["here (the pattern takes too long)"] * 4,
    ]
