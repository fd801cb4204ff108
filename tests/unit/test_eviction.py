"""Eviction: which entries go, which newcomer is turned away, and that it beats LRU where sizes and popularity differ."""

from __future__ import annotations

import bisect
import random
from collections import OrderedDict

import pytest

from s3warm.rules.eviction import (
    DECAY,
    FREQUENCY_CAP,
    OVERHEAD,
    REPAIRS,
    SLACK,
    Candidate,
    Cost,
    Rank,
    again,
    make_room,
    newcomer,
)

FROM_S3 = Cost(0.030, 1 / 90e6)


class Order:
    """The simplest `Queue`: a sorted list, with the hits of each name beside it."""

    def __init__(self, *candidates: Candidate) -> None:
        self.sorted: list[tuple[float, str, Candidate]] = []
        self.hits: dict[str, int] = {}
        self.filed: list[str] = []
        for candidate in candidates:
            self._add(candidate)
            self.hits[candidate.item] = candidate.hits

    def pop(self) -> Candidate | None:
        if not self.sorted:
            return None
        _, name, candidate = self.sorted.pop(0)
        return candidate._replace(hits=self.hits.get(name, 0))

    def file(self, candidate: Candidate, rank: Rank) -> None:
        if rank is not candidate.rank:
            self.hits[candidate.item] = 0
        self.filed.append(candidate.item)
        self._add(candidate._replace(rank=rank))

    def _add(self, candidate: Candidate) -> None:
        bisect.insort(self.sorted, (candidate.rank.priority, candidate.item, candidate))

    def names(self) -> list[str]:
        return [name for _, name, _ in self.sorted]


def an_entry(name: str, priority: float, *, size: int = 10, hits: int = 0, weight: float = 1.0) -> Candidate:
    return Candidate(name, Rank(priority, 1.0, weight), hits, size)


def names(candidates: list[Candidate]) -> list[str]:
    return [candidate.item for candidate in candidates]


def test_the_entries_that_are_worth_least_go_until_there_is_room() -> None:
    order = Order(an_entry("c", 3.0), an_entry("a", 1.0), an_entry("b", 2.0))
    verdict = make_room(order, 15, 0.0, 10.0)
    assert (verdict.admitted, names(verdict.victims), verdict.floor) == (True, ["a", "b"], 2.0)
    assert order.names() == ["c"]


@pytest.mark.parametrize("needed", [0, -5])
def test_nothing_goes_if_there_is_room(needed: int) -> None:
    order = Order(an_entry("a", 1.0))
    verdict = make_room(order, needed, 0.5, 1.0)
    assert verdict == (True, [], 0.5)
    assert order.names() == ["a"]


def test_a_hit_repairs_the_rank_and_spares_the_entry() -> None:
    order = Order(an_entry("hit", 1.0, hits=3), an_entry("idle", 2.0))
    verdict = make_room(order, 10, 0.5, 10.0)
    assert names(verdict.victims) == ["idle"]
    ((priority, name, candidate),) = order.sorted
    assert name == "hit"
    assert candidate.rank == again(Rank(1.0, 1.0, 1.0), 0.5, 3) == Rank(0.5 + 3.75, 3.75, 1.0)
    assert priority == candidate.rank.priority


def test_an_entry_is_repaired_once_and_goes_when_it_comes_up_again() -> None:
    order = Order(an_entry("only", 1.0, hits=1))
    verdict = make_room(order, 10, 0.0, 10.0)
    assert (names(verdict.victims), order.filed) == (["only"], ["only"])


def test_frequency_decays_and_is_capped() -> None:
    rank = again(Rank(0.0, 4.0, 2.0), 10.0, 1)
    assert rank == Rank(10.0 + (4.0 * DECAY + 1) * 2.0, 4.0, 2.0)
    assert again(Rank(0.0, 4.0, 2.0), 10.0, 1000).frequency == FREQUENCY_CAP


def test_a_newcomer_is_turned_away_rather_than_what_is_worth_much_more() -> None:
    order = Order(an_entry("cheap", 2.0), an_entry("dear", 50.0))
    verdict = make_room(order, 20, 1.0, 2.0)
    assert (verdict.admitted, verdict.victims) == (False, [])
    assert verdict.floor == 1.0 + 2.0  # it has risen: who is turned away again and again comes in at last
    assert [candidate.rank.priority for _, _, candidate in order.sorted] == [2.0, 50.0]


@pytest.mark.parametrize(("above", "admitted"), [(0.0, True), (0.001, False)])
def test_the_slack_is_the_limit_of_what_may_go(above: float, admitted: bool) -> None:
    order = Order(an_entry("a", 5.0 + (1.0 + SLACK) * 2.0 + above))
    assert make_room(order, 10, 5.0, 2.0).admitted is admitted


