"""The composition root: arguments and environment in, exit status out. The only file that knows the exit table.

The steps stand here in the order in which they happen, and data passes between them through here. Whatever goes wrong
in any of them ends in the status of a fault, with the gate shut.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, NamedTuple, NoReturn, TypeVar

from gatekeeper import log
from gatekeeper.announce import ending, files
from gatekeeper.announce.progress import Progress
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.sources import gather, our_variables
from gatekeeper.gate import FaultError, believe, bypassed, fault_of, faulty, hold, look
from gatekeeper.handover.become import Stock, become, lacking, secure_standard_descriptors, take_stock
from gatekeeper.handover.leave import leave
from gatekeeper.log import Lines, Log
from gatekeeper.model import GateOptions, Plan
from gatekeeper.options import COMMANDS, spelled
from gatekeeper.plan import make_plan
from gatekeeper.screen import Screen, wants_colour
from gatekeeper.signals import EndedError, Signals
from gatekeeper.turns import make_room
from gatekeeper.values import nearest
from gatekeeper.verdict import Cause, Gate, Verdict

T = TypeVar("T")

EX_OK, EX_NOT_READY, EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_TIMEOUT, EX_SIGNAL = 0, 1, 2, 69, 70, 124, 128
NOTIFY_SOCKET = "NOTIFY_SOCKET"
_STDOUT, _STDERR = 1, 2


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
    status = EX_SOFTWARE
    try:
        status = _guarded(began)
    finally:
        leave(status)  # whatever is on its way, a fault in telling of a fault: it must not print a traceback


def _guarded(began: float) -> int:
    try:
        secure_standard_descriptors()
        return _run(sys.argv[1:], Start(began, take_stock(), Lines()))
    except EndedError as ended:
        Lines().write(f"gatekeeper: {ended}\n", patient=True)
        return EX_SIGNAL + ended.number
    except FaultError as fault:  # everyone else has been told
        Lines().write(f"gatekeeper: {fault}\n", patient=True)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not open the gate
        Lines().write(f"gatekeeper: {fault_of(error)}\n", patient=True)
        ending.tell_termination_log(fault_of(error) + "\n", GateOptions())
    return EX_SOFTWARE


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
    return _asked(name, argv[1:], start)


def _asked(name: str, argv: list[str], start: Start) -> int:
    """Run a command that answers on stdout and hands nothing over."""
    try:
        if name == "check":
            return _check(argv, start)
        with Signals().lethal():
            return {"plan": _plan, "kinds": _kinds, "demo": _demo}[name](argv)
    except BadDeclarationError as error:
        log.tell_problems(start.lines, error.problems)
        return EX_USAGE
    except OSError as error:  # a full disk, most likely
        where = error.filename or "standard output"
        start.lines.write(f"gatekeeper: {where} cannot be written: {error.strerror}\n", patient=True)
        return EX_SOFTWARE


def _wait(argv: list[str], start: Start) -> int:
    """Declare and plan, hold and hand over; a fault on the way is told to whoever listens."""
    signals = Signals()
    notifier = Notifier(os.environ.get(NOTIFY_SOCKET))
    try:
        with signals.lethal():
            plan, command = _declared("wait", argv)
    except BadDeclarationError as error:
        return _refused(error, start.lines, notifier)
    if plan is None:
        return EX_OK
    try:
        return _through(plan, command, signals, notifier, start)
    except BadDeclarationError as error:
        return _refused(error, start.lines, notifier)
    except BaseException as error:
        verdict = faulty(plan, error)
        ending.announce_fault(verdict, plan.options, notifier)
        raise FaultError(verdict) from error


def _through(plan: Plan, command: tuple[str, ...] | None, signals: Signals, notifier: Notifier, start: Start) -> int:
    """Watch and decide, announce, hand over."""
    logger = _logger(plan.options, start.lines)
    _prepare(plan.options, notifier, logger)
    verdict = bypassed(plan) if plan.options.bypass else _held(plan, signals, logger, notifier, start)
    failure = lacking(command, os.environ) if verdict and command else None
    if failure:
        verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.FAILED, summary=failure.reason)
    elif verdict and signals.received is not None:
        verdict = _by_signal(verdict)
    verdict = ending.announce(verdict, plan.options, logger, notifier, handing_over=command is not None)
    if failure:
        return failure.status
    if verdict.gate is Gate.CLOSED:
        return _status(verdict, signals)
    if command is None:
        return EX_OK
    logger.say("info", log.HANDOVER, command=command[0])
    if (received := signals.last_look()) is not None:
        ending.announce(_by_signal(verdict), plan.options, logger, notifier, handing_over=False)
        ending.take_back(plan.options)
        return EX_SIGNAL + received
    return _handed_over(command, plan.options, start.stock, logger, notifier)


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
        with suppress(OSError):  # it is the declaration that is to be mended first
            files.write_report(options.report, Verdict(Gate.CLOSED, Cause.FAILED, text, datetime.now(UTC), 0.0, ()))
    if options.notify != "off":
        notifier.failure(errno.EINVAL, text)
    return EX_USAGE


def _prepare(options: GateOptions, notifier: Notifier, logger: Log) -> None:
    """Take down what an earlier run left, and silence the notifier where it is to say nothing."""
    if options.notify == "off":
        notifier.close()
    elif notifier.problem:
        logger.note(notifier.problem)
    ending.take_back(options)


def _held(plan: Plan, signals: Signals, logger: Log, notifier: Notifier, start: Start) -> Verdict:
    screen = None
    if logger.live:
        unicode = (getattr(sys.stderr, "encoding", None) or "").lower().replace("-", "") == "utf8"
        screen = Screen(start.lines, _STDERR, colours=wants_colour(os.environ, _STDERR), unicode=unicode)
    make_room(sum(len(dependency.alternatives) for dependency in plan.dependencies))
    try:
        return _in_loop(hold(plan, Progress(logger, screen, notifier), signals, start.began))
    except FaultError as fault:
        return fault.verdict
    except BadDeclarationError:
        raise
    except BaseException as error:  # noqa: BLE001 - a kind that calls sys.exit, a task that was cancelled
        if screen:
            screen.close()
        return faulty(plan, error)


def _by_signal(verdict: Verdict) -> Verdict:
    return verdict._replace(gate=Gate.CLOSED, cause=Cause.SIGNAL)


def _handed_over(command: tuple[str, ...], options: GateOptions, stock: Stock, logger: Log, notifier: Notifier) -> int:
    """Become the command; return only where it could not be executed."""
    removed = set(our_variables())
    if options.notify == "ready":
        removed.add(NOTIFY_SOCKET)
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
    with signals.lethal():
        plan = _declared("check", argv).plan
    if plan is None:
        return EX_OK
    verdict = _looked(plan, signals)
    if verdict.cause is Cause.FAULT:
        start.lines.write(f"gatekeeper: {verdict.summary}\n", patient=True)
    if plan.options.report:
        files.write_report(plan.options.report, verdict)
    pages = _pages()
    page = pages.as_json(verdict.as_dict()) if plan.options.output == "json" else pages.check_page(verdict)
    if verdict.cause is Cause.SIGNAL:
        Lines(_STDOUT).write(page, patient=True)  # as far as it is read: a second signal could not end a write
    else:
        with signals.lethal():
            pages.put(page)
    if verdict.cause in (Cause.SIGNAL, Cause.FAULT):
        return _status(verdict, signals)
    return EX_OK if verdict else EX_NOT_READY


def _looked(plan: Plan, signals: Signals) -> Verdict:
    try:
        return _in_loop(look(plan, signals))
    except FaultError as fault:
        return fault.verdict
    except BaseException as error:  # noqa: BLE001 - as in _held
        return faulty(plan, error)


def _plan(argv: list[str]) -> int:
    plan = _declared("plan", argv).plan
    if plan is None:
        return EX_OK
    _in_loop(believe(plan))
    pages = _pages()
    pages.put(pages.as_json(pages.plan_data(plan)) if plan.options.output == "json" else pages.plan_page(plan))
    return EX_OK


def _kinds(argv: list[str]) -> int:
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


def _demo(argv: list[str]) -> int:
    from gatekeeper.demo import demo  # noqa: PLC0415 - for this one command

    if argv:
        raise BadDeclarationError([Problem("demo", "takes no arguments")])
    return demo()


def _in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; raises what it raises, or what was raised in a callback, which the loop would only print."""
    # Not asyncio.run: that would join threads on its way out, and one may hang in getaddrinfo.
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    faults: list[BaseException] = []

    def take(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context and "exception" in context:
            faults.append(context["exception"])
            task.cancel()

    loop.set_exception_handler(take)
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError as cancelled:
        raise (faults[0] if faults else cancelled) from None


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
