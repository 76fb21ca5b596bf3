"""The composition root: arguments and environment in, exit status out, by the exit table.

The steps stand here in the order in which they happen, and data passes between them through here. Whatever goes wrong
in any of them ends in the status of a fault, with the gate shut.
"""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gatekeeper import log
from gatekeeper.announce import ending
from gatekeeper.announce.progress import Progress
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.declaration import BadDeclarationError
from gatekeeper.declare.sources import our_variables
from gatekeeper.declared import declared, glimpse
from gatekeeper.exits import EX_OK, EX_SIGNAL, EX_SOFTWARE, EX_TIMEOUT, EX_UNAVAILABLE, EX_USAGE
from gatekeeper.exports import with_exports
from gatekeeper.gate import FaultError, bypassed, fault_of, faulty, held, in_loop
from gatekeeper.handover.become import Failure, Stock, become, lacking, secure_standard_descriptors, take_stock
from gatekeeper.handover.leave import leave
from gatekeeper.log import Lines, Log
from gatekeeper.model import GateOptions, Plan
from gatekeeper.options import COMMANDS
from gatekeeper.screen import open_screen
from gatekeeper.signals import EndedError, Signals
from gatekeeper.turns import make_room
from gatekeeper.values import nearest, safe_target
from gatekeeper.verdict import Cause, Gate, Verdict

if TYPE_CHECKING:
    from gatekeeper.announce.pod import PodVoice  # loads a client of the API

NOTIFY_SOCKET = "NOTIFY_SOCKET"


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
    sys.unraisablehook = lambda _: None  # what fails while it is cleared away has failed before, and has been told
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
        name = "help"
    if name in (*COMMANDS, "help", "--version"):
        if name == "hook" and not {"-h", "--help"} & set(argv):
            return _called(argv[1:], start)
        if name in ("wait", "run", "serve"):
            return _held(name, argv[1:], start)
        from gatekeeper.asked import answered  # noqa: PLC0415 - no wait loads it

        return answered(name, argv[1:], start.stock.descriptors, start.lines)
    shown = safe_target(name)  # which may be a dependency with a password in it
    what = f"unknown command {shown}" if name else "no command"
    hint = f"; write gatekeeper wait {shown}" if "://" in name else nearest(name, COMMANDS)
    known = ", ".join(COMMANDS)
    start.lines.write(f"gatekeeper: {what}{hint or f'; known are {known}'}\n", patient=True)
    return EX_USAGE


def _held(name: str, argv: list[str], start: Start) -> int:
    """Declare and plan, hold and hand over."""
    signals = Signals()
    notifier = Notifier(os.environ.get(NOTIFY_SOCKET))
    try:
        with signals.lethal():
            plan, command = declared(name, argv, start.stock.descriptors)
    except BadDeclarationError as error:
        return _refused(error, start, notifier)
    except Exception as error:
        verdict = Verdict(Gate.CLOSED, Cause.FAULT, fault_of(error), datetime.now(UTC), 0.0, ())
        ending.announce_fault(verdict, glimpse(argv, os.environ), notifier)
        raise FaultError(verdict) from error
    if plan is None:
        return _help(name)
    through = {"wait": _through, "run": _tended, "serve": _served}[name]
    return _guided(through, plan, command, signals, notifier, start)


def _called(argv: list[str], start: Start) -> int:
    """Hold a container for its runtime, on the container's side; without a declaration, let it start."""
    from gatekeeper.hook.called import called  # noqa: PLC0415 - for this one command
    from gatekeeper.hook.enter import BarredError, enter  # noqa: PLC0415 - for this one command

    signals = Signals()
    notifier = Notifier(os.environ.get(NOTIFY_SOCKET))
    try:
        with signals.lethal():
            call = called(argv, start.stock.descriptors)
    except BadDeclarationError as error:
        return _refused(error, start, notifier)
    if call is None:
        return EX_OK

    def entered(plan: Plan, *rest: Any) -> int:  # noqa: ANN401 - what _through takes
        try:
            enter(call.side, call.state, call.bundle)
        except BarredError as error:
            verdict = faulty(plan, error)._replace(summary=str(error))
            return _status(
                ending.announce(verdict, plan.options, log.open_log(plan.options, start.lines), notifier), signals
            )
        return _through(plan, *rest)

    return _guided(entered, call.plan, None, signals, notifier, start)


def _guided(
    through: Callable[..., int],
    plan: Plan,
    command: tuple[str, ...] | None,
    signals: Signals,
    notifier: Notifier,
    start: Start,
) -> int:
    """Go one of the ways; a fault on it is told to whoever listens."""
    try:
        return through(plan, command, signals, notifier, start)
    except BadDeclarationError as error:
        return _refused(error, start, notifier)
    except BaseException as error:
        verdict = faulty(plan, error)
        ending.announce_fault(verdict, plan.options, notifier)
        raise FaultError(verdict) from error


