"""The memory tier: bodies under their keys, a byte budget, and hits that take no lock.

Readers walk `slots[bucket][key]` without a lock, here and in the cache's hit path. Writers hold the lock, never change the body of a
slot that can be found, and replace a slot as a whole, so that a reader sees one entry or another and never half of each.
"""

from __future__ import annotations

import heapq
import sys
import threading

from s3warm.codec import RAW
from s3warm.entries import Entry
from s3warm.rules import eviction
from s3warm.rules.freshness import never_fresh
from s3warm.tiers.base import Held, Usage
from s3warm.tiers.slot import Handle, Slot, footprint, slot_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.rules.costs import LearntCost
    from s3warm.rules.eviction import Candidate, Rank, Verdict
    from s3warm.tiers.base import Evicted

    Slots = dict[str, dict[object, "Slot"]]

__all__ = ["MemoryTier", "Slot", "slot_key"]

_CRUMB = 4096  # bytes: what is smaller than a page is not given back by itself


class MemoryTier:
    """See the module. `budget` and sizes are bytes; `cost` is what it takes to get a body back from the next tier.

    The budget is the most that the tier may ever hold; where memory is short its bound is lower, see `limit`.
    """

    name = "memory"

    def __init__(self, budget: int, largest: int, cost: LearntCost, counters: Counters, evicted: Evicted) -> None:
        self.slots: Slots = {}
        self.due = float("inf")
        self.freed = 0
        self._budget = self._bound = budget
        self._largest = largest
        self._cost = cost
        self._counters = counters
        self._evicted = evicted
        self._lock = threading.RLock()
        # Guarded by _lock: the order of eviction, the bytes of all slots, hits of slots that are gone.
        self._order = _Order()
        self._held = 0
        self._entries = 0
        self._gone_hits = 0

    def get(self, key: ObjectKey) -> Entry | None:
        """See `Tier.get`."""
        slot = self._slot(key)
        return None if slot is None else slot.entry()

    def hit(self, key: ObjectKey) -> None:
        """See `HotTier.hit`."""
        slot = self._slot(key)
        if slot is not None:
            slot.hits += 1
            self.prolong(slot)

    def prolong(self, slot: Slot) -> None:
        """See `HotTier.prolong`."""
        with self._lock:  # or an `expire` in between would be undone
            slot.deadline = min(slot.expires_at, self.due)

    def put(self, entry: Entry) -> bool:
        """See `Tier.put`."""
        victims: list[Candidate] = []
        with self._lock:
            old = self._slot(entry.object)
            if old is not None and old.validated_at > entry.validated_at:
                return False
            if old is not None:
                self._remove(old)
            admitted = len(entry.body) <= min(self._largest, self._bound) and self._held_from_now_on(entry, victims)
        for victim in victims:
            self._evicted(victim.item.object, len(victim.item.body))
        return admitted

    def refresh(self, key: ObjectKey, etag: str, validated_at: float, expires_at: float, *, supersede: bool = False) -> bool:
        """See `Tier.refresh`."""
        with self._lock:
            slot = self._slot(key)
            if slot is None or slot.info.etag != etag or (slot.validated_at > validated_at and not supersede):
                return False
            # This order: a reader in between sees the new beginning with the old end, and at worst asks once more.
            slot.validated_at = validated_at
            slot.expires_at, slot.deadline = expires_at, min(expires_at, self.due)
            return True

    def expire(self, key: ObjectKey) -> None:
        """See `Tier.expire`."""
        with self._lock:
            slot = self._slot(key)
            if slot is not None:
                slot.expires_at = slot.deadline = never_fresh(slot.validated_at)

    def expire_all(self) -> None:
        """See `Tier.expire_all`."""
        with self._lock:
            for bucket in self.slots.values():
                for slot in bucket.values():
                    slot.expires_at = slot.deadline = never_fresh(slot.validated_at)

    def evict(self, key: ObjectKey) -> None:
        """See `Tier.evict`."""
        with self._lock:
            slot = self._slot(key)
            if slot is not None:
                self._remove(slot)

    def clear(self) -> None:
        """See `Tier.clear`."""
        with self._lock:
            for bucket in list(self.slots.values()):
                for slot in list(bucket.values()):
                    self._remove(slot)

    def held(self) -> int:
        """See `Elastic.held`."""
        with self._lock:
            return self._bytes()

    def limit(self, bound: int) -> tuple[int, int]:
        """See `Elastic.limit`."""
        victims: list[Candidate] = []
        with self._lock:
            before = self._held
            self._bound = min(bound, self._budget)
            self._shrink(victims)
            freed = before - self._held
        for victim in victims:
            self._evicted(victim.item.object, len(victim.item.body))
        return freed, sum(min(victim.size, _CRUMB) for victim in victims)

    def resize(self, budget: int, largest: int) -> None:
        """See `HotTier.resize`."""
        with self._lock:
            self._budget, self._largest = budget, largest
        self.limit(budget)

    def usage(self) -> Usage:
        """See `Tier.usage`."""
        with self._lock:
            return Usage(self._bytes(), self._budget, self._entries)

    def describe(self, key: ObjectKey) -> Held | None:
        """See `Tier.describe`."""
        slot = self._slot(key)
        if slot is None:
            return None
        info = slot.info
        return Held(self.name, RAW, len(slot.body), info.etag, info.size, info.verified_by, slot.validated_at, slot.expires_at)

    def hits(self) -> int:
        """Hits of all slots so far. Summed on demand, as a counter of its own would cost every hit 19 ns."""
        with self._lock:
            return self._gone_hits + sum(slot.hits for bucket in self.slots.values() for slot in bucket.values())

    def renew(self) -> None:
        """See `Tier.renew`. Hits so far are the parent's."""
        self._lock = threading.RLock()
        self._gone_hits -= self.hits()

    def close(self) -> None:
        """See `Tier.close`. Nothing is admitted from now on."""
        with self._lock:
            self._budget = self._bound = 0
            self.clear()

    def _slot(self, key: ObjectKey) -> Slot | None:
        bucket = self.slots.get(key.bucket)
        return None if bucket is None else bucket.get(slot_key(key))

    def _bytes(self) -> int:
        """What the tier holds, with the tables that grow in steps: they are asked, not estimated."""
        tables = sys.getsizeof(self.slots) + sum(sys.getsizeof(bucket) for bucket in self.slots.values())
        return self._held + tables + self._order.size()

    def _held_from_now_on(self, entry: Entry, victims: list[Candidate]) -> bool:
        key, slot = entry.object, Slot(entry, self.due)
        slot.cost = footprint(slot)
        if slot.cost > self._bound or not self._admit(slot, victims):
            return False
        self.slots.setdefault(key.bucket, {})[slot_key(key)] = slot
        self._held += slot.cost
        self._entries += 1
        self._shrink(victims)  # the dict or the heap may have grown by a step just now
        return slot.handle.slot is not None

    def _admit(self, slot: Slot, victims: list[Candidate]) -> bool:
        """Make room for the slot and file it; False if what would have to go is worth more."""
        slot.weight = self._cost.weight(len(slot.body))
        needed = self._bytes() + slot.cost - self._bound
        verdict = eviction.make_room(self._order, needed, self._order.floor, slot.weight)
        self._drop(verdict, victims)
        if verdict.admitted:
            slot.handle = Handle(slot)
            self._order.add(slot, eviction.newcomer(verdict.floor, slot.weight))
        return verdict.admitted

    def _shrink(self, victims: list[Candidate]) -> None:
        """Evict until the tier is within its bound, whatever it costs."""
        over = self._bytes() - self._bound
        if over > 0:
            self._drop(eviction.make_room(self._order, over, self._order.floor, None), victims)

    def _drop(self, verdict: Verdict, victims: list[Candidate]) -> None:
        self._order.floor = verdict.floor
        victims += verdict.victims
        self._counters.evictions += len(verdict.victims)
        for victim in verdict.victims:
            self._unlink(victim.item)

    def _remove(self, slot: Slot) -> None:
        self._unlink(slot)
        self._order.discarded()

    def _unlink(self, slot: Slot) -> None:
        bucket = self.slots[slot.object.bucket]
        del bucket[slot_key(slot.object)]
        if not bucket:
            del self.slots[slot.object.bucket]
        slot.handle.slot = None
        self._held -= slot.cost
        self.freed += slot.cost
        self._entries -= 1
        self._gone_hits += slot.hits


class _Order:
    """The order of eviction: a heap by priority, repaired only when something must go. Removed slots stay in it until they surface."""

    __slots__ = ("_dead", "_heap", "floor")

    def __init__(self) -> None:
        self.floor = 0.0
        self._heap: list[tuple[float, Handle]] = []
        self._dead = 0

    def add(self, slot: Slot, rank: Rank) -> None:
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
        slot: Slot = candidate.item
        if rank is candidate.rank:
            heapq.heappush(self._heap, (slot.priority, slot.handle))
        else:
            self.add(slot, rank)

    def discarded(self) -> None:
        """A slot that is in the heap went; half of a heap dead is too much."""
        self._dead += 1
        if self._dead * 2 > len(self._heap) + 16:
            self._heap = [item for item in self._heap if item[1].slot is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def size(self) -> int:
        return sys.getsizeof(self._heap)
