"""What a terminal shows: the live view while waiting, and the table of ``check``. Knows no event and no log."""

import os
import sys
import unicodedata
from collections.abc import Sequence

from gatekeeper.log import STDERR, Lines, Log
from gatekeeper.model import State
from gatekeeper.values import shown
from gatekeeper.verdict import Report

_MARKS = {State.READY: "✓", State.WAITING: "…", State.FAILED: "✗", State.SKIPPED: "-"}
_PLAIN_MARKS = {State.READY: "+", State.WAITING: ".", State.FAILED: "x", State.SKIPPED: "-"}
_COLOURS = {State.READY: "32", State.WAITING: "33", State.FAILED: "31", State.SKIPPED: "2"}
_CLEAR_BELOW = "\x1b[J"
_NARROWEST = 20
_WIDE = 60
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
        self._painted: list[int] = []

    def paint(self, reports: Sequence[Report], waited: float, timeout: float | None) -> None:
        """Show where everything stands, over what was shown before."""
        columns, _ = self._size()
        block = [_cut(line, columns - 1) for line in self._block(reports, waited, timeout)]
        painted = [
            self._coloured(line, report) for line, report in zip(block, [None, *self._order(reports)], strict=False)
        ]
        painted += block[len(painted) :]
        # Where the window has become narrower, lines that were wider take more rows now.
        height = sum(max(1, -(-cells // columns)) for cells in self._painted)
        up = f"\x1b[{height}F" if height else ""
        self._painted = [_cells(line) for line in block]
        self._lines.write(up + "".join(f"{line}\x1b[K\n" for line in painted) + _CLEAR_BELOW)

    def _block(self, reports: Sequence[Report], waited: float, timeout: float | None) -> list[str]:
        columns, rows = self._size()
        ready = sum(report.state is State.READY for report in reports)
        left = "no deadline" if timeout is None else f"{shown(timeout - waited) if timeout > waited else '0s'} left"
        lines = [f"{ready} of {len(reports)} ready, waited {shown(waited)}, {left}"]
        width = min(max((_cells(_clean(report.name)) for report in reports), default=0), _NAME_WIDTH)
        fitting = max(rows - 3, 1)
        shown_ones = self._order(reports)[:fitting]
        lines += [self._row(report, width, columns) for report in shown_ones]
        if len(shown_ones) < len(reports):
            lines.append(f"  and {len(reports) - len(shown_ones)} more")
        return lines

    def _order(self, reports: Sequence[Report]) -> list[Report]:
        """Return what is missing first where not everything fits the terminal, else the order of the plan."""
        if len(reports) <= max(self._size()[1] - 3, 1):
            return list(reports)
        return sorted(reports, key=lambda report: report.state is State.READY)

    def _row(self, report: Report, width: int, columns: int) -> str:
        mark = (_MARKS if self._unicode else _PLAIN_MARKS)[report.state]
        name = _padded(_cut(_clean(report.name), width), width)
        attempts = f"{report.attempts} attempt{'' if report.attempts == 1 else 's'}"
        # Why comes first: a narrow terminal has no room for more.
        counted = f"  {attempts:>12}" if columns >= _WIDE else ""
        return f"  {mark} {name}  {shown(report.waited):>6}{counted}  {_clean(report.why)}"

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
    widths = [max(_cells(row[column]) for row in clean) for column in range(len(clean[0]))]
    lines = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean)
    return "\n".join(lines) + "\n"


def _clean(text: str) -> str:
    """Return text without anything that would steer a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _cells(text: str) -> int:
    """Return how many cells of a terminal a text takes (Unicode Standard Annex 11): two for what is wide."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(mark: str) -> int:
    if unicodedata.category(mark) in ("Mn", "Me"):  # it stands over the one before
        return 0
    return 2 if unicodedata.east_asian_width(mark) in "WF" else 1


def _cut(text: str, most: int) -> str:
    """Return as much of a text as fits into so many cells."""
    if len(text) <= most and text.isascii():
        return text
    taken = 0
    for index, mark in enumerate(text):
        taken += _cells_of(mark)
        if taken > most:
            return text[:index]
    return text


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))
