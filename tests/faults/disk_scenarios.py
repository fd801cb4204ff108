"""Random work on a disk that fails at random, in a process into which the shim is preloaded; see `test_disk_faults.py`.

`python -m tests.faults.disk_scenarios DIRECTORY FIRST COUNT` runs the scenarios of COUNT seeds from FIRST on.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import shutil
import sqlite3
import sys
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3warm import DiskUnavailableError, ObjectTooLargeError
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import database
from tests.faults.disk_shim import BadDisk
from tests.support.orphans import orphans
from tests.support.supplier import shrink

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

KIB = 1024
PART, CHUNK = 128 * KIB, 32 * KIB
SIZES = (0, 100, 20 * KIB, 60 * KIB, 200 * KIB, 3 * PART + 1)
KEYS = [f"s3://disk/{number}.bin" for number in range(6)]
STEPS = 30
TTL = 60.0
BUDGETS = (16 * KIB * KIB, KIB * KIB)  # room for everything, and for some of it
REST = 31.0  # seconds after which the tier has tried again whatever it had given up


class OneByOne(FakeS3):
    """One connection, so that a seed is one order of all calls."""

    __slots__ = ()
    connections = 1


class Clock:
    """The monotonic clock, which steps move."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._real = time.monotonic
        self._ahead = 0.0
        patch.setattr(time, "monotonic", lambda: self._real() + self._ahead)

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class Scenario:
    """One seed: a cache on a directory of its own, and what it may answer."""

    def __init__(self, directory: Path, seed: int, disk: BadDisk, clock: Clock) -> None:
        self.directory = directory
        self.disk = disk
        self.clock = clock
        self.chance = random.Random(seed)
        self.seed = seed
        self.share = self.chance.choice([0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
        self.budget = self.chance.choice(BUDGETS)
        self.memory = self.chance.choice([0, 256 * KIB])
        self.s3 = OneByOne()
        self.puts: dict[str, list[tuple[float, bytes]]] = {key: [] for key in KEYS}
        self.oldest = dict.fromkeys(KEYS, 0)  # the first of its versions that may still be answered
        for key in KEYS:
            self.overwrite(key)
        self.cache = self.new()

    def new(self) -> FakeCache:
        return FakeCache(
            self.s3, directory=self.directory, namespace="disk", ttl=TTL, disk_budget=self.budget, memory_budget=self.memory
        )

    def run(self) -> None:
        if self.chance.random() < 0.7:  # else it is made on the failing disk
            for key in KEYS:
                self.check(key, self.cache.get(key))
        for _ in range(STEPS):
            if self.chance.random() < 0.15 or self.disk.working:
                self.disk.work()
                if self.chance.random() < 0.8:
                    self.disk.fail(self.share, self.chance.randrange(2**32))
            self.step()
        self.disk.work()
        self.heal()

    # -- steps -------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        ways: dict[Callable[[str], object], int] = {
            self.get: 8,
            self.strict: 2,
            self.path: 4,
            self.as_file: 2,
            self.open: 3,
            self.many: 2,
            self.overwrite: 3,
            self.invalidate: 1,
            self.clear: 1,
            self.release: 1,
            self.restart: 2,
            self.wait: 5,
        }
        (way,) = self.chance.choices([*ways], [*ways.values()])
        way(self.chance.choice(KEYS))

    def get(self, key: str) -> None:
        self.check(key, self.cache.get(key))

    def strict(self, key: str) -> None:
        self.oldest[key] = len(self.puts[key]) - 1
        self.check(key, self.cache.get(key, ttl=0))

    def path(self, key: str) -> None:
        try:
            path = self.cache.path(key)
        except (DiskUnavailableError, ObjectTooLargeError) as error:
            self.says_what_to_do(key, str(error))
            return
        self.check(key, self.read(path))

    def as_file(self, key: str) -> None:
        try:
            with self.cache.as_file(key) as path:
                self.check(key, self.read(path))
        except (DiskUnavailableError, ObjectTooLargeError) as error:
            self.says_what_to_do(key, str(error))

    @staticmethod
    def says_what_to_do(key: str, message: str) -> None:
        assert key in message
        assert "open()" in message or "release()" in message, message

    def open(self, key: str) -> None:
        file = self.cache.open(key)
        self.paused(lambda: self.check(key, file.read()))
        file.close()

    def many(self, key: str) -> None:
        for uri, body in self.cache.get_many(KEYS, concurrency=1).items():
            self.check(str(uri), body)

    def overwrite(self, key: str) -> None:
        body = self.a_body()
        self.s3.put(key, body, **({"etag": f'"{len(self.puts[key])}-2"'} if self.chance.random() < 0.3 else {}))
        self.puts[key].append((self.s3.now, body))

    def a_body(self) -> bytes:
        size = self.chance.choice(SIZES)
        return (
            self.chance.randbytes(size)
            if self.chance.random() < 0.7
            else self.chance.randbytes(8).hex().encode() * (size // 16)
        )

    def invalidate(self, key: str) -> None:
        self.cache.invalidate(key)
        self.oldest[key] = len(self.puts[key]) - 1

    def clear(self, key: str) -> None:
        self.cache.clear()
        for each in KEYS:
            self.oldest[each] = len(self.puts[each]) - 1

    def release(self, key: str) -> None:
        self.cache.release_all()

    def restart(self, key: str) -> None:
        self.cache.release_all()
        self.cache.close()
        self.cache = self.new()
        # What it could not write it has not told the next one: what was invalid may be found again, until its TTL is over.
        self.oldest = dict.fromkeys(KEYS, 0)

    def wait(self, key: str) -> None:
        seconds = self.chance.choice([1.0, 6.0, REST, REST, TTL])
        self.s3.advance(seconds)
        self.clock.advance(seconds)

    # -- what has to hold --------------------------------------------------------------------------------------------------

    def check(self, key: str, body: bytes) -> None:
        """It is what S3 has, or had not longer ago than the TTL."""
        puts = self.puts[key]
        since = self.s3.now - TTL
        ends = [when for when, _ in puts[1:]] + [float("inf")]
        right = [
            put
            for number, ((_, put), end) in enumerate(zip(puts, ends, strict=True))
            if end >= since and number >= self.oldest[key]
        ]
        assert body in right, f"{key}: {len(body)} bytes, which are {'older' if body in [put for _, put in puts] else 'wrong'}"

    def read(self, path: Path) -> bytes:
        return self.paused(path.read_bytes)

    def paused(self, work: Callable[[], T]) -> T:
        """What the caller does with a file is the caller's own trouble."""
        failing = not self.disk.working
        self.disk.work()
        try:
            return work()
        finally:
            if failing:
                self.disk.fail(self.share, self.chance.randrange(2**32))

    def heal(self) -> None:
        """The disk works: so does the tier, and nothing is left of what went wrong."""
        self.clock.advance(REST)
        self.s3.advance(TTL)
        for _ in range(2):
            for key in KEYS:
                self.check(key, self.cache.get(key))
        self.restart("")
        for key in KEYS:
            self.get(key)
        held = [key for key in KEYS if "disk" in self.cache.explain(key).tiers]
        assert held == KEYS or self.budget < max(BUDGETS), f"only {held} are held"
        self.restart("")
        asked = len(self.s3.requests)
        for key in held:
            self.get(key)
        assert self.s3.requests[asked:] == [], "a warm directory needs no request"
        assert self.cache.stats().disk_hits == len(held)
        self.cache.close()
        found = orphans(self.directory)
        assert found.files == [], found
        size = sum(
            path.stat().st_size for path in self.directory.rglob("*") if path.is_file() and path.name not in ("pins", "intents")
        )
        assert size <= self.budget
        with closing(sqlite3.connect(self.directory / database.DATABASE)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def descriptors() -> list[str]:
    gc.collect()
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue  # that of the listing itself
    return sorted(links)


def main() -> None:
    """Run them; say which one failed, and how to repeat it."""
    root, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    logging.getLogger("s3warm").setLevel(logging.CRITICAL)  # counted here, and looked at in `test_disk_failures.py`
    disk = BadDisk(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "BUSY_TIMEOUT", 0.05)
        clock = Clock(patch)
        import s3warm.origin.transfer  # what `shrink` changes
        import s3warm.tiers.files
        import s3warm.tiers.shelf  # noqa: F401

        shrink(patch, part=PART, chunk=CHUNK)
        with FakeCache(FakeS3({KEYS[0]: b"{}"})) as cache:
            cache.get(KEYS[0])  # what a process opens once is open
        failed = 0
        for seed in range(first, first + count):
            before = descriptors()
            directory = root / str(seed)
            try:
                Scenario(directory, seed, disk, clock).run()
                left = Counter(descriptors()) - Counter(before)
                assert not left, f"descriptors are left: {[*left]}"
            except BaseException:  # noqa: BLE001  # with its seed
                disk.work()
                failed += 1
                print(
                    f"seed {seed} failed; alone: gcc -shared -fPIC -o badfs.so tests/faults/badfs.c -ldl && LD_PRELOAD=$PWD/badfs.so "
                    f"BADFS_LIBRARY=$PWD/badfs.so python -m tests.faults.disk_scenarios $(mktemp -d) {seed} 1",
                    file=sys.stderr,
                )
                traceback.print_exc()
            shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps({"scenarios": count, "failed": failed, "met": disk.met(), "calls": disk.calls()}))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
