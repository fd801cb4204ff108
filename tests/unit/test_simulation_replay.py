"""The replay: the cost model by hand, two tiers as the cache has them, the bars of the eviction policy, and the report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.rules import costs
from s3warm.simulation.classic import LRU
from s3warm.simulation.generated import KINDS, generate
from s3warm.simulation.replay import BOUND, MAKERS, NAMES, bounds, replay
from s3warm.simulation.report import Result, as_json, of_base, ratios_text, result_text, simulate
from s3warm.simulation.trace import SUFFIXES, Trace, read

if TYPE_CHECKING:
    from s3warm.rules.eviction import Cost
    from s3warm.simulation.classic import Policy
    from s3warm.simulation.replay import Maker
    from s3warm.simulation.trace import Request

MISS, FROM_DISK, FROM_MEMORY = 0.030 + 1.5e6 / 90e6, 0.0002 + 1.5e6 / 1.5e9, 1e-6  # seconds, of 1.5 MB
SHARES = [0.01, 0.05, 0.20]


def trace_of(keys: str, size: int = 1_500_000) -> Trace:
    return Trace("by-hand", [(key, size) for key in keys])


def test_the_cost_model_of_one_tier() -> None:
    (outcome,) = replay(trace_of("AABA"), "lru", [(3_000_000, None)])
    assert outcome.latency == pytest.approx((2 * MISS + 2 * FROM_MEMORY) / 4, rel=1e-12)
    assert outcome[1:] == (0.5, 0.5, 0.5)


def test_the_cost_model_of_two_tiers() -> None:
    # Memory holds one object, the disk two: A comes back from disk once; C pushes it out, as its hits in memory do not count there.
    (outcome,) = replay(trace_of("AABACAA"), "lru", [(1_500_000, 3_000_000)])
    assert outcome.latency == pytest.approx((3 * MISS + 2 * FROM_DISK + 2 * FROM_MEMORY) / 7, rel=1e-12)
    assert outcome.hit_ratio == pytest.approx(4 / 7)
    assert outcome.memory_hit_ratio == pytest.approx(2 / 7)


def test_bytes_of_hits_are_counted_by_size() -> None:
    trace = Trace("by-hand", [("small", 1), ("large", 9), ("small", 1), ("large", 9), ("large", 9)])
    (outcome,) = replay(trace, "lru", [(9, None)])
    assert outcome.hit_ratio == pytest.approx(1 / 5)
    assert outcome.byte_hit_ratio == pytest.approx(9 / 29)


def test_the_bound_of_two_tiers() -> None:
    trace = trace_of("AA")
    (outcome,) = bounds(trace, [(1_500_000, 1_500_000)])
    assert outcome.latency == pytest.approx((MISS + FROM_MEMORY) / 2, rel=1e-12)
    # With a byte too little in memory the disk answers.
    (outcome,) = bounds(trace, [(1_499_999, 1_500_000)])
    assert outcome.latency == pytest.approx((MISS + FROM_DISK) / 2, rel=1e-12)
    # What neither can hold, both together cannot.
    (outcome,) = bounds(trace, [(1_000_000, 1_400_000)])
    assert outcome.latency == pytest.approx(MISS, rel=1e-12)


def test_each_tier_has_its_cost_and_sees_what_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int, Cost, int]] = []

    def spy(place: str) -> Maker:
        def make(budget: int, cost: Cost, stream: Sequence[Request]) -> Policy:
            made.append((place, budget, cost, len(stream)))
            return LRU(budget)

        return make

    monkeypatch.setitem(MAKERS, "spy", (spy("memory"), spy("disk")))
    replay(trace_of("AABA"), "spy", [(3_000_000, None), (1_500_000, 2_000_000), (1_500_000, 3_000_000)])
    assert made == [
        ("memory", 3_000_000, costs.FROM_S3, 4),
        ("memory", 1_500_000, costs.FROM_DISK, 4),
        ("disk", 2_000_000, costs.FROM_S3, 3),
        ("disk", 3_000_000, costs.FROM_S3, 3),
    ]


@pytest.fixture(scope="module")
def generated() -> list[Result]:
    return [simulate(generate(kind, requests=12_000), NAMES, SHARES) for kind in KINDS]


def test_nobody_beats_the_bound_and_the_future_helps(generated: list[Result]) -> None:
    for result in generated:
        assert list(result.single) == ["1%", "5%", "20%"]
        assert list(result.two_tier) == ["1%/5%", "1%/20%", "5%/20%"]
        for outcomes in [*result.single.values(), *result.two_tier.values()]:
            times = {policy: outcome.latency for policy, outcome in outcomes.items()}
            assert times[BOUND] <= min(times.values()) * (1.0 + 1e-12)
            assert times["offline"] <= min(times[policy] for policy in ("rule", "lru", "sieve", "s3-fifo", "w-tinylfu"))


def test_the_rule_is_ahead_of_its_peers(generated: list[Result]) -> None:
    for tables in ([result.single for result in generated], [result.two_tier for result in generated]):
        ratios = of_base(tables)
        assert ratios["lru"] == (1.0, 1.0)
        assert ratios["rule"].mean <= min(ratios[policy].mean for policy in MAKERS if policy not in ("rule", "offline"))
        assert ratios["rule"].worst <= 1.04
    assert of_base([result.single for result in generated])["rule"].mean <= 0.9


# -- what is printed ------------------------------------------------------------------------------------------------------------


def test_the_geometric_mean_and_the_worst() -> None:
    result = simulate(generate("zipf", requests=500), ["rule", "lru"], [0.05, 0.2])
    first, second = (table["rule"].latency / table["lru"].latency for table in result.single.values())
    ratio = of_base([result.single])["rule"]
    assert ratio.mean == pytest.approx(math.sqrt(first * second))
    assert ratio.worst == max(first, second)
    assert first != second


def test_the_report(generated: list[Result]) -> None:
    text = result_text(generated[0])
    assert text.startswith(f"zipf: 12,000 requests for {generated[0].objects:,} objects, ")
    rows = [line.split() for line in text.splitlines()]
    assert [row[0] for row in rows if row and row[0] in NAMES] == NAMES * 2
    lru = next(row for row in rows if row[:1] == ["lru"])
    assert float(lru[3]) == pytest.approx(generated[0].single["1%"]["lru"].latency * 1e3, abs=5e-4)
    assert float(lru[1]) == pytest.approx((generated[0].single["1%"]["lru"].hit_ratio or 0.0) * 100, abs=0.05)
    summary = ratios_text(generated)
    assert "geometric mean over 4 traces" in summary
    assert f"{of_base([result.single for result in generated])['rule'].mean:.3f}" in summary


def test_the_columns_stand_under_each_other(generated: list[Result]) -> None:
    for line in result_text(generated[0]).splitlines()[1:]:
        assert len(line) in (0, 16 + 3 * 28)


def test_json_has_it_all(generated: list[Result]) -> None:
    plain = json.loads(json.dumps(as_json(generated)))
    assert [trace["trace"] for trace in plain["traces"]] == list(KINDS)
    first = plain["traces"][0]
    assert first["two_tier"]["1%/5%"]["rule"] == generated[0].two_tier["1%/5%"]["rule"]._asdict()
    assert list(first["single"]["1%"]["bound"]) == ["latency"]
    assert plain["of_lru"]["two tiers"]["lru"] == {"mean": 1.0, "worst": 1.0}


# -- recorded traces, where a folder of them is given -----------------------------------------------------------------------------


def _recorded() -> list[Path]:
    folder = os.environ.get("S3WARM_TRACES")
    return sorted(path for path in Path(folder).iterdir() if path.name.endswith(SUFFIXES)) if folder else []


RECORDED = _recorded()
needs_traces = pytest.mark.skipif(not RECORDED, reason="S3WARM_TRACES names no folder of traces")
EXPECTED_NAMES = {"lru": "LRU", "sieve": "Sieve", "s3-fifo": "S3FIFO", "bound": "bound"}


def _expected() -> dict[str, Any]:
    """The figures of a study, beside its traces: milliseconds by trace, budget and policy."""
    path = Path(os.environ["S3WARM_TRACES"], "expected.json")
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.partition(".")[0])
def test_the_figures_of_the_study(path: Path) -> None:
    trace = read(str(path))
    if trace.name not in _expected():
        pytest.skip("there is no figure for this trace")
    shares = {f"{share:.2g}": int(trace.footprint * share) for share in SHARES}
    budgets = [(budget, None) for budget in shares.values()]
    single = _expected()[trace.name]["single"]
    for ours, theirs in EXPECTED_NAMES.items():
        outcomes = bounds(trace, budgets) if ours == BOUND else replay(trace, ours, budgets)
        for share, outcome in zip(shares, outcomes, strict=True):
            assert outcome.latency * 1e3 == pytest.approx(single[share][theirs], rel=2e-5), (ours, share)


@pytest.fixture(scope="module")
def recorded() -> list[Result]:
    return [simulate(read(str(path)), ["rule", "lru"], SHARES) for path in RECORDED]


@needs_traces
@pytest.mark.timeout(600)
def test_the_rule_keeps_its_promise_on_recorded_traces(recorded: list[Result]) -> None:
    single = of_base([result.single for result in recorded])["rule"]
    two_tier = of_base([result.two_tier for result in recorded])["rule"]
    if _expected():  # the ten traces of the study
        assert single.mean <= 0.72
        assert single.worst <= 1.04
        assert two_tier.mean <= 0.725
    assert max(single.mean, two_tier.mean) <= 0.935
