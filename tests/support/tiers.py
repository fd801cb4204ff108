"""Tiers to test, made as the factory makes them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from s3warm.metrics import Counters, Troubles
from s3warm.rules.costs import FROM_S3, LearntCost
from s3warm.tiers.disk import DiskTier
from s3warm.tiers.memory import MemoryTier
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Server
from s3warm.tiers.shared import SharedTier
from tests.support.entries import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from s3warm.keys import ObjectKey

MIB = 2**20
COST = LearntCost(FROM_S3)


class Journal:
    """What a tier told the cache."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.troubles = Troubles()
        self.evicted: list[ObjectKey] = []
        self.corrupted: list[ObjectKey] = []
        self.failed: list[Exception | None] = []


class Plenty:
    """See `Account`: there is memory for all that tests ask for."""

    def largest(self) -> int:
        return 1024 * MIB

    def hold(self, where: ObjectKey, size: int) -> AbstractContextManager[int]:
        return nullcontext(1024 * MIB - size)

    def buffers(self, most: int) -> AbstractContextManager[int]:
        return nullcontext(most)


def memory_tier(*, budget: int = 64 * MIB, largest: int | None = None, journal: Journal | None = None) -> MemoryTier:
    """A memory tier; without `largest` a body may take the whole budget."""
    told = journal or Journal()
    limit = budget if largest is None else largest
    return MemoryTier(budget, limit, COST, told.counters, lambda key, _: told.evicted.append(key))


def disk_tier(
    path: Path, *, budget: int = 64 * MIB, level: int = 1, namespace: str = "test", journal: Journal | None = None
) -> DiskTier:
    """A disk tier over a directory that stays."""
    told = journal or Journal()
    return DiskTier(
        str(path),
        namespace,
        budget=budget,
        level=level,
        cost=COST,
        free=lambda _: 1024 * MIB,
        account=Plenty(),
        counters=told.counters,
        troubles=told.troubles,
        evicted=lambda key, _: told.evicted.append(key),
        corrupted=lambda key, _: told.corrupted.append(key),
    )


def shared_tier(client: Any, *, largest: int = 64 * MIB, namespace: str = "test", journal: Journal | None = None) -> SharedTier:
    """A shared tier over a client of redis-py, a second after what tests put into it was validated."""
    told = journal or Journal()

    def now() -> float:
        return NOW + 1

    return SharedTier(
        Server(lambda: client, lambda _: None, clock=now, failed=lambda _, error: told.failed.append(error)),
        Sealer(namespace, b"a secret of the tests"),
        largest=largest,
        level=1,
        keep=300.0,
        opted=lambda _: None,
        account=Plenty(),
        clock=now,
        refused=lambda key, _: told.corrupted.append(key),
    )
