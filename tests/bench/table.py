"""What a row shows: series of numbers with their spread, the field side by side, and each reach, met or not.

Nothing here measures.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Series(NamedTuple):
    """Numbers of one unit that stand for one thing; ``typical`` is their median, or what was made of two medians."""

    values: Sequence[float]
    unit: str
    typical: float

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> "Series":
        """Take the median as typical."""
        return cls(values, unit, statistics.median(values))

    @classmethod
    def ratio(cls, values: Sequence[float], others: Sequence[float]) -> "Series":
        """Divide the medians; the spread is that of the pairs, which ran side by side."""
        pairs = [value / other for value, other in zip(values, others, strict=False)]
        return cls(pairs, "times", statistics.median(values) / statistics.median(others))

    @classmethod
    def difference(cls, values: Sequence[float], others: Sequence[float], unit: str) -> "Series":
        """Subtract the medians; the spread is that of the pairs, which ran side by side."""
        pairs = [value - other for value, other in zip(values, others, strict=False)]
        return cls(pairs, unit, statistics.median(values) - statistics.median(others))

    def __str__(self) -> str:
        """Show the typical value and, in brackets, the smallest and the largest."""
        return f"{number(self.typical)} {self.unit} ({number(min(self.values))}..{number(max(self.values))})"


class Reach(NamedTuple):
    """What is to be reached: a limit that ``value`` (None: not measured) may not pass."""

    text: str
    value: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Say whether the value keeps the limit; what was not measured does not."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        """Show the reach, what was measured, and the judgement."""
        if self.value is None:
            return f"reach: {self.text}: not measured"
        return f"reach: {self.text}: {number(self.value)} {self.unit}: {'met' if self.met else 'MISSED'}"


class Row(NamedTuple):
    """One row of the bench: columns of series by tool, what is to be reached, and what has to be said beside it."""

    title: str
    columns: Mapping[str, Mapping[str, Series]]
    reaches: Sequence[Reach]
    notes: Sequence[str]

    def __str__(self) -> str:
        """Lay the row out as plain text, tools in the order in which they were measured."""
        names = list(dict.fromkeys(name for column in self.columns.values() for name in column))
        lines = [["", *self.columns, "runs"]]
        for name in names:
            cells = [str(column[name]) if name in column else "-" for column in self.columns.values()]
            runs = max(len(column[name].values) for column in self.columns.values() if name in column)
            lines.append([name, *cells, str(runs)])
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        rest = [*map(str, self.reaches), *self.notes]
        return "\n  ".join([self.title, *(line.rstrip() for line in table), *rest])


def number(value: float) -> str:
    """Write a number with about three digits that mean something."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
