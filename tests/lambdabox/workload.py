"""Requests as a function may make them: many objects of very different sizes, some much more popular than others."""

from __future__ import annotations

import bisect
import itertools
import random
from typing import NamedTuple

from tests.lambdabox.objects import LARGEST, MIB, key_of

OBJECTS = 5_000
_SMALLEST = 1024


class Step(NamedTuple):
    """One `get`, and the working memory that the handler has while it is made (bytes)."""

    key: str
    work: int


def sizes(total: int, count: int = OBJECTS) -> list[int]:
    """`count` sizes from 1 KiB to 64 MiB whose sum is about `total`: a Pareto distribution cut off at both ends."""
    low, high = 1e-6, 4.0
    for _ in range(60):
        shape = (low + high) / 2
        low, high = (shape, high) if sum(_pareto(shape, count)) > total else (low, shape)
    return _pareto(high, count)


def _pareto(shape: float, count: int) -> list[int]:
    """The quantiles at equal distances."""
    tail = 1 - (_SMALLEST / LARGEST) ** shape
    return [int(_SMALLEST * (1 - number / (count - 1) * tail) ** (-1 / shape)) for number in range(count)]


def steps(memory_mb: int, count: int, seed: int) -> list[Step]:
    """`count` steps for a function of this size: objects of 20 times its memory, and work of up to half of it.

    The n-th object by popularity is asked for in proportion to 1/n, whatever its size. Every other one compresses.
    """
    draws = random.Random(f"{seed} {memory_mb}")
    lengths = sizes(20 * memory_mb * MIB)
    draws.shuffle(lengths)
    keys = [key_of(number, size, text=number % 2 == 0) for number, size in enumerate(lengths)]
    shares = list(itertools.accumulate(1 / rank for rank in range(1, len(keys) + 1)))
    work, made = 0, []
    for number in range(count):
        if number % 29 == 0:  # not with each invocation, nor at their borders only
            work = int(draws.random() * memory_mb * MIB / 2)
        made.append(Step(keys[bisect.bisect_left(shares, draws.random() * shares[-1])], work))
    return made
