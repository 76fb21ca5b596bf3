"""``gatekeeper run``: hold, announce, then start the command as a child and tend it. One event loop from end to end.

The steps are those of `gatekeeper.cli` for a command that it becomes; what follows the gate is `tend`'s.
"""

import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gatekeeper import log
from gatekeeper.announce import ending
from gatekeeper.announce.progress import Progress
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.gate import FaultError, bypassed, hold, in_loop
from gatekeeper.handover.become import Stock, lacking
from gatekeeper.handover.supervise import descendants
from gatekeeper.lifecycle import Event, Life, after
from gatekeeper.log import Log
from gatekeeper.model import GateOptions, Plan
from gatekeeper.signals import Signals
from gatekeeper.tend import Ended, Rules, Tended
from gatekeeper.verdict import Cause, Gate, Verdict

_MERCY = 1.0  # seconds that the command has for its end when a fault of ours ends us


class Voices(NamedTuple):
    """Who is told what happens."""

    logger: Log
    progress: Progress
    notifier: Notifier


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

    async def through() -> Ran:
        verdict = await _verdict(plan, voices.progress, signals, began)
        failure = lacking(command, environ) if verdict else None
        if failure:  # nobody is told of a start that cannot come
            verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.FAILED, summary=failure.reason)
        elif verdict and signals.received is not None:
            verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.SIGNAL)
        verdict = ending.announce(verdict, plan.options, voices.logger, voices.notifier, tending=True)
        if not verdict:
            return Ran(verdict, Ended(*failure) if failure else None)
        tended = _tended(plan.options, voices)
        voices.logger.say("info", log.STARTING, command=command[0])
        return Ran(verdict, await tended.run(command, environ, stock, ours, lambda: signals.received))

    try:
        ran = in_loop(through())
    except BaseException:
        _end_all()
        raise
    _tell_end(ran, plan.options, voices)
    return ran


async def _verdict(plan: Plan, progress: Progress, signals: Signals, began: float) -> Verdict:
    if plan.options.bypass:
        return bypassed(plan)
    try:
        return await hold(plan, progress, signals, began)
    except FaultError as fault:
        return fault.verdict


def _tended(options: GateOptions, voices: Voices) -> Tended:
    rules = Rules(
        options.start_timeout,
        options.stop_timeout,
        options.watchdog,
        options.notify_access,
        relays=options.notify in ("auto", "status"),
        readiness=options.notify in ("auto", "ready"),
    )
    told: list[Life] = []

    def changed(tended: Tended) -> None:
        life = tended.life
        if told and told[-1].phase is life.phase:
            return
        if life.been_ready and not (told and told[-1].been_ready):
            ending.tell_descriptor(options, voices.logger)
        told.append(life)
        level = "error" if tended.why else "info"
        voices.logger.say(level, log.COMMAND, state=life.phase.value, detail=tended.why or tended.status_text or None)

    life = after(Life(), Event.OPENED)
    return Tended(rules, voices.notifier, changed=changed, note=voices.logger.note, life=life)


def _tell_end(ran: Ran, options: GateOptions, voices: Voices) -> None:
    """Say why, where the command did not end by its own doing or could not be executed."""
    if not ran.verdict or ran.ended is None or ran.ended.reason is None:
        return
    reason = ran.ended.reason
    if ran.ended.not_executed:
        ending.take_back(options)
    number = errno.ETIMEDOUT if ran.ended.late else errno.ENOEXEC
    voices.logger.say("error", log.CLOSED, summary=reason, cause=Cause.FAILED.value)
    ending.tell_termination_log(reason + "\n", options)
    voices.notifier.failure(number, reason)
    voices.notifier.barrier(ending.BARRIER)


def _end_all() -> None:
    for number, patience in ((signal.SIGTERM, _MERCY), (signal.SIGKILL, 0.0)):
        for pid in descendants():
            with suppress(OSError):
                os.kill(pid, number)
        end = time.monotonic() + patience
        while descendants() and time.monotonic() < end:
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)
