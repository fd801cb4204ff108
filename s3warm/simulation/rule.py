"""The project's own rule, by its very code, in the order in which each tier keeps its entries."""

from __future__ import annotations

import heapq

from s3warm.rules import eviction
from s3warm.rules.eviction import Candidate
from s3warm.tiers.ranked import Order
from s3warm.tiers.room import _HITS_KEPT
from s3warm.tiers.slot import Handle, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.rules.eviction import Cost, Rank

__all__ = ["DiskRule", "MemoryRule"]


class _Numbered(Handle):
    """A handle that goes before later ones of its priority, so that a replay can be repeated."""

    __slots__ = ("number",)

    def __init__(self, slot: Slot, number: int) -> None:
        super().__init__(slot)
        self.number = number

    def __lt__(self, other: Handle) -> bool:
        return self.number < other.number if isinstance(other, _Numbered) else NotImplemented


class _Hollow(Slot):
    """A slot without a body."""

    __slots__ = ("key",)

    def __init__(self, key: int, size: int, number: int) -> None:  # a slot's own needs an entry
        self.key = key
        self.cost = size
        self.hits = 0
        self.handle = _Numbered(self, number)


class MemoryRule:
    """The rule over the memory tier's heap. `cost` is what it takes to get an object back from the next place."""

    def __init__(self, budget: int, cost: Cost) -> None:
        self._budget = budget
        self._free = budget
        self._cost = cost
        self._held: dict[int, _Hollow] = {}
        self._order = Order()
        self._number = 0

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`."""
        slot = self._held.get(key)
        if slot is not None:
            slot.hits += 1
            return True
        if size > self._budget:
            return False
        order = self._order
        weight = self._cost.weight(size)
        verdict = eviction.make_room(order, size - self._free, order.floor, weight)
        order.floor = verdict.floor
        for victim in verdict.victims:
            del self._held[victim.item.key]
            self._free += victim.size
        if verdict.admitted:
            self._number += 1
            slot = self._held[key] = _Hollow(key, size, self._number)
            self._free -= size
            order.add(slot, eviction.newcomer(verdict.floor, weight))
        return False


class DiskRule:
    """The rule over the disk tier's order, here without SQLite: by priority, then by key; hits counted beside it, of so many rows."""

    def __init__(self, budget: int, cost: Cost) -> None:
        self._budget = budget
        self._free = budget
        self._cost = cost
        self._held: set[int] = set()
        self._hits: dict[int, int] = {}
        self._floor = 0.0
        self._heap: list[tuple[float, int, Rank, int]] = []

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`."""
        if key in self._held:
            if key in self._hits or len(self._hits) < _HITS_KEPT:
                self._hits[key] = self._hits.get(key, 0) + 1
            return True
        if size > self._budget:
            return False
        weight = self._cost.weight(size)
        verdict = eviction.make_room(self, size - self._free, self._floor, weight)
        self._floor = verdict.floor
        for victim in verdict.victims:
            self._held.remove(victim.item)
            self._free += victim.size
        if verdict.admitted:
            rank = eviction.newcomer(self._floor, weight)
            self._held.add(key)
            self._free -= size
            self.file(Candidate(key, rank, 0, size), rank)
        return False

    def pop(self) -> Candidate | None:
        """See `Queue.pop`."""
        if not self._heap:
            return None
        _, key, rank, size = heapq.heappop(self._heap)
        return Candidate(key, rank, self._hits.pop(key, 0), size)

    def file(self, candidate: Candidate, rank: Rank) -> None:
        """See `Queue.file`."""
        heapq.heappush(self._heap, (rank.priority, candidate.item, rank, candidate.size))
