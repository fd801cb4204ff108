"""The other harness of the benches: turns, whose work is made ready before the clocks start."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from tests.bench.spent import Spent, median, spend, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable


def test_each_has_its_turn_in_each_round_and_the_first_round_counts_for_nothing() -> None:
    made: list[tuple[str, int]] = []
    done: list[tuple[str, int]] = []

    def way(name: str) -> Callable[[int], Callable[[], object]]:
        def prepare(turn: int) -> Callable[[], object]:
            made.append((name, turn))
            return lambda: done.append((name, turn))

        return prepare

    samples = take_turns({"a": way("a"), "b": way("b")}, rounds=3, times=1)
    assert done == made
    assert [turn for _, turn in done] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted(done) == sorted((name, turn) for name in "ab" for turn in range(4))
    assert {name: len(found) for name, found in samples.items()} == {"a": 3, "b": 3}


def test_collections_fall_to_nobody() -> None:
    seen: list[bool] = []
    take_turns({"a": lambda _turn: lambda: seen.append(gc.isenabled())}, rounds=1, times=1)
    assert seen == [False, False]
    assert gc.isenabled()


def test_the_cost_is_that_of_one_piece_of_work() -> None:
    whole = spend(lambda: sum(range(100_000)))
    assert whole.wall > 0
    assert whole.cpu > 0


def test_the_median_is_of_each_clock_by_itself() -> None:
    assert median([Spent(1, 30), Spent(2, 10), Spent(9, 20)]) == Spent(2, 20)
