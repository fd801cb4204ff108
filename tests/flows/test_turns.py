"""Several caches on one directory, as several processes are: one asks, the others wait for it, for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from s3warm import Event, ObjectNotFoundError, OriginUnavailableError, deadline, revalidation
from s3warm.origin.base import Request
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.pins import Pins

URI = "s3://cfg/flags.json"


class World:
    """Caches over one directory and one S3, whose next answer can be held back until somebody waits for it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s3 = FakeS3({URI: b"{}"})
        self.directory = directory
        self.waits = threading.Event()  # as many as are expected do
        self._expected = 1
        waiting: set[int] = set()
        count = Pins.count

        def counted(pins: Pins, name: str) -> int:  # asked for by whoever begins to wait
            waiting.add(threading.get_ident())
            if len(waiting) >= self._expected:
                self.waits.set()
            return count(pins, name)

        monkeypatch.setattr(Pins, "count", counted)
        self.pool = ThreadPoolExecutor(8)

    def cache(self, on_event: Callable[[Event], None] | None = None) -> FakeCache:
        return FakeCache(self.s3, directory=self.directory, namespace="x", ttl=60, on_event=on_event)

    def until_somebody_waits(self, then: Callable[[], object] = lambda: None, number: int = 1) -> threading.Event:
        """Let the next request wait for so many to wait for its end; an event that is set when it was sent."""
        sent = threading.Event()
        self._expected = number

        def hold(_: Request) -> None:
            self.s3.before_answer = None
            sent.set()
            assert self.waits.wait(30)
            then()

        self.s3.before_answer = hold
        return sent


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    world.pool.shutdown()


def answers(world: World, sent: threading.Event, first: Callable[[], object], second: Callable[[], object]) -> list[object]:
    """What two get, of which the second asks while the first one's request is on its way."""
    leading: Future[object] = world.pool.submit(first)
    assert sent.wait(30)
    following: Future[object] = world.pool.submit(second)
    return [leading.result(30), following.result(30)]


def test_a_cold_object_is_fetched_once(world: World) -> None:
    one, two = world.cache(), world.cache()
    sent = world.until_somebody_waits()
    assert answers(world, sent, lambda: one.get(URI), lambda: two.get(URI)) == [b"{}", b"{}"]
    assert len(world.s3.requests) == 1
    assert (two.stats().disk_hits, two.stats().misses) == (1, 0)


def test_bytes_and_file_of_one_cold_object_are_fetched_once(world: World) -> None:
    cache = world.cache()
    sent = world.until_somebody_waits()
    assert answers(world, sent, lambda: cache.path(URI).read_bytes(), lambda: cache.get(URI)) == [b"{}", b"{}"]
    assert len(world.s3.requests) == 1


def test_an_expired_object_is_asked_for_once(world: World) -> None:
    one, two = world.cache(), world.cache()
    one.get(URI)
    two.get(URI)
    world.s3.advance(60)
    sent = world.until_somebody_waits()
    assert answers(world, sent, lambda: one.get(URI), lambda: two.path(URI).read_bytes()) == [b"{}", b"{}"]
    assert [request.status for request in world.s3.requests] == [200, 304]


def test_who_leaves_nothing_to_find_lets_all_others_go_on_at_once(world: World) -> None:
    """An object that may not be kept: if each waited for the one before, the last would wait for all."""
    world.s3.put(URI, b"secret", cache_control="no-store")
    caches = [world.cache() for _ in range(4)]
    together = threading.Barrier(3)

    def meet(_: Request) -> None:
        together.wait(30)

    def go_on() -> None:
        world.s3.before_answer = meet

    sent = world.until_somebody_waits(then=go_on, number=3)
    asked = [world.pool.submit(caches[0].get, URI)]
    assert sent.wait(30)
    asked += [world.pool.submit(cache.get, URI) for cache in caches[1:]]
    assert [each.result(30) for each in asked] == [b"secret"] * 4
    assert len(world.s3.requests) == 4


@pytest.mark.parametrize("error", [ObjectNotFoundError, OriginUnavailableError])
def test_an_error_of_one_is_found_out_by_the_next(world: World, error: type[Exception]) -> None:
    one, two = world.cache(), world.cache()

    def change() -> None:
        if error is ObjectNotFoundError:
            del world.s3[URI]
        else:
            world.s3.down = True

    sent = world.until_somebody_waits(then=change)
    leading = world.pool.submit(one.get, URI)
    assert sent.wait(30)
    following = world.pool.submit(two.get, URI)
    with pytest.raises(error):
        leading.result(30)
    with pytest.raises(error):
        following.result(30)


def test_who_asks_for_what_s3_says_now_waits_for_nobody(world: World) -> None:
    one, two = world.cache(), world.cache()
    sent = world.until_somebody_waits()
    leading = world.pool.submit(one.get, URI)
    assert sent.wait(30)
    assert two.get(URI, ttl=0) == b"{}"
    assert not leading.done()
    world.waits.set()
    assert leading.result(30) == b"{}"
    assert len(world.s3.requests) == 2


def test_patience_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revalidation, "PATIENCE", 0.01)
    one, two = world.cache(), world.cache()
    gate = threading.Event()
    sent = world.until_somebody_waits(then=lambda: gate.wait(30))
    leading = world.pool.submit(one.get, URI)
    assert sent.wait(30)
    assert two.get(URI) == b"{}"
    assert not leading.done()
    gate.set()
    assert leading.result(30) == b"{}"


def test_nobody_waits_longer_than_to_the_deadline(world: World) -> None:
    one, two = world.cache(), world.cache()
    gate = threading.Event()
    sent = world.until_somebody_waits(then=lambda: gate.wait(30))
    leading = world.pool.submit(one.get, URI)
    assert sent.wait(30)
    with deadline(0.05, 0), pytest.raises(OriginUnavailableError) as caught:
        two.get(URI)
    assert caught.value.late
    assert not leading.done()
    gate.set()
    assert leading.result(30) == b"{}"


def test_in_an_outage_nobody_waits_for_others_to_find_that_out(world: World) -> None:
    one, two = world.cache(), world.cache()
    two.get(URI)
    world.s3.advance(60)
    world.s3.down = True
    assert two.entry(URI).stale
    world.s3.down = False
    sent = world.until_somebody_waits()
    leading = world.pool.submit(one.get, URI)
    assert sent.wait(30)
    assert two.entry(URI).stale
    assert not world.waits.is_set()
    world.waits.set()
    assert leading.result(30) == b"{}"


def test_a_hook_that_asks_for_the_object_whose_progress_it_is_told_waits_for_nobody(world: World) -> None:
    """It must not, and it must not hang."""
    uri = "s3://cfg/large"
    world.s3[uri] = bytes(9 * 2**20)
    asked: list[int] = []

    def told(event: Event) -> None:
        if event.name == "progress" and not asked:
            asked.append(0)
            asked.append(len(cache.get(uri)))

    cache = world.cache(told)
    assert len(cache.get(uri)) == 9 * 2**20
    assert asked == [0, 9 * 2**20]
    assert not world.waits.is_set()
