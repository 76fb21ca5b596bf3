"""The composition root: arguments and environment in, exit status out. The only file that knows the exit table.

The steps stand here in the order in which they happen, and data passes between them through here. Whatever goes wrong
in any of them ends in the status of a fault, with the gate shut.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, NamedTuple, NoReturn, TypeVar

from gatekeeper import log
from gatekeeper.announce import ending, files
from gatekeeper.announce.progress import Progress
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.sources import gather, our_variables
from gatekeeper.gate import FaultError, bypassed, fault_of, hold, look
from gatekeeper.handover.become import Stock, become, lacking, secure_standard_descriptors, take_stock
from gatekeeper.handover.leave import leave
from gatekeeper.log import Lines, Log
from gatekeeper.model import BadDeclarationError, Cause, Gate, GateOptions, Plan, Problem, Verdict
from gatekeeper.options import COMMANDS, spelled
from gatekeeper.plan import make_plan
from gatekeeper.screen import Screen, wants_colour
from gatekeeper.signals import Signals
from gatekeeper.values import nearest

T = TypeVar("T")

EX_OK, EX_NOT_READY, EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_TIMEOUT, EX_SIGNAL = 0, 1, 2, 69, 70, 124, 128
NOTIFY_SOCKET = "NOTIFY_SOCKET"
_STDERR = 2


class Declared(NamedTuple):
    """What the arguments of ``wait``, ``check`` and ``plan`` amount to; no plan where only help is wanted."""

    plan: Plan | None
    command: tuple[str, ...] | None


class Start(NamedTuple):
    """What there is from the first moment: the clock, what the process was given, and where to say something."""

    began: float
    stock: Stock
    lines: Lines


def main(began: float) -> NoReturn:
    """Run one of our commands and leave the process; what cannot be foreseen is a fault, and the gate stays shut.

    The deadline counts from ``began``, a moment of the monotonic clock: loading us is part of the wait.
    """
    lines: Lines | None = None
    try:
        secure_standard_descriptors()
        stock = take_stock()
        lines = Lines()
        status = _run(sys.argv[1:], Start(began, stock, lines))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not open the gate or print a traceback
        status = EX_SOFTWARE
        if lines:
            lines.write(f"gatekeeper: {fault_of(error)}\n", patient=True)
            ending.tell_termination_log(fault_of(error) + "\n", GateOptions())
    leave(status)


def _run(argv: list[str], start: Start) -> int:
    name = argv[0] if argv else ""
    if name in ("-h", "--help", "help"):
        _pages().put(_pages().help_page())
        return EX_OK
    if name == "--version":
        from gatekeeper import __version__  # noqa: PLC0415 - for this one command

        _pages().put(f"gatekeeper {__version__}\n")
        return EX_OK
    if name not in COMMANDS:
        what = f"unknown command {name}" if name else "no command"
        hint = f"; write gatekeeper wait {name}" if "://" in name else nearest(name, COMMANDS)
        known = ", ".join(COMMANDS)
        start.lines.write(f"gatekeeper: {what}{hint or f'; known are {known}'}\n", patient=True)
        return EX_USAGE
    if name == "wait":
        return _wait(argv[1:], start)
    run: Callable[[list[str], Start], int] = {"check": _check, "plan": _plan, "kinds": _kinds, "demo": _demo}[name]
    try:
        return run(argv[1:], start)
    except BadDeclarationError as error:
        log.tell_problems(start.lines, error.problems)
        return EX_USAGE


def _wait(argv: list[str], start: Start) -> int:
    """Declare and plan, watch and decide, announce, hand over."""
    signals = Signals()
    notifier = Notifier(os.environ.get(NOTIFY_SOCKET))
    try:
        declared = _declared("wait", argv)
    except BadDeclarationError as error:
        return _refused(error, start.lines, notifier)
    plan, command = declared
    if plan is None:
        return EX_OK
    logger = _logger(plan.options, start.lines)
    notifier = _prepared(plan.options, notifier, logger)
    verdict = bypassed(plan) if plan.options.bypass else _held(plan, signals, logger, notifier, start)
    failure = lacking(command, os.environ) if verdict and command else None
    if failure:
        verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.FAILED, summary=failure.reason)
    verdict = ending.announce(verdict, plan.options, logger, notifier, handing_over=command is not None)
    if failure:
        return failure.status
    if verdict.gate is Gate.CLOSED:
        return _status(verdict, signals)
    return EX_OK if command is None else _handed_over(command, plan.options, signals, start.stock, logger, notifier)


def _declared(command_name: str, argv: Sequence[str]) -> Declared:
    problems: list[Problem] = []
    arguments = parse_arguments(argv, problems, os.environ)
    if arguments.wants_help:
        _pages().put(_pages().help_page(command_name))
        return Declared(None, None)
    if arguments.command is not None and command_name != "wait":
        problems.append(Problem("--", f"{command_name} starts no command: write gatekeeper wait … -- COMMAND"))
    sources = gather(arguments.source, os.environ, problems)
    plan = make_plan(sources, problems)
    if problems := _unusable(plan.options):
        raise BadDeclarationError(problems, plan.options)
    return Declared(plan, arguments.command)


def _unusable(options: GateOptions) -> list[Problem]:
    """Return what can be told of files and descriptors before anything is probed."""
    problems = [
        Problem(spelled(key), problem)
        for key, path in (("report", options.report), ("ready_file", options.ready_file))
        if path and (problem := files.check_writable(path) or (key == "ready_file" and files.check_removable(path)))
    ]
    if options.notify_fd is not None:
        try:
            os.fstat(options.notify_fd)
        except OSError:
            what = f"descriptor {options.notify_fd} is not open: name the one that the supervisor passed"
            problems.append(Problem(spelled("notify_fd"), what))
    return problems


def _refused(error: BadDeclarationError, lines: Lines, notifier: Notifier) -> int:
    """Say what is wrong with a declaration wherever a reason is looked for."""
    log.tell_problems(lines, error.problems)
    options = error.options or GateOptions()
    text = f"bad declaration, nothing was probed: {'; '.join(map(str, error.problems))}"
    ending.tell_termination_log(text + "\n", options)
    if options.report and not files.check_writable(options.report):
        files.write_report(options.report, Verdict(Gate.CLOSED, Cause.FAILED, text, datetime.now(UTC), 0.0, ()))
    if options.notify != "off":
        notifier.failure(errno.EINVAL, text)
    return EX_USAGE


def _prepared(options: GateOptions, notifier: Notifier, logger: Log) -> Notifier:
    """Take down what an earlier run left; return the notifier that is to be used."""
    ending.take_back(options)
    if options.notify == "off":
        notifier.close()
        return Notifier(None)
    if notifier.problem:
        logger.note(notifier.problem)
    return notifier


def _held(plan: Plan, signals: Signals, logger: Log, notifier: Notifier, start: Start) -> Verdict:
    screen = None
    if logger.live:
        unicode = (getattr(sys.stderr, "encoding", None) or "").lower().replace("-", "") == "utf8"
        screen = Screen(start.lines, _STDERR, colours=wants_colour(os.environ, _STDERR), unicode=unicode)
    try:
        return _in_loop(hold(plan, Progress(logger, screen, notifier), signals, start.began))
    except FaultError as fault:
        return fault.verdict


def _handed_over(
    command: tuple[str, ...], options: GateOptions, signals: Signals, stock: Stock, logger: Log, notifier: Notifier
) -> int:
    """Become the command; return only where a signal came or it could not be executed."""
    logger.say("info", log.HANDOVER, command=command[0])
    removed = set(our_variables())
    if options.notify == "ready":
        removed.add(NOTIFY_SOCKET)
    if (received := signals.last_look()) is not None:
        ending.take_back(options)
        return EX_SIGNAL + received
    failure = become(command, os.environ, stock, removed)
    ending.take_back(options)
    logger.say("error", log.CLOSED, summary=failure.reason, cause=Cause.FAILED.value)
    ending.tell_termination_log(failure.reason + "\n", options)
    notifier.failure(errno.ENOEXEC, failure.reason)
    return failure.status


def _status(verdict: Verdict, signals: Signals) -> int:
    if verdict.cause is Cause.SIGNAL:
        return EX_SIGNAL + (signals.received or 0)
    return {Cause.TIMEOUT: EX_TIMEOUT, Cause.FAILED: EX_UNAVAILABLE}.get(verdict.cause, EX_SOFTWARE)


def _check(argv: list[str], start: Start) -> int:
    signals = Signals()
    declared = _declared("check", argv)
    if declared.plan is None:
        return EX_OK
    try:
        verdict = _in_loop(look(declared.plan, signals))
    except FaultError as fault:
        verdict = fault.verdict
        start.lines.write(f"gatekeeper: {verdict.summary}\n", patient=True)
    options = declared.plan.options
    if options.report:
        files.write_report(options.report, verdict)
    pages = _pages()
    pages.put(pages.as_json(verdict.as_dict()) if options.output == "json" else pages.check_page(verdict))
    if verdict.cause in (Cause.SIGNAL, Cause.FAULT):
        return _status(verdict, signals)
    return EX_OK if verdict else EX_NOT_READY


def _plan(argv: list[str], _start: Start) -> int:
    plan = _declared("plan", argv).plan
    if plan is None:
        return EX_OK
    pages = _pages()
    pages.put(pages.as_json(pages.plan_data(plan)) if plan.options.output == "json" else pages.plan_page(plan))
    return EX_OK


def _kinds(argv: list[str], _start: Start) -> int:
    pages = _pages()
    if len(argv) > 1:
        raise BadDeclarationError([Problem("kinds", "takes one KIND at most")])
    if not argv or argv[0] in ("-h", "--help"):
        pages.put(pages.kinds_page())
        return EX_OK
    if argv[0] not in pages.KINDS:
        hint = nearest(argv[0], pages.KINDS) or f"; known are {', '.join(pages.KINDS)}"
        raise BadDeclarationError([Problem("kinds", f"unknown kind {argv[0]}{hint}")])
    pages.put(pages.kind_page(argv[0]))
    return EX_OK


def _demo(argv: list[str], _start: Start) -> int:
    from gatekeeper.demo import demo  # noqa: PLC0415 - for this one command

    if argv:
        raise BadDeclarationError([Problem("demo", "takes no arguments")])
    return demo()


def _in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    # Not asyncio.run: that would join threads on its way out, and one may hang in getaddrinfo.
    return asyncio.new_event_loop().run_until_complete(coroutine)


def _logger(options: GateOptions, lines: Lines) -> Log:
    """Return what speaks on stderr: a live view needs a terminal that can be painted over, and nothing else wanted."""
    terminal = os.isatty(_STDERR)
    json = options.log_format == "json" or (options.log_format == "auto" and not terminal)
    live = terminal and not json and not options.quiet and not options.verbose and not options.bypass
    live = live and os.environ.get("TERM", "dumb") != "dumb"
    colours = not json and wants_colour(os.environ, _STDERR)
    return Log(lines, json=json, colours=colours, quiet=options.quiet, verbose=options.verbose, live=live)


def _pages() -> ModuleType:
    from gatekeeper import pages  # noqa: PLC0415 - no wait prints a page

    return pages
