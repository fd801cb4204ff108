"""The memory tier: bodies, and values made of them, under their keys, a byte budget, and hits that take no lock.

Readers walk `slots[bucket][key]` without a lock, here and in the cache's hit path. Writers hold the lock, never change the body of a
slot that can be found, and replace a slot as a whole, so that a reader sees one entry or another and never half of each.
"""

from __future__ import annotations

import sys
import threading

from s3warm.codec import RAW
from s3warm.entries import Entry
from s3warm.rules import eviction
from s3warm.rules.freshness import never_fresh
from s3warm.tiers.base import Held, Usage
from s3warm.tiers.decoded import Decoded
from s3warm.tiers.ranked import Order
from s3warm.tiers.slot import Handle, Slot, ValueSlot, footprint, slot_key, value_footprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.entries import Known
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.rules.costs import LearntCost
    from s3warm.rules.eviction import Candidate, Verdict
    from s3warm.tiers.base import Evicted
    from s3warm.tiers.slot import Filed

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
        self._decoded = Decoded()
        self.values = self._decoded.tables
        self.due = float("inf")
        self.freed = 0
        self._budget = self._bound = budget
        self._largest = largest
        self._cost = cost
        self._counters = counters
        self._evicted = evicted
        self._lock = threading.RLock()
        # Guarded by _lock: the order of eviction, the bytes of all slots, hits of slots that are gone.
        self._order = Order()
        self._held = 0
        self.beside: ValueSlot | None = None  # the one value that is larger than the budget, and not in `_held`
        self._entries = 0
        self._gone_hits = 0

    def get(self, key: ObjectKey) -> Entry | None:
        """See `Tier.get`."""
        slot = self._slot(key)
        return None if slot is None else slot.entry()

    def value(self, key: ObjectKey, decoder: object) -> ValueSlot | None:
        """See `HotTier.value`."""
        return self._decoded.find(key, decoder)

    def values_of(self, key: ObjectKey) -> list[ValueSlot]:
        """See `HotTier.values_of`."""
        with self._lock:
            return self._decoded.of(key)

    def hit(self, key: ObjectKey) -> None:
        """See `HotTier.hit`."""
        slot = self._slot(key)
        if slot is not None:
            slot.hits += 1
            self.prolong(slot)

    def prolong(self, slot: Filed) -> None:
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
            self.outdate(entry.object, entry.etag, entry.validated_at)
            admitted = len(entry.body) <= min(self._largest, self._bound) and self._held_from_now_on(Slot(entry), victims)
        self._tell(victims)
        return admitted

    def put_value(self, slot: ValueSlot) -> bool:
        """See `HotTier.put_value`."""
        victims: list[Candidate] = []
        with self._lock:
            old = self._decoded.find(slot.object, slot.decoder)
            if old is not None and old.validated_at > slot.validated_at:
                return False
            if old is not None:
                self._remove(old)
            kept = self._held_from_now_on(slot, victims)
            if not kept and self._budget and slot.cost > self._budget:
                self._keep_beside(slot)
                kept = True
        self._tell(victims)
        return kept

    def restate(self, slot: ValueSlot, known: Known) -> None:
        """See `HotTier.restate`."""
        with self._lock:
            slot.info = known.info
            self._retime(slot, known.validated_at, known.expires_at)

    def drop(self, slot: ValueSlot) -> None:
        """See `HotTier.drop`."""
        with self._lock:
            if self._decoded.find(slot.object, slot.decoder) is slot:
                self._remove(slot)

    def drop_unused(self, key: ObjectKey) -> None:
        """See `HotTier.drop_unused`."""
        with self._lock:
            slot = self._slot(key)
            if slot is not None and slot.hits <= 1:
                self._remove(slot)

    def refresh(self, key: ObjectKey, etag: str, validated_at: float, expires_at: float, *, supersede: bool = False) -> bool:
        """See `Tier.refresh`."""
        done = False
        with self._lock:
            for slot in self._of(key):
                if slot.info.etag == etag and (supersede or slot.validated_at <= validated_at):
                    self._retime(slot, validated_at, expires_at)
                    done = True
        return done

    def outdate(self, key: ObjectKey, etag: str, validated_at: float) -> None:
        """See `HotTier.outdate`."""
        with self._lock:
            body = self._slot(key)
            if body is not None and body.info.etag != etag and body.validated_at <= validated_at:
                self._remove(body)
            for slot in self._decoded.of(key):
                if slot.info.etag != etag and slot.validated_at <= validated_at:
                    _expire(slot)

    def expire(self, key: ObjectKey) -> None:
        """See `Tier.expire`."""
        with self._lock:
            for slot in self._of(key):
                _expire(slot)

    def expire_all(self) -> None:
        """See `Tier.expire_all`."""
        with self._lock:
            for slot in self._all():
                _expire(slot)

    def evict(self, key: ObjectKey) -> None:
        """See `Tier.evict`."""
        with self._lock:
            for slot in self._of(key):
                self._remove(slot)

    def clear(self) -> None:
        """See `Tier.clear`."""
        with self._lock:
            for slot in self._all():
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
        self._tell(victims)
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
        times = slot.validated_at, slot.expires_at
        return Held(self.name, RAW, len(slot.body), info.etag, info.size, info.verified_by, *times, info.last_modified)

    def hits(self) -> int:
        """Hits of all slots so far. Summed on demand, as a counter of its own would cost every hit 19 ns."""
        with self._lock:
            return self._gone_hits + sum(slot.hits for slot in self._all())

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

    def _of(self, key: ObjectKey) -> list[Filed]:
        """All that is held of an object."""
        slot = self._slot(key)
        return [*([] if slot is None else [slot]), *self._decoded.of(key)]

    def _all(self) -> list[Filed]:
        return [*(slot for bucket in self.slots.values() for slot in bucket.values()), *self._decoded.all()]

    def _retime(self, slot: Filed, validated_at: float, expires_at: float) -> None:
        # This order: a reader in between sees the new beginning with the old end, and at worst asks once more.
        slot.validated_at = validated_at
        slot.expires_at, slot.deadline = expires_at, min(expires_at, self.due)

    def _tell(self, victims: list[Candidate]) -> None:
        for victim in victims:
            self._evicted(victim.item.object, victim.item.info.size)

    def _bytes(self) -> int:
        """What the tier holds, with the tables that grow in steps: they are asked, not estimated."""
        tables = sys.getsizeof(self.slots) + sum(sys.getsizeof(bucket) for bucket in self.slots.values())
        return self._held + tables + self._decoded.size() + self._order.size()

    def _held_from_now_on(self, slot: Slot | ValueSlot, victims: list[Candidate]) -> bool:
        slot.deadline = min(slot.expires_at, self.due)
        slot.cost = value_footprint(slot) if isinstance(slot, ValueSlot) else footprint(slot)
        if slot.cost > self._bound or not self._admit(slot, victims):
            return False
        if isinstance(slot, ValueSlot):
            self._decoded.add(slot)
        else:
            self.slots.setdefault(slot.object.bucket, {})[slot_key(slot.object)] = slot
        self._held += slot.cost
        self._entries += 1
        self._shrink(victims)  # the dict or the heap may have grown by a step just now
        return slot.handle.slot is not None

    def _keep_beside(self, slot: ValueSlot) -> None:
        """A value that never fits, a model perhaps, is kept all the same, in the place of the last such: to make it anew each time is worse."""
        if self.beside is not None:
            self._counters.evictions += 1
            self._remove(self.beside)
        self.beside = slot
        self._decoded.add(slot)

    def _weight(self, slot: Slot | ValueSlot) -> float:
        """See `Cost.weight`; a value takes the time that it took to make as well, and is not as large as the body."""
        weight = self._cost.weight(slot.info.size)
        if isinstance(slot, ValueSlot):
            milliseconds = weight * (slot.info.size + eviction.OVERHEAD) + slot.seconds * 1000.0
            return milliseconds / (slot.cost + eviction.OVERHEAD)
        return weight

    def _admit(self, slot: Slot | ValueSlot, victims: list[Candidate]) -> bool:
        """Make room for the slot and file it; False if what would have to go is worth more."""
        slot.weight = self._weight(slot)
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

    def _remove(self, slot: Filed) -> None:
        if isinstance(slot, ValueSlot) and slot is self.beside:
            self.beside = None
            self._decoded.remove(slot)
            self._gone_hits += slot.hits
            return
        self._unlink(slot)
        self._order.discarded()

    def _unlink(self, slot: Filed) -> None:
        if isinstance(slot, ValueSlot):
            self._decoded.remove(slot)
        else:
            bucket = self.slots[slot.object.bucket]
            del bucket[slot_key(slot.object)]
            if not bucket:
                del self.slots[slot.object.bucket]
        slot.handle.slot = None
        self._held -= slot.cost
        self.freed += slot.cost
        self._entries -= 1
        self._gone_hits += slot.hits


def _expire(slot: Filed) -> None:
    slot.expires_at = slot.deadline = never_fresh(slot.validated_at)
