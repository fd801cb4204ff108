"""Who knows the future: the bound is one, the offline policy is feasible, and for equal sizes it is the best there is."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from s3warm.rules.eviction import Cost
from s3warm.simulation.offline import Offline, most_saved
from s3warm.simulation.trace import Request

COST = Cost(1.0, 0.25)  # a hit on 4 bytes saves 2 s


def saved(size: int) -> float:
    return COST.latency + COST.per_byte * size


def best(stream: list[Request], budget: int) -> float:
    """Seconds that the best policy of all saves, by trying all."""
    sizes = dict(stream)
    states: dict[frozenset[int], float] = {frozenset(): 0.0}
    for key, size in stream:
        after: dict[frozenset[int], float] = {}
        for held, so_far in states.items():
            gained = so_far + (saved(size) if key in held else 0.0)
            there = held | {key}
            for count in range(len(there) + 1):
                for kept in map(frozenset, itertools.combinations(there, count)):
                    if sum(sizes[each] for each in kept) <= budget:
                        after[kept] = max(after.get(kept, 0.0), gained)
        states = after
    return max(states.values())


def saved_offline(stream: list[Request], budget: int) -> float:
    policy = Offline(budget, COST, stream)
    total = 0.0
    for key, size in stream:
        total += saved(size) * policy.request(key, size)
        assert policy._free >= 0
    return total


def streams(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[list[Request]]:
    keys = st.lists(st.integers(0, 4), min_size=1, max_size=11)
    return st.tuples(keys, st.lists(sizes, min_size=5, max_size=5)).map(lambda both: [(key, both[1][key]) for key in both[0]])


@given(streams(st.integers(0, 6)), st.integers(0, 9))
def test_nobody_saves_more_than_the_bound(stream: list[Request], budget: int) -> None:
    at_most, reached = most_saved(stream, budget, budget, saved), best(stream, budget)
    assert at_most >= reached - 1e-9
    assert saved_offline(stream, budget) <= reached + 1e-9


@given(streams(st.just(1)), st.integers(0, 4))
def test_for_equal_sizes_the_offline_policy_is_the_best(stream: list[Request], budget: int) -> None:
    assert abs(saved_offline(stream, budget) - best(stream, budget)) < 1e-9


def test_the_bound_by_hand() -> None:
    # Two hits: A takes 2 × 2 and saves 1.5 s, B takes 4 × 2 and saves 2 s. There are 4 × 2 bytes × requests: A, and half of B.
    stream = [(0, 2), (1, 4), (0, 2), (1, 4)]
    assert most_saved(stream, 2, 9, saved) == 1.5 + 2.0 / 2
    assert most_saved(stream, 2, 2, saved) == 1.5  # B does not fit
    assert most_saved(stream, 3, 9, saved) == 3.5


def test_what_takes_no_bytes_is_kept_for_nothing() -> None:
    assert most_saved([(0, 0), (0, 0)], 0, 0, saved) == 1.0


def test_who_is_not_asked_for_again_is_not_kept() -> None:
    assert saved_offline([(0, 4), (1, 4), (2, 4), (0, 4)], 4) == 2.0


def test_a_large_object_goes_before_small_ones_that_are_used_later() -> None:
    # B is used next, but for its bytes both A and C can stay.
    stream = [(0, 1), (2, 1), (1, 40), (0, 1), (2, 1), (1, 40)]
    assert saved_offline(stream, 40) == 2.5
