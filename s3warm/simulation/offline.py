"""What could be reached by who knew the future: a policy that does, and a bound that nobody beats. Times are seconds."""

from __future__ import annotations

import heapq
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3warm.rules.eviction import Cost
    from s3warm.simulation.trace import Request

    Gain = Callable[[int], float]  # seconds that a hit on an object of this size saves

__all__ = ["Offline", "most_saved"]

_BASE = math.log(math.sqrt(2.0))  # objects whose bytes per second of cost differ by less than this factor are of one class


class Offline:
    """Belady's algorithm for sizes and costs: those go first whose bytes × requests until the next use, per second that a hit saves, are most.

    It is feasible and close to the best, though not the best, which is NP-hard. What is worst changes with time, so the
    entries lie in classes of like size per cost, within which the one that is used last is the worst; the worst of the classes'
    worst goes. After Belady: "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2), 1966;
    Berger, Beckmann, Harchol-Balter: "Practical Bounds on Optimal Caching with Variable Object Sizes", POMACS 2(2), 2018.
    """

    def __init__(self, budget: int, cost: Cost, stream: Sequence[Request]) -> None:
        self._budget = budget
        self._free = budget
        self._cost = cost
        self._next = _next_uses(stream)
        self._now = -1
        self._held: dict[int, int] = {}  # when it is used next
        # Class: minus the next use, key, bytes per second of cost, bytes. What is stale stays in it until it surfaces.
        self._classes: dict[int, list[tuple[int, int, float, int]]] = {}

    def request(self, key: int, size: int) -> bool:
        """See `Policy.request`. To be called with the requests of the stream, in their order."""
        self._now += 1
        again = self._next[self._now]
        hit = self._held.pop(key, None) is not None
        if hit:
            self._free += size
        if again is None or size > self._budget:
            return hit
        self._held[key] = again
        self._free -= size
        density = max(1, size) / (self._cost.latency + self._cost.per_byte * size)
        like = self._classes.setdefault(math.floor(math.log(density) / _BASE), [])
        heapq.heappush(like, (-again, key, density, size))
        while self._free < 0:
            self._evict()
        return hit

    def _evict(self) -> None:
        worst, chosen = -1.0, None
        for like in self._classes.values():
            while like and self._held.get(like[0][1]) != -like[0][0]:
                heapq.heappop(like)
            if like:
                again, _, density, _ = like[0]
                waste = density * (-again - self._now)
                if waste > worst:
                    worst, chosen = waste, like
        assert chosen is not None  # more is held than the budget, so something is held
        _, key, _, size = heapq.heappop(chosen)
        del self._held[key]
        self._free += size


def _next_uses(stream: Sequence[Request]) -> list[int | None]:
    """For each request the number of the next one for the same object."""
    found: list[int | None] = [None] * len(stream)
    last: dict[int, int] = {}
    for number in range(len(stream) - 1, -1, -1):
        key = stream[number][0]
        found[number] = last.get(key)
        last[key] = number
    return found


def most_saved(stream: Sequence[Request], budget: int, largest: int, gain: Gain) -> float:
    """Seconds that no policy with `budget` bytes exceeds, if no object over `largest` bytes is kept.

    Each hit takes size × requests since the last use of the budget's bytes × requests in all; those that save most for it are
    counted until these are used up, the last one in part, whether or not they fit at each moment: the lower bound PFOO-L of
    Berger, Beckmann, Harchol-Balter, POMACS 2(2), 2018, for costs instead of misses.
    """
    last: dict[int, int] = {}
    hits: list[tuple[float, int, float]] = []
    saved = 0.0
    for number, (key, size) in enumerate(stream):
        if size <= largest:
            since = last.get(key)
            last[key] = number
            if since is not None:
                taken, worth = size * (number - since), gain(size)
                if taken:
                    hits.append((worth / taken, taken, worth))
                else:
                    saved += worth
    room = budget * len(stream)
    hits.sort(reverse=True)
    for density, taken, worth in hits:
        if taken > room:
            return saved + density * room
        room -= taken
        saved += worth
    return saved
