"""S3-FIFO: a small queue in front of the main one, and a history of who left the small one unused."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["S3FIFO"]

_SMALL = 0.1  # of the budget
_MOST = 3  # a counter of two bits
_PROMOTED = 2  # hits in the small queue that let an entry into the main one


class S3FIFO:
    """See the module.

    Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1. By bytes as the authors'
    libCacheSim has it: the small queue has a tenth of the bytes, what does not fit into it is not let in, the history has as
    many bytes of objects as the main queue, and until something is evicted for the first time all of the budget may fill up.
    """

    def __init__(self, budget: int) -> None:
        self._free = budget
        self._small_budget = int(budget * _SMALL)
        self._main_budget = budget - self._small_budget
        # Sizes, from old to new.
        self._small: OrderedDict[int, int] = OrderedDict()
        self._main: OrderedDict[int, int] = OrderedDict()
        self._ghosts: OrderedDict[int, int] = OrderedDict()
        self._small_bytes = 0
        self._ghost_bytes = 0
        self._hits: dict[int, int] = {}
        self._has_evicted = False

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`."""
        hits = self._hits
        if key in hits:
            hits[key] = min(_MOST, hits[key] + 1)
            return True
        known = key in self._ghosts
        if known:
            self._ghost_bytes -= self._ghosts.pop(key)
        if size > (self._main_budget if known else self._small_budget):
            return False
        while size > self._free:
            self._evict()
        if known or (not self._has_evicted and self._small_bytes >= self._small_budget):
            self._main[key] = size
        else:
            self._small[key] = size
            self._small_bytes += size
        hits[key] = 0
        self._free -= size
        return False

    def _evict(self) -> None:
        self._has_evicted = True
        if self._small and self._main_bytes() <= self._main_budget:
            self._evict_small()
        else:
            self._evict_main()

    def _main_bytes(self) -> int:
        return self._small_budget + self._main_budget - self._free - self._small_bytes

    def _evict_small(self) -> None:
        """The oldest that is not promoted goes into the history; nobody goes if all are promoted."""
        while self._small:
            key, size = self._small.popitem(last=False)
            self._small_bytes -= size
            if self._hits[key] >= _PROMOTED:
                self._hits[key] = 0
                self._main[key] = size
                continue
            del self._hits[key]
            self._free += size
            self._ghosts[key] = size
            self._ghost_bytes += size
            while self._ghost_bytes > self._main_budget:
                self._ghost_bytes -= self._ghosts.popitem(last=False)[1]
            return

    def _evict_main(self) -> None:
        """The oldest that was not hit since it was last looked at goes; the others lose a hit and go round."""
        while self._main:
            key, size = self._main.popitem(last=False)
            if self._hits[key]:
                self._hits[key] -= 1
                self._main[key] = size
                continue
            del self._hits[key]
            self._free += size
            return
