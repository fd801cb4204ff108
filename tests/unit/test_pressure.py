"""How much the memory tier may hold beside a handler that needs memory itself."""

from __future__ import annotations

import pytest

from s3warm.rules.pressure import Peak, Slack, bound, for_one_body, margin

MIB = 2**20


@pytest.mark.parametrize(("share", "left"), [(128, 16), (512, 32), (1024, 64), (10240, 640), (32, 8), (0, 0)])
def test_the_margin_is_a_sixteenth_and_at_least_16_mib(share: int, left: int) -> None:
    assert margin(share * MIB) == left * MIB


@pytest.mark.parametrize(("free", "one"), [(80, 60), (0, 0), (-5, 0)])
def test_one_body_takes_three_quarters_at_most(free: int, one: int) -> None:
    assert for_one_body(free * MIB) == one * MIB


@pytest.mark.parametrize(
    ("own", "held", "over", "left"),
    [
        (60, 10, -30, 40),  # there is more than it holds
        (95, 30, -1, 5),  # it may not hold what it holds: the handler needed it a minute ago
        (60, 40, 8, 27),  # 8 too much, and an eighth more
        (60, 40, 50, 0),
        (120, 40, 60, 0),
    ],
)
def test_the_bound_is_what_the_handler_leaves(own: int, held: int, over: int, left: int) -> None:
    assert bound(100, own=own, held=held, over=over) == left


def test_a_peak_is_remembered_for_five_to_ten_minutes() -> None:
    peak = Peak()
    assert peak.of(10, 1000.0) == 10
    assert peak.of(90, None) == 90
    assert peak.of(20, 1299.0) == 90
    assert peak.of(20, 1301.0) == 90  # the next epoch has begun
    assert peak.of(30, 1599.0) == 90
    assert peak.of(20, 1602.0) == 30


@pytest.mark.parametrize("now", [1601.0, 9000.0, 999.0, 0.0])
def test_a_peak_is_forgotten_after_a_pause_and_when_the_clock_is_set_back(now: float) -> None:
    peak = Peak()
    peak.of(90, 1000.0)
    assert peak.of(10, now) == 10


@pytest.mark.parametrize(
    ("grown", "freed", "held", "much"),
    [
        (10, 10, 240, True),
        (10, 9, 240, False),  # the handler has grown
        (9, 10, 240, False),  # most of it is used again
        (0, 1000, 240, False),
        (1000, 0, 240, False),
        (4, 4, 1, True),
        (3, 3, 1, False),  # not worth it
        (20, 20, 512, False),
    ],
)
def test_slack_is_much_from_a_24th_of_what_is_held(grown: int, freed: int, held: int, much: bool) -> None:
    slack = Slack()
    assert not slack.is_much(50 * MIB, 0, held * MIB)
    assert slack.is_much((50 + grown) * MIB, freed * MIB, held * MIB) is much


def test_what_was_freed_before_the_first_look_is_no_slack() -> None:
    slack = Slack()
    assert not slack.is_much(50 * MIB, 100 * MIB, MIB)
    assert not slack.is_much(60 * MIB, 103 * MIB, MIB)
    assert slack.is_much(60 * MIB, 104 * MIB, MIB)


def test_slack_that_was_given_back_is_gone() -> None:
    slack = Slack()
    slack.is_much(50 * MIB, 0, MIB)
    assert slack.is_much(60 * MIB, 10 * MIB, MIB)
    slack.given_back(58 * MIB, 10 * MIB)
    assert not slack.is_much(61 * MIB, 20 * MIB, MIB)
    assert slack.is_much(62 * MIB, 20 * MIB, MIB)


def test_a_process_that_shrinks_hides_no_slack() -> None:
    slack = Slack()
    slack.is_much(90 * MIB, 0, MIB)
    assert not slack.is_much(50 * MIB, 3 * MIB, MIB)
    assert slack.is_much(54 * MIB, 6 * MIB, MIB)