def test_turned_away_often_enough_anybody_comes_in() -> None:
    floor, attempts = 0.0, 0
    order = Order(an_entry("dear", 50.0))
    while not (verdict := make_room(order, 10, floor, 2.0)).admitted:
        assert verdict.floor > floor
        floor = verdict.floor
        attempts += 1
        assert attempts < 100
    assert names(verdict.victims) == ["dear"]
    assert attempts == 18


def test_room_that_cannot_be_made_costs_nobody_anything() -> None:
    order = Order(an_entry("a", 1.0), an_entry("b", 2.0))
    verdict = make_room(order, 21, 0.0, 10.0)
    assert (verdict.admitted, verdict.victims) == (False, [])
    assert order.names() == ["a", "b"]


def test_without_a_newcomer_everything_may_go() -> None:
    order = Order(an_entry("a", 1.0), an_entry("b", 1e9))
    verdict = make_room(order, 11, 0.0, None)
    assert (verdict.admitted, names(verdict.victims), verdict.floor) == (True, ["a", "b"], 1e9)


def test_the_floor_never_falls() -> None:
    verdict = make_room(Order(an_entry("old", 1.0)), 10, 5.0, 1.0)
    assert (names(verdict.victims), verdict.floor) == (["old"], 5.0)


def test_a_newcomer_starts_at_the_floor() -> None:
    assert newcomer(5.0, 2.0) == Rank(7.0, 1.0, 2.0)


def test_one_attempt_looks_at_no_more_than_so_many_entries() -> None:
    order = Order(*(an_entry(f"{number:04}", 1.0, hits=5) for number in range(500)))
    verdict = make_room(order, 10, 0.0, 10.0)
    assert names(verdict.victims) == [f"{REPAIRS:04}"]
    assert len(order.filed) == REPAIRS == 64


def test_an_entry_is_worth_what_it_takes_to_get_it_back_per_byte() -> None:
    assert FROM_S3.weight(0) == pytest.approx(30.0 / OVERHEAD)
    assert FROM_S3.weight(90_000_000) == pytest.approx(1030.0 / (90_000_000 + OVERHEAD))
    weights = [FROM_S3.weight(size) for size in (0, 100, 10_000, 1_000_000, 100_000_000)]
    assert weights == sorted(weights, reverse=True)


# -- a replay: what the misses cost, in milliseconds by the model and not by a clock --------------------------------------------


def _trace(seed: int, length: int = 12_000) -> list[tuple[str, int]]:
    """Objects of very different sizes, popular by Zipf's law whatever their size."""
    dice = random.Random(seed)
    sizes = [int(10 ** dice.uniform(2, 6)) for _ in range(600)]
    weights = [1 / (rank + 1) for rank in range(600)]
    return [(str(name), sizes[name]) for name in dice.choices(range(600), weights, k=length)]


def _cost_of_rule(trace: list[tuple[str, int]], budget: int) -> float:
    order, held, used, floor, cost = Order(), dict[str, int](), 0, 0.0, 0.0
    for name, size in trace:
        if name in held:
            order.hits[name] += 1
            continue
        weight = FROM_S3.weight(size)
        cost += weight * (size + OVERHEAD)
        if size > budget // 2:
            continue
        verdict = make_room(order, used + size - budget, floor, weight)
        floor = verdict.floor
        for victim in verdict.victims:
            used -= held.pop(victim.item)
        if verdict.admitted:
            held[name] = size
            used += size
            order.hits[name] = 0
            order._add(Candidate(name, newcomer(floor, weight), 0, size))
        assert used == sum(held.values()) <= budget
    return cost / len(trace)


def _cost_of_lru(trace: list[tuple[str, int]], budget: int) -> float:
    held: OrderedDict[str, int] = OrderedDict()
    used, cost = 0, 0.0
    for name, size in trace:
        if name in held:
            held.move_to_end(name)
            continue
        cost += FROM_S3.weight(size) * (size + OVERHEAD)
        if size > budget // 2:
            continue
        while used + size > budget:
            used -= held.popitem(last=False)[1]
        held[name] = size
        used += size
    return cost / len(trace)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_misses_cost_less_than_under_lru(seed: int, share: float) -> None:
    trace = _trace(seed)
    budget = int(sum(dict(trace).values()) * share)
    rule, lru = _cost_of_rule(trace, budget), _cost_of_lru(trace, budget)
    assert rule < 0.9 * lru
