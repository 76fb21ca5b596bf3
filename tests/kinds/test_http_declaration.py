"""The HTTP kind: bad declarations, each told with what would be right, and without secrets."""

import subprocess
import sys

import pytest
from webservers import OK, answering, probe, serving

from gatekeeper.probes._options import BadOptionsError

ROWS: list[tuple[str, dict[str, str | tuple[str, ...] | bool], str, str]] = [
    ("https://h/", {"key": "/k"}, "key", "needs cert"),
    ("https://h/", {"insecure": True, "ca": "/c"}, "insecure", "ca exclude"),
    ("http://h/", {"body": "a", "body_file": "/b"}, "body_file", "body exclude"),
    ("http://h/", {"ca": "/c"}, "ca", "https:// only"),
    ("http://h/", {"insecure": True}, "insecure", "https:// only"),
    ("http://h/", {"unix": "/s", "proxy": "http://p:1"}, "proxy", "unix exclude"),
    ("http://h/", {"unix": "/s", "endpoints": "all"}, "endpoints", "unix exclude"),
    ("http://h/", {"proxy": "http://p:1", "endpoints": "2"}, "endpoints", "proxy exclude"),
    ("http://h/", {"proxy": "http://p:1", "http2": True}, "http2", "https:// only"),
    ("http://h/", {"status": "2zz"}, "status", "write 204"),
    ("http://h/", {"status": "300-200"}, "status", "write 204"),
    ("http://h/", {"status": "99"}, "status", "write 204"),
    ("http://h/", {"status": ","}, "status", "names no status"),
    ("http://h/", {"method": "G T"}, "method", "no method"),
    ("http://h/", {"method": "CONNECT"}, "method", "no method"),
    ("http://h/", {"method": "HEAD", "expect_body": "x"}, "expect_body", "HEAD has none"),
    ("http://h/", {"header": "no colon"}, "header", "NAME: VALUE"),
    ("http://h/", {"header": "X: a\r\nY: b"}, "header", "control characters"),
    ("http://h/", {"header": "Content-Length: 3"}, "header", "decides"),
    ("http://h/", {"expect_header": ": x"}, "expect_header", "NAME: REGEX"),
    ("http://h/", {"expect_body": "("}, "expect_body", "no regular expression"),
    ("http://h/", {"expect_json": "status == 'ok'"}, "expect_json", "no JSONPath"),
    ("http://h/", {"expect_json": "$.a[*] == 1"}, "expect_json", "non-singular"),
    ("http://h/", {"expect_json": "$.a, ?$.b"}, "expect_json", "more than one"),
    ("http://h/", {"header": ("Host: a", "host: b")}, "header", "Host more than once"),
    ("http://h/", {"header": "X: \ud800"}, "header", "surrogate"),
    ("http://h/", {"body": "\ud800"}, "body", "surrogate"),
    ("http://h/\ud800", {}, "", "surrogate"),
    ("http://h/", {"unix": "/a\0b"}, "unix", "no path can hold"),
    ("http://h/", {"unix": "/" + "a" * 107}, "unix", "107 bytes"),
    ("https://h/", {"ca": "/a\ud800"}, "ca", "no path can hold"),
    ("http://h/", {"auth_file": ""}, "auth_file", "is empty"),
    ("http://h/", {"expect_json": "$.a == 1e999"}, "expect_json", "no JSONPath"),
    ("http://h/", {"redirects": "-1"}, "redirects", "whole number"),
    ("http://h/", {"proxy": "socks5://p:1"}, "proxy", "http://HOST:PORT"),
    ("https://h/", {"server_name": "a b"}, "server_name", "no host name"),
    ("http://u:p@h/", {"auth_file": "/a"}, "auth_file", "another way"),
    ("http://h/", {"header": "Authorization: x", "auth_file": "/a"}, "auth_file", "another way"),
    ("http://h:0/", {}, "", "no port"),
    ("http://h:99999/", {}, "", "no port"),
    ("http://::1/", {}, "", "brackets"),
    ("http:///path", {}, "", "no host"),
    ("http://10.0.0.256/", {}, "", "no IPv4 address"),
    ("http://h/" + "a" * 60_001, {}, "", "is longer than"),
    ("http://h/" + "\udcff" * 20_001, {}, "", "is longer than"),
    ("http://", {}, "", "no HTTP URL"),
    ("http://h/a\x01b", {}, "", "control characters"),
]


@pytest.mark.parametrize(("target", "options", "key", "message"), ROWS)
def test_bad_declaration(target: str, options: dict[str, str | tuple[str, ...] | bool], key: str, message: str) -> None:
    """Each rule has its own message, under the option that breaks it."""
    with pytest.raises(BadOptionsError) as caught:
        probe(target, **options)
    assert [found for found in caught.value.wrong if found[0] == key and message in found[1]], caught.value.wrong


def test_all_at_once() -> None:
    """Problems of the target, of single options and between options are told together."""
    with pytest.raises(BadOptionsError) as caught:
        probe("http://h:0/", status="x", key="/k", body="a", body_file="/b")
    assert {key for key, _ in caught.value.wrong} == {"", "status", "key", "body_file"}


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("http://me:s3cret#x@h/", {}),
        ("http://me:s3cret/x@h/", {}),
        ("http://me:s3cret@h:0/?s3cret", {}),
        ("http://h/", {"header": "s3cret"}),
        ("http://h/", {"header": "X: s3cret\n"}),
        ("http://h/", {"proxy": "http://me:s3cret@p:0"}),
    ],
)
def test_no_secret_in_a_message(target: str, options: dict[str, str]) -> None:
    """No message quotes a password, a field's value or a query."""
    with pytest.raises(BadOptionsError) as caught:
        probe(target, **options)
    assert "s3cret" not in str(caught.value)


def test_tls_options_for_a_redirect() -> None:
    """On http://, options of TLS are for the https:// that a redirect leads to."""
    assert probe("http://h/", ca="/c", redirects="1").ca == "/c"


HEAVY = {"httpx", "httpcore", "anyio", "h11", "h2", "hpack", "certifi", "jsonpath", "cryptography"}


def _loaded(code: str) -> set[str]:
    code = f"import sys; from gatekeeper.probes import load; {code}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return HEAVY & set(shown.split())


def test_nothing_loaded_too_early() -> None:
    """Declaring plain HTTP loads no library at all."""
    assert _loaded("load('http').parse('http://h/', {})") == set()


def test_no_more_loaded_than_needed() -> None:
    """An attempt at plain HTTP loads httpx and h11, and neither other transports nor other protocols."""
    with serving(answering(OK)) as server:
        attempt = f"load('http').parse('http://127.0.0.1:{server.port}/', {{}}).attempt()"
        assert _loaded(f"import asyncio; asyncio.run({attempt})") == {"httpx", "h11"}
        assert server.accepted == 1
