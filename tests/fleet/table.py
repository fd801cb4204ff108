"""What simulations came to, as a table in Markdown."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from tests.fleet.simulation import BAR, TTL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.fleet.simulation import Outcome

__all__ = ["table"]

_HEADS = (
    "",
    "requests at S3",
    "fold fewer",
    "per object and TTL: asked for all the time",
    "all objects",
    "most for one",
    "memory hits",
    "disk hits",
    "shared hits",
)


def table(outcomes: Mapping[str, Outcome]) -> str:
    """A row for each run, by what it is called; the first one is what the others are beside."""
    first = next(iter(outcomes.values()))
    plan = first.plan
    lines = [_row(_HEADS), _row(["---", *["---:"] * (len(_HEADS) - 1)])]
    for name, outcome in outcomes.items():
        every, steady = outcome.per_ttl(list(outcome.requests)), outcome.per_ttl(outcome.steady)
        figures = f"{outcome.total:,}", f"{first.total / outcome.total:.1f}"
        shares = f"{fmean(steady):.3f}", f"{fmean(every):.3f}", f"{max(every):.3f}"
        lines.append(_row([name, *figures, *shares, *(f"{hits:,}" for hits in outcome.sources.values())]))
    return (
        f"{plan.environments} environments, {plan.objects} objects, {plan.environments * plan.steps:,} gets in {plan.ttls} TTLs "
        f"of {TTL:g} s; {len(first.steady)} objects are asked for at least once a minute, all the time; the bar is {BAR:.3f}\n\n"
    ) + "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
