"""The harness: candidates take turns in one run, so that whatever disturbs the machine disturbs all of them.

Each candidate is a loop that does its work a given number of times. It is warmed up, calibrated to a number of iterations that takes
about `turn` seconds, and then runs once in each round, the order drawn anew for each round. What counts is the median over the rounds.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Loop = Callable[[int], object]

__all__ = ["Candidate", "Comparison", "Timing", "calls", "interleave", "statement"]

_MAX_ITERATIONS = 1 << 30


class Candidate(NamedTuple):
    """What is measured: a name, and a loop that does the work as many times as it is told."""

    name: str
    loop: Loop


def statement(name: str, source: str, **names: object) -> Candidate:
    """A candidate that executes a statement inline, as its cost is of the order of a function call. `names` are its local names.

    Example:
        >>> statement("append", "seen.append(1)", seen=(seen := [])).loop(3)
        >>> seen
        [1, 1, 1]
    """
    # The names are parameters of the loop and so local to it, as they would be in a handler that is written for speed.
    code = f"def loop(_times, *, _repeat, {', '.join(names)}):\n    for _ in _repeat(None, _times):\n        {source}\n"
    made: dict[str, Any] = {}
    exec(compile(code, f"<{name}>", "exec"), made)
    loop = made["loop"]
    from itertools import repeat

    loop.__kwdefaults__ = {"_repeat": repeat, **names}
    return Candidate(name, loop)


def calls(name: str, function: Callable[..., object], *arguments: object) -> Candidate:
    """A candidate that calls a function, for work beside which a call costs nothing.

    Example:
        >>> calls("append", (seen := []).append, 1).loop(2)
        >>> seen
        [1, 1]
    """

    def loop(times: int) -> None:
        for _ in range(times):
            function(*arguments)

    return Candidate(name, loop)


class Timing(NamedTuple):
    """What one candidate took: nanoseconds for one execution, one sample a round."""

    name: str
    iterations: int  # a turn
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """What counts, in nanoseconds."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half of the distance between the quartiles as a share of the median: how far to trust it."""
        if len(self.samples) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / 2 / self.median if self.median else 0.0

    def to_json(self) -> dict[str, Any]:
        """Everything about it, in plain values."""
        return {
            "iterations": self.iterations,
            "median_ns": self.median,
            "spread": self.spread,
            "samples_ns": list(self.samples),
        }


class Comparison:
    """The timings of candidates that were measured in one run."""

    def __init__(self, timings: Sequence[Timing]) -> None:
        self.timings = {timing.name: timing for timing in timings}

    def median(self, name: str) -> float:
        """The median of one candidate, in nanoseconds."""
        return self.timings[name].median

    def ratio(self, name: str, base: str) -> float:
        """How many times as long as `base` a candidate takes."""
        return self.median(name) / self.median(base)

    def to_json(self) -> dict[str, Any]:
        """Everything about every candidate, by name."""
        return {name: timing.to_json() for name, timing in self.timings.items()}


def interleave(
    candidates: Sequence[Candidate],
    *,
    rounds: int,
    turn: float = 0.02,
    seed: int = 0,
    timer: Callable[[], int] = time.perf_counter_ns,
) -> Comparison:
    """Measure candidates against each other.

    Args:
        candidates: what is measured; each name once.
        rounds: how often each has its turn.
        turn: seconds that a turn should take; work that takes longer is done once.
        seed: of the order within the rounds.
        timer: nanoseconds.
    """
    if len({candidate.name for candidate in candidates}) != len(candidates):
        raise ValueError(f"two candidates have the same name: {[candidate.name for candidate in candidates]}")
    if rounds < 1:
        raise ValueError(f"there is no median of {rounds} rounds")
    samples: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    collects = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would fall to whoever happens to run
    try:
        iterations = {name: _calibrate(loop, turn * 1e9, timer) for name, loop in candidates}
        order = list(candidates)
        draw = random.Random(seed)
        for _ in range(rounds):
            draw.shuffle(order)
            for name, loop in order:
                samples[name].append(_time(loop, iterations[name], timer) / iterations[name])
    finally:
        if collects:
            gc.enable()
    return Comparison([Timing(name, iterations[name], tuple(samples[name])) for name, _ in candidates])


def _time(loop: Loop, times: int, timer: Callable[[], int]) -> int:
    begin = timer()
    loop(times)
    return timer() - begin


def _calibrate(loop: Loop, wanted: float, timer: Callable[[], int]) -> int:
    """How many iterations take `wanted` nanoseconds. The first execution warms up and counts for nothing."""
    loop(1)
    times = 1
    while True:
        taken = _time(loop, times, timer)
        if taken >= wanted / 4 or times >= _MAX_ITERATIONS:
            return max(1, min(_MAX_ITERATIONS, round(times * wanted / max(taken, 1))))
        # Towards the goal, but never by more than a hundredfold: the first executions are slower than what follows.
        times = max(times + 1, min(times * 100, int(times * wanted / max(taken, 1) / 2)))
