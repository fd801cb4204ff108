"""The races of which a cache must not lose one, each in the one order that would: nothing here waits for a clock.

What one thread does while another's request is on its way happens in the hook that the fake S3 calls before it answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from s3warm.keys import locate
from s3warm.origin.base import Request
from s3warm.testing import FakeCache, FakeS3

URI = "s3://cfg/flags.json"
TTL = 60


def path(cache: FakeCache, *, ttl: float | None = None) -> bytes:
    with cache.as_file(URI, ttl=ttl) as file:
        return file.read_bytes()


def get(cache: FakeCache, *, ttl: float | None = None) -> bytes:
    return cache.get(URI, ttl=ttl)


WAYS = {"get": get, "path": path}


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3({URI: b"old"})


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


# Files need a disk.
@pytest.fixture(params=["get: memory and disk", "get: memory", "get: disk", "path: memory and disk", "path: disk"])
def setting(request: pytest.FixtureRequest) -> tuple[str, str]:
    way, _, tiers = request.param.partition(": ")
    return way, tiers


@pytest.fixture
def cache(s3: FakeS3, tmp_path: Path, setting: tuple[str, str]) -> Iterator[FakeCache]:
    memory = 0 if setting[1] == "disk" else None
    disk = 0 if setting[1] == "memory" else None
    with FakeCache(s3, directory=tmp_path, namespace="x", ttl=TTL, memory_budget=memory, disk_budget=disk) as cache:
        yield cache


@pytest.fixture
def ask(setting: tuple[str, str]) -> Callable[..., bytes]:
    return WAYS[setting[0]]


def in_the_meantime(s3: FakeS3, do: Callable[[], object]) -> None:
    """When the next request has arrived at S3, before it is answered."""

    def once(_: Request) -> None:
        s3.before_answer = None
        do()

    s3.before_answer = once


def held_back(s3: FakeS3) -> tuple[threading.Event, threading.Event]:
    """The next answer is made at once and held back: an event for that, and one that lets it go."""
    made, go = threading.Event(), threading.Event()
    answer = s3._answer

    class Holding(FakeS3):
        __slots__ = ()

        def _answer(self, request: Request) -> object:  # type: ignore[override]
            self.__class__ = FakeS3  # type: ignore[assignment]
            given = answer(request)
            made.set()
            assert go.wait(30)
            return given

    s3.__class__ = Holding
    return made, go


def test_overwritten_during_a_revalidation(s3: FakeS3, cache: FakeCache, ask: Callable[..., bytes]) -> None:
    """S3 has said 304 when the object changes: the copy was validated before that, and is fresh from then on only."""
    ask(cache)
    s3.advance(TTL)
    in_the_meantime(s3, lambda: s3.put(URI, b"new"))
    assert ask(cache) == b"new", "S3 answers with what it has when it answers"
    s3.advance(TTL)

    def overwrite_late() -> None:
        s3.advance(10)

    in_the_meantime(s3, overwrite_late)
    assert ask(cache) == b"new"
    s3[URI] = b"newer"
    s3.advance(TTL - 10.001)
    assert ask(cache) == b"new"
    s3.advance(0.001)
    assert ask(cache) == b"newer", "the TTL runs from when the request was sent"


@pytest.mark.parametrize("flight", ["first fetch", "revalidation"])
def test_invalidated_during_a_flight(
    s3: FakeS3, cache: FakeCache, ask: Callable[..., bytes], pool: ThreadPoolExecutor, flight: str
) -> None:
    """What S3 said before the invalidation is delivered to who asked before it, and not kept."""
    if flight == "revalidation":
        ask(cache)
        s3.advance(TTL)
    made, go = held_back(s3)
    flying = pool.submit(ask, cache)
    assert made.wait(30)
    s3[URI] = b"new"
    cache.invalidate(URI)
    go.set()
    assert flying.result(30) == b"old"
    assert ask(cache) == b"new"


def test_a_strict_call_while_an_older_flight_runs(
    s3: FakeS3, cache: FakeCache, ask: Callable[..., bytes], pool: ThreadPoolExecutor
) -> None:
    """It joins nobody, and the older answer, which comes later, replaces nothing."""
    made, go = held_back(s3)
    older = pool.submit(ask, cache)
    assert made.wait(30)
    s3[URI] = b"new"
    assert ask(cache, ttl=0) == b"new"
    go.set()
    assert older.result(30) == b"old"
    assert ask(cache) == b"new"


def test_a_304_for_a_body_that_was_evicted_meanwhile(s3: FakeS3, cache: FakeCache, ask: Callable[..., bytes]) -> None:
    """Who sends If-None-Match holds the body that it speaks of."""
    ask(cache)
    s3.advance(TTL)
    where = locate(URI)

    def evict() -> None:
        for tier in cache._tiers:
            tier.evict(where)

    in_the_meantime(s3, evict)
    assert ask(cache) == b"old"
    assert s3.requests[-1].status == 304
    assert ask(cache) == b"old"


def test_two_processes_that_validate_at_once(s3: FakeS3, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Two that do not wait for each other (ttl=0): the one that asked later has the last word, whichever answer comes last."""
    with (
        FakeCache(s3, directory=tmp_path, namespace="x", ttl=TTL) as one,
        FakeCache(s3, directory=tmp_path, namespace="x", ttl=TTL) as two,
    ):
        for cache in (one, two):
            cache.get(URI)
        s3.advance(TTL)
        made, go = held_back(s3)
        earlier: Future[bytes] = pool.submit(one.get, URI, ttl=0)
        assert made.wait(30)
        s3.advance(1)
        s3[URI] = b"new"
        assert two.get(URI, ttl=0) == b"new"
        go.set()
        assert earlier.result(30) == b"old"
        assert two.get(URI) == b"new"
        with FakeCache(s3, directory=tmp_path, namespace="x", ttl=TTL) as three:
            assert three.get(URI) == b"new", "on disk, too"
        assert sorted(request.status for request in s3.requests) == [200, 200, 304]
