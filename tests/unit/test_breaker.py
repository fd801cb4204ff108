"""The circuit breaker, on a clock of the test's."""

from __future__ import annotations

from s3warm.tiers.breaker import Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_admits_everybody_as_long_as_nothing_fails() -> None:
    breaker = Breaker(Clock())
    assert [breaker.admits() for _ in range(3)] == [True] * 3
    assert not breaker.succeeded(), "nothing was open"


def test_who_fails_is_left_in_peace_for_twice_as_long_each_time_up_to_half_a_minute() -> None:
    clock = Clock()
    breaker, pauses = Breaker(clock), []
    for _ in range(8):
        breaker.failed()
        since = clock.now
        while not breaker.admits():
            clock.now += 0.5
        pauses.append(clock.now - since)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_half_open_one_call_tries_and_the_others_wait_for_what_that_finds() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed()
    clock.now += 1
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    assert breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True] * 3


def test_who_tries_and_is_never_heard_of_again_strands_nobody() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed()
    clock.now += 1
    assert breaker.admits()
    clock.now += 1
    assert [breaker.admits(), breaker.admits()] == [True, False]


def test_many_that_fail_at_once_count_as_one() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(20):
        breaker.failed()
    clock.now += 1
    assert breaker.admits()


def test_a_clock_set_back_keeps_nobody_out() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed()
    clock.now -= 3600
    assert breaker.admits()


def test_a_forked_child_finds_it_closed_and_its_lock_free() -> None:
    breaker = Breaker(Clock())
    breaker.failed()
    breaker._lock.acquire()
    breaker.renew()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()


def test_what_fails_again_and_again_between_successes_is_tried_ever_less() -> None:
    now, tries = 0.0, 0
    breaker = Breaker(lambda: now)
    for _ in range(120):
        if breaker.admits():
            tries += 1
            breaker.succeeded()  # one kind of command
            breaker.failed()  # another
        now += 1.0
    assert tries == 8, "after 1, 2, 4, 8, 16, 30 and 30 s"


def test_after_half_a_minute_without_trouble_it_counts_anew() -> None:
    now = 0.0
    breaker = Breaker(lambda: now)
    for _ in range(5):
        breaker.failed()
        now += 40.0
        assert breaker.admits()
        breaker.succeeded()
    now += 31.0
    breaker.failed()
    now += 1.0
    assert breaker.admits()
