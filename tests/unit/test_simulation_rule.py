"""The project's rule in the simulation is that of the tiers: the memory tier's heap, and the order that the disk tier has in SQLite."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from typing import Any

import pytest

from s3warm.rules import eviction
from s3warm.rules.costs import FROM_S3
from s3warm.rules.eviction import Candidate, Rank
from s3warm.simulation import rule
from s3warm.simulation.generated import KINDS, generate
from s3warm.simulation.rule import DiskRule, MemoryRule
from s3warm.tiers.order import EvictionOrder


class Sqlite(EvictionOrder):
    """The real order, over a database in memory, as a `Queue` and a policy."""

    def __init__(self, budget: int) -> None:
        database = sqlite3.connect(":memory:", isolation_level=None)
        self._sql: Any = database.execute
        self._as_writer = contextlib.nullcontext
        self._create_order()
        self.budget = budget
        self.held: dict[int, int] = {}
        self.hits: dict[int, int] = {}

    def request(self, key: int, size: int) -> bool:
        if key in self.held:
            self.hits[key] = self.hits.get(key, 0) + 1
            return True
        if size <= self.budget:
            weight = FROM_S3.weight(size)
            verdict = eviction.make_room(self, size - (self.budget - sum(self.held.values())), self.floor, weight)
            self.floor = verdict.floor
            for victim in verdict.victims:
                del self.held[victim.item]
            if verdict.admitted:
                self.held[key] = size
                self.rank(key.to_bytes(8, "big"), eviction.newcomer(verdict.floor, weight), size)
        return False

    def pop(self) -> Candidate | None:
        lowest = self.take_lowest()
        if lowest is None:
            return None
        key = int.from_bytes(lowest.item, "big")
        return lowest._replace(item=key, hits=self.hits.pop(key, 0))

    def file(self, candidate: Candidate, rank: Rank) -> None:
        self.rank(candidate.item.to_bytes(8, "big"), rank, candidate.size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.2])
def test_on_disk_it_is_the_order_of_sqlite(kind: str, share: float) -> None:
    trace = generate(kind, seed=5, requests=2_000)
    budget = int(trace.footprint * share)
    real, simulated = Sqlite(budget), DiskRule(budget, FROM_S3)
    for number, (key, size) in enumerate(trace.requests):
        assert simulated.request(key, size) is real.request(key, size), number
    assert simulated._held == real.held.keys()
    assert simulated._floor == real.floor > 0.0


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_in_memory_it_is_the_same_rule(share: float) -> None:
    """With sizes that all differ no two priorities are alike, so that the orders of both tiers are the same."""
    dice = random.Random(7)
    sizes = dice.sample(range(100, 1_000_000), 400)
    requests = [(key, sizes[key]) for key in (min(int(dice.expovariate(0.02)), 399) for _ in range(5_000))]
    budget = int(sum(sizes) * share)
    memory, disk = MemoryRule(budget, FROM_S3), DiskRule(budget, FROM_S3)
    found = [memory.request(*asked) for asked in requests]
    assert found == [disk.request(*asked) for asked in requests]
    assert 0 < sum(found) < len(found)
    assert memory._order.floor == disk._floor
    assert memory._free == budget - sum(sizes[key] for key in memory._held) >= 0


def test_the_disk_counts_hits_of_so_many_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "_HITS_KEPT", 1)
    disk = DiskRule(20, FROM_S3)
    for key in (0, 1, 0, 1):
        disk.request(key, 10)
    assert disk._hits == {0: 1}


@pytest.mark.parametrize("made", [MemoryRule, DiskRule])
def test_what_is_larger_than_the_budget_displaces_nobody(made: type[MemoryRule | DiskRule]) -> None:
    policy = made(10, FROM_S3)
    assert [policy.request(*asked) for asked in ((0, 10), (1, 11), (1, 11), (0, 10))] == [False, False, False, True]


def test_replays_can_be_repeated() -> None:
    """Entries of one size tie all the time; which of them goes must not depend on where the allocator put them."""
    dice = random.Random(3)
    requests = [(min(int(dice.expovariate(0.02)), 399), 100) for _ in range(5_000)]
    runs, garbage = [], []
    for _ in range(3):
        memory = MemoryRule(4_000, FROM_S3)
        found = []
        for asked in requests:
            garbage.append(bytearray(dice.randrange(200)))
            found.append(memory.request(*asked))
        runs.append(found)
    assert runs[0] == runs[1] == runs[2]
