"""The HTTP kind: what an answer means."""

import gzip
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from webservers import OK, answer, answering, outcome, serving

from gatekeeper.model import Outcome, Reason, State


def _outcome_of(said: bytes, **options: str | tuple[str, ...]) -> Outcome:
    with serving(answering(said)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/?token=s3cret", **options)
        assert found.detail.startswith(f"127.0.0.1:{server.port} (")
    assert "s3cret" not in found.detail
    return found


@pytest.mark.parametrize("status", [200, 204, 301, 304, 399])
def test_default_status(status: int) -> None:
    """Without `status`, everything from 200 to 399 is ready, as for the kubelet."""
    found = _outcome_of(answer(status))
    assert (found.state, found.detail.partition(" ")[2]) == (State.READY, f"(status {status})")


@pytest.mark.parametrize(
    ("status", "state", "reason", "gone"),
    [
        (401, State.FAILED, Reason.FORBIDDEN, False),
        (403, State.FAILED, Reason.FORBIDDEN, False),
        (404, State.WAITING, Reason.NOT_FOUND, True),
        (410, State.WAITING, Reason.NOT_FOUND, True),
        (418, State.WAITING, Reason.UNWANTED_ANSWER, False),
        (425, State.WAITING, Reason.STARTING, False),
        (429, State.WAITING, Reason.STARTING, False),
        (500, State.WAITING, Reason.STARTING, False),
        (503, State.WAITING, Reason.STARTING, False),
    ],
)
def test_unwanted_status(status: int, state: State, reason: Reason, gone: bool) -> None:  # noqa: FBT001 - a row
    """Each class of unwanted status has its own reason, and the detail names the status."""
    found = _outcome_of(answer(status, b"body with s3cret"))
    assert (found.state, found.reason, found.gone) == (state, reason, gone)
    assert f"status {status}" in found.detail


@pytest.mark.parametrize(
    ("wanted", "status", "state"),
    [
        ("204", 200, State.WAITING),
        ("200,404", 404, State.READY),
        ("2xx,401-403", 403, State.READY),
        ("5XX", 503, State.READY),
        ("200-299", 300, State.WAITING),
    ],
)
def test_declared_status(wanted: str, status: int, state: State) -> None:
    """`status` takes codes, ranges and classes, and nothing else passes."""
    assert _outcome_of(answer(status), status=wanted).state is state


def test_retry_after_seconds() -> None:
    """Retry-After in seconds is the hint to the pace."""
    assert _outcome_of(answer(503, Retry_After="7")).retry_after == 7


def test_retry_after_date() -> None:
    """Retry-After as a date is counted from now, and a date that is past is now."""
    soon, past = (datetime.now(UTC) + timedelta(seconds=shift) for shift in (60, -60))
    hint = _outcome_of(answer(429, Retry_After=format_datetime(soon, usegmt=True))).retry_after
    assert hint is not None
    assert 30 < hint <= 60
    assert _outcome_of(answer(429, Retry_After=format_datetime(past, usegmt=True))).retry_after == 0


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "99999999999999999999", "Mon, 99 Foo"])
def test_unreadable_retry_after(text: str) -> None:
    """A Retry-After that cannot be read is no hint and no fault."""
    assert _outcome_of(answer(503, Retry_After=text)).retry_after is None


@pytest.mark.parametrize(("pattern", "state"), [("^ready: [0-9]+$", State.READY), ("^ready$", State.WAITING)])
def test_expect_body(pattern: str, state: State) -> None:
    """`expect_body` is a regular expression over the whole body."""
    found = _outcome_of(answer(200, b"ready: 17"), expect_body=pattern)
    assert found.state is state
    assert "17" not in found.detail.partition(" ")[2]


def test_expect_body_waits_for_the_end() -> None:
    """A pattern is not matched against half of a body that goes on."""
    halves = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n4\r\n not\r\n0\r\n\r\n"
    assert _outcome_of(halves, expect_body="^ok$").reason is Reason.UNWANTED_ANSWER


@pytest.mark.parametrize("packed", [gzip.compress(b"all ready"), zlib.compress(b"all ready")], ids=["gzip", "deflate"])
def test_compressed_although_not_asked(packed: bytes) -> None:
    """A body that is compressed although nobody asked is unpacked before it is judged."""
    coding = "gzip" if packed[:2] == b"\x1f\x8b" else "deflate"
    assert _outcome_of(answer(200, packed, Content_Encoding=coding), expect_body="^all ready$").state is State.READY


