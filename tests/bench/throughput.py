"""Tables of several comparisons side by side: a row for each candidate, a column for each body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.report import Table, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.bench.bodies import Body
    from tests.bench.interleave import Comparison

__all__ = ["against", "rates", "shares"]


def rates(title: str, compared: Mapping[str, Comparison], bodies: Iterable[Body]) -> Table:
    """MB/s (10^6 bytes) of each candidate."""
    sizes = {body.name: len(body.data) for body in bodies}
    return _table(title, compared, _names(compared), lambda body, name: number(sizes[body] / compared[body].median(name) * 1e3))


def shares(title: str, compared: Mapping[str, Comparison], base: str) -> Table:
    """The throughput of each candidate as a share of that of `base`."""
    return _table(title, compared, _names(compared), lambda body, name: f"{compared[body].ratio(base, name):.0%}")


def against(title: str, compared: Mapping[str, Comparison], ours: str, others: Iterable[str]) -> Table:
    """How many times as fast as each of the others ours is."""
    return _table(title, compared, others, lambda body, name: number(compared[body].ratio(name, ours)))


def _names(compared: Mapping[str, Comparison]) -> list[str]:
    return list(next(iter(compared.values())).timings)


def _table(title: str, compared: Mapping[str, Comparison], names: Iterable[str], cell: Callable[[str, str], str]) -> Table:
    return Table(title, ("", *compared), [(name, *(cell(body, name) for body in compared)) for name in names])
