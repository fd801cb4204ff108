"""The account of the process's memory, over a process that is only imagined: what it holds is what the test says and the tier has."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3warm.deadlines import deadline
from s3warm.errors import ObjectTooLargeError, OriginUnavailableError
from s3warm.keys import ObjectKey
from s3warm.ledger import Ledger
from s3warm.rules.pressure import margin
from tests.support.entries import an_entry
from tests.support.tiers import MIB, Journal, memory_tier

KEY = ObjectKey("bucket", "wanted")
SHARE = 512 * MIB
ALLOWED = SHARE - margin(SHARE)


class Process:
    """A process with a tier, a handler, and an allocator that keeps what is freed until it is asked to give it back."""

    def __init__(self, budget: int = 128 * MIB) -> None:
        self.journal = Journal()
        self.tier = memory_tier(budget=budget, journal=self.journal)
        self.handler = 40 * MIB
        self.free = 0  # in the heaps
        self.crumbs = False  # the allocator gives nothing back as long as the tier holds anything
        self.scattered = False  # nothing that is allocated fits into what was freed
        self.given_back = 0
        self._seen = self._freed = 0
        self.freed_at_once = 0
        self.ledger = self.account(SHARE)

    def account(self, share: int) -> Ledger:
        return Ledger(share, self.tier, anonymous=self.anonymous, give_back=self.give_back, free_at_once=self.free_at_once)

    def free_at_once(self) -> None:
        self.freed_at_once += 1

    def anonymous(self) -> int:
        held, freed = self.tier.held(), self.tier.freed
        self.free += freed - self._freed if self.scattered else max(-self.free, self._seen - held)
        self._seen, self._freed = held, freed
        return self.handler + held + self.free

    def give_back(self) -> None:
        self.given_back += 1
        self.anonymous()
        if not self.crumbs or not self.tier.usage().entries:
            self.free = 0

    def fill(self, count: int, size: int = MIB, start: int = 0) -> None:
        for number in range(start, start + count):
            self.tier.put(an_entry(bytes(size), key=f"k{number}", etag="e"))

    def held(self) -> int:
        return self.tier.usage().bytes // MIB


@pytest.fixture
def process() -> Process:
    return Process()


def test_with_room_for_all_nothing_is_done(process: Process) -> None:
    process.fill(100)
    process.ledger.look(0.0)
    assert (process.held(), process.given_back) == (100, 0)


def test_a_handler_that_grows_makes_the_tier_shrink_at_the_next_look(process: Process) -> None:
    process.fill(100)
    process.ledger.look(0.0)
    process.handler = 40 * MIB + SHARE * 6 // 10
    process.ledger.look(0.999)
    assert process.held() == 100  # not yet
    process.ledger.look(1.0)
    assert process.held() == 100  # there is enough: 40 + 307 + 100 of 480
    process.handler = 420 * MIB
    process.ledger.look(2.0)
    assert 40 < process.held() < 60
    assert process.anonymous() <= ALLOWED
    assert process.journal.counters.evictions == len(process.journal.evicted) > 40


def test_the_handlers_need_is_remembered_and_forgotten(process: Process) -> None:
    """A working memory that comes and goes must find its place again."""
    process.handler = 460 * MIB
    process.ledger.look(0.0)
    process.handler = 40 * MIB
    process.ledger.look(1.0)
    process.fill(100)
    assert process.held() == 19
    process.handler = 460 * MIB
    assert process.anonymous() <= ALLOWED
    process.handler = 40 * MIB
    process.ledger.look(1000.0)
    process.fill(100)
    assert process.held() == 100


def test_what_the_allocator_keeps_is_given_back_before_anything_is_evicted(process: Process) -> None:
    process.fill(100)
    process.anonymous()
    process.free = 400 * MIB
    process.ledger.look(0.0)
    assert (process.held(), process.given_back, process.free) == (100, 1, 0)


def test_what_is_evicted_is_given_back(process: Process) -> None:
    process.fill(100)
    process.handler = 420 * MIB
    process.ledger.look(0.0)
    assert process.free == 0
    assert process.given_back == 2  # before, in vain, and after


def test_what_eviction_freed_is_given_back_long_before_memory_runs_short(process: Process) -> None:
    """As soon as it is a 24th of what is held, again and again."""
    process.scattered = True
    process.fill(120)
    process.ledger.look(0.0)
    process.fill(12, start=120)
    process.ledger.look(1.0)
    assert (process.given_back, process.free // MIB) == (0, 5)
    process.fill(1, start=132)
    process.ledger.look(2.0)
    assert (process.given_back, process.free) == (1, 0)
    process.fill(6, start=133)
    with process.ledger.hold(KEY, 2 * MIB):  # before a body is allocated, too
        assert (process.given_back, process.free) == (2, 0)


def test_what_goes_otherwise_is_given_back_as_well(process: Process) -> None:
    process.scattered = True
    process.fill(100)
    process.ledger.look(0.0)
    process.fill(10)  # other bodies of the same objects
    process.ledger.look(1.0)
    assert (process.given_back, process.free) == (1, 0)
    process.tier.clear()
    process.ledger.look(2.0)
    assert (process.given_back, process.free) == (2, 0)


def test_what_the_allocator_uses_again_is_not_worth_giving_back(process: Process) -> None:
    """Bodies of one size take each other's places."""
    process.fill(127)
    process.ledger.look(0.0)
    for turn in range(1, 20):
        process.fill(20, start=120 + 20 * turn)
        process.ledger.look(float(turn))
    assert (process.journal.counters.evictions > 300, process.given_back) == (True, 0)


