"""What a bench hands back, and how it is shown: aligned tables on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

__all__ = ["OUT", "Line", "NotMeasured", "Report", "Table", "number"]

OUT = Path(__file__).parent / "out"


class NotMeasured(Exception):
    """A whole bench cannot run on this machine; the message says what is missing."""


class Table(NamedTuple):
    """A title, the heads of the columns and the rows; the first column is words, the others are figures."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.heads))]
        shown = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, "", shown[0], "-" * max(map(len, shown)), *shown[1:]])


class Line(NamedTuple):
    """One promise about speed: what was measured in this run, and the bar that it has to reach.

    Without a figure it could not be measured here, and `reason` says why.

    Example:
        >>> line = Line("memory hit beside a dict", 2.9, "at most", 4, "×")
        >>> line.holds, line.bar_text
        (True, 'at most 4 ×')
        >>> Line("in a box", None, "at most", 25, "%", "this is not root").holds
        False
    """

    name: str
    figure: float | None
    sense: Literal["at least", "at most"]
    bar: float
    unit: str  # "×", "%" of something that the name tells, "ms", "MiB"
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure of this run reaches the bar."""
        if self.figure is None:
            return False
        return self.figure >= self.bar if self.sense == "at least" else self.figure <= self.bar

    @property
    def bar_text(self) -> str:
        """The bar, for people."""
        return f"{self.sense} {self.bar:g} {self.unit}"


class Report(NamedTuple):
    """The result of one bench."""

    tables: Sequence[Table]
    figures: Mapping[str, Any]
    lines: Sequence[Line] = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables))


def number(value: float) -> str:
    """Three digits that count.

    Example:
        >>> number(0.1234), number(3.456), number(45.67), number(12345.6)
        ('0.12', '3.46', '45.7', '12,346')
    """
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
