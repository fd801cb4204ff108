"""What work costs: the time that passes, and the processor's time that this process uses (user and system, its children aside)."""

from __future__ import annotations

import gc
import random
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    # From the number of a round to the work of this round: what has to be there before the clocks start is made on the way.
    Prepare = Callable[[int], Callable[[], object]]

__all__ = ["Spent", "median", "spend", "take_turns"]


class Spent(NamedTuple):
    """Nanoseconds."""

    wall: float
    cpu: float


def spend(work: Callable[[], object], times: int = 1) -> Spent:
    """Do it once, and tell what each of `times` pieces of it took."""
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    work()
    return Spent((time.perf_counter_ns() - wall) / times, (time.process_time_ns() - cpu) / times)


def median(samples: Sequence[Spent]) -> Spent:
    """Of each clock by itself."""
    return Spent(statistics.median(sample.wall for sample in samples), statistics.median(sample.cpu for sample in samples))


def take_turns(ways: Mapping[str, Prepare], *, rounds: int, times: int, seed: int = 0) -> dict[str, list[Spent]]:
    """Each way in each round, the order drawn anew for each; a round before the first warms up and counts for nothing.

    Args:
        ways: by name.
        rounds: how often each has its turn; the first one is number 1.
        times: pieces of work in a turn, among which its cost is divided.
        seed: of the order.
    """
    samples: dict[str, list[Spent]] = {name: [] for name in ways}
    order, draw = list(ways), random.Random(seed)
    for number in range(rounds + 1):
        draw.shuffle(order)
        for name in order:
            work = ways[name](number)
            gc.collect()
            gc.disable()  # a collection would fall to whoever happens to run
            try:
                sample = spend(work, times)
            finally:
                gc.enable()
            if number:
                samples[name].append(sample)
    return samples
