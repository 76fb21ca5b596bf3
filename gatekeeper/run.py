"""``gatekeeper run``: hold, announce, then start the command as a child and tend it. One event loop from end to end.

The steps are those of `gatekeeper.cli` for a command that it becomes; what follows the gate is `tend`'s.
"""

import asyncio
import errno
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gatekeeper import log
from gatekeeper.announce import ending
from gatekeeper.announce.progress import Progress
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.announce.status import StatusServer
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.exports import with_exports
from gatekeeper.gate import FaultError, bypassed, fault_of, hold, in_loop
from gatekeeper.handover.become import Stock, lacking
from gatekeeper.handover.family import has_children, signal_all
from gatekeeper.keep import keep
from gatekeeper.lifecycle import Event, after
from gatekeeper.log import Log
from gatekeeper.model import GateOptions, Outcome, Plan, Reason, State
from gatekeeper.options import USUAL_STATUS, spelled
from gatekeeper.signals import OTHERS_THAT_END, Signals
from gatekeeper.tend import Ended, Rules, Tended
from gatekeeper.verdict import Cause, Gate, Verdict
from gatekeeper.watch import LETTING_GO, Watch
from gatekeeper.whole import Whole

if TYPE_CHECKING:
    from gatekeeper.announce.pod import PodVoice  # loads a client of the API

_MERCY = 1.0  # seconds that the command has for its end when a fault of ours ends us


class Voices(NamedTuple):
    """Who is told what happens."""

    logger: Log
    progress: Progress
    notifier: Notifier
    pod: "PodVoice | None" = None


class Ran(NamedTuple):
    """What came of it: the verdict over the gate, and how the command ended or why it was not executed."""

    verdict: Verdict
    ended: Ended | None = None


def run(
    plan: Plan,
    command: Sequence[str],
    environ: Mapping[str, str],
    stock: Stock,
    ours: set[str],
    voices: Voices,
    signals: Signals,
    began: float,
) -> Ran:
    """Hold, start and tend; a fault of ours ends the command too, before it is raised."""
    signals.take_over(OTHERS_THAT_END)  # whichever it is, no socket file is to be left behind

    async def through() -> Ran:
        if plan.options.notify_fd is not None:  # which is not the command's to hold open
            os.set_inheritable(plan.options.notify_fd, False)  # noqa: FBT003 - it takes no name
        whole = Whole()
        async with answering(plan.options, whole, voices.logger) as changed:
            verdict = await held(plan, whole, voices, signals, began)
            failure = lacking(command, environ) if verdict else None
            if failure:  # nobody is told of a start that cannot come
                verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.FAILED, summary=failure.reason)
            verdict = ending.announce(verdict, plan.options, voices.logger, voices.notifier, tending=True)
            if voices.pod:
                await voices.pod.ended(verdict)
            whole.verdict = verdict
            whole.life = after(whole.life, Event.OPENED if verdict else Event.CLOSED)
            if not verdict:
                return Ran(verdict, Ended(*failure) if failure else None)
            voices.logger.say("info", log.STARTING, command=command[0])
            tended = _tended(plan.options, whole, voices, changed)
            async with keeping(plan, whole, voices, changed):
                given = with_exports(environ, verdict.exports)
                return Ran(verdict, await tended.run(command, given, stock, ours, lambda: signals.received))

    try:
        ran = in_loop(through())
    except BaseException:
        _end_all()
        raise
    _tell_end(ran, plan.options, voices)
    return ran


async def held(plan: Plan, whole: Whole, voices: Voices, signals: Signals, began: float) -> Verdict:
    """Hold, and return a verdict whatever happens; raises `BadDeclarationError` only."""

    def watching(watch: Watch) -> None:
        whole.watch = watch

    if plan.options.bypass:
        verdict = bypassed(plan)
    else:
        try:
            verdict = await hold(plan, voices.progress, signals, began, watching)
        except FaultError as fault:
            verdict = fault.verdict
    if verdict and signals.received is not None:
        verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.SIGNAL)
    return verdict


