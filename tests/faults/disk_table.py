"""Each way in which a disk can fail, tried on a warm directory; see `test_disk_failures.py`.

`python -m tests.faults.disk_table NAME MOMENT DIRECTORY` tries one of them in a process of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import resource
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import s3warm.origin.stream  # noqa: F401  # what streams is read from the disk while there are descriptors
from s3warm import DiskUnavailableError
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import database
from s3warm.tiers.database import DATABASE
from tests.faults.disk_shim import BadDisk
from tests.soak.test_sigkill import bound_by_modes
from tests.support.entries import noise, text
from tests.support.orphans import orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Broken = Iterator[None]

__all__ = ["TABLE", "Failure", "attempt"]

OBJECTS = {
    "s3://disk/inline.json": text(3_000),
    "s3://disk/inline.bin": noise(2_000),
    "s3://disk/compressed.txt": "".join(f"{number:x} " for number in range(150_000)).encode(),
    "s3://disk/raw.bin": noise(100_000),
    "s3://disk/second.bin": noise(90_000, 2),
}
BLOB = "s3://disk/raw.bin"
ROUNDS = 3
REST = 31.0  # seconds after which the tier has tried again whatever it had given up


class Failure(NamedTuple):
    """How to break a directory for the length of a block, and what is seen of it.

    Attributes:
        breaks: the directory, until the block ends; what the tier mends by itself it leaves alone then.
        counter: the field of `stats()` that counts it; empty for what is no trouble, and so neither counted nor logged.
        moments: "before" a cache is made, or "while" one has it open; the other one would not see it.
        shim: it takes `badfs.c`.
        alone: it takes a process of its own.
    """

    breaks: Callable[[Path], contextlib.AbstractContextManager[None]]
    counter: str = "disk_errors"
    moments: tuple[str, ...] = ("before", "while")
    shim: bool = False
    alone: bool = False


# -- ways to break a directory ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def removed(directory: Path) -> Broken:
    shutil.rmtree(directory)
    yield


@contextlib.contextmanager
def in_the_place_of_a_file(directory: Path) -> Broken:
    shutil.rmtree(directory)
    directory.write_bytes(b"")
    yield
    directory.unlink()


@contextlib.contextmanager
def linked(directory: Path) -> Broken:
    elsewhere = directory.with_name("elsewhere")
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    yield
    directory.unlink()
    elsewhere.rename(directory)


def moded(mode: int) -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def breaks(directory: Path) -> Broken:
        folders = [directory, directory / "bodies", directory / "staging"]
        with bound_by_modes():
            for folder in reversed(folders):
                folder.chmod(mode)
            try:
                yield
            finally:
                for folder in folders:
                    folder.chmod(0o700)

    return breaks


@contextlib.contextmanager
def given_away(directory: Path) -> Broken:
    if os.geteuid() != 0:
        pytest.skip("root is missing, which alone can give a directory to another user")
    os.chown(directory, 65534, -1)
    yield
    os.chown(directory, os.geteuid(), -1)


@contextlib.contextmanager
def locked(directory: Path) -> Broken:
    with closing(sqlite3.connect(directory / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def corrupt(directory: Path) -> Broken:
    with open(directory / DATABASE, "r+b") as file:
        file.write(noise(100_000, 7))
    (directory / f"{DATABASE}-wal").unlink(missing_ok=True)
    yield


@contextlib.contextmanager
def emptied(directory: Path) -> Broken:
    os.truncate(directory / DATABASE, 0)
    (directory / f"{DATABASE}-wal").unlink(missing_ok=True)
    yield


@contextlib.contextmanager
def without_a_file(directory: Path) -> Broken:
    for path in (directory / "bodies").iterdir():
        path.unlink()
    yield


@contextlib.contextmanager
def flipped(directory: Path) -> Broken:
    for path in (directory / "bodies").iterdir():
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(body)
    yield


def failing(*kinds: str) -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    return lambda directory: BadDisk(directory).failing(*kinds)


@contextlib.contextmanager
def without_descriptors(directory: Path) -> Broken:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, before[1]))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)


TABLE = {
    "directory missing": Failure(removed, moments=("while",)),
    "directory missing at the start": Failure(removed, counter="", moments=("before",)),
    "a file in its place": Failure(in_the_place_of_a_file),
    "a symlink": Failure(linked, moments=("before",)),
    "owned by somebody else": Failure(given_away, moments=("before",)),
    "mode wider than 0700": Failure(moded(0o755), moments=("before",)),
    "not writable": Failure(moded(0o500)),
    "not readable": Failure(moded(0o000)),
    "read-only": Failure(failing("EROFS"), shim=True),
    "SQLite locked": Failure(locked),
    "SQLite corrupt": Failure(corrupt),
    "SQLite truncated to zero": Failure(emptied),
    "files gone": Failure(without_a_file, counter=""),
    "bytes flipped": Failure(flipped, counter="corrupt"),
    "ENOSPC": Failure(failing("ENOSPC"), shim=True),
    "EDQUOT": Failure(failing("EDQUOT"), shim=True),
    "EIO": Failure(failing("EIO"), shim=True),
    "EMFILE": Failure(without_descriptors, alone=True),
}


# -- what has to hold ------------------------------------------------------------------------------------------------------


class Warnings(logging.Handler):
    """What was logged at WARNING."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """The warnings of s3warm in the block."""
    warnings, logger = Warnings(), logging.getLogger("s3warm")
    logger.addHandler(warnings)
    try:
        yield warnings.said
    finally:
        logger.removeHandler(warnings)


class Attempt:
    """A warm directory, and a cache on it that finds it broken."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.s3 = FakeS3(OBJECTS)
        self.more = itertools.count()
        self._ahead, monotonic = 0.0, time.monotonic
        patch.setattr(time, "monotonic", lambda: monotonic() + self._ahead)
        patch.setattr(database, "BUSY_TIMEOUT", 0.02)

    def new(self) -> FakeCache:
        return FakeCache(self.s3, directory=self.directory, namespace="disk", memory_budget=0, disk_budget="64MiB", ttl=3600)

    def wait(self, seconds: float) -> None:
        self._ahead += seconds
        self.s3.advance(seconds)

    @staticmethod
    def says_what_to_do(key: str, message: str) -> None:
        assert key in message
        assert "open() and get() need none" in message

    @staticmethod
    def read(path: Path) -> bytes | None:
        """None where the caller's own read fails."""
        try:
            return path.read_bytes()
        except OSError:
            return None

    def use(self, cache: FakeCache) -> None:
        """Each way to ask for each object, those that are held and one that is not."""
        uri = f"s3://disk/{next(self.more)}.bin"
        self.s3[uri] = noise(70_000, 9)
        for key, body in {**OBJECTS, uri: noise(70_000, 9)}.items():
            assert cache.get(key) == body, key
            file = cache.open(key)
            assert file.read() == body, key
            file.close()
            try:
                with cache.as_file(key) as path:
                    read = self.read(path)
            except DiskUnavailableError as error:
                self.says_what_to_do(key, str(error))
            else:
                assert read in (body, None), key
        self.wait(2)  # what was read within the last second is not looked at again