@pytest.mark.parametrize("coding", ["br", "gzip", "gzip, gzip", "gzip, identity"])
def test_unknown_compression(coding: str) -> None:
    """A body in a coding that cannot be undone, or in more than one, does not pass."""
    found = _outcome_of(answer(200, b"\x00\x01ready", Content_Encoding=coding), expect_body="ready")
    assert found.reason is Reason.UNWANTED_ANSWER


@pytest.mark.parametrize(
    ("expression", "state"),
    [
        ('$.status == "ok"', State.READY),
        ("$.status == 'down'", State.WAITING),
        ("$.checks[0].lag < 3", State.READY),
        ("$.checks[?@.lag > 3]", State.WAITING),
        ("!$.checks[?@.lag > 3] && $.status", State.READY),
        ("$.missing == null", State.WAITING),
        ("$.missing", State.WAITING),
        ("length($.checks) == 1", State.READY),
        ("$.status != 'down'", State.READY),
        ("$.missing != 1", State.WAITING),
        ("!($.missing == 1)", State.WAITING),
        ("$.missing == $.nothing", State.WAITING),
        ("$.missing <= $.nothing", State.WAITING),
        ("length($.missing) != 1", State.WAITING),
        ("value($..missing) != 1", State.WAITING),
        ("!match($.missing, 'down')", State.WAITING),
        ("!match($.status, 'down')", State.READY),
        ("search($.status, 'k')", State.READY),
        ("!search($.checks, 'k')", State.READY),
        ("$.missing != 1 || $.status == 'ok'", State.READY),
        ("$.status == 'ok' || $.missing != 1", State.READY),
        ("$.status == 'ok' && $.missing != 1", State.WAITING),
        ("!($.missing == 1 && $.status == 'ok')", State.WAITING),
        ("!($.missing == 1 && $.status == 'down')", State.READY),
        ("!($.missing == 1 || $.status == 'down')", State.WAITING),
        ("!$.missing", State.READY),
        ("count($..missing) == 0", State.READY),
        ("!$.checks[?@.missing != 1]", State.WAITING),
    ],
)
def test_expect_json(expression: str, state: State) -> None:
    """`expect_json` is a logical expression of RFC 9535, and a comparison with what is not there holds neither way."""
    body = b'{"status": "ok", "checks": [{"lag": 2}]}'
    assert _outcome_of(answer(200, body), expect_json=expression).state is state


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"status": "ok"', b"[" * 100_000, b"\xff\xfe\x00", b"1" * 10_000])
def test_expect_json_of_no_json(body: bytes) -> None:
    """A body that is no JSON does not pass, whatever it is."""
    assert _outcome_of(answer(200, body), expect_json="!$.failed").reason is Reason.UNWANTED_ANSWER


def test_expect_json_over_the_cap() -> None:
    """A document of more than 1 MiB is not read to its end, and does not pass."""
    body = b'{"status": "ok", "x": "' + b"x" * 1024 * 1024 + b'"}'
    assert "longer than" in _outcome_of(answer(200, body), expect_json='$.status == "ok"').detail


def test_expect_body_reads_to_the_cap() -> None:
    """Of the body, `expect_body` sees the first 64 KiB."""
    body = b"x" * 64 * 1024 + b"late"
    assert _outcome_of(answer(200, body), expect_body="late").reason is Reason.UNWANTED_ANSWER
    assert _outcome_of(answer(200, body), expect_body="x$").state is State.READY


@pytest.mark.parametrize(
    ("wanted", "state"),
    [
        ("content-type", State.READY),
        ("Content-Type: json", State.READY),
        ("Content-Type: ^text/", State.WAITING),
        ("X-Missing", State.WAITING),
        (("Content-Type: json", "X-Version: ^2"), State.READY),
        (("Content-Type: json", "X-Version: ^3"), State.WAITING),
    ],
)
def test_expect_header(wanted: str | tuple[str, ...], state: State) -> None:
    """`expect_header` wants a field, or one that matches; all of several must hold."""
    said = answer(200, Content_Type="application/json", X_Version="2.1")
    assert _outcome_of(said, expect_header=wanted).state is state


def test_informational_answers_come_before() -> None:
    """Early hints are no answer; what follows them is."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert _outcome_of(hints + hints + OK).detail.endswith("(status 200)")


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_of_a_file_may_be_others_next_time(tmp_path: Path, status: int) -> None:
    """A refusal of what `auth_file` holds is not for ever: the file is read at each attempt."""
    file = tmp_path / "token"
    file.write_text("t0ken")
    found = _outcome_of(answer(status, Retry_After="7"), auth_file=str(file))
    assert (found.state, found.reason, found.retry_after) == (State.WAITING, Reason.FORBIDDEN, 7)
