"""What a terminal shows: the live view while waiting, and the table of ``check``. Knows no event and no log."""

import os
import sys
from collections.abc import Sequence

from gatekeeper.log import STDERR, Lines, Log
from gatekeeper.model import State
from gatekeeper.values import shown
from gatekeeper.verdict import Report

_MARKS = {State.READY: "✓", State.WAITING: "…", State.FAILED: "✗", State.SKIPPED: "-"}
_PLAIN_MARKS = {State.READY: "+", State.WAITING: ".", State.FAILED: "x", State.SKIPPED: "-"}
_COLOURS = {State.READY: "32", State.WAITING: "33", State.FAILED: "31", State.SKIPPED: "2"}
_HIDE_CURSOR, _SHOW_CURSOR, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[J"
_NARROWEST = 20
_NAME_WIDTH = 32


def open_screen(log: Log, lines: Lines) -> "Screen | None":
    """Return the live view on stderr where the log leaves it to one."""
    if not log.live:
        return None
    unicode = (getattr(sys.stderr, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return Screen(lines, STDERR, colours=log.colours, unicode=unicode)


class Screen:
    """A block of lines that is painted over in place, one for each dependency."""

    def __init__(self, lines: Lines, descriptor: int, *, colours: bool, unicode: bool) -> None:
        """Take the sink and the terminal whose size counts."""
        self._lines, self._descriptor = lines, descriptor
        self._colours, self._unicode = colours, unicode
        self._height = 0

    def paint(self, reports: Sequence[Report], waited: float, timeout: float | None) -> None:
        """Show where everything stands, over what was shown before."""
        columns, rows = self._size()
        block = [line[: columns - 1] for line in self._block(reports, waited, timeout, rows)]
        painted = [
            self._coloured(line, report) for line, report in zip(block, [None, *self._order(reports)], strict=False)
        ]
        painted += block[len(painted) :]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._height = len(painted)
        self._lines.write(f"{_HIDE_CURSOR}{up}" + "".join(f"{line}\x1b[K\n" for line in painted) + _CLEAR_BELOW)

    def close(self) -> None:
        """Leave what is shown and give the cursor back."""
        self._lines.write(_SHOW_CURSOR, patient=True)

    def _block(self, reports: Sequence[Report], waited: float, timeout: float | None, rows: int) -> list[str]:
        ready = sum(report.state is State.READY for report in reports)
        left = "no deadline" if timeout is None else f"{shown(timeout - waited) if timeout > waited else '0s'} left"
        lines = [f"{ready} of {len(reports)} ready, waited {shown(waited)}, {left}"]
        width = min(max((len(_clean(report.name)) for report in reports), default=0), _NAME_WIDTH)
        fitting = max(rows - 3, 1)
        shown_ones = self._order(reports)[:fitting]
        lines += [self._row(report, width) for report in shown_ones]
        if len(shown_ones) < len(reports):
            lines.append(f"  and {len(reports) - len(shown_ones)} more")
        return lines

    def _order(self, reports: Sequence[Report]) -> list[Report]:
        """Return what is missing first where not everything fits the terminal, else the order of the plan."""
        if len(reports) <= max(self._size()[1] - 3, 1):
            return list(reports)
        return sorted(reports, key=lambda report: report.state is State.READY)

    def _row(self, report: Report, width: int) -> str:
        mark = (_MARKS if self._unicode else _PLAIN_MARKS)[report.state]
        name = _clean(report.name)[:width].ljust(width)
        attempts = f"{report.attempts} attempt{'' if report.attempts == 1 else 's'}"
        return f"  {mark} {name}  {shown(report.waited):>6}  {attempts:>12}  {_clean(report.why)}"

    def _coloured(self, line: str, report: Report | None) -> str:
        if not self._colours:
            return line
        return f"\x1b[{'1' if report is None else _COLOURS[report.state]}m{line}\x1b[0m"

    def _size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            columns, rows = 0, 0
        # A terminal that does not know its size says 0 (docker run -t, script): that is no size.
        return max(columns or 80, _NARROWEST), max(rows or 24, 4)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns; the first row is the head."""
    clean = [[_clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean)
    return "\n".join(lines) + "\n"


def _clean(text: str) -> str:
    """Return text without anything that would steer a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)
