"""Become the command: execve(2) in place, so that it sees what it would have seen without us. Imports nothing of ours.

What CPython and we changed is put back: dispositions of signals, the signal mask, the environment, the limit of
descriptors. Descriptors need nothing: all of ours are close-on-exec. Timers need nothing: we set none, and one that the
caller set is the command's.
One thing cannot be put back: CPython ignores SIGPIPE and SIGXFSZ before it runs a line of ours, so whether they were
ignored before is not known; the command gets the default.
"""

import errno
import os
import resource
import signal
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

_CANNOT_EXECUTE = 126
_NOT_FOUND = 127
_IGNORED_BY_CPYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
_FIXED = frozenset({signal.SIGKILL, signal.SIGSTOP})
_STANDARD = (0, 1, 2)
# What execvp(3) takes for "not in this folder".
_SEARCH_ON = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT)
_FIRST_LINE = 256  # what the kernel reads of a script, linux/binfmts.h


class Stock(NamedTuple):
    """What the process was given: signals, LC_CTYPE before CPython's coercion, descriptors and their limit."""

    ignored: frozenset[int]
    blocked: frozenset[int]
    lc_ctype: str | None
    limit: tuple[int, int]
    descriptors: frozenset[int]


class Failure(NamedTuple):
    """Why the command was not executed: the exit status (126 or 127), and one line for people."""

    status: int
    reason: str


def secure_standard_descriptors() -> tuple[int, ...]:
    """Open /dev/null on those of descriptors 0-2 that are closed, and return which they were.

    Otherwise a connection to a dependency would become descriptor 2, and receive our log. To be called before anything
    is opened. The command finds them closed again, because what we open is close-on-exec.
    """
    closed = tuple(descriptor for descriptor in _STANDARD if not _is_open(descriptor))
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # the kernel gives the lowest number that is free
    return closed


def take_stock() -> Stock:
    """Record what the process was given; to be called before a signal handler is set or anything is opened."""
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Stock(frozenset(ignored) - _IGNORED_BY_CPYTHON, frozenset(blocked), _given_lc_ctype(), limit, _descriptors())


def become(command: Sequence[str], environ: Mapping[str, str], stock: Stock, ours: Collection[str]) -> Failure:
    """Execute ``command`` in place of this process; returns only where that fails.

    The program is looked for as execvp(3) does, in the PATH of the command's environment, which is ``environ`` without
    the variables named in ``ours``. To be called in the main thread, after what our streams hold was flushed. A caller
    that must not lose a signal blocks it, looks whether it came, and calls: it is let through when it is lethal again.
    """
    given = _environment(environ, stock, ours)
    resource.setrlimit(resource.RLIMIT_NOFILE, stock.limit)
    before = _put_back_signals(stock)
    failure = _execute(command, given)
    for number, handler in before:
        signal.signal(number, handler)  # SIGPIPE above all: saying why it failed must not end in a broken pipe
    return failure


