"""Policies that order entries by when they were used: LRU and SIEVE."""

from __future__ import annotations

from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Policy(Protocol):
        """A cache of `budget` bytes, as the replay needs it."""

        def request(self, key: int, size: int) -> bool:
            """Whether the object is held. Counts the hit, or lets it in if the policy says so, and evicts what must go."""
            ...


__all__ = ["LRU", "Sieve"]


class LRU:
    """Least recently used: each newcomer is let in, who was used longest ago goes."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._free = budget
        self._held: OrderedDict[int, int] = OrderedDict()

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`."""
        held = self._held
        if key in held:
            held.move_to_end(key)
            return True
        if size > self._budget:
            return False
        while size > self._free:
            self._free += held.popitem(last=False)[1]
        held[key] = size
        self._free -= size
        return False


class _Node:
    """An entry in SIEVE's queue, linked to its neighbours: `newer` towards the head."""

    __slots__ = ("key", "newer", "older", "size", "visited")

    def __init__(self, key: int, size: int) -> None:
        self.key = key
        self.size = size
        self.visited = False
        self.newer: _Node | None = None
        self.older: _Node | None = None


class Sieve:
    """SIEVE: a FIFO queue with one bit an entry, and a hand that goes from old to new, clears bits and evicts who has none.

    Zhang, Yang, Yue, Vigfusson, Rashmi: "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm for Web Caches",
    NSDI 2024, algorithm 1; by bytes as many are evicted as the newcomer needs.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._free = budget
        self._held: dict[int, _Node] = {}
        self._head: _Node | None = None
        self._tail: _Node | None = None
        self._hand: _Node | None = None

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`."""
        node = self._held.get(key)
        if node is not None:
            node.visited = True
            return True
        if size > self._budget:
            return False
        while size > self._free:
            self._evict()
        node = self._held[key] = _Node(key, size)
        self._free -= size
        node.older = self._head
        if self._head is not None:
            self._head.newer = node
        self._head = node
        if self._tail is None:
            self._tail = node
        return False

    def _evict(self) -> None:
        node = self._hand or self._tail
        assert node is not None  # who needs more than is free evicts from what is held
        while node.visited:
            node.visited = False
            node = node.newer or self._tail
            assert node is not None
        self._hand = node.newer
        if node.newer is not None:
            node.newer.older = node.older
        else:
            self._head = node.older
        if node.older is not None:
            node.older.newer = node.newer
        else:
            self._tail = node.newer
        del self._held[node.key]
        self._free += node.size