def test_without_evictions_nothing_is_given_back_whatever_the_handler_takes(process: Process) -> None:
    process.ledger.look(0.0)
    for turn in range(1, 20):
        process.fill(5, start=5 * turn)
        process.handler = (40 + turn % 2 * 100) * MIB
        process.ledger.look(float(turn))
    assert process.given_back == 0


def test_a_handler_that_grows_for_good_is_taken_for_slack_once_at_most(process: Process) -> None:
    process.fill(120)
    process.ledger.look(0.0)
    process.handler = 200 * MIB
    for turn in range(1, 20):
        process.fill(20, start=120 + 20 * turn)
        process.ledger.look(float(turn))
    assert process.given_back == 1


def test_crumbs_that_nothing_can_free_cost_all_of_the_tier_and_no_more(process: Process) -> None:
    process.fill(25_000, 1000)
    full = process.held()
    assert full > 30
    process.crumbs = True
    process.handler = ALLOWED - 20 * MIB
    process.ledger.look(0.0)
    assert process.tier.usage().entries == 0
    assert process.anonymous() <= ALLOWED
    # Now that it fits it may hold what is left.
    process.ledger.look(1.0)
    process.fill(25_000, 1000)
    assert 10 <= process.held() <= 20


def test_a_need_of_the_allocators_is_none_of_the_handlers(process: Process) -> None:
    process.fill(25_000, 1000)
    process.crumbs = True
    process.ledger.look(0.0)
    assert process.tier.limit(5 * MIB)[0] > 20 * MIB
    process.ledger.look(1.0)
    process.fill(25_000, 1000)
    assert process.held() > 30


def test_the_clock_may_be_set_back(process: Process) -> None:
    process.ledger.look(1000.0)
    process.fill(100)
    process.handler = 460 * MIB
    process.ledger.look(10.0)
    assert process.held() < 20


def test_room_is_made_before_a_body_is_allocated(process: Process) -> None:
    process.fill(128, MIB - 4096)
    process.handler = 300 * MIB
    with process.ledger.hold(KEY, 100 * MIB) as spare:
        assert process.anonymous() + 100 * MIB <= ALLOWED
        assert 0 < spare < 512 * MIB - 400 * MIB
    assert process.given_back == 2


