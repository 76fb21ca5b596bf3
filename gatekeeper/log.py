"""What is said on stderr while waiting: structlog's set-up, the names of events, and a sink that never blocks.

Every consumer of records that writes for people or machines goes through `Lines`; a closed, full or stuck stderr
loses lines and nothing else.
"""

import os
import select
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from gatekeeper.declaration import Problem
from gatekeeper.model import GateOptions, Outcome, State
from gatekeeper.values import shown
from gatekeeper.verdict import Report

WAITING = "gate.waiting"
INFERRED = "plan.inferred"
STILL_WAITING = "gate.still_waiting"
OPEN = "gate.open"
CLOSED = "gate.closed"
CHANGED = "dependency.changed"
READY = "dependency.ready"
FAILED = "dependency.failed"
LOST = "dependency.lost"
ATTEMPTED = "dependency.attempted"
HANDOVER = "handover.exec"
STARTING = "command.starting"
COMMAND = "command.changed"
NOTE = "gatekeeper.note"

_COLOUR = {"info": "\x1b[32m{}\x1b[0m", "warning": "\x1b[33m{}\x1b[0m", "error": "\x1b[31m{}\x1b[0m"}
STDERR = 2
_LONGEST = 4096  # PIPE_BUF: poll(2) says of a pipe that so much can be written without blocking
_LAST_CHANCE = 20  # milliseconds, several times on the way out, which may take a tenth of a second


class Lines:
    """Lines on a descriptor, by default stderr: written if there is room for them now, lost if not."""

    def __init__(self, descriptor: int = STDERR) -> None:
        """Take the descriptor."""
        self._descriptor = _unblocked(descriptor)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)
        self._torn = False

    def write(self, text: str, *, patient: bool = False) -> None:
        """Write text, as far as there is room; ``patient`` waits some milliseconds for it."""
        data = text.encode(errors="backslashreplace")
        if self._torn:
            data = b"\n" + data
        left = data
        try:
            while left and self._poll.poll(_LAST_CHANCE if patient else 0):
                left = left[os.write(self._descriptor, left[:_LONGEST]) :]
        except OSError:
            pass
        written = data[: len(data) - len(left)]
        # The rest of a line that was cut is lost; the next line begins on its own.
        self._torn = not written.endswith(b"\n") if left and written else self._torn and not written


def _unblocked(descriptor: int) -> int:
    """Return a descriptor of the same terminal that never blocks; of a terminal, poll(2) does not say how much fits."""
    if not os.isatty(descriptor):
        return descriptor
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return descriptor


class Log:
    """Events by their stable names, as JSON lines or on a console.

    Beside a ``live`` view, which shows the rest, only the end and warnings are said, as sentences.
    """

    def __init__(
        self, lines: Lines, *, json: bool, colours: bool, quiet: bool = False, verbose: bool = False, live: bool = False
    ) -> None:
        """Set nothing up yet: structlog is loaded at the first event."""
        self._lines, self._json, self.colours = lines, json, colours
        self._quiet, self.verbose, self.live = quiet, verbose, live
        self._logger: Any = None

    def say(self, level: str, event: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Log an event; fields that are None are left out."""
        ending = event in (OPEN, CLOSED)
        if (self._quiet or self.live) and level == "info" and not ending:
            return
        if self.live:
            text = f"gatekeeper: {fields.get('summary') or fields.get('detail')}"
            self._lines.write(f"{_COLOUR[level].format(text) if self.colours else text}\n", patient=ending)
            return
        if self._logger is None:
            self._logger = _logger(self._lines.write, json=self._json, colours=self.colours)
        said = {key: self._value(value) for key, value in fields.items() if value is not None}
        getattr(self._logger, level)(event, **said)

    def _value(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """Return seconds as a machine or a person reads them; anything else as it is."""
        if isinstance(value, float):
            return round(value, 3) if self._json else shown(value)
        return value

    def note(self, problem: str) -> None:
        """Warn of something that is no reason to stop."""
        self.say("warning", NOTE, detail=problem)

    def changed(self, report: Report) -> None:
        """Log a change of state or reason."""
        event = {State.READY: READY, State.FAILED: FAILED}.get(report.state, CHANGED)
        level = {State.FAILED: "error", State.SKIPPED: "warning"}.get(report.state, "info")
        self.say(level, event, **_fields(report))

    def attempted(self, report: Report, outcome: Outcome) -> None:
        """Log an attempt; called only where every attempt is asked for."""
        found = {"state": outcome.state.value, "reason": outcome.reason.value, "detail": outcome.detail or None}
        self.say("debug", ATTEMPTED, **(_fields(report) | found))


class Story(Log):
    """One line in the end, and what is worth a warning, as sentences: for whoever keeps no more than that."""

    def __init__(self, lines: Lines) -> None:
        """Take the sink."""
        super().__init__(lines, json=False, colours=False, quiet=True)

    def say(self, level: str, event: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Say it where it is an end or a warning of its own; what changes on the way stands in the end."""
        if event in (OPEN, CLOSED, NOTE) and level != "debug":
            text = fields.get("summary") or fields.get("detail")
            self._lines.write(f"gatekeeper: {_printable(str(text))}\n", patient=event != NOTE)


def wants_colour(environ: Mapping[str, str], descriptor: int) -> bool:
    """Tell whether colours are welcome: on a terminal that has them, and never with NO_COLOR (no-color.org)."""
    return os.isatty(descriptor) and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def open_log(options: GateOptions, lines: Lines) -> Log:
    """Return what speaks on stderr: a live view needs a terminal that can be painted over, and nothing else wanted."""
    if options.log_format == "story":
        return Story(lines)
    terminal = os.isatty(STDERR)
    json = options.log_format == "json" or (options.log_format == "auto" and not terminal)
    live = terminal and not json and not options.quiet and not options.verbose and not options.bypass
    live = live and os.environ.get("TERM", "dumb") != "dumb"
    colours = not json and wants_colour(os.environ, STDERR)
    return Log(lines, json=json, colours=colours, quiet=options.quiet, verbose=options.verbose, live=live)


def tell_problems(lines: Lines, problems: tuple[Problem, ...]) -> None:
    """Write every problem of a declaration, a line each."""
    head = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    text = "".join(f"{_printable(str(problem))}\n" for problem in problems)
    lines.write(f"gatekeeper: {head}, nothing was probed\n{text}", patient=True)


def _printable(text: str) -> str:
    """Return text that steers no terminal: what was declared may hold anything."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def _fields(report: Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "target": report.target if report.target != report.name else None,
        "state": report.state.value,
        "reason": report.reason.value,
        "detail": report.detail or None,
        "attempts": report.attempts,
        "waited": report.waited,
    }


def _logger(write: Callable[[str], None], *, json: bool, colours: bool) -> Any:  # noqa: ANN401 - structlog's own type
    import structlog  # noqa: PLC0415 - a sixth of the start, loaded while the first attempts are on their way

    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if json else structlog.dev.ConsoleRenderer(colors=colours)
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    return structlog.wrap_logger(
        _Sink(write),
        processors=[structlog.processors.add_log_level, stamp, _in_order, renderer],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _in_order(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """Put what every line has in front."""
    return {key: fields.pop(key) for key in ("timestamp", "level", "event")} | dict(fields)


class _Sink:
    """The end of structlog's chain: whatever the level, a line is a line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        self._write(line + "\n")

    debug = info = warning = error = msg
