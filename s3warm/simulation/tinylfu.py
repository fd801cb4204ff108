"""W-TinyLFU: a newcomer passes a small window, then stays if it is asked for more often than what would have to go for it."""

from __future__ import annotations

import itertools
from collections import OrderedDict

__all__ = ["WTinyLFU"]

_WINDOW = 0.01  # of the budget
_PROTECTED = 0.8  # of the main part
_MOST = 15  # a counter of four bits
_SAMPLE = 10  # requests for each entry that is held, after which all counters are halved


class WTinyLFU:
    """See the module.

    Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on Storage 13(4), 2017: window of
    1 % (LRU), main part a segmented LRU with 80 % protected, counters of four bits that are halved after ten requests for
    each entry. By bytes as in Einziger, Eytan, Friedman, Manes: "Lightweight Robust Size Aware Cache Management", ACM
    Transactions on Storage 18(3), 2022, "aggregated victims": a candidate is let in if it has been asked for more often than all
    together that would have to go. Counters are exact instead of sketched, which costs memory and never accuracy.
    """

    def __init__(self, budget: int) -> None:
        self._window_budget = int(budget * _WINDOW)
        self._main_budget = budget - self._window_budget
        self._protected_budget = int(self._main_budget * _PROTECTED)
        # Sizes, from who was used longest ago to who was used last.
        self._window: OrderedDict[int, int] = OrderedDict()
        self._probation: OrderedDict[int, int] = OrderedDict()
        self._protected: OrderedDict[int, int] = OrderedDict()
        self._window_bytes = self._probation_bytes = self._protected_bytes = 0
        self._frequency: dict[int, int] = {}
        self._counted = 0
        self._most_held = 1  # entries

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`."""
        self._count(key)
        if key in self._window:
            self._window.move_to_end(key)
            return True
        if key in self._protected:
            self._protected.move_to_end(key)
            return True
        if key in self._probation:
            self._promote(key)
            return True
        if size > self._window_budget:
            self._admit(key, size)
            return False
        self._window[key] = size
        self._window_bytes += size
        while self._window_bytes > self._window_budget:
            candidate, bytes_ = self._window.popitem(last=False)
            self._window_bytes -= bytes_
            self._admit(candidate, bytes_)
        return False

    def _count(self, key: int) -> None:
        frequency = self._frequency
        frequency[key] = min(_MOST, frequency.get(key, 0) + 1)
        self._counted += 1
        self._most_held = max(self._most_held, len(self._window) + len(self._probation) + len(self._protected))
        if self._counted >= _SAMPLE * self._most_held:
            self._frequency = {each: count // 2 for each, count in frequency.items() if count > 1}
            self._counted //= 2

    def _promote(self, key: int) -> None:
        size = self._probation.pop(key)
        self._probation_bytes -= size
        self._protected[key] = size
        self._protected_bytes += size
        while self._protected_bytes > self._protected_budget:
            demoted, bytes_ = self._protected.popitem(last=False)
            self._protected_bytes -= bytes_
            self._probation[demoted] = bytes_
            self._probation_bytes += bytes_

    def _admit(self, candidate: int, size: int) -> None:
        """Let a candidate into the main part, or let it go."""
        if size > self._main_budget:
            return
        needed = size - (self._main_budget - self._probation_bytes - self._protected_bytes)
        limit = self._frequency.get(candidate, 0)
        victims: list[int] = []
        for victim, bytes_ in itertools.chain(self._probation.items(), self._protected.items()):
            if needed <= 0:
                break
            limit -= self._frequency.get(victim, 0)
            victims.append(victim)
            needed -= bytes_
            if limit <= 0:
                self._used_again(victims)
                return
        for victim in victims:
            if victim in self._probation:
                self._probation_bytes -= self._probation.pop(victim)
            else:
                self._protected_bytes -= self._protected.pop(victim)
        self._probation[candidate] = size
        self._probation_bytes += size

    def _used_again(self, winners: list[int]) -> None:
        """Who has won against a candidate counts as used, as in the paper: the next one meets others."""
        for key in winners:
            (self._probation if key in self._probation else self._protected).move_to_end(key)
