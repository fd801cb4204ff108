"""A trace against the policies: how many requests each answers, and how long they take by the cost model of EVICTION.md."""

from __future__ import annotations

from s3warm.record import NamedTuple
from s3warm.rules.costs import FROM_DISK, FROM_S3
from s3warm.simulation.classic import LRU, Sieve
from s3warm.simulation.offline import Offline, most_saved
from s3warm.simulation.rule import DiskRule, MemoryRule
from s3warm.simulation.s3fifo import S3FIFO
from s3warm.simulation.tinylfu import WTinyLFU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3warm.rules.eviction import Cost
    from s3warm.simulation.classic import Policy
    from s3warm.simulation.trace import Request, Trace

    # Budget in bytes, cost of getting an object back from the next place, and the requests that are to come.
    Maker = Callable[[int, Cost, Sequence[Request]], Policy]

__all__ = ["BASE", "BOUND", "FROM_MEMORY", "MAKERS", "NAMES", "Outcome", "bounds", "replay"]

FROM_MEMORY = 1e-6  # seconds


def _both(kind: Callable[[int], Policy]) -> tuple[Maker, Maker]:
    def make(budget: int, _cost: Cost, _stream: Sequence[Request]) -> Policy:
        return kind(budget)

    return make, make


BASE = "lru"
BOUND = "bound"
# Name: the policy in memory (or in the only tier), and on disk.
MAKERS: dict[str, tuple[Maker, Maker]] = {
    "rule": (lambda budget, cost, _: MemoryRule(budget, cost), lambda budget, cost, _: DiskRule(budget, cost)),
    "lru": _both(LRU),
    "sieve": _both(Sieve),
    "s3-fifo": _both(S3FIFO),
    "w-tinylfu": _both(WTinyLFU),
    "offline": (Offline, Offline),
}
NAMES = [*MAKERS, BOUND]


class Outcome(NamedTuple):
    """What became of the requests of a trace: shares of the requests and of their bytes, and seconds a request on average.

    A bound has a latency only.
    """

    latency: float
    hit_ratio: float | None = None  # of either tier
    byte_hit_ratio: float | None = None
    memory_hit_ratio: float | None = None


def replay(trace: Trace, name: str, budgets: Sequence[tuple[int, int | None]]) -> list[Outcome]:
    """How a policy does with each pair of budgets, in bytes, of memory and of the disk under it; None: one tier, over S3.

    Two tiers work as the cache does: a miss is written to both at once, a disk hit is copied up and stays, and an eviction from memory
    writes nothing. So what is asked of the disk depends on the memory alone.
    """
    in_memory, on_disk = MAKERS[name]
    requests = trace.requests
    below: dict[int, list[Request]] = {}  # memory budget: what is asked of the disk
    outcomes = []
    for memory, disk in budgets:
        if disk is None:
            asked = missed = _missed(in_memory(memory, FROM_S3, requests), requests)
            latency = 0.0
        else:
            if memory not in below:
                below[memory] = _missed(in_memory(memory, FROM_DISK, requests), requests)
            asked = below[memory]
            missed = _missed(on_disk(disk, FROM_S3, asked), asked)
            # A disk hit is what was asked of the disk and not missed.
            latency = _seconds(asked, FROM_DISK) - _seconds(missed, FROM_DISK)
        latency += FROM_MEMORY * (len(requests) - len(asked)) + _seconds(missed, FROM_S3)
        outcomes.append(
            Outcome(
                latency / len(requests),
                1.0 - len(missed) / len(requests),
                1.0 - sum(size for _, size in missed) / max(1, trace.bytes),
                1.0 - len(asked) / len(requests),
            )
        )
    return outcomes


def bounds(trace: Trace, budgets: Sequence[tuple[int, int | None]]) -> list[Outcome]:
    """A mean latency below which no policy gets, for each pair of budgets as in `replay`.

    With two tiers: what is held in either of them saves the difference between S3 and the disk, within the bytes of both, and what is held in
    memory that between disk and memory as well. Each is bounded by itself.
    """
    requests = trace.requests
    outcomes = []
    for memory, disk in budgets:
        latency = _seconds(requests, FROM_S3)
        if disk is None:
            latency -= most_saved(requests, memory, memory, lambda size: _time(FROM_S3, size) - FROM_MEMORY)
        else:
            either = memory + disk
            latency -= most_saved(
                requests, either, max(memory, disk), lambda size: _time(FROM_S3, size) - _time(FROM_DISK, size)
            )
            latency -= most_saved(requests, memory, memory, lambda size: _time(FROM_DISK, size) - FROM_MEMORY)
        outcomes.append(Outcome(latency / len(requests)))
    return outcomes


def _missed(policy: Policy, requests: Sequence[Request]) -> list[Request]:
    request = policy.request
    return [asked for asked in requests if not request(*asked)]


def _time(cost: Cost, size: int) -> float:
    return cost.latency + cost.per_byte * size


def _seconds(requests: Sequence[Request], cost: Cost) -> float:
    return cost.latency * len(requests) + cost.per_byte * sum(size for _, size in requests)