def lacking(command: Sequence[str], environ: Mapping[str, str]) -> Failure | None:
    """Return why ``command`` could not be executed as things stand, or None. Executes nothing.

    An early look, so that nobody is told of a start that cannot come; `become` has the last word.
    """
    paths = _candidates(command[0], environ) if command[0] else []
    if any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths):
        return None
    there = next((path for path in paths if os.path.exists(path)), None)
    if there is not None:
        return _explain(there, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    return _not_found(command[0])


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _descriptors() -> frozenset[int]:
    try:
        listed = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc: look at those that anybody passes
        listed = list(range(256))
    return frozenset(descriptor for descriptor in listed if _is_open(descriptor))  # without that of the list itself


def _given_lc_ctype() -> str | None:
    """Return LC_CTYPE as exec gave it: CPython exports ``C.UTF-8`` where it finds the C locale (PEP 538)."""
    current = os.environ.get("LC_CTYPE")
    if current not in {"C.UTF-8", "C.utf8", "UTF-8"}:
        return current
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return current
    given = [entry.partition(b"=")[2] for entry in entries if entry.startswith(b"LC_CTYPE=")]
    return os.fsdecode(given[0]) if given else None


def _environment(environ: Mapping[str, str], stock: Stock, ours: Collection[str]) -> dict[str, str]:
    # An entry without a name (`=x`) can be inherited, and execve of CPython refuses it.
    given = {name: value for name, value in environ.items() if name and name not in ours}
    if stock.lc_ctype is None:
        given.pop("LC_CTYPE", None)
    elif "LC_CTYPE" in given:
        given["LC_CTYPE"] = stock.lc_ctype
    return given


def _put_back_signals(stock: Stock) -> list[tuple[int, Any]]:
    """Make dispositions and mask what they were, in this order, and return the dispositions that were changed.

    Handlers are put back too, though execve would do it: a signal that comes between the caller's last look and execve
    would be noted by a handler that nobody asks any more. Now it does to us what it would have done to the command.
    """
    changed: list[tuple[int, Any]] = []
    for number in signal.valid_signals() - _FIXED:
        wanted = signal.SIG_IGN if number in stock.ignored else signal.SIG_DFL
        if signal.getsignal(number) != wanted:
            changed.append((number, signal.signal(number, wanted)))
    signal.pthread_sigmask(signal.SIG_SETMASK, stock.blocked)
    return [(number, handler) for number, handler in changed if handler is not None]  # None: not set from Python


def _execute(command: Sequence[str], given: Mapping[str, str]) -> Failure:
    name = command[0]
    if not name:
        return _not_found(name)
    found: Failure | None = None
    for path in _candidates(name, given):
        try:
            os.execve(path, list(command), given)  # noqa: S606 - the task is to execute what the user wrote, without a shell
        except OSError as error:
            if error.errno not in _SEARCH_ON or (path == name and error.errno == errno.EACCES):
                return _explain(path, error)
            if found is None and os.path.exists(path):
                found = _explain(path, error)
    return found or _not_found(name)


def _candidates(name: str, given: Mapping[str, str]) -> list[str]:
    if "/" in name:
        return [name]
    # An empty entry is the current folder, as execvp(3) has it.
    return [os.path.join(folder or ".", name) for folder in given.get("PATH", os.defpath).split(":")]


def _not_found(name: str) -> Failure:
    if not name:
        return Failure(_NOT_FOUND, "the name of the command is empty")
    where = "no such file" if "/" in name else "not in any folder of PATH"
    return Failure(_NOT_FOUND, f"{name!r} was not found: {where}")


def _explain(path: str, error: OSError) -> Failure:
    if error.errno == errno.ENOENT:
        return Failure(_NOT_FOUND, f"{path!r} is there, and what runs it is not: {_interpreter(path)}")
    if os.path.isdir(path):
        why = "it is a folder"
    elif error.errno == errno.EACCES:
        why = "permission denied; it is not executable for this user, or lies on a file system mounted noexec"
    elif error.errno == errno.ENOEXEC:
        why = "no program for this machine; a script without a #! line, or built for another architecture"
    else:
        why = os.strerror(error.errno or 0)
    return Failure(_CANNOT_EXECUTE, f"{path!r} cannot be executed: {why}")


def _interpreter(path: str) -> str:
    """Name what execve(2) did not find although the file itself is there."""
    try:
        with open(path, "rb") as file:
            line = file.readline(_FIRST_LINE)
    except OSError:
        line = b""
    words = line.removeprefix(b"#!").strip(b" \t\n").replace(b"\t", b" ").split(b" ")
    if not line.startswith(b"#!") or not words[0]:
        return "its dynamic loader (a program built for another C library?)"
    hint = " (the line ends in CR LF)" if words[-1].endswith(b"\r") else ""
    return f"{os.fsdecode(words[0])!r}{hint}"