@pytest.mark.parametrize(("size", "fits"), [(96 * 3 // 4, True), (96 * 3 // 4 + 1, False)])
def test_what_the_tier_holds_counts_as_free(process: Process, size: int, fits: bool) -> None:
    process.handler = SHARE - 96 * MIB
    process.fill(50)
    process.handler -= process.tier.held() % MIB  # the bookkeeping
    assert process.ledger.largest() // MIB == 72
    if fits:
        with process.ledger.hold(KEY, size * MIB - MIB):
            assert process.held() == 0
    else:
        with pytest.raises(ObjectTooLargeError, match=r"s3://bucket/wanted has 76,546,048 bytes .* has 75,\d"):
            process.ledger.hold(KEY, size * MIB).__enter__()
        assert process.held() == 50  # nothing was evicted in vain


def test_what_the_allocator_keeps_may_hold_a_body_back_only_until_it_is_asked(process: Process) -> None:
    process.anonymous()
    process.free = 460 * MIB
    with process.ledger.hold(KEY, 200 * MIB):
        assert process.free == 0


def test_what_is_under_way_counts(process: Process) -> None:
    process.handler = 412 * MIB
    with process.ledger.hold(KEY, 40 * MIB):
        assert process.ledger.largest() == 45 * MIB
        with process.ledger.buffers(8 * MIB) as granted:
            assert granted == 8 * MIB
            assert process.ledger.largest() == 39 * MIB
    assert process.ledger.largest() == 75 * MIB


def test_buffers_are_as_large_as_there_is_room(process: Process) -> None:
    process.handler = SHARE - 4 * MIB
    with process.ledger.buffers(8 * MIB) as granted:
        assert granted == 3 * MIB
    process.handler = SHARE + MIB
    with process.ledger.buffers(8 * MIB) as granted:
        assert granted == 0


def test_small_bodies_are_looked_at_together(process: Process) -> None:
    looks = 0
    anonymous = process.anonymous

    def counted() -> int:
        nonlocal looks
        looks += 1
        return anonymous()

    process.ledger._anonymous = counted
    process.fill(100)
    process.handler = 420 * MIB
    for _ in range(40):
        with process.ledger.hold(KEY, 100_000):
            pass
    assert looks <= 40  # for what may be taken besides; not for making room
    assert process.held() == 100
    for _ in range(3):
        with process.ledger.hold(KEY, 100_000):
            pass
    assert process.held() < 60


def test_who_waits_for_memory_that_is_under_way_gets_it(process: Process) -> None:
    process.handler = 412 * MIB
    held, gate = threading.Event(), threading.Event()

    def keep() -> None:
        with process.ledger.hold(KEY, 70 * MIB):
            held.set()
            assert gate.wait(30)

    def want() -> int:
        gate.set()
        with process.ledger.hold(KEY, 60 * MIB) as spare:
            return spare

    with ThreadPoolExecutor(1) as pool:
        keeping = pool.submit(keep)
        assert held.wait(30)
        with (
            deadline(0, 0),
            pytest.raises(OriginUnavailableError, match="no memory while other threads fetch 73,400,320") as caught,
        ):
            process.ledger.hold(KEY, 60 * MIB).__enter__()
        assert caught.value.late
        with deadline(0, 0), pytest.raises(ObjectTooLargeError):
            process.ledger.hold(KEY, 76 * MIB).__enter__()
        assert want() == 15 * MIB
        keeping.result(30)


def test_an_error_gives_back_what_was_held(process: Process) -> None:
    before = process.ledger.largest()
    with pytest.raises(KeyError), process.ledger.hold(KEY, 100 * MIB):
        raise KeyError
    with pytest.raises(KeyError), process.ledger.buffers(8 * MIB):
        raise KeyError
    assert process.ledger.largest() == before


def test_a_forked_child_begins_with_nothing_under_way(process: Process) -> None:
    before = process.ledger.largest()
    held = process.ledger.hold(KEY, 100 * MIB)
    held.__enter__()
    assert process.ledger.largest() < before
    process.ledger.renew()
    assert process.ledger.largest() == before


@pytest.mark.parametrize(("share", "times"), [(128, 1), (512, 1), (513, 0)])
def test_in_a_small_function_the_allocator_keeps_no_large_blocks(process: Process, share: int, times: int) -> None:
    """From the first large body on: it costs 3 ms, and each page of a large block a fault."""
    ledger = process.account(share * MIB)
    with ledger.hold(KEY, MIB):
        assert process.freed_at_once == 0
    for _ in range(2):
        with ledger.hold(KEY, MIB + 1):
            assert process.freed_at_once == times
