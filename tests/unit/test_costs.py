"""The cost of a tier, learnt: it converges through noise and outliers, follows a change, and stays within bounds whatever comes."""

from __future__ import annotations

import math
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.rules.costs import FROM_DISK, FROM_S3, LearntCost
from s3warm.rules.eviction import Cost

PRIORS = [FROM_S3, FROM_DISK]
FACTORS = [0.1, 0.3, 1.0, 3.0, 10.0]
HOURS = 5 * 3600.0
SIZES = [100, 1_000_000, 100_000_000]  # bytes


def seconds(cost: Cost, size: float) -> float:
    return cost.latency + cost.per_byte * size


def learn(
    learnt: LearntCost,
    true: Cost,
    *,
    seed: int,
    transfers: int,
    noise: float = 0.0,
    outliers: float = 0.0,
    size: int | None = None,
) -> None:
    """Transfers of 100 bytes to 100 MB (or of one size), log-normal noise around the true cost, and frozen environments."""
    dice = random.Random(seed)
    for _ in range(transfers):
        bytes_ = int(10 ** dice.uniform(2, 8)) if size is None else size
        took = seconds(true, bytes_) * dice.lognormvariate(0.0, noise)
        learnt.note(bytes_, HOURS if dice.random() < outliers else took)


def test_it_begins_with_its_prior() -> None:
    assert LearntCost(FROM_S3).cost == FROM_S3 == (0.030, 1 / 90e6)
    assert LearntCost(FROM_DISK).cost == FROM_DISK == (0.0002, 1 / 1.5e9)


@pytest.mark.parametrize("prior", PRIORS)
@given(a=st.sampled_from(FACTORS), b=st.sampled_from(FACTORS), seed=st.integers(0, 10_000))
def test_it_converges(prior: Cost, a: float, b: float, seed: int) -> None:
    true, learnt = Cost(prior.latency * a, prior.per_byte * b), LearntCost(prior)
    learn(learnt, true, seed=seed, transfers=800, noise=0.1)
    for size in SIZES:
        assert seconds(learnt.cost, size) == pytest.approx(seconds(true, size), rel=0.25)


@pytest.mark.parametrize("prior", PRIORS)
@given(a=st.sampled_from(FACTORS), b=st.sampled_from(FACTORS), seed=st.integers(0, 10_000))
def test_outliers_of_hours_do_not_matter_much(prior: Cost, a: float, b: float, seed: int) -> None:
    true, learnt = Cost(prior.latency * a, prior.per_byte * b), LearntCost(prior)
    learn(learnt, true, seed=seed, transfers=800, noise=0.1, outliers=0.03)
    for size in SIZES:
        assert 0.75 < seconds(learnt.cost, size) / seconds(true, size) < 2.5  # one draw of ten thousand comes to 2.15


@pytest.mark.parametrize("prior", PRIORS)
def test_one_frozen_transfer_moves_it_little(prior: Cost) -> None:
    learnt = LearntCost(prior)
    learn(learnt, prior, seed=1, transfers=200)
    learnt.note(1_000_000, HOURS)
    for size in SIZES:
        assert seconds(learnt.cost, size) == pytest.approx(seconds(prior, size), rel=0.05)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_it_follows_a_change(prior: Cost, factor: float) -> None:
    learnt = LearntCost(prior)
    learn(learnt, prior, seed=1, transfers=1_000, noise=0.1)
    changed = Cost(prior.latency * factor, prior.per_byte * factor)
    learn(learnt, changed, seed=2, transfers=800, noise=0.1)
    assert learnt.cost.latency == pytest.approx(changed.latency, rel=0.25)
    assert learnt.cost.per_byte == pytest.approx(changed.per_byte, rel=0.25)


@pytest.mark.parametrize("size", [0, 10_000, 2_700_000, 10**9])
@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_objects_of_one_size_teach_what_that_size_costs(size: int, factor: float) -> None:
    learnt, true = LearntCost(FROM_S3), Cost(0.030 * factor, factor / 90e6)
    learn(learnt, true, seed=1, transfers=800, noise=0.05, size=size)
    assert seconds(learnt.cost, size) == pytest.approx(seconds(true, size), rel=0.1)


def test_small_objects_alone_leave_the_bandwidth_at_its_prior() -> None:
    learnt = LearntCost(FROM_S3)
    learn(learnt, Cost(0.060, 1 / 90e6), seed=1, transfers=800, size=100)
    assert learnt.cost.per_byte == pytest.approx(FROM_S3.per_byte, rel=0.05)
    assert learnt.cost.latency == pytest.approx(0.060, rel=0.05)


@given(
    st.sampled_from(PRIORS),
    st.lists(
        st.tuples(
            st.integers(-(10**6), 10**15) | st.sampled_from([0, 1, 10**6]),
            st.floats() | st.sampled_from([0.0, 0.03, HOURS, 1e300]),
        ),
        max_size=300,
    ),
)
def test_it_stays_within_bounds_whatever_comes(prior: Cost, transfers: list[tuple[int, float]]) -> None:
    learnt = LearntCost(prior)
    for size, took in transfers:
        learnt.note(size, took)
        for value, first in zip(learnt.cost, prior, strict=True):
            assert first / 100.001 <= value <= first * 100.001


@pytest.mark.parametrize("took", [0.0, math.inf, 1e12])
@pytest.mark.parametrize("size", [0, 1, 10**6, 10**13])
def test_the_same_nonsense_for_ever_stays_within_bounds_too(size: int, took: float) -> None:
    learnt = LearntCost(FROM_S3)
    for _ in range(5_000):
        learnt.note(size, took)
    expected = 100.0 if took else 0.01
    moved = learnt.cost.latency if size <= 1 else learnt.cost.per_byte
    assert moved == pytest.approx((FROM_S3.latency if size <= 1 else FROM_S3.per_byte) * expected, rel=0.05)
    assert all(first / 100.001 <= value <= first * 100.001 for value, first in zip(learnt.cost, FROM_S3, strict=True))
    learn(learnt, FROM_S3, seed=1, transfers=2_000)
    assert learnt.cost.latency == pytest.approx(FROM_S3.latency, rel=0.1), "it recovers"


@pytest.mark.parametrize(("size", "took"), [(1000, -1.0), (1000, math.nan), (1000, -math.inf), (-1, 0.1)])
def test_what_no_clock_can_have_measured_is_passed_over(size: int, took: float) -> None:
    learnt = LearntCost(FROM_S3)
    learn(learnt, FROM_DISK, seed=1, transfers=10)
    before = learnt.cost
    learnt.note(size, took)
    assert learnt.cost == before != FROM_S3


def test_threads_may_note_at_once() -> None:
    learnt = LearntCost(FROM_S3)
    true = Cost(0.060, 1 / 30e6)
    threads = [
        threading.Thread(target=learn, args=(learnt, true), kwargs={"seed": seed, "transfers": 1_000}) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert learnt.cost.latency == pytest.approx(true.latency, rel=0.1)
    assert learnt.cost.per_byte == pytest.approx(true.per_byte, rel=0.1)


def test_it_keeps_nothing_of_a_transfer() -> None:
    learnt = LearntCost(FROM_S3)
    learn(learnt, FROM_S3, seed=1, transfers=1_000)
    assert not hasattr(learnt, "__dict__")
    assert (len(learnt._fit), len(learnt._sums)) == (2, 5)