@asynccontextmanager
async def answering(options: GateOptions, whole: Whole, logger: Log) -> AsyncIterator[Callable[[], None]]:
    """Answer those who ask how it stands, within the block; give what is to be called when that has changed.

    An address that was asked for and cannot be listened at is a fault; the usual place need not be there to be made.
    """
    server = StatusServer(whole.view)
    try:
        for address in (USUAL_STATUS,) if options.status is None else options.status:
            try:
                await server.listen(address)
            except OSError as error:
                # Not asyncio's text, which has the address once more.
                why = os.strerror(error.errno) if error.errno else str(error)
                where = f"{address.path or f'{address.host}:{address.port}'}: {why}"
                if options.status is not None:
                    raise BadDeclarationError([Problem(spelled("status"), where)], options) from None
                if error.errno == errno.EADDRINUSE:
                    logger.note(f"another one is asked for its status there, and not this one: {where}")
        yield server.changed
    finally:
        server.close()


@asynccontextmanager
async def keeping(plan: Plan, whole: Whole, voices: Voices, changed: Callable[[], None]) -> AsyncIterator[None]:
    """Go on looking at the dependencies within the block, where that was asked for."""
    if not plan.options.keep_watching or plan.options.bypass:
        yield
        return

    reports = whole.verdict.dependencies if whole.verdict else ()
    names = {each.name for each in reports if each.required and each.state is State.READY}  # what was
    missing: dict[str, str] = {}

    def count() -> None:
        before = whole.lost
        whole.lost = dict(missing) if not plan.options.any or names <= missing.keys() else {}
        changed()
        if voices.pod and whole.lost != before:
            voices.pod.follow(whole.lost)

    def lost(name: str, found: Outcome) -> None:
        missing[name] = found.reason.value
        voices.logger.say("warning", log.LOST, name=name, reason=found.reason.value, detail=found.detail or None)
        count()

    def back(name: str) -> None:
        del missing[name]
        voices.logger.say("info", log.READY, name=name)
        count()

    def ended(task: "asyncio.Future[None]") -> None:
        if not task.cancelled() and (error := task.exception()):  # nothing is known any more: that is not ready
            names.clear()
            lost("gatekeeper", Outcome(State.WAITING, Reason.NOT_ATTEMPTED, fault_of(error)))

    watching = asyncio.ensure_future(keep(plan, frozenset(names), lost, back))
    watching.add_done_callback(ended)
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching], timeout=2 * LETTING_GO)
        if voices.pod:
            await voices.pod.close()


def _tended(options: GateOptions, whole: Whole, voices: Voices, changed: Callable[[], None]) -> Tended:
    rules = Rules(
        options.start_timeout,
        options.stop_timeout,
        options.watchdog,
        options.notify_access,
        relays=options.notify in ("auto", "status"),
        readiness=options.notify in ("auto", "ready"),
    )

    def tell(tended: Tended) -> None:
        before, whole.life = whole.life, tended.life
        whole.said, whole.why = tended.status_text, tended.why
        changed()
        if before.phase is tended.life.phase:
            return
        if tended.life.been_ready and not before.been_ready:
            ending.tell_descriptor(options, voices.logger)
        level = "error" if tended.why else "info"
        detail = tended.why or tended.status_text or None
        voices.logger.say(level, log.COMMAND, state=tended.life.phase.value, detail=detail)

    return Tended(rules, voices.notifier, changed=tell, note=voices.logger.note, life=whole.life)


def _tell_end(ran: Ran, options: GateOptions, voices: Voices) -> None:
    """Say why, where the command did not end by its own doing or could not be executed."""
    if not ran.verdict or ran.ended is None or ran.ended.reason is None:
        return
    reason = ran.ended.reason
    if ran.ended.not_executed:
        ending.take_back(options)
    number = errno.ENOEXEC if ran.ended.not_executed else errno.ETIMEDOUT
    voices.logger.say("error", log.CLOSED, summary=reason, cause=Cause.FAILED.value)
    ending.tell_termination_log(reason + "\n", options)
    voices.notifier.failure(number, reason)
    voices.notifier.barrier(ending.BARRIER)


def _end_all() -> None:
    for number, patience in ((signal.SIGTERM, _MERCY), (signal.SIGKILL, 0.0)):
        signal_all(number)
        end = time.monotonic() + patience
        while has_children() and time.monotonic() < end:
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)
