"""The peers' policies, on sequences small enough to follow by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from s3warm.simulation.classic import LRU, Sieve
from s3warm.simulation.s3fifo import S3FIFO
from s3warm.simulation.tinylfu import WTinyLFU

if TYPE_CHECKING:
    from s3warm.simulation.classic import Policy

POLICIES: list[Callable[[int], Policy]] = [LRU, Sieve, S3FIFO, WTinyLFU]


def asked(policy: Policy, sequence: str, *, size: int = 1) -> str:
    """H for each hit, - for each miss. A name may carry its size: A4."""
    return "".join("H" if policy.request(ord(name[0]), int(name[1:] or size)) else "-" for name in sequence.split())


def test_lru_evicts_who_was_used_longest_ago() -> None:
    assert asked(LRU(3), "A B C A D A C B") == "---H-HH-"


def test_lru_evicts_as_many_as_the_newcomer_needs() -> None:
    lru = LRU(10)
    assert asked(lru, "A4 B4 C2 D6") == "----"  # A and B go
    assert asked(lru, "C2 D6 B4") == "HH-"  # C goes for B: with the 2 that were free that is enough
    assert asked(lru, "D6 C2") == "H-"


def test_sieve_keeps_who_was_hit_and_evicts_newcomers_quickly() -> None:
    # D: A has its bit cleared and stays, B goes, the hand is at C. E: C goes. F: D goes. LRU would have let A go for F.
    assert asked(Sieve(3), "A B C A D E F A D") == "---H---H-"
    assert asked(LRU(3), "A B C A D E F A") == "---H----"


def test_sieves_hand_goes_round() -> None:
    # D: A and B lose their bits, C goes, the hand leaves the queue at its head. E: from the tail again, where A has no bit any more.
    assert asked(Sieve(3), "A B C A B D E B D E A") == "---HH--HHH-"


def test_sieve_evicts_as_many_as_the_newcomer_needs() -> None:
    # A is spared for its bit; B and C go.
    assert asked(Sieve(9), "A3 B3 C3 A3 D6 A3 D6 B3") == "---H-HH-"


def test_s3_fifo_step_by_step() -> None:
    s3fifo = S3FIFO(10)  # of which the small queue has 1
    assert asked(s3fifo, "A B C D E F G H I J") == "-" * 10  # A in the small queue, the others in the main one
    assert asked(s3fifo, "K L") == "--"  # A and K leave the small queue for the history
    assert asked(s3fifo, "A M A") == "--H"  # from the history A comes into the main queue; L goes for A, and B for M
    assert asked(s3fifo, "C B") == "H-"  # M goes for B, which comes into the small queue
    assert asked(s3fifo, "B B N") == "HH-"  # B is promoted; C was hit and goes round, so D goes
    assert asked(s3fifo, "C B E D") == "HHH-"


def test_s3_fifo_asks_for_two_hits_in_the_small_queue() -> None:
    s3fifo = S3FIFO(10)
    asked(s3fifo, "A B C D E F G H I J K")
    assert asked(s3fifo, "K L K") == "H--"


def test_s3_fifo_does_not_let_in_what_the_small_queue_cannot_hold() -> None:
    assert asked(S3FIFO(10), "A2 A2 A2 B1 B1") == "----H"


def test_s3_fifo_evicts_from_the_main_queue_when_that_is_over_its_share() -> None:
    s3fifo = S3FIFO(20)  # 2 and 18
    asked(s3fifo, "A B C D E F G H I J K L M N O P Q R S T U")  # A has left the small queue, where B and U are
    assert asked(s3fifo, "A V") == "--"  # B goes for A, whose main queue has 19 then; so it is C that goes for V
    assert asked(s3fifo, "U V C") == "HH-"


def test_s3_fifo_counts_to_three() -> None:
    s3fifo = S3FIFO(10)
    asked(s3fifo, "A A A A A A")
    assert s3fifo._hits == {ord("A"): 3}


def test_s3_fifos_newcomers_come_into_the_small_queue_once_something_has_gone() -> None:
    dice = random.Random(5)
    s3fifo = S3FIFO(400)
    admitted = 0
    for _ in range(20_000):
        key = min(int(dice.expovariate(0.01)), 999)
        is_new = s3fifo._has_evicted and key not in s3fifo._hits and key not in s3fifo._ghosts
        s3fifo.request(key, key % 37 + 1)
        assert not is_new or key in s3fifo._small
        admitted += is_new
    assert admitted > 100


def test_s3_fifos_history_forgets() -> None:
    s3fifo = S3FIFO(10)
    asked(s3fifo, "A B C D E F G H I J")
    assert asked(s3fifo, "K L M N O P Q R S T") == "-" * 10  # A, then K to S have left: A is the tenth, and forgotten
    assert asked(s3fifo, "A U A") == "---"  # in the small queue, from which it went for U
    assert asked(s3fifo, "V A") == "-H"  # the last time it came from the history


def test_w_tinylfu_lets_in_who_is_asked_for_more_often() -> None:
    tiny = WTinyLFU(100)  # a window of 1, which none of these fits into
    assert asked(tiny, "A B C", size=33) == "---"
    assert asked(tiny, "D D D", size=33) == "--H"  # once is no more than A's once; twice is more than B's once
    assert asked(tiny, "A C B", size=33) == "HH-"


def test_w_tinylfu_weighs_a_candidate_against_all_that_would_go() -> None:
    tiny = WTinyLFU(100)
    asked(tiny, "A B C", size=33)
    assert asked(tiny, "E E E E", size=66) == "---H"  # three times is more than A's and B's together, twice is not
    assert asked(tiny, "C A", size=33) == "H-"


def test_w_tinylfus_window_is_lru() -> None:
    tiny = WTinyLFU(200)  # a window of 2
    asked(tiny, "X99 Y99")  # the main part is full
    assert asked(tiny, "A B A C A B") == "--H-H-"  # B leaves the window for C, and loses against X


def test_w_tinylfu_protects_who_was_hit_until_others_are() -> None:
    tiny = WTinyLFU(100)  # 79 of them protected
    asked(tiny, "A B C", size=33)
    assert asked(tiny, "A B C", size=33) == "HHH"  # A comes down again for C
    assert asked(tiny, "D D D D", size=33) == "---H"  # its third is more than A's two
    assert asked(tiny, "B C A", size=33) == "HH-"


def test_w_tinylfus_protected_part_is_lru() -> None:
    tiny = WTinyLFU(100)
    asked(tiny, "A B C A B A C", size=33)  # B comes down for C, as A was used after it
    assert asked(tiny, "D D D D A C B", size=33) == "---HHH-"


def test_w_tinylfu_halves_its_counters() -> None:
    tiny = WTinyLFU(100)
    asked(tiny, "A " * 9)
    assert (tiny._frequency, tiny._counted) == ({ord("A"): 9}, 9)
    asked(tiny, "B")  # the tenth request, for one entry held
    assert (tiny._frequency, tiny._counted) == ({ord("A"): 4}, 5)


def test_w_tinylfu_forgets() -> None:
    tiny = WTinyLFU(10)
    asked(tiny, "A " * 40)
    assert tiny._frequency[ord("A")] <= 15
    for number in range(1000, 2000):
        tiny.request(number, 1)
    assert ord("A") not in tiny._frequency
    assert len(tiny._frequency) < 200


@pytest.mark.parametrize("make", POLICIES)
def test_what_is_larger_than_the_budget_displaces_nobody(make: Callable[[int], Policy]) -> None:
    policy = make(100)
    assert asked(policy, "A B A B") == "--HH"
    assert asked(policy, "X101 X101 A B") == "--HH"


@pytest.mark.parametrize("make", POLICIES)
@pytest.mark.parametrize("budget", [0, 1, 50, 5_000])
def test_no_more_is_held_than_the_budget(make: Callable[[int], Policy], budget: int) -> None:
    dice = random.Random(budget)
    policy = make(budget)
    sizes = [int(10 ** dice.uniform(0, 3)) for _ in range(300)]
    for _ in range(5_000):
        key = min(int(dice.expovariate(0.02)), 299)
        policy.request(key, sizes[key])
        assert sum(sizes[key] for key in held(policy)) <= budget


def held(policy: Policy) -> set[int]:
    if isinstance(policy, S3FIFO):
        assert policy._hits.keys() == policy._small.keys() | policy._main.keys()
        return {*policy._small, *policy._main}
    if isinstance(policy, WTinyLFU):
        return {*policy._window, *policy._probation, *policy._protected}
    assert isinstance(policy, (LRU, Sieve))
    return set(policy._held)
