"""Every line of every bench over all runs, with the verdict: what holds in a majority of the runs holds."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.report import Table, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from tests.bench.report import Line
    from tests.bench.runs import Run

__all__ = ["Row", "Summary", "summarise"]


class Row(NamedTuple):
    """One line: its figure in each of the runs of its bench, None where there is none."""

    bench: str
    line: Line  # of the first run that has it: its name and its bar
    figures: tuple[float | None, ...]
    votes: int  # runs in which it held
    reason: str = ""  # why there is no figure

    @property
    def median(self) -> float | None:
        """Of what was measured."""
        measured = [figure for figure in self.figures if figure is not None]
        return statistics.median(measured) if measured else None

    @property
    def holds(self) -> bool:
        """In a majority of the runs. A run without a figure is one in which it does not."""
        return self.votes > len(self.figures) // 2

    def to_json(self) -> dict[str, Any]:
        """Everything about it, in plain values."""
        return {
            "bench": self.bench,
            "line": self.line.name,
            "sense": self.line.sense,
            "bar": self.line.bar,
            "unit": self.line.unit,
            "figures": self.figures,
            "median": self.median,
            "holds": None if self.median is None else self.holds,
            "not_measured": self.reason,
        }


class Summary(NamedTuple):
    """The rows in the order of the benches, what could not be run here, and what broke."""

    runs: int
    rows: Sequence[Row]
    missing: Sequence[tuple[str, str]]  # a bench, and why
    errors: Sequence[str]  # "bench, run 2"

    @property
    def verdict(self) -> str:
        """How many lines hold."""
        held = sum(row.holds for row in self.rows)
        unmeasured = sum(row.median is None for row in self.rows) + len(self.missing)
        parts = [f"{held} of {len(self.rows)} lines hold"]
        if unmeasured:
            parts.append(f"{unmeasured} not measured")
        if self.errors:
            parts.append(f"failed: {'; '.join(self.errors)}")
        return ", ".join(parts)

    def table(self) -> Table:
        """For the terminal: a block for each bench, a column for each run."""
        heads = ["line", "bar", *(f"run {each}" for each in range(1, self.runs + 1)), "median", "holds"]
        rows: list[list[str]] = []
        bench = ""
        for row in self.rows:
            if row.bench != bench:
                bench = row.bench
                rows.append([bench, *[""] * (len(heads) - 1)])
            figures = [_shown(figure) for figure in (*row.figures, *[None] * (self.runs - len(row.figures)))]
            verdict = f"not measured: {row.reason}" if row.median is None else _yes(row)
            rows.append([f"  {row.line.name}", row.line.bar_text, *figures, _shown(row.median), verdict])
        rows += [[bench, *[""] * (len(heads) - 2), f"not measured: {why}"] for bench, why in self.missing]
        # Verdicts are words, so they begin where their column begins.
        width = max(len(cells[-1]) for cells in (heads, *rows))
        for cells in (heads, *rows):
            cells[-1] = cells[-1].ljust(width)
        return Table(f"What is promised about speed: {self.verdict}", heads, rows)

    def markdown(self) -> str:
        """For the README: a row for each bench, its lines below each other in the cells."""
        lines = ["| what | bar | measured | holds |", "| --- | --- | --- | --- |"]
        for _, rows in itertools.groupby(self.rows, lambda row: row.bench):
            columns = zip(*(_cells(row) for row in rows), strict=True)
            lines.append(_markdown_row(*("<br>".join(column) for column in columns)))
        lines += [_markdown_row(bench, "", f"not measured: {why}", "-") for bench, why in self.missing]
        return "\n".join([*lines, "", f"{self.verdict} (runs: {self.runs})"])

    def to_json(self) -> dict[str, Any]:
        """Everything, in plain values."""
        return {
            "runs": self.runs,
            "lines": [row.to_json() for row in self.rows],
            "missing": dict(self.missing),
            "errors": list(self.errors),
        }


def summarise(runs: Sequence[Run]) -> Summary:
    """Bring the lines of all runs together. Benches and their lines are in the order in which they came first."""
    rows: list[Row] = []
    missing: list[tuple[str, str]] = []
    for bench in dict.fromkeys(run.bench for run in runs):
        own = [run.outcome for run in runs if run.bench == bench]
        found = [{line.name: line for line in outcome.report.lines} if outcome.report else {} for outcome in own]
        names = dict.fromkeys(name for lines in found for name in lines)
        rows += [_row(bench, [lines.get(name) for lines in found]) for name in names]
        whys = [outcome.missing for outcome in own if outcome.missing]
        if whys and not names:
            missing.append((bench, whys[0]))
    errors = [f"{run.bench}, run {run.number}" for run in runs if run.outcome.error]
    return Summary(max((run.number for run in runs), default=0), rows, missing, errors)


def _row(bench: str, lines: Sequence[Line | None]) -> Row:
    """One line over the runs of its bench."""
    there = [line for line in lines if line is not None]
    reason = next((line.reason for line in there if line.figure is None), "")
    return Row(bench, there[0], tuple(line and line.figure for line in lines), sum(line.holds for line in there), reason)


def _cells(row: Row) -> tuple[str, str, str, str]:
    """What the README's table says of a line."""
    if row.median is None:
        return row.line.name, row.line.bar_text, f"not measured: {row.reason}", "-"
    return row.line.name, row.line.bar_text, f"{number(row.median)} {row.line.unit}", _yes(row)


def _markdown_row(*cells: Iterable[str]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _shown(figure: float | None) -> str:
    return "" if figure is None else number(figure)


def _yes(row: Row) -> str:
    return "yes" if row.holds else "NO"
