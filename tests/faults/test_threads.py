"""Many threads on one cache whose budgets are far too small for them: right bytes, never an old one, and no more held than may be.

How long it goes on is a matter of time, as the promise is; what is asserted is not.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import ObjectTooLargeError
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.room import Room
from tests.faults.tried import SOAK, note
from tests.support.entries import NOW, an_entry, noise
from tests.support.orphans import NOTHING, orphans
from tests.support.tiers import disk_tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3warm import Cache

THREADS = 32
SECONDS = 60.0 if SOAK else 4.0
STUCK = SECONDS + 60.0  # seconds until a thread that has not ended counts as dead
BUCKET = "bucket"
KEYS = [f"{number}.bin" for number in range(120)]
TTL, STEP = 5.0, 0.05  # seconds of the fake's clock, and how far each overwrite moves it
MEMORY = 2 * 2**20
DISK = 4 * 2**20
# Bytes on disk beyond the budget at any moment: what each thread writes before it makes room (a body, and SQLite's pages for it).
SLACK = THREADS * 128 * 1024


class Objects:
    """Objects whose bodies say which version they are, in their first and last lines, and since when there is a newer one."""

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.overwrites = 0
        self._lock = threading.Lock()
        self._written: dict[str, list[float]] = {key: [] for key in KEYS}
        self._calls: dict[int, float] = {}  # under way, by thread, with the time when each began
        chance = random.Random(1)
        self._sizes = {key: chance.choice([20, 1000, 20_000, 40_000, 100_000, 400_000]) for key in KEYS}
        for key in KEYS:
            self.overwrite(key)

    def overwrite(self, key: str) -> None:
        with self._lock:
            version, size = len(self._written[key]), self._sizes[key]
            line = f"{key} {version}\n".encode()
            # One in three compresses, the others do not.
            filler = line if version % 3 == 0 else random.Random(f"{key} {version}").randbytes(size)
            self.s3.put(f"s3://{BUCKET}/{key}", line + (filler * (size // len(filler) + 1))[:size] + line)
            del self.s3._objects[BUCKET, key][:-1]  # nobody asks for a version, and they would fill the memory
            self._written[key].append(self.s3.now)
            self.s3.advance(STEP)
            self.overwrites += 1

    def newest(self, key: str) -> int:
        with self._lock:
            return len(self._written[key]) - 1

    @contextlib.contextmanager
    def call(self) -> Iterator[float]:
        """A call, and the earliest time at which the flight that answers it may have begun: that of any call under way now."""
        me = threading.get_ident()
        with self._lock:
            self._calls[me] = self.s3.now
            earliest = min(self._calls.values())
        try:
            yield earliest
        finally:
            with self._lock:
                del self._calls[me]

    def check(self, key: str, body: bytes, since: float, *, at_least: int = 0) -> None:
        """Raises AssertionError for a body that is cut off, a mixture, or another object's, or was replaced more than a TTL before."""
        first = body[: body.index(b"\n") + 1]
        name, version = first.decode().split()
        number = int(version)
        assert name == key
        assert len(body) == 2 * len(first) + self._sizes[key]
        assert body.endswith(first), (key, number, body[-40:])
        with self._lock:
            replaced = [*self._written[key], float("inf")][number + 1]
        assert replaced > since - TTL, f"{key}: version {number} was replaced at {replaced}, and served to a call of {since}"
        assert number >= at_least, f"{key}: version {number} after {at_least}"


class Worker:
    """What one thread does, at random."""

    def __init__(self, cache: Cache, objects: Objects, number: int, counts: Counter[str]) -> None:
        self._cache = cache
        self._objects = objects
        self._own = KEYS[number]  # a path is released by whoever asked for it: no other thread asks for this one's
        self._chance = random.Random(number)
        self._counts = counts
        self._ways: list[Callable[[str, float], None]] = [
            *[self._get] * 8,
            self._get_now,
            self._get_many,
            self._path,
            self._as_file,
            self._open,
            self._invalidate,
            self._overwrite,
            self._look,
        ]

    def once(self) -> None:
        # A few objects are wanted much more often than the others.
        key = KEYS[min(int(self._chance.expovariate(0.05)), len(KEYS) - 1)]
        way = self._chance.choice(self._ways)
        with self._objects.call() as since:
            way(key, since)
        self._counts[way.__name__] += 1

    def _get(self, key: str, since: float) -> None:
        self._objects.check(key, self._cache.get(BUCKET, key), since)

    def _get_now(self, key: str, since: float) -> None:
        newest = self._objects.newest(key)
        self._objects.check(key, self._cache.get(BUCKET, key, ttl=0), since, at_least=newest)

    def _get_many(self, key: str, since: float) -> None:
        wanted = [(BUCKET, each) for each in self._chance.sample(KEYS, 5)]
        for (_, each), body in self._cache.get_many(wanted).items():
            self._objects.check(each, body, since)

    def _path(self, key: str, since: float) -> None:
        with self._may_be_too_large():
            self._objects.check(self._own, self._cache.path(BUCKET, self._own).read_bytes(), since)
            self._cache.release(BUCKET, self._own)

    def _as_file(self, key: str, since: float) -> None:
        with self._may_be_too_large(), self._cache.as_file(BUCKET, key) as path:
            self._objects.check(key, path.read_bytes(), since)

    def _open(self, key: str, since: float) -> None:
        with self._cache.open(BUCKET, key) as file:
            self._objects.check(key, file.read(), since)

    def _invalidate(self, key: str, since: float) -> None:
        newest = self._objects.newest(key)
        self._cache.invalidate(BUCKET, key)
        self._objects.check(key, self._cache.get(BUCKET, key), since, at_least=newest)

    def _overwrite(self, key: str, since: float) -> None:
        self._objects.overwrite(key)

    def _look(self, key: str, since: float) -> None:
        said = self._cache.explain(BUCKET, key)
        assert (said.bucket, said.key) == (BUCKET, key)

    @contextlib.contextmanager
    def _may_be_too_large(self) -> Iterator[None]:
        """The files that the others use may fill the budget."""
        try:
            yield
        except ObjectTooLargeError:
            self._counts["refused"] += 1