def attempt(name: str, moment: str, directory: Path) -> None:
    """Break a warm directory and use it, let the cause go, and use it again."""
    failure = TABLE[name]
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack, logged() as said:
        tried = Attempt(directory, patch)
        cache = stack.enter_context(closing(tried.new()))
        tried.use(cache)
        assert said == []
        if moment == "before":
            cache.close()
        with failure.breaks(directory):
            if moment == "before":
                cache = stack.enter_context(closing(tried.new()))
            for _ in range(ROUNDS):
                tried.use(cache)
            stats = cache.stats()
        counted = {counter for counter in ("disk_errors", "corrupt") if getattr(stats, counter)}
        print(name, moment, {counter: getattr(stats, counter) for counter in counted}, *said, sep="\n  ")
        assert counted == ({failure.counter} if failure.counter else set())
        troubles = [each for each in said if "again" not in each]
        assert len(troubles) == (1 if failure.counter else 0), said
        tried.wait(REST)
        for _ in range(2):
            tried.use(cache)
        after = len(said)
        tried.use(cache)
        assert len(said) == after <= 2, said
        cache.close()
        cache = stack.enter_context(closing(tried.new()))
        asked = len(tried.s3.requests)
        assert {key: cache.get(key) for key in OBJECTS} == OBJECTS
        assert tried.s3.requests[asked:] == [], "what is on disk needs no request"
        cache.close()
        assert orphans(directory).files == []


if __name__ == "__main__":
    attempt(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
