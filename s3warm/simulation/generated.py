"""Traces of the project's own, the same for the same seed: what there is to replay without a recorded trace."""

from __future__ import annotations

import itertools
import random

from s3warm.simulation.trace import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KINDS", "generate", "generate_all"]


def generate(kind: str, *, seed: int = 1, requests: int = 20_000) -> Trace:
    """A trace of one of `KINDS`.

    Example:
        >>> generate("scan", requests=5).requests == generate("scan", requests=5).requests
        True
    """
    return Trace(kind, itertools.islice(KINDS[kind](random.Random(seed)), requests))


def generate_all(*, seed: int = 1, requests: int = 20_000) -> Iterator[Trace]:
    """One trace of each kind."""
    return (generate(kind, seed=seed, requests=requests) for kind in KINDS)


def _sizes(dice: random.Random, *, typical: float, spread: float, largest: float) -> Callable[[str], int]:
    """Sizes in bytes, log-normal around `typical`; an object keeps the one that it was given."""
    known: dict[str, int] = {}

    def size(key: str) -> int:
        if key not in known:
            known[key] = int(min(largest, typical * dice.lognormvariate(0.0, spread))) + 1
        return known[key]

    return size


def _popular(dice: random.Random, objects: int, exponent: float) -> Iterator[int]:
    """Ranks, from 0, by Zipf's law."""
    shares = list(itertools.accumulate((rank + 1) ** -exponent for rank in range(objects)))
    ranks = range(objects)
    while True:
        yield from dice.choices(ranks, cum_weights=shares, k=1000)


def _zipf(dice: random.Random) -> Iterator[tuple[str, int]]:
    """Popularity by Zipf's law, independent of size."""
    size = _sizes(dice, typical=30e3, spread=2.0, largest=200e6)
    for rank in _popular(dice, 6_000, 0.9):
        key = f"object-{rank}"
        yield key, size(key)


def _scan(dice: random.Random) -> Iterator[tuple[str, int]]:
    """The same, and now and then a job that reads a thousand objects once."""
    size = _sizes(dice, typical=50e3, spread=1.8, largest=200e6)
    popular = _popular(dice, 4_000, 1.0)
    scanned = itertools.count()
    while True:
        for rank in itertools.islice(popular, 4_000):
            key = f"object-{rank}"
            yield key, size(key)
        for number in itertools.islice(scanned, 1_000):
            key = f"batch-{number}"
            yield key, size(key)


def _shift(dice: random.Random) -> Iterator[tuple[str, int]]:
    """A working set of a few thousand objects that is replaced by another one every 5,000 requests."""
    size = _sizes(dice, typical=50e3, spread=1.5, largest=50e6)
    popular = _popular(dice, 1_500, 0.9)
    for epoch in itertools.count():
        for rank in itertools.islice(popular, 5_000):
            key = f"epoch-{epoch}-{rank}"
            yield key, size(key)


def _lambda(dice: random.Random) -> Iterator[tuple[str, int]]:
    """A function's own: a few configurations at each invocation, some models, and a long tail of tenants' files."""
    config = _sizes(dice, typical=4e3, spread=1.0, largest=200e3)
    model = _sizes(dice, typical=30e6, spread=0.8, largest=200e6)
    tail = _sizes(dice, typical=60e3, spread=1.6, largest=20e6)
    models, tenants = _popular(dice, 40, 1.1), _popular(dice, 8_000, 0.7)
    while True:
        for number in range(dice.randrange(1, 5)):
            key = f"config-{number}"
            yield key, config(key)
        if dice.random() < 0.15:
            key = f"model-{next(models)}"
            yield key, model(key)
        for tenant in itertools.islice(tenants, dice.randrange(1, 4)):
            key = f"tenant-{tenant}"
            yield key, tail(key)


KINDS: dict[str, Callable[[random.Random], Iterator[tuple[str, int]]]] = {
    "zipf": _zipf,
    "scan": _scan,
    "shift": _shift,
    "lambda": _lambda,
}
