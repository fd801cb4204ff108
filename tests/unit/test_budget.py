"""Budgets: numbers in, a number and its reason out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.rules.budget import (
    MEMORY_FLOOR,
    Share,
    disk_budget,
    largest_memory_object,
    memory_budget,
)

MIB = 2**20


@pytest.mark.parametrize(
    ("limit", "rss", "concurrency", "chosen", "why"),
    [
        (3008, 50, 1, 752, "25% of L"),
        (512, 50, 1, 128, "25% of L"),
        (256, 50, 1, 64, "25% of L"),
        (256, 100, 1, 46, "half of what is left of L beside 100 MiB in use and 64 MiB in reserve"),
        (128, 50, 1, 7, "half of what is left of L beside 50 MiB in use and 64 MiB in reserve"),
        (128, 60, 1, 4, "the floor, as L leaves no more beside 60 MiB in use"),
        (128, 500, 1, 4, "the floor, as L leaves no more beside 500 MiB in use"),
        (2048, 50, 16, 32, "25% of L, divided by 16 processes"),
        (128, 120, 2, 2, "the floor, as L leaves no more beside 120 MiB in use, divided by 2 processes"),
    ],
)
def test_a_quarter_or_half_of_the_rest_but_not_below_the_floor(
    limit: int, rss: int, concurrency: int, chosen: int, why: str
) -> None:
    budget = memory_budget(None, limit=limit * MIB, source="L", rss=rss * MIB, concurrency=concurrency)
    assert budget == (chosen * MIB, why)


@pytest.mark.parametrize("setting", [0, 1, 64 * MIB, 2**50])
def test_a_number_of_bytes_is_taken_as_it_is(setting: int) -> None:
    assert memory_budget(setting, limit=128 * MIB, source="L", rss=50 * MIB, concurrency=8) == (setting, "as set")


@pytest.mark.parametrize(
    ("share", "concurrency", "chosen", "why"),
    [(0.5, 1, 256, "50% of L"), (0.0, 1, 0, "0% of L"), (1.0, 4, 128, "100% of L, divided by 4 processes")],
)
def test_a_share_is_one_of_the_whole_limit(share: float, concurrency: int, chosen: int, why: str) -> None:
    budget = memory_budget(Share(share), limit=512 * MIB, source="L", rss=400 * MIB, concurrency=concurrency)
    assert budget == (chosen * MIB, why)


@given(st.integers(MIB, 2**40), st.integers(0, 2**40), st.integers(1, 1024))
def test_the_default_stays_between_the_floor_and_a_quarter(limit: int, rss: int, concurrency: int) -> None:
    chosen = memory_budget(None, limit=limit, source="L", rss=rss, concurrency=concurrency).bytes
    assert MEMORY_FLOOR // concurrency <= chosen <= max(MEMORY_FLOOR, limit // 4) // concurrency


@pytest.mark.parametrize(
    ("setting", "free", "held", "chosen", "why"),
    [
        (None, 500, 0, 400, "80% of 500 MiB free + 0 MiB held by the cache"),
        (None, 100, 400, 400, "80% of 100 MiB free + 400 MiB held by the cache"),
        (None, 0, 0, 0, "80% of 0 MiB free + 0 MiB held by the cache"),
        (Share(0.25), 300, 100, 100, "25% of 300 MiB free + 100 MiB held by the cache"),
        (Share(1.0), 300, 100, 400, "100% of 300 MiB free + 100 MiB held by the cache"),
        (64 * MIB, 500, 0, 64, "as set"),
        (400 * MIB, 300, 100, 400, "as set"),
        (2**50, 300, 100, 400, "as set, cut to 300 MiB free + 100 MiB held by the cache"),
    ],
)
def test_the_disk_budget_is_a_share_of_what_there_is_and_never_more(
    setting: int | Share | None, free: int, held: int, chosen: int, why: str
) -> None:
    assert disk_budget(setting, free=free * MIB, held=held * MIB) == (chosen * MIB, why)


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [(None, 50), (Share(0.1), 10), (Share(1.0), 100), (30, 30), (100, 100), (500, 100), (0, 0)],
)
def test_the_largest_body_in_memory_is_never_larger_than_the_budget(setting: int | Share | None, chosen: int) -> None:
    assert largest_memory_object(setting, 100) == chosen
