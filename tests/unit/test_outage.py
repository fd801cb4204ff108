"""Outages: the origin is left in peace for a while, never for long, and by bucket."""

from __future__ import annotations

import pytest

from s3warm.rules.outage import FIRST_RETRY_AFTER, MAX_RETRY_AFTER, Outages, retry_after


def test_the_peace_doubles_up_to_a_limit() -> None:
    assert [retry_after(failures) for failures in range(1, 9)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert (retry_after(1), retry_after(10**9)) == (FIRST_RETRY_AFTER, MAX_RETRY_AFTER)


def test_a_bucket_that_never_failed_may_be_asked() -> None:
    assert Outages().rest("b", 0.0) == 0


@pytest.mark.parametrize(
    ("now", "may"), [(1000.0, False), (1000.999, False), (1001.0, True), (5000.0, True), (999.999, True), (0.0, True)]
)
def test_after_one_failure_it_is_left_alone_for_a_second_whatever_the_clock_does(now: float, may: bool) -> None:
    outages = Outages()
    outages.failed("b", 1000.0)
    assert (outages.rest("b", now) == 0) is may


def test_each_failure_in_a_row_counts_from_its_own_time() -> None:
    outages = Outages()
    outages.failed("b", 1000.0)
    outages.failed("b", 1001.0)
    assert outages.rest("b", 1002.9) > 0
    assert outages.rest("b", 1003.0) == 0


def test_what_fails_while_it_is_left_in_peace_changes_nothing() -> None:
    outages = Outages()
    for since in (1000.0, 1000.0, 1000.5, 1000.999):
        outages.failed("b", since)
    assert outages.rest("b", 1000.999) > 0
    assert outages.rest("b", 1001.0) == 0


def test_other_buckets_are_not_concerned() -> None:
    outages = Outages()
    outages.failed("b", 1000.0)
    assert outages.rest("c", 1000.0) == 0
    assert not outages.over("c")
    assert outages.rest("b", 1000.0) > 0


def test_an_outage_is_over_once_and_the_next_one_begins_anew() -> None:
    outages = Outages()
    outages.failed("b", 1000.0)
    outages.failed("b", 1001.0)
    assert (outages.over("b"), outages.over("b")) == (True, False)
    assert outages.rest("b", 1001.0) == 0
    outages.failed("b", 1002.0)
    assert outages.rest("b", 1003.0) == 0
