"""What an operation of a tier costs with a thousand entries, and with a hundred or a thousand times as many. It should not matter.

The keys are drawn at random and made anew, as a handler makes them. In memory what grows all the same is how often the processor's cache
has not what is looked for: a bare dict's get of keys drawn alike grows ninefold, and the bar for a hit is its growth over that one. (Drawn
apart: the second of two that look for the same keys would find what the first brought into that cache.) What a few keys cost that are in
it stands beside them. On disk the entries are small and lie in their rows; a directory has to be found and opened as well.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.bodies import MIB, json_like
from tests.bench.report import Line, Report, Table, number
from tests.bench.subject import BUCKET, OfflineCache, an_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from s3warm.keys import ObjectKey
    from s3warm.tiers.memory import MemoryTier
    from s3warm.tiers.shelf import Shelf

    # By operation, then by the number of entries: nanoseconds.
    Figures = dict[str, dict[str, float]]

__all__ = ["run"]

MEMORY_SIZES = (1_000, 10_000, 100_000, 1_000_000)
DISK_SIZES = (1_000, 10_000, 100_000)
MEMORY_CALLS, DISK_CALLS, OPENINGS = 5_000, 500, 51
AT_ONCE = 1_000  # entries that are put in one transaction, when the disk tier is filled
MEMORY_BAR, DISK_BAR = 3, 2
HIT_BAR = 1.5  # over a bare dict's growth
AMPLE = 4096 * MIB

GET, PUT, EVICT, OPEN = "get", "put", "evict", "open"
FULL = "put, one has to go for it"
DICT = "a bare dict's get"
HOT = "get, always of the same 100 keys"
HOT_KEYS = 100


class Operation(NamedTuple):
    """What is called for each of some numbers, each time with what was made of the number before the clock starts."""

    make: Callable[[int], object]
    call: Callable[..., object]


def run(directory: str) -> Report:
    """Measure both tiers, and show what each operation costs with how many entries."""
    memory, disk = _memory(), _disk(os.path.join(directory, "cache"))
    tables = [
        _table(f"Memory tier, ns (medians of {MEMORY_CALLS:,} calls on random keys)", MEMORY_SIZES, memory, 1),
        _table(f"Disk tier, µs (medians of {DISK_CALLS} calls on random keys, of {OPENINGS} openings)", DISK_SIZES, disk, 1e3),
    ]
    hit = _growth(memory[GET], MEMORY_SIZES) / _growth(memory[DICT], MEMORY_SIZES)
    lines = [Line(f"memory: {GET}'s growth to {MEMORY_SIZES[-1]:,} entries over that of {DICT}", hit, "at most", HIT_BAR, "×")]
    lines += [
        Line(f"{tier}: {name} with {sizes[-1]:,} entries, of one with {sizes[0]:,}", _growth(figures[name], sizes), "at most", bar, "×")
        for tier, figures, names, sizes, bar in (
            ("memory", memory, (PUT, EVICT), MEMORY_SIZES, MEMORY_BAR),
            ("disk", disk, (GET, PUT, EVICT, OPEN), DISK_SIZES, DISK_BAR),
        )
        for name in names
    ]  # fmt: skip
    figures = {
        "memory": {name: memory[name] for name in (GET, DICT, PUT, EVICT)},
        "disk": {name: disk[name] for name in (GET, PUT, EVICT, OPEN)},
    }
    return Report(tables, figures, lines)


def _key(number: int) -> str:
    return f"records/{number:09d}.json"


def _object(number: int) -> ObjectKey:
    from s3warm.keys import ObjectKey

    return ObjectKey(BUCKET, _key(number))


def _median(numbers: Iterable[int], operation: Operation) -> float:
    """Nanoseconds of one call, each timed by itself; the clock's own call is in it."""
    made = [operation.make(number) for number in numbers]
    samples: list[int] = []
    call, clock = operation.call, time.perf_counter_ns
    for one in made:
        begin = clock()
        call(one)
        samples.append(clock() - begin)
    return statistics.median(samples)


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """A collection of cycles walks through whatever there is, and would fall to whoever happens to run."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


# In memory


def _memory() -> Figures:
    figures: Figures = {name: {} for name in (GET, DICT, HOT, PUT, FULL, EVICT)}
    with _no_collections(), OfflineCache(memory_budget=AMPLE, disk_budget=0) as cache:
        tier: MemoryTier = cache._memory  # type: ignore[assignment]
        numbers = itertools.count()
        bare: dict[str, bytes] = {}
        for size in MEMORY_SIZES:
            while len(bare) < size:
                entry = an_entry(b"body", _key(next(numbers)))
                tier.put(entry)
                bare[entry.key] = entry.body
            for name, found in _of_memory(cache, tier, bare, numbers).items():
                figures[name][str(size)] = found
        tier.clear()
    return figures


def _of_memory(cache: OfflineCache, tier: MemoryTier, bare: dict[str, bytes], numbers: Iterator[int]) -> dict[str, float]:
    """What the operations cost now. Afterwards there are as many entries as before."""
    draw = random.Random(len(bare))
    held = [int(key[8:17]) for key in bare]
    found = {
        GET: _median(draw.choices(held, k=MEMORY_CALLS), Operation(_key, lambda key: cache.get(BUCKET, key))),
        DICT: _median(draw.choices(held, k=MEMORY_CALLS), Operation(_key, lambda key: bare[key])),
    }
    hot = draw.sample(held, HOT_KEYS) * (MEMORY_CALLS // HOT_KEYS)
    found[HOT] = _median(hot, Operation(_key, lambda key: cache.get(BUCKET, key)))
    new = list(itertools.islice(numbers, MEMORY_CALLS))
    found[PUT] = _median(new, Operation(lambda number: an_entry(b"body", _key(number)), tier.put))
    draw.shuffle(new)
    # As many of those that were there as of those that came just now: some of both stay.
    going = draw.sample(held, min(len(held), MEMORY_CALLS) // 2) + new[: MEMORY_CALLS // 2]
    found[EVICT] = _median(going, Operation(_object, tier.evict))
    tier.limit(tier.held())
    newer = list(itertools.islice(numbers, MEMORY_CALLS))
    found[FULL] = _median(newer, Operation(lambda number: an_entry(b"body", _key(number)), tier.put))
    tier.limit(AMPLE)
    _level(tier, bare, numbers)
    return found


def _level(tier: MemoryTier, bare: dict[str, bytes], numbers: Iterator[int]) -> None:
    """Let the dict hold the keys that the tier holds, and both as many as before."""
    size = len(bare)
    slots = tier.slots[BUCKET]
    for key in list(slots)[size:]:
        tier.evict(_object(int(str(key)[8:17])))
    while len(tier.slots[BUCKET]) < size:
        tier.put(an_entry(b"body", _key(next(numbers))))
    bare.clear()
    bare.update({str(key): slot.body for key, slot in tier.slots[BUCKET].items()})


# On disk


def _disk(directory: str) -> Figures:
    figures: Figures = {name: {} for name in (GET, PUT, EVICT, OPEN)}
    numbers = itertools.count()
    held: list[int] = []
    for size in DISK_SIZES:
        with _no_collections():
            with _cache(directory) as cache:
                _fill(_shelf(cache), held, size, numbers)
            for name, found in _of_disk(directory, held, numbers).items():
                figures[name][str(size)] = found
    return figures


def _cache(directory: str) -> OfflineCache:
    return OfflineCache(directory=directory, memory_budget=0, disk_budget=AMPLE, namespace="bench")


def _shelf(cache: OfflineCache) -> Shelf:
    """The opened directory of a cache."""
    tier = cache._disk_tier
    assert tier is not None
    assert tier.usage().budget
    shelf = tier._shelf
    assert shelf is not None
    return shelf


def _fill(shelf: Shelf, held: list[int], size: int, numbers: Iterator[int]) -> None:
    """As the tier puts, but many in one transaction."""
    while len(held) < size:
        with shelf.room.transaction():
            for number in itertools.islice(numbers, min(AT_ONCE, size - len(held))):
                assert shelf.put(an_entry(_body(number), _key(number)))
                held.append(number)
    assert shelf.store.entries() == size


def _body(number: int) -> bytes:
    return b"%09d %s" % (number, _TEXT)


def _of_disk(directory: str, held: list[int], numbers: Iterator[int]) -> dict[str, float]:
    """What the operations cost now. Afterwards there are as many entries as before."""
    draw = random.Random(len(held))

    def opened(number: int) -> None:
        with _cache(directory) as cache:
            assert cache.get(BUCKET, _key(number)) == _body(number)

    found = {OPEN: _median(draw.choices(held, k=OPENINGS), Operation(lambda number: number, opened))}
    with _cache(directory) as cache:
        tier = cache._disk_tier
        assert tier is not None
        found[GET] = _median(draw.choices(held, k=DISK_CALLS), Operation(_object, tier.get))
        new = list(itertools.islice(numbers, DISK_CALLS))
        found[PUT] = _median(new, Operation(lambda number: an_entry(_body(number), _key(number)), tier.put))
        held += new
        draw.shuffle(held)
        going = [held.pop() for _ in range(DISK_CALLS)]
        found[EVICT] = _median(going, Operation(_object, tier.evict))
        assert tier.usage().entries == len(held)
        assert tier.get(_object(going[0])) is None
    return found


_TEXT = json_like(200)


# What is shown


def _growth(figures: dict[str, float], sizes: Sequence[int]) -> float:
    return figures[str(sizes[-1])] / figures[str(sizes[0])]


def _table(title: str, sizes: Sequence[int], figures: Figures, unit: float) -> Table:
    rows = [
        (name, *(number(found[str(size)] / unit) for size in sizes), f"{_growth(found, sizes):.2f}")
        for name, found in figures.items()
    ]
    return Table(title, ("", *(f"{size:,}" for size in sizes), "last / first"), rows)