def _through(plan: Plan, command: tuple[str, ...] | None, signals: Signals, notifier: Notifier, start: Start) -> int:
    """Watch and decide, announce, hand over."""
    logger = log.open_log(plan.options, start.lines)
    pod = _pod(plan.options, logger)
    _prepare(plan.options, notifier, logger)
    if plan.options.bypass:
        verdict = bypassed(plan)
    else:
        make_room(sum(len(dependency.alternatives) for dependency in plan.dependencies))
        progress = Progress(logger, open_screen(logger, start.lines), notifier, pod)
        verdict = held(plan, progress, signals, start.began)
    failure = lacking(command, os.environ) if verdict and command else None
    if failure:
        verdict = _by_failure(verdict, failure)
    elif verdict and signals.received is not None:
        verdict = _by_signal(verdict)
    try:
        with (
            signals.lethal() if verdict else nullcontext()
        ):  # whoever reads a pipe may take its time, and a signal may not
            verdict = ending.announce(verdict, plan.options, logger, notifier, handing_over=command is not None)
            if pod:
                in_loop(pod.ended(verdict))
    except EndedError:
        verdict = _taken_back(verdict, plan.options, logger, notifier)
    if failure:
        return failure.status
    if verdict.gate is Gate.CLOSED:
        return _status(verdict, signals)
    if command is None:
        return EX_OK
    logger.say("info", log.HANDOVER, command=command[0])
    if signals.last_look() is not None:
        return _status(_taken_back(verdict, plan.options, logger, notifier), signals)
    return _handed_over(command, verdict, plan.options, start.stock, logger, notifier)


def _tended(plan: Plan, command: tuple[str, ...] | None, signals: Signals, notifier: Notifier, start: Start) -> int:
    """Watch and decide, announce, start the command and tend it to its end."""
    from gatekeeper.run import Voices, run  # noqa: PLC0415 - for this one command

    assert command, "declared to be there"  # noqa: S101 - see gatekeeper.declared
    logger = log.open_log(plan.options, start.lines)
    _prepare(plan.options, notifier, logger)
    make_room(sum(len(dependency.alternatives) for dependency in plan.dependencies))
    pod = _pod(plan.options, logger)
    voices = Voices(logger, Progress(logger, open_screen(logger, start.lines), notifier, pod), notifier, pod)
    ran = run(plan, command, os.environ, start.stock, _not_for(plan.options), voices, signals, start.began)
    if ran.ended is None:
        return _status(ran.verdict, signals)
    if ran.ended.late:
        return EX_TIMEOUT
    return ran.ended.status


def _served(plan: Plan, _command: tuple[str, ...] | None, signals: Signals, notifier: Notifier, start: Start) -> int:
    """Watch and decide, announce, hear the neighbour until a signal comes."""
    from gatekeeper.run import Voices  # noqa: PLC0415 - for this one command
    from gatekeeper.serve import serve  # noqa: PLC0415 - as above

    logger = log.open_log(plan.options, start.lines)
    _prepare(plan.options, notifier, logger)
    make_room(sum(len(dependency.alternatives) for dependency in plan.dependencies))
    pod = _pod(plan.options, logger)
    voices = Voices(logger, Progress(logger, open_screen(logger, start.lines), notifier, pod), notifier, pod)
    verdict = serve(plan, voices, signals, start.began)
    return _status(_by_signal(verdict) if verdict else verdict, signals)


def _pod(options: GateOptions, logger: Log) -> "PodVoice | None":
    """Return who tells of the pod that we are in, where that was asked for."""
    if not options.pod_condition and not options.event:
        return None
    from gatekeeper.announce.pod import PodVoice  # noqa: PLC0415 - loads a client of the API

    return PodVoice(options.pod_condition, event=options.event, logger=logger, context=options.context)


def _not_for(options: GateOptions) -> set[str]:
    """Return the names of the variables that a command does not inherit."""
    return set(our_variables()) | ({NOTIFY_SOCKET} if options.notify == "ready" else set())


def _help(name: str) -> int:
    from gatekeeper.pages import put  # noqa: PLC0415 - no wait prints a page
    from gatekeeper.usage import help_page  # noqa: PLC0415 - as above

    put(help_page(name))
    return EX_OK


def _refused(error: BadDeclarationError, start: Start, notifier: Notifier) -> int:
    ending.refuse(error, start.lines, notifier)
    return EX_USAGE


def _prepare(options: GateOptions, notifier: Notifier, logger: Log) -> None:
    """Take down what an earlier run left, and silence the notifier where it is to say nothing."""
    if options.notify == "off":
        notifier.close()
    elif notifier.problem:
        logger.note(notifier.problem)
    ending.take_back(options)


def _by_failure(verdict: Verdict, failure: Failure) -> Verdict:
    return verdict._replace(gate=Gate.CLOSED, cause=Cause.FAILED, summary=failure.reason)


def _by_signal(verdict: Verdict) -> Verdict:
    return verdict._replace(gate=Gate.CLOSED, cause=Cause.SIGNAL)


def _taken_back(verdict: Verdict, options: GateOptions, logger: Log, notifier: Notifier) -> Verdict:
    """Tell everyone that a signal came after they were told of an open gate."""
    ending.take_back(options)
    return ending.announce(_by_signal(verdict), options, logger, notifier)


def _handed_over(
    command: tuple[str, ...], verdict: Verdict, options: GateOptions, stock: Stock, logger: Log, notifier: Notifier
) -> int:
    """Become the command; return only where it could not be executed."""
    failure = become(command, with_exports(os.environ, verdict.exports), stock, _not_for(options))
    ending.take_back(options)
    ending.announce(_by_failure(verdict, failure), options, logger, notifier)
    return failure.status


def _status(verdict: Verdict, signals: Signals) -> int:
    if verdict.cause is Cause.SIGNAL:
        return EX_SIGNAL + (signals.received or 0)
    return {Cause.TIMEOUT: EX_TIMEOUT, Cause.FAILED: EX_UNAVAILABLE}.get(verdict.cause, EX_SOFTWARE)
