"""``gatekeeper status``: ask a running `run` how it stands, for exec probes. A socket and a few lines of HTTP."""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.model import Address
from gatekeeper.options import USUAL_STATUS, addresses, variable
from gatekeeper.values import BadValueError, nearest

_PATHS = {"--started": "/startupz", "--ready": "/readyz", "--live": "/livez"}
_KNOWN = (*_PATHS, "--status", "--verbose", "--help")
_ALL_KNOWN = f"; known are {', '.join(_KNOWN)}"
_PATIENCE = 0.9  # seconds; a kubelet gives a probe one by default, and then knows no reason
_MOST_READ = 1 << 20
_OK = b"200"


class Question(NamedTuple):
    """What is asked, and where; no path means that only help is wanted."""

    path: str
    where: Address
    verbose: bool = False


class Heard(NamedTuple):
    """The answer: yes or no, and a line or the whole report."""

    yes: bool
    text: str


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Question:
    """Return what the arguments ask; raises `BadDeclarationError` with every problem."""
    problems: list[Problem] = []
    paths: list[str] = []
    place, text, verbose = variable("status"), environ.get(variable("status"), ""), False
    left = list(argv)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            return Question("", USUAL_STATUS)
        if word in _PATHS:
            paths.append(word)
        elif word in ("-v", "--verbose"):
            verbose = True
        elif word == "--status" and not left:
            problems.append(Problem(word, "needs a value: write --status=ADDRESS"))
        elif name == "--status":
            place, text = name, value if equals else left.pop(0)
        else:
            problems.append(Problem(name, f"unknown option{nearest(name, _KNOWN) or _ALL_KNOWN}"))
    if len(set(paths)) > 1:
        problems.append(Problem(paths[1], f"and {paths[0]} are two questions: ask one"))
    where = _where(place, text, problems)
    if problems:
        raise BadDeclarationError(problems)
    return Question(_PATHS[paths[0]] if paths else "/readyz", where, verbose)


def ask(question: Question) -> Heard:
    """Ask, and return the answer; who does not answer is not started, not ready and not alive."""
    where = question.where
    shown = where.path or f"{where.host or '127.0.0.1'}:{where.port}"
    try:
        with _connected(where) as sock:
            target = question.path + ("?verbose" if question.verbose else "")
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: gatekeeper\r\nConnection: close\r\n\r\n".encode())
            said = b""
            while len(said) < _MOST_READ and (more := sock.recv(65536)):
                said += more
    except OSError as error:
        return Heard(yes=False, text=f"nobody answers at {shown}: {error.strerror or error}")
    head, _, body = said.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 3 or not words[0].startswith(b"HTTP/"):  # noqa: PLR2004 - RFC 9112, 4
        return Heard(yes=False, text=f"what answers at {shown} does not speak HTTP")
    return Heard(yes=words[1] == _OK, text=body.decode("utf-8", "replace").rstrip("\n"))


def _connected(where: Address) -> socket.socket:
    if where.path is None:
        return socket.create_connection((where.host or "127.0.0.1", where.port), _PATIENCE)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(_PATIENCE)
        sock.connect(os.fsencode(where.path))
    except BaseException:
        sock.close()
        raise
    return sock


def _where(place: str, text: str, problems: list[Problem]) -> Address:
    try:
        given = addresses(text) if text else ()
    except BadValueError as error:
        problems.append(Problem(place, str(error)))
        given = ()
    if text and not given and not problems:
        problems.append(Problem(place, "is off: name an address at which somebody answers"))
    return given[0] if given else USUAL_STATUS
