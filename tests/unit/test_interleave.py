"""The bench's harness, on a clock that only its candidates move."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING

import pytest

from tests.bench.interleave import Candidate, Comparison, Timing, calls, interleave, statement

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Nanoseconds, and who spent them when."""

    def __init__(self) -> None:
        self.now = 0
        self.turns: list[tuple[str, int]] = []

    def __call__(self) -> int:
        return self.now

    def candidate(self, name: str, cost: int, slow_starts: int = 0) -> Candidate:
        """One that takes `cost` for each execution, and a thousand times as much for the first few."""
        rest = slow_starts

        def loop(times: int) -> None:
            nonlocal rest
            self.turns.append((name, times))
            slow = min(rest, times)
            rest -= slow
            self.now += cost * (times + 999 * slow)

        return Candidate(name, loop)

    def last(self, count: int) -> list[tuple[str, int]]:
        return self.turns[-count:]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    assert gc.isenabled()
    yield
    assert gc.isenabled()


def test_medians_and_ratios_are_those_of_one_execution(clock: Clock) -> None:
    compared = interleave([clock.candidate("dict", 40), clock.candidate("lock", 560)], rounds=3, timer=clock)
    assert compared.median("dict") == 40
    assert compared.median("lock") == 560
    assert compared.ratio("lock", "dict") == 14


def test_each_round_has_each_candidate_once_in_an_order_of_its_own(clock: Clock) -> None:
    names = ["a", "b", "c", "d"]
    interleave([clock.candidate(name, 100) for name in names], rounds=20, timer=clock)
    turns = [name for name, _ in clock.last(80)]
    rounds = [tuple(turns[start : start + 4]) for start in range(0, 80, 4)]
    assert all(sorted(order) == names for order in rounds)
    assert len(set(rounds)) > 5


def test_the_same_seed_gives_the_same_order() -> None:
    def turns(seed: int) -> list[tuple[str, int]]:
        clock = Clock()
        interleave([clock.candidate(name, 100) for name in "abcd"], rounds=10, seed=seed, timer=clock)
        return clock.last(40)

    assert turns(1) == turns(1)
    assert turns(1) != turns(2)


@pytest.mark.parametrize(("cost", "iterations"), [(40, 500_000), (1_000_000, 20), (15_000_000, 1), (5_000_000_000, 1)], ids=str)
def test_a_turn_takes_the_time_it_is_given_and_at_least_one_execution(clock: Clock, cost: int, iterations: int) -> None:
    compared = interleave([clock.candidate("work", cost)], rounds=2, turn=0.02, timer=clock)
    assert compared.timings["work"].iterations == iterations
    assert clock.last(2) == [("work", iterations)] * 2


def test_slow_work_is_not_repeated_to_calibrate_it(clock: Clock) -> None:
    interleave([clock.candidate("process", 10**9)], rounds=1, timer=clock)
    assert [times for _, times in clock.turns] == [1, 1, 1], "warm-up, calibration, round"


def test_a_slow_start_spoils_neither_calibration_nor_median(clock: Clock) -> None:
    compared = interleave([clock.candidate("work", 1_000, slow_starts=3)], rounds=5, turn=0.02, timer=clock)
    assert compared.median("work") == 1_000
    assert compared.timings["work"].iterations == pytest.approx(20_000, rel=0.2)


def test_work_that_takes_no_time_at_all_ends(clock: Clock) -> None:
    compared = interleave([clock.candidate("nothing", 0)], rounds=1, timer=clock)
    assert compared.median("nothing") == 0
    assert compared.timings["nothing"].spread == 0


def test_one_disturbed_round_leaves_the_median_alone() -> None:
    timing = Timing("work", 10, (100.0, 101.0, 9_000.0, 99.0, 100.0))
    assert timing.median == 100.0
    assert timing.spread == pytest.approx(0.005)
    assert Timing("work", 10, (100.0,)).spread == 0.0


def test_the_collector_is_off_while_candidates_run_and_on_again_whatever_happens(clock: Clock) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(gc.isenabled())
        clock.now += 10**8

    interleave([calls("look", look)], rounds=2, timer=clock)
    assert seen == [False] * 4
    with pytest.raises(ZeroDivisionError):
        interleave([statement("raises", "1 / 0")], rounds=1, timer=clock)


def test_results_survive_json(clock: Clock) -> None:
    compared = interleave([clock.candidate("a", 1_000_000), clock.candidate("b", 10**9)], rounds=2, timer=clock)
    assert json.loads(json.dumps(compared.to_json())) == {
        "a": {"iterations": 20, "median_ns": 1e6, "spread": 0.0, "samples_ns": [1e6, 1e6]},
        "b": {"iterations": 1, "median_ns": 1e9, "spread": 0.0, "samples_ns": [1e9, 1e9]},
    }


def test_results_keep_the_order_in_which_candidates_were_given(clock: Clock) -> None:
    compared = interleave([clock.candidate(name, 10**8) for name in ("z", "a", "m")], rounds=3, timer=clock)
    assert list(compared.timings) == ["z", "a", "m"]


def test_what_cannot_be_compared_is_refused(clock: Clock) -> None:
    twins = [clock.candidate("twin", 1), clock.candidate("twin", 2)]
    with pytest.raises(ValueError, match="same name"):
        interleave(twins, rounds=1, timer=clock)
    with pytest.raises(ValueError, match="no median of 0 rounds"):
        interleave([], rounds=0, timer=clock)
    with pytest.raises(KeyError):
        Comparison([]).median("nobody")


def test_a_statement_runs_as_often_as_it_is_told_with_its_names_local() -> None:
    seen: list[int] = []
    candidate = statement("append", "append(value)", append=seen.append, value=7)
    candidate.loop(1_000)
    assert seen == [7] * 1_000
    assert candidate.loop.__code__.co_names == ()
