"""What is said in the end: the files that were asked for, then the log, then whoever listens for readiness.

A file that was asked for and cannot be written is an error for the caller, who keeps the gate shut; a notification
that does not get through is not.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from gatekeeper import log
from gatekeeper.announce import files, s6
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.decide import story
from gatekeeper.declaration import BadDeclarationError
from gatekeeper.log import Lines, Log
from gatekeeper.model import GateOptions, Reason, State
from gatekeeper.verdict import Cause, Gate, Verdict

TERMINATION_LOG = "/dev/termination-log"
# Seconds; a receiver that knows no BARRIER costs all of it, once. A READY that is lost costs the unit its start; an
# end is known without being told, and has a tenth of a second for everything.
BARRIER, LAST_BARRIER = 0.25, 0.03
LAST_PATIENCE = 0.03  # seconds for whoever reads a pipe: likewise
ERRNO = {
    Cause.TIMEOUT: errno.ETIMEDOUT,
    Cause.FAILED: errno.ENOEXEC,  # no dependency failed, and so the command did
    Cause.SIGNAL: errno.ECANCELED,
    Cause.FAULT: errno.EIO,
}
ERRNO_OF_FAILED = {
    Reason.FORBIDDEN: errno.EACCES,
    Reason.NOT_FOUND: errno.ENOENT,
    Reason.NO_DATA: errno.ENOENT,
}


def announce(
    verdict: Verdict,
    options: GateOptions,
    logger: Log,
    notifier: Notifier,
    *,
    handing_over: bool = False,
    tending: bool = False,
) -> Verdict:
    """Tell everyone, and return the verdict: a file that was asked for and cannot be written keeps the gate shut.

    With ``tending`` it is not over when the gate opens: who listens for readiness is told by the command's own, later.
    """
    unwritten = None
    try:
        _write_files(verdict, options)
    except OSError as error:
        unwritten = f"{error.filename} cannot be written: {error.strerror}"
        if verdict:
            verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.FAULT, summary=unwritten)
            take_back(options)
            unwritten = None
    handing_over, tending = (each and verdict.gate is Gate.OPEN for each in (handing_over, tending))
    # The message of a container that goes on as the command is the command's to leave.
    problem = tell_termination_log("" if handing_over or tending else _last_words(verdict), options)
    for lost in filter(None, (problem, unwritten)):
        logger.note(lost)
    _tell_log(verdict, logger)
    ready = options.notify == "ready" or (options.notify == "auto" and not handing_over)
    _tell_manager(verdict, notifier, ready=ready and not tending, leaving=not handing_over and not tending)
    if verdict.gate is Gate.OPEN and not tending:
        tell_descriptor(options, logger)
    return verdict


def tell_descriptor(options: GateOptions, logger: Log) -> None:
    """Tell of readiness where s6 looks for it."""
    if options.notify_fd is not None and (lost := s6.newline_on(options.notify_fd)):
        logger.note(lost)


def announce_fault(verdict: Verdict, options: GateOptions, notifier: Notifier) -> None:
    """Tell of a fault that came up while the rest was being told, everyone but the log; never raises."""
    voices: tuple[Callable[[], object], ...] = (
        lambda: take_back(options),
        lambda: _write_files(verdict, options),
        lambda: tell_termination_log(_last_words(verdict), options),
        lambda: notifier.failure(_errno(verdict), story(verdict)),
    )
    for say in voices:
        with suppress(BaseException):  # one of them may be what is broken
            say()


def refuse(error: BadDeclarationError, lines: Lines, notifier: Notifier) -> None:
    """Say what is wrong with a declaration wherever a reason is looked for."""
    log.tell_problems(lines, error.problems)
    options = error.options or GateOptions()
    with suppress(OSError):  # it is the declaration that is to be mended first
        take_back(options)
    tell_termination_log(_refusal(error) + "\n", options)
    report_refusal(error)
    if options.notify != "off":
        notifier.failure(errno.EINVAL, _refusal(error))


def report_refusal(error: BadDeclarationError) -> None:
    """Write the report that was asked for, as far as that was said in words that can be understood."""
    path = error.options.report if error.options else None
    if path and not files.check_writable(path):
        verdict = Verdict(Gate.CLOSED, Cause.FAILED, _refusal(error), datetime.now(UTC), 0.0, ())
        with suppress(OSError):  # as above
            files.write_report(path, verdict, LAST_PATIENCE)


def _refusal(error: BadDeclarationError) -> str:
    return f"bad declaration, nothing was probed: {'; '.join(map(str, error.problems))}"


def take_back(options: GateOptions) -> None:
    """Remove what says that the gate is open, which an earlier run left or which was too early; raises OSError."""
    for path in (options.ready_file, options.export_env):
        if path and path != "-":
            files.remove(path)


def _write_files(verdict: Verdict, options: GateOptions) -> None:
    patience = files.PATIENCE if verdict else LAST_PATIENCE
    if options.report:
        files.write_report(options.report, verdict, patience)
    if options.export_env and options.export_env != "-" and verdict:
        from gatekeeper.announce.environ import env_file  # noqa: PLC0415 - for this one option

        files.write_whole(options.export_env, env_file(verdict.exports), patience)
    if options.ready_file and verdict:
        files.write_whole(options.ready_file, story(verdict) + "\n", patience)


def tell_termination_log(text: str, options: GateOptions) -> str | None:
    """Leave one message where Kubernetes looks for it; return what went wrong, if anything."""
    path = options.termination_log
    if path == "off" or (path is None and not os.path.exists(TERMINATION_LOG)):
        return None
    return files.write_termination_message(path or TERMINATION_LOG, text, LAST_PATIENCE)


def _last_words(verdict: Verdict) -> str:
    """Return the story and, below it, what is missing, most important first."""
    missing = [report for report in verdict.dependencies if report.state is not State.READY]
    missing.sort(key=lambda report: (report.state is not State.FAILED, not report.required))
    lines = [f"{report.name}: {report.why} ({report.attempts} attempts)" for report in missing]
    return "\n".join([story(verdict), *lines]) + "\n"


def _tell_log(verdict: Verdict, logger: Log) -> None:
    """Log the line that tells the whole story."""
    if verdict.gate is Gate.CLOSED:
        logger.say("error", log.CLOSED, summary=story(verdict), cause=verdict.cause.value)
    else:
        loud = verdict.cause in (Cause.BYPASS, Cause.CONTINUE)
        logger.say("warning" if loud else "info", log.OPEN, summary=story(verdict), cause=verdict.cause.value)


def _tell_manager(verdict: Verdict, notifier: Notifier, *, ready: bool, leaving: bool) -> None:
    """Tell the service manager; with ``leaving`` the process ends next, and what it said must be read before."""
    if verdict.gate is Gate.CLOSED:
        notifier.failure(_errno(verdict), story(verdict))
    else:
        notifier.status(story(verdict))
        if ready:
            notifier.ready()
    if notifier and leaving and not notifier.problem:
        notifier.barrier(BARRIER if ready and verdict.gate is Gate.OPEN else LAST_BARRIER)


def _errno(verdict: Verdict) -> int:
    failed = [report.reason for report in verdict.dependencies if report.state is State.FAILED]
    return ERRNO_OF_FAILED.get(failed[0], errno.EPROTO) if failed else ERRNO[verdict.cause]
