"""What the policy alone comes to: the requests of a function, replayed without bodies, memory pressure or trouble.

The memory tier is the real one, with bodies that only say how long they are. The disk tier is modelled by the real eviction rule
and the bytes that rows and files take.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from typing import NamedTuple, Self

from s3warm.entries import Entry, Metadata
from s3warm.keys import ObjectKey
from s3warm.metrics import Counters
from s3warm.origin.base import PART
from s3warm.rules import eviction, placement
from s3warm.rules.costs import FROM_DISK, FROM_S3, LearntCost
from s3warm.rules.eviction import Candidate, Rank
from s3warm.tiers.memory import MemoryTier
from s3warm.tiers.room import ROW_OVERHEAD
from s3warm.tiers.store import LOG_SIZE

_ROW_TEXT = 450  # bytes, about
_DATABASE = 100 * 1024  # of SQLite's own, about, beside the log


class Asked(NamedTuple):
    """A `get`: the object, its size, and what it takes on disk."""

    key: str
    size: int
    stored: int


class Outcome(NamedTuple):
    """How often each tier answered."""

    memory_hits: int
    disk_hits: int
    misses: int

    @property
    def hit_ratio(self) -> float:
        """Hits of either tier over all."""
        return (self.memory_hits + self.disk_hits) / max(1, sum(self))


def replay(requests: Iterable[Asked], *, memory_budget: int, largest: int, disk_budget: int) -> Outcome:
    """What becomes of the requests with these budgets; `largest` is the largest body that memory admits."""
    memory = MemoryTier(memory_budget, largest, LearntCost(FROM_DISK), Counters(), lambda _key, _size: None)
    disk = _Disk(disk_budget)
    memory_hits = disk_hits = misses = 0
    for asked in requests:
        key = ObjectKey("replayed", asked.key)
        if memory.get(key) is not None:
            memory.hit(key)
            memory_hits += 1
            continue
        if disk.get(asked.key):
            disk_hits += 1
        else:
            misses += 1
            disk.put(asked)
        memory.put(Entry(key, Metadata('"0-2"', asked.size), 0.0, float("inf"), _Hollow(asked.size)))
    return Outcome(memory_hits, disk_hits, misses)


class _Hollow(bytes):
    """A body that is as long as it says, and empty."""

    _length: int

    def __new__(cls, length: int) -> Self:
        made = super().__new__(cls)
        made._length = length
        return made

    def __len__(self) -> int:
        return self._length

    def __sizeof__(self) -> int:
        return bytes.__sizeof__(b"") + self._length


class _Disk:
    """The disk tier in numbers, and its order of eviction (see `eviction.Queue`)."""

    def __init__(self, budget: int) -> None:
        self._room = budget - min(LOG_SIZE, budget // 16)
        self._held = _DATABASE + LOG_SIZE
        self._floor = 0.0
        self._rows: dict[str, tuple[Rank, int, int]] = {}  # rank, bytes, and the number of the filing that counts
        self._hits: dict[str, int] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()

    def get(self, key: str) -> bool:
        """Whether it is held; counts a hit."""
        if key not in self._rows:
            return False
        self._hits[key] = self._hits.get(key, 0) + 1
        return True

    def put(self, asked: Asked) -> None:
        """Keep it, if what would have to go is not worth more. What goes into a file takes its uncompressed size first."""
        in_file = asked.size if asked.size > min(PART, placement.WHOLE_LIMIT) else asked.stored
        weight = FROM_S3.weight(asked.size)
        verdict = eviction.make_room(self, self._held + in_file + ROW_OVERHEAD - self._room, self._floor, weight)
        self._floor = verdict.floor
        self._held -= sum(victim.size for victim in verdict.victims)
        if verdict.admitted:
            size = asked.stored + _ROW_TEXT + ROW_OVERHEAD
            self._held += size
            self.file(
                Candidate(asked.key, eviction.newcomer(self._floor, weight), 0, size), eviction.newcomer(self._floor, weight)
            )

    def pop(self) -> Candidate | None:
        """See `Queue.pop`."""
        while self._heap:
            _, number, key = heapq.heappop(self._heap)
            if key in self._rows and self._rows[key][2] == number:
                rank, size, _ = self._rows.pop(key)
                return Candidate(key, rank, self._hits.pop(key, 0), size)
        return None

    def file(self, candidate: Candidate, rank: Rank) -> None:
        """See `Queue.file`."""
        number = next(self._numbers)
        self._rows[candidate.item] = rank, candidate.size, number
        heapq.heappush(self._heap, (rank.priority, number, candidate.item))
