"""Rows that were read a moment ago: trusted for a second, by this process, and never against its own writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.keys import locate
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import recent
from tests.support.entries import noise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3warm import Cache

URI = "s3://bucket/large"
OLD, NEW = noise(100_000, 1), noise(100_000, 2)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3({URI: OLD})


class Clock:
    """The monotonic clock of the shelf."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("s3warm.tiers.shelf.time.monotonic", clock)
    return clock


@pytest.fixture
def caches(s3: FakeS3, tmp_path: Path, clock: Clock) -> Iterator[tuple[Cache, Cache]]:
    """Two caches without memory on one directory, as two processes have them."""
    with (
        FakeCache(s3, directory=tmp_path / "d", memory_budget=0, namespace="n", ttl=300) as one,
        FakeCache(s3, directory=tmp_path / "d", memory_budget=0, namespace="n", ttl=300) as other,
    ):
        yield one, other


def reads(cache: Any) -> list[str]:
    """The statements of the reading connection, from now on."""
    statements: list[str] = []
    cache._disk._store._reader.set_trace_callback(statements.append)
    return statements


def the_file(tmp_path: Path) -> Path:
    (name,) = os.listdir(tmp_path / "d" / "bodies")
    return tmp_path / "d" / "bodies" / name


def test_a_file_is_read_again_without_a_statement_for_a_second(caches: tuple[Cache, Cache], s3: FakeS3, clock: Clock) -> None:
    cache, _ = caches
    assert cache.get(URI) == cache.get(URI) == OLD
    statements = reads(cache)
    for _ in range(3):
        assert cache.get(URI) == OLD
    assert statements == []
    clock.now += recent.TRUSTED
    assert cache.get(URI) == OLD
    assert len(statements) == 1
    assert len(s3.requests) == 1
    assert cache.stats().disk_hits == 5


def test_hits_count_for_the_order_of_eviction(caches: tuple[Cache, Cache]) -> None:
    cache: Any = caches[0]
    for _ in range(5):
        cache.get(URI)
    assert list(cache._disk._shelf.room.hits.values()) == [4]


@pytest.mark.parametrize("how", ["invalidate", "clear", "ttl=0"])
def test_what_this_process_does_is_seen_at_once(caches: tuple[Cache, Cache], s3: FakeS3, how: str) -> None:
    cache, _ = caches
    for _ in range(3):
        cache.get(URI)
    s3[URI] = NEW
    if how == "invalidate":
        cache.invalidate(URI)
    elif how == "clear":
        cache.clear()
    else:
        assert cache.get(URI, ttl=0) == NEW
    assert cache.get(URI) == NEW


def test_what_another_process_does_is_seen_after_a_second(caches: tuple[Cache, Cache], s3: FakeS3, clock: Clock) -> None:
    """It invalidates: this one's file is there as before, and S3 is asked by the first read of the row."""
    cache, other = caches
    for _ in range(3):
        cache.get(URI)
    other.invalidate(URI)
    requests = len(s3.requests)
    clock.now += recent.TRUSTED
    assert cache.get(URI) == OLD
    assert len(s3.requests) == requests + 1


def test_a_body_that_another_process_has_replaced_is_gone_at_once(caches: tuple[Cache, Cache], s3: FakeS3) -> None:
    cache, other = caches
    for _ in range(3):
        cache.get(URI)
    s3[URI] = NEW
    assert other.get(URI, ttl=0) == NEW
    assert cache.get(URI) == NEW, "the old file is gone, so the row was looked at"
    assert cache.stats().corrupt == 0


def test_a_file_that_was_changed_is_summed_and_dropped(caches: tuple[Cache, Cache], s3: FakeS3, tmp_path: Path) -> None:
    cache, _ = caches
    for _ in range(3):
        cache.get(URI)
    path = the_file(tmp_path)
    os.chmod(path, 0o600)
    path.write_bytes(b"x" + OLD[1:])
    assert cache.get(URI) == OLD
    assert cache.stats().corrupt == 1
    assert len(s3.requests) == 2


def test_a_row_that_changed_while_it_was_read_is_not_trusted(caches: tuple[Cache, Cache], s3: FakeS3) -> None:
    """This process's own `invalidate` comes between a thread's look at the row and its note of it."""
    cache: Any = caches[0]
    cache.get(URI)
    shelf, key = cache._disk._shelf, locate(URI)
    read = shelf.store.read

    def overtaken(row_key: bytes) -> object:
        found = read(row_key)
        shelf.store.read = read
        cache.invalidate(URI)
        return found

    shelf.store.read = overtaken
    stale = cache._disk.get(key)
    assert stale is not None
    assert stale.expires_at > stale.validated_at, "what this thread saw was fresh"
    again = cache._disk.get(key)
    assert again is not None
    assert again.expires_at < again.validated_at, "the next one sees what came of it"


def test_no_more_than_a_few_are_remembered(tmp_path: Path) -> None:
    s3 = FakeS3({f"s3://bucket/{number}": noise(40_000, number) for number in range(100)})
    with FakeCache(s3, directory=tmp_path / "d", memory_budget=0, namespace="n") as cache:
        for _ in range(2):
            for number in range(100):
                assert cache.get(f"s3://bucket/{number}") == noise(40_000, number)
        shelf: Any = cache._disk._shelf  # type: ignore[union-attr]
        assert 0 < len(shelf._recent._rows) <= recent._MOST
