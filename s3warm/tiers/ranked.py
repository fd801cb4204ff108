"""The order in which the memory tier evicts."""

from __future__ import annotations

import heapq
import sys

from s3warm.rules import eviction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.rules.eviction import Candidate, Rank
    from s3warm.tiers.slot import Filed, Handle

__all__ = ["Order"]


class Order:
    """The order of eviction: a heap by priority, repaired only when something must go. Removed slots stay in it until they surface."""

    __slots__ = ("_dead", "_heap", "floor")

    def __init__(self) -> None:
        self.floor = 0.0
        self._heap: list[tuple[float, Handle]] = []
        self._dead = 0

    def add(self, slot: Filed, rank: Rank) -> None:
        """File a slot by its rank."""
        slot.priority, slot.frequency, slot.weight = rank
        slot.filed_hits = slot.hits
        heapq.heappush(self._heap, (slot.priority, slot.handle))

    def pop(self) -> Candidate | None:
        """See `Queue.pop`."""
        while self._heap:
            slot = heapq.heappop(self._heap)[1].slot
            if slot is not None:
                rank = eviction.Rank(slot.priority, slot.frequency, slot.weight)
                return eviction.Candidate(slot, rank, slot.hits - slot.filed_hits, slot.cost)
            self._dead -= 1
        return None

    def file(self, candidate: Candidate, rank: Rank) -> None:
        """See `Queue.file`."""
        slot: Filed = candidate.item
        if rank is candidate.rank:
            heapq.heappush(self._heap, (slot.priority, slot.handle))
        else:
            self.add(slot, rank)

    def discarded(self) -> None:
        """A slot that is in the heap went. Half of a heap dead is too much."""
        self._dead += 1
        if self._dead * 2 > len(self._heap) + 16:
            self._heap = [item for item in self._heap if item[1].slot is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def size(self) -> int:
        """Bytes of the order itself."""
        return sys.getsizeof(self._heap)
