"""The replay is the policy: what fits is held, and what does not fit goes by its worth."""

from __future__ import annotations

import random

from tests.lambdabox.objects import MIB
from tests.lambdabox.replay import Asked, Outcome, replay


def _asked(number: int, size: int, stored: int | None = None) -> Asked:
    return Asked(f"key-{number}", size, size if stored is None else stored)


def test_what_fits_is_missed_once() -> None:
    asked = [_asked(number, 10_000) for number in range(20)]
    assert replay(asked * 3, memory_budget=MIB, largest=MIB // 2, disk_budget=8 * MIB) == Outcome(40, 0, 20)


def test_what_memory_does_not_admit_comes_from_disk() -> None:
    asked = [_asked(0, 600_000), _asked(1, 100)]
    assert replay(asked * 3, memory_budget=MIB, largest=MIB // 2, disk_budget=8 * MIB) == Outcome(2, 2, 2)


def test_what_neither_tier_has_room_for_is_always_missed() -> None:
    outcome = replay([_asked(0, 9 * MIB)] * 3, memory_budget=MIB, largest=MIB // 2, disk_budget=8 * MIB)
    assert outcome == Outcome(0, 0, 3)
    assert outcome.hit_ratio == 0


def test_compressed_bodies_take_less_of_the_disk() -> None:
    raw = [_asked(number, MIB) for number in range(16)]
    pressed = [_asked(number, MIB, MIB // 4) for number in range(16)]
    budgets = {"memory_budget": 4096, "largest": 1024, "disk_budget": 8 * MIB}
    assert replay(pressed * 2, **budgets) == Outcome(0, 16, 16)
    assert replay(raw * 2, **budgets).misses > 20


def test_popular_objects_stay() -> None:
    draws = random.Random(1)
    popular = [_asked(number, 100_000) for number in range(4)]
    asked = [draws.choice(popular) if draws.random() < 0.5 else _asked(1000 + number, 100_000) for number in range(400)]
    outcome = replay(asked, memory_budget=MIB, largest=MIB // 2, disk_budget=2 * MIB)
    of_popular = sum(request in popular for request in asked)
    assert outcome.memory_hits + outcome.disk_hits > 0.9 * (of_popular - len(popular))


def test_a_hit_ratio_is_hits_over_all() -> None:
    assert Outcome(3, 1, 4).hit_ratio == 0.5
    assert Outcome(0, 0, 0).hit_ratio == 0