def descriptors() -> int:
    gc.collect()  # what an earlier test has left is closed before the first count, and not between the two
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("meanwhile", ["evicted", "replaced", "it came back"])
def test_a_file_that_was_replaced_goes_though_its_successor_is_gone_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Another thread has evicted or replaced the new body before the old one's file was removed, which then lay there for good."""
    tier = disk_tier(tmp_path)
    tier.put(an_entry(noise(200_000)))
    real = Room.remove_superseded

    def interrupted(room: Room, *arguments: Any) -> None:
        monkeypatch.setattr(Room, "remove_superseded", real)
        if meanwhile == "evicted":
            tier.evict(an_entry().object)
        else:
            tier.put(an_entry(noise(200_000, 2 if meanwhile == "replaced" else 0), validated_at=NOW + 2))
        real(room, *arguments)

    monkeypatch.setattr(Room, "remove_superseded", interrupted)
    tier.put(an_entry(noise(200_000, 1), validated_at=NOW + 1))
    assert orphans(tmp_path) == NOTHING
    found = tier.get(an_entry().object)
    assert (found and found.body) == {"evicted": None, "replaced": noise(200_000, 2), "it came back": noise(200_000)}[meanwhile]


@pytest.mark.faults
@pytest.mark.timeout(STUCK + 120)
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/fd, which only Linux has")
def test_many_threads_on_small_budgets(tmp_path: Path) -> None:
    objects = Objects()
    options: Any = {"directory": tmp_path / "cache", "namespace": "n", "memory_budget": MEMORY, "disk_budget": DISK, "ttl": TTL}
    with FakeCache(objects.s3, **options) as cache:  # what the first use of all that opens stays open: loggers, modules
        cache.path(BUCKET, KEYS[0])
    threads_before, open_before = threading.active_count(), descriptors()
    cache = FakeCache(objects.s3, **options)
    counts = [Counter[str]() for _ in range(THREADS)]
    wrong: list[BaseException] = []
    over = threading.Event()

    def run(step: Callable[[], object]) -> None:
        try:
            while not over.is_set():
                step()
        except BaseException as error:  # noqa: BLE001  # raised again by the test
            wrong.append(error)
            over.set()

    most = Counter[str]()

    def watch() -> None:
        stats = cache.stats()
        assert stats.memory_bytes <= stats.memory_budget == MEMORY
        assert stats.disk_bytes <= DISK + SLACK
        most["memory"], most["disk"] = max(most["memory"], stats.memory_bytes), max(most["disk"], stats.disk_bytes)
        most["samples"] += 1
        over.wait(0.01)

    steps = [Worker(cache, objects, number, counts[number]).once for number in range(THREADS)]
    threads = [threading.Thread(target=run, args=(step,), daemon=True) for step in (*steps, watch)]
    faulthandler.dump_traceback_later(STUCK, exit=False)
    try:
        for thread in threads:
            thread.start()
        over.wait(SECONDS)
        over.set()
        end = time.monotonic() + STUCK
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            faulthandler.dump_traceback(all_threads=True)
        assert stuck == []
    finally:
        faulthandler.cancel_dump_traceback_later()
    if wrong:
        raise wrong[0]

    stats, total = cache.stats(), sum(counts, Counter[str]())
    calls = sum(total.values()) - total["refused"]
    assert stats.disk_bytes <= DISK
    assert stats.disk_errors == stats.corrupt == 0
    assert stats.evictions > 0
    assert most["samples"] > 0
    assert cache._pinned == {}
    assert cache._flights._flights == {}
    disk = cache._disk_tier
    assert disk is not None
    assert disk._pins is not None
    assert disk._pins._held == {}
    cache.close()
    assert orphans(tmp_path / "cache") == NOTHING
    assert threading.active_count() == threads_before
    assert descriptors() == open_before
    print(f"{dict(total)}; {dict(most)}; {stats}")
    note(
        "threads",
        f"{THREADS} threads for {SECONDS:.0f} s: {calls:,} calls, {objects.overwrites:,} overwrites, {stats.evictions:,} evictions",
        f"no wrong or old body; at most {most['memory'] / MEMORY:.0%} of the memory budget, {most['disk'] / DISK:.0%} of the disk's, at its end {stats.disk_bytes / DISK:.0%}",
    )
