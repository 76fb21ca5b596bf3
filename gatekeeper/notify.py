"""``gatekeeper notify``: what systemd-notify(1) says, for scripts. Loads no event loop, for scripts call it often.

Options and assignments may be mixed. ``--exec`` becomes a command afterwards, as does whatever stands behind ``--``.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gatekeeper.announce.sdnotify import Notifier, one_line
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.values import BadValueError, nearest, quoted, whole

BARRIER = 5.0  # seconds, as systemd-notify has it; a receiver that never reads costs them once
ROOM = 5.0  # seconds to wait for room in the receiver's queue, as the barrier
_MOST_DESCRIPTORS = 253  # unix(7): SCM_MAX_FD
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=[^\n\0]*", re.ASCII)
_FLAGS = ("ready", "reloading", "stopping", "no-block", "exec", "help")
_WITH_VALUE = ("status", "fd", "fdname")
_KNOWN = [f"--{name}" for name in (*_FLAGS, *_WITH_VALUE, "pid")]


class Said(NamedTuple):
    """What is to be said, and how: ``command`` is what we become afterwards, empty for nothing."""

    assignments: tuple[str, ...]
    descriptors: tuple[int, ...] = ()
    sender: int | None = None
    block: bool = True
    command: tuple[str, ...] = ()
    wants_help: bool = False


def read(argv: Sequence[str], now: Callable[[], int] = time.monotonic_ns) -> Said:
    """Return what the arguments say; raises `BadDeclarationError` with every problem.

    ``now`` returns CLOCK_MONOTONIC in nanoseconds, which a RELOADING carries (sd_notify(3)).
    """
    words, command = _split(argv)
    problems: list[Problem] = []
    flags, values, given = _sorted(words, problems)
    if "help" in flags:
        return Said((), wants_help=True)
    problems += [Problem(quoted(text), _NO_ASSIGNMENT) for text in given if not _ASSIGNMENT.fullmatch(text)]
    main = _main_pid(values.get("pid", []), problems)
    descriptors = _descriptors(values.get("fd", []), problems)
    assignments = [*_assignments(flags, values, main, descriptors, now), *given]
    if not assignments and not problems:
        problems.append(Problem("notify", f"nothing to say: write KEY=VALUE, or one of {', '.join(_KNOWN[:3])}"))
    if "exec" in flags and not command:
        problems.append(Problem("--exec", r"no command follows: write --exec [KEY=VALUE]... \; COMMAND [ARG]..."))
    if problems:
        raise BadDeclarationError(problems)
    block = "no-block" not in flags
    return Said(tuple(assignments), descriptors, main or _parent_if_possible(), block, command)


def say(said: Said, environ: Mapping[str, str]) -> str | None:
    """Say it to ``NOTIFY_SOCKET``; return why that was not possible, or None.

    A barrier that nobody answers is no failure: the message is out, and not every relay knows barriers.
    """
    notifier = Notifier(environ.get("NOTIFY_SOCKET"))
    if notifier.problem:
        return notifier.problem
    if not notifier:
        return "NOTIFY_SOCKET is not set: nobody listens"
    patience = ROOM if said.block else 0.0
    if not notifier.send(*said.assignments, patience=patience, descriptors=said.descriptors, sender=said.sender):
        return notifier.problem
    if said.block and "BARRIER=1" not in said.assignments:
        notifier.barrier(BARRIER)
    return None


_NO_ASSIGNMENT = "is no assignment: write KEY=VALUE on one line, the key in capitals, as STATUS=text"


def _split(argv: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    """Return our own words, and the command behind ``;`` or ``--``."""
    ends = [argv.index(mark) for mark in (";", "--") if mark in argv]
    if not ends:
        return argv, ()
    end = min(ends)
    command = tuple(argv[end + 1 :])
    return argv[:end], command[1:] if argv[end] == ";" and command[:1] == ("--",) else command


def _sorted(words: Sequence[str], problems: list[Problem]) -> tuple[set[str], dict[str, list[str]], list[str]]:
    """Return the flags, the options with their values, and the assignments."""
    flags: set[str] = set()
    values: dict[str, list[str]] = {}
    given: list[str] = []
    left = ["--help" if word == "-h" else word for word in words]
    while left:
        word = left.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("-"):
            given.append(word)
        elif name in _FLAGS and not equals:
            flags.add(name)
        elif name == "pid":
            values.setdefault(name, []).append(value if equals else "auto")
        elif name in _WITH_VALUE and (equals or left):
            values.setdefault(name, []).append(value if equals else left.pop(0))
        else:
            problems.append(Problem(word.partition("=")[0], _wrong_option(name, equals)))
    return flags, values, given


def _wrong_option(name: str, equals: str) -> str:
    if name in _WITH_VALUE:
        return f"needs a value: write --{name}=VALUE"
    if name in _FLAGS and equals:
        return "takes no value"
    return f"unknown option{nearest(f'--{name}', _KNOWN) or '; known are ' + ', '.join(_KNOWN)}"


def _assignments(
    flags: set[str],
    values: Mapping[str, Sequence[str]],
    main: int | None,
    descriptors: Sequence[int],
    now: Callable[[], int],
) -> list[str]:
    said = ["READY=1"] if "ready" in flags else []  # first, because some relays read no further
    if "reloading" in flags:
        said += ["RELOADING=1", f"MONOTONIC_USEC={now() // 1000}"]
    if "stopping" in flags:
        said.append("STOPPING=1")
    if "status" in values:
        said.append(f"STATUS={one_line(values['status'][-1])}")
    if main is not None:
        said.append(f"MAINPID={main}")
    if descriptors:
        said.append("FDSTORE=1")
    if "fdname" in values:
        said.append(f"FDNAME={values['fdname'][-1]}")
    return said


def _main_pid(texts: Sequence[str], problems: list[Problem]) -> int | None:
    """Return the process that ``--pid`` names, None where it is not given."""
    if not texts:
        return None
    text = texts[-1]
    if text in ("", "auto", "parent", "self"):
        return {"self": os.getpid(), "parent": os.getppid()}.get(text) or _parent_if_possible()
    try:
        return whole(1, 2**22)(text)  # proc(5): the largest pid_max
    except BadValueError:
        problems.append(Problem("--pid", f"{quoted(text)} is no process: write auto, self, parent or a process id"))
        return None


def _parent_if_possible() -> int:
    """Return the process that called us, but for a service manager: the script is what it knows, not this process."""
    parent = os.getppid()
    managers = {"0", "1", os.environ.get("MANAGERPID", "")}
    return os.getpid() if str(parent) in managers else parent


def _descriptors(texts: Sequence[str], problems: list[Problem]) -> tuple[int, ...]:
    found: list[int] = []
    for text in texts:
        try:
            number = whole(0, 2**20)(text)
            os.fstat(number)
        except BadValueError as error:
            problems.append(Problem("--fd", str(error)))
        except OSError:
            problems.append(Problem("--fd", f"descriptor {text} is not open: pass it, as in {text}<FILE"))
        else:
            found.append(number)
    if len(found) > _MOST_DESCRIPTORS:
        problems.append(Problem("--fd", f"{len(found)} descriptors: a message takes {_MOST_DESCRIPTORS} at most"))
    return tuple(found)
