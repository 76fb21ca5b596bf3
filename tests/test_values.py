"""Durations, numbers and words: what is taken, what is shown, and what an error says."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from gatekeeper.values import (
    BadValueError,
    duration,
    flag,
    limit,
    nearest,
    not_empty,
    one_of,
    pause,
    quoted,
    shown,
    whole,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("2s", 2), ("1m30s", 90), ("1h", 3600), ("14d", 1209600), ("5", 5), ("0.25", 0.25), ("0", 0)],
)
def test_durations_are_taken_as_people_write_them(text: str, seconds: float) -> None:
    """Units may be combined; a bare number is seconds."""
    assert math.isclose(duration(text), seconds)


@pytest.mark.parametrize("text", ["", "-1", "1x", "1 m", "s", "1e3", "inf", "nan", "٣s", "9" * 400, "20000d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Signs, unknown units, other digits and more than ten years are errors."""
    with pytest.raises(BadValueError):
        duration(text)


def test_zero_is_no_limit_and_no_pause() -> None:
    """A limit of 0 is none; a pause of 0 would be a busy loop."""
    assert limit("0") is None
    assert limit("3s") == 3
    assert pause("1ms") == 0.001
    with pytest.raises(BadValueError, match="too short for a pause"):
        pause("0")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "0"),
        (0, "0"),
        (0.3, "300ms"),
        (0.9999, "999ms"),
        (2.5, "2.5s"),
        (59.99, "59.9s"),
        (90, "1m30s"),
        (3600, "1h"),
        (90061, "1d1h1m1s"),
    ],
)
def test_durations_are_shown_as_people_write_them(seconds: float | None, text: str) -> None:
    """What is shown is never more than what has passed, beyond a millisecond."""
    assert shown(seconds) == text


def test_whole_numbers_keep_their_range() -> None:
    """Only digits within the range are taken."""
    assert whole(1, 10)("10") == 10
    for text in ("0", "11", "1.0", "-1", "", "9" * 30, "²"):
        with pytest.raises(BadValueError, match="no whole number from 1 to 10"):
            whole(1, 10)(text)


def test_flags_know_both_words() -> None:
    """Truth values are taken in any case; anything else is neither."""
    assert flag("Yes") is True
    assert flag("OFF") is False
    with pytest.raises(BadValueError, match="neither true nor false"):
        flag("maybe")


def test_words_come_with_a_suggestion() -> None:
    """A typo is told the nearest of the known words."""
    assert one_of("any", "all")("ANY") == "any"
    with pytest.raises(BadValueError, match=r"'alll' is not one of any, all; did you mean all\?"):
        one_of("any", "all")("alll")
    assert nearest("zzz", ["any"]) == ""


def test_quoted_text_is_short_and_on_one_line() -> None:
    """An error message never carries a long or a broken line."""
    assert quoted("a\nb") == r"'a\nb'"
    assert len(quoted("x" * 1000)) == 60


def test_empty_text_is_refused_where_it_means_nothing() -> None:
    """The text itself comes back."""
    assert not_empty("x") == "x"
    with pytest.raises(BadValueError, match="must not be empty"):
        not_empty("")


@pytest.mark.parametrize("parse", [duration, limit, pause, whole(0, 9), flag, one_of("a")])
@pytest.mark.parametrize("text", ["\0", "\x1b[31m", "💥" * 100, "\udc80", " ", "\\"])
def test_strange_text_gives_a_value_or_a_bad_value(parse: Callable[[str], Any], text: str) -> None:
    """No text makes a parser raise anything else than its own error, with a printable message."""
    try:
        parse(text)
    except BadValueError as error:
        assert str(error).isprintable()  # noqa: PT017 - either way is right
