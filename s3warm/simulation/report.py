"""What a simulation says: a table for each trace, and how the policies compare with LRU over all of them."""

from __future__ import annotations

import itertools
import math

from s3warm.record import NamedTuple
from s3warm.simulation.replay import BASE, BOUND, Outcome, bounds, replay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from s3warm.simulation.trace import Trace

    Table = dict[str, dict[str, Outcome]]  # by budgets, then by policy

__all__ = ["Ratio", "Result", "as_json", "of_base", "ratios_text", "result_text", "simulate"]

_ABREAST = 3  # budgets in one block of a table
_CELL = 28  # characters


class Result(NamedTuple):
    """One trace, replayed. Budgets are shares of the footprint: "5%", or "1%/5%" for memory over disk."""

    trace: str
    requests: int
    objects: int
    footprint: int
    single: Table
    two_tier: Table


class Ratio(NamedTuple):
    """Mean latencies as multiples of LRU's: their geometric mean, and the worst of them."""

    mean: float
    worst: float


def simulate(trace: Trace, policies: Sequence[str], shares: Sequence[float]) -> Result:
    """Replay a trace with each share of its footprint as the only tier's budget, and each two of them as memory over disk."""
    shares = sorted(set(shares))
    budgets: dict[str, tuple[int, int | None]] = {percent(share): (int(trace.footprint * share), None) for share in shares}
    for smaller, larger in itertools.combinations(shares, 2):
        budgets[f"{percent(smaller)}/{percent(larger)}"] = (int(trace.footprint * smaller), int(trace.footprint * larger))
    tables: dict[str, dict[str, Outcome]] = {label: {} for label in budgets}
    for policy in policies:
        pairs = list(budgets.values())
        outcomes = bounds(trace, pairs) if policy == BOUND else replay(trace, policy, pairs)
        for label, outcome in zip(budgets, outcomes, strict=True):
            tables[label][policy] = outcome
    single, two_tier = ({label: tables[label] for label in tables if ("/" in label) is two} for two in (False, True))
    return Result(trace.name, len(trace.requests), trace.objects, trace.footprint, single, two_tier)


def percent(share: float) -> str:
    """A share in words.

    Example:
        >>> percent(0.05), percent(0.001), percent(1 / 3)
        ('5%', '0.1%', '33.3333%')
    """
    return f"{share * 100:.6g}%"


def of_base(tables: Sequence[Table]) -> dict[str, Ratio]:
    """How each policy compares with LRU, over all tables and budgets."""
    found: dict[str, list[float]] = {}
    for outcomes in itertools.chain.from_iterable(table.values() for table in tables):
        for policy, outcome in outcomes.items():
            found.setdefault(policy, []).append(outcome.latency / outcomes[BASE].latency)
    return {policy: Ratio(math.exp(sum(map(math.log, ratios)) / len(ratios)), max(ratios)) for policy, ratios in found.items()}


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Everything, with times in seconds and sizes in bytes, for `json.dumps`."""

    def plain(table: Table) -> dict[str, Any]:
        return {
            label: {
                policy: {name: value for name, value in outcome._asdict().items() if value is not None}
                for policy, outcome in outcomes.items()
            }
            for label, outcomes in table.items()
        }

    return {
        "traces": [
            {**result._asdict(), "single": plain(result.single), "two_tier": plain(result.two_tier)} for result in results
        ],
        f"of_{BASE}": {
            tiers: {policy: ratio._asdict() for policy, ratio in of_base(tables).items()}
            for tiers, tables in _by_tiers(results).items()
        },
    }


def result_text(result: Result) -> str:
    """The tables of one trace: hits and bytes of hits in percent, milliseconds a request."""
    megabytes = result.footprint / 1e6
    lines = [f"{result.trace}: {result.requests:,} requests for {result.objects:,} objects, {megabytes:,.1f} MB"]
    for words, table in (("one tier of", result.single), ("memory/disk of", result.two_tier)):
        labels = list(table)
        for start in range(0, len(labels), _ABREAST):
            lines += ["", *_block(words, {label: table[label] for label in labels[start : start + _ABREAST]})]
    return "\n".join(lines)


def ratios_text(results: Sequence[Result]) -> str:
    """How each policy compares with LRU."""
    columns = {tiers: of_base(tables) for tiers, tables in _by_tiers(results).items()}
    many = "1 trace" if len(results) == 1 else f"{len(results):,} traces"
    lines = [
        f"mean latency, {BASE} = 1: geometric mean over {many} and all budgets, and the worst",
        "".join(["".ljust(16), *(f"{words:>16}   worst" for words in columns)]),
    ]
    policies = next(iter(columns.values()))
    for policy in policies:
        cells = [f"{ratios[policy].mean:16.3f}   {ratios[policy].worst:5.3f}" for ratios in columns.values()]
        lines.append("".join([policy.ljust(16), *cells]))
    return "\n".join(lines)


def _by_tiers(results: Sequence[Result]) -> dict[str, list[Table]]:
    found = {"one tier": [result.single for result in results], "two tiers": [result.two_tier for result in results]}
    return {words: tables for words, tables in found.items() if any(tables)}


def _block(words: str, table: Table) -> Iterator[str]:
    yield "".join([words.ljust(16), *(label.rjust(_CELL) for label in table)])
    yield "".join(["".ljust(16), *("hits   bytes     ms".rjust(_CELL) for _ in table)])
    for policy in next(iter(table.values())):
        yield "".join([policy.ljust(16), *(_cell(outcomes[policy]).rjust(_CELL) for outcomes in table.values())])


def _cell(outcome: Outcome) -> str:
    time = f"{outcome.latency * 1e3:10.3f}"
    if outcome.hit_ratio is None or outcome.byte_hit_ratio is None:
        return time
    return f"{outcome.hit_ratio * 100:5.1f}   {outcome.byte_hit_ratio * 100:5.1f}{time}"
