"""The figures as pictures: every line beside its bar, and how costs grow with the number of entries. Only this module needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tests.bench.runs import Run
    from tests.bench.summary import Row, Summary

    Costs = Mapping[str, Mapping[str, float]]  # nanoseconds by operation and by number of entries

__all__ = ["plot"]

HOLDS, FAILS = "tab:green", "tab:red"
_LEAST = 1e-3  # what is 0 or less has no place on a logarithmic axis


def plot(summary: Summary, runs: Sequence[Run], directory: Path) -> None:
    """Write `lines.png`, and `growth.png` if the bench `growth` was run.

    Raises:
        ImportError: there is no matplotlib. `make test` does not install it.
    """
    import matplotlib as mpl

    mpl.use("Agg")  # there may be no display
    from matplotlib import pyplot as plt

    measured = [row for row in summary.rows if row.median is not None]
    if measured:
        _lines(plt, measured, directory / "lines.png")
    for run in runs:
        if run.bench == "growth" and run.outcome.report is not None:
            _growth(plt, run.outcome.report.figures, directory / "growth.png")
            break


def _lines(plt: Any, rows: Sequence[Row], path: Path) -> None:
    """A bar for each line: its median as a share of what it has to reach."""
    shares = [max(_LEAST, (row.median or 0) / row.line.bar) for row in rows]
    figure, axes = plt.subplots(figsize=(12, 1.2 + 0.32 * len(rows)), layout="constrained")
    bars = axes.barh(range(len(rows)), shares, color=[HOLDS if row.holds else FAILS for row in rows])
    axes.bar_label(bars, [f" {'holds' if row.holds else 'DOES NOT HOLD'}" for row in rows], fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row.line.name} ({row.line.bar_text})" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log", subs=())
    axes.xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.2)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel('median as a share of the bar: "at most" holds to the left of 1, "at least" to the right of it')
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _growth(plt: Any, figures: Mapping[str, Costs], path: Path) -> None:
    """Microseconds of each operation over the number of entries."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axes, tier in zip(panels, ("memory", "disk"), strict=True):
        for operation, costs in figures.get(tier, {}).items():
            points = sorted((int(entries), nanoseconds / 1e3) for entries, nanoseconds in costs.items())
            axes.plot([entries for entries, _ in points], [cost for _, cost in points], marker="o", label=operation)
        axes.set(xscale="log", yscale="log", title=tier, xlabel="entries", ylabel="µs")
        axes.grid(visible=True, which="major", alpha=0.3)
        if axes.lines:
            axes.legend(loc="center right")
    figure.savefig(path, dpi=120)
    plt.close(figure)
