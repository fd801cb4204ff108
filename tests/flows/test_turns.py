"""Several caches on one directory, as several processes are: one asks, the others wait for it, for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from s3warm import AccessDeniedError, Event, ObjectNotFoundError, OriginUnavailableError, deadline, revalidation
from s3warm.origin.base import Late, Request, TransportError
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
            counted = count(pins, name)
            waiting.add(threading.get_ident())
            if len(waiting) >= self._expected:
                self.waits.set()
            return counted

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


@pytest.mark.parametrize("copy", [False, True])
def test_patience_ends(world: World, monkeypatch: pytest.MonkeyPatch, copy: bool) -> None:
    monkeypatch.setattr(revalidation, "PATIENCE_WITH_COPY" if copy else "PATIENCE", 0.01)
    one, two = world.cache(), world.cache()
    if copy:
        one.get(URI)
        two.get(URI)
        world.s3.advance(60)
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


@pytest.mark.parametrize("way", ["get", "path"])
@pytest.mark.parametrize(
    ("trouble", "error"),
    [("gone", ObjectNotFoundError), ("denied", AccessDeniedError), ("down", OriginUnavailableError)],
)
def test_those_that_wait_get_the_error_of_the_one_that_asked(
    world: World, trouble: str, error: type[Exception], way: str
) -> None:
    caches = [world.cache() for _ in range(4)]

    def change() -> None:
        if trouble == "gone":
            del world.s3[URI]
        elif trouble == "denied":
            world.s3.denied.add(URI)
        else:
            world.s3.down = True

    asked: list[Request] = []
    sent = world.until_somebody_waits(then=change, number=3)
    hold = world.s3.before_answer
    assert hold is not None

    def count(request: Request) -> None:
        asked.append(request)
        if len(asked) == 1:
            hold(request)
            world.s3.before_answer = count

    world.s3.before_answer = count
    leading = world.pool.submit(getattr(caches[0], way), URI)
    assert sent.wait(30)
    following = [world.pool.submit(getattr(cache, way), URI) for cache in caches[1:]]
    raised = []
    for each in (leading, *following):
        with pytest.raises(error) as caught:
            each.result(30)
        raised.append(caught.value)
    assert len(asked) == 1, "one asked, and the others were told"
    assert len({str(each) for each in raised}) == 1
    assert {(getattr(each, "bucket", ""), getattr(each, "key", "")) for each in raised} == {("cfg", "flags.json")}


def test_what_stands_in_for_the_one_that_asked_stands_in_for_those_that_wait(world: World) -> None:
    caches = [world.cache() for _ in range(3)]
    for cache in caches:
        cache.get(URI)
    world.s3.advance(60)

    def fail() -> None:
        world.s3.down = True

    sent = world.until_somebody_waits(then=fail, number=2)
    leading = world.pool.submit(caches[0].entry, URI)
    assert sent.wait(30)
    following = [world.pool.submit(cache.entry, URI) for cache in caches[1:]]
    assert [each.result(30).stale for each in (leading, *following)] == [True] * 3
    world.s3.down = False
    assert [cache.entry(URI).stale for cache in caches] == [True] * 3, "each knows of the outage, and leaves S3 in peace"
    assert [request.status for request in world.s3.requests] == [200]


@pytest.mark.parametrize("held", [False, True])
def test_who_had_no_time_for_an_answer_tells_the_others_nothing(world: World, held: bool) -> None:
    """They have time: one of them asks."""
    one, two = world.cache(), world.cache()
    if held:
        one.get(URI)
        two.get(URI)
        world.s3.advance(60)

    def late() -> None:
        raise Late("there was no time left")

    sent = world.until_somebody_waits(then=late)
    leading = world.pool.submit(one.entry, URI)
    assert sent.wait(30)
    following = world.pool.submit(two.entry, URI)
    if held:
        assert leading.result(30).stale
    else:
        with pytest.raises(OriginUnavailableError) as caught:
            leading.result(30)
        assert caught.value.late
    assert (following.result(30).stale, following.result(30).body) == (False, b"{}")


def test_the_trouble_of_one_object_is_told_as_such(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody who is told of it takes it for an outage."""
    other = "s3://cfg/other.json"
    world.s3[other] = b"other"
    one, two = world.cache(), world.cache()
    two.get(other)
    world.s3.advance(60)

    def fail() -> None:
        raise TransportError("it is archived", transient=False, outage=False)

    sent = world.until_somebody_waits(then=fail)
    leading = world.pool.submit(one.get, URI)
    assert sent.wait(30)
    following = world.pool.submit(two.get, URI)
    for each in (leading, following):
        with pytest.raises(OriginUnavailableError, match="archived") as caught:
            each.result(30)
        assert not caught.value.outage
    assert not two.entry(other).stale
    assert "cannot be reached" not in caplog.text


def test_a_waiter_for_something_else_is_told_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The few names that share a counter, and the place of a note, are told apart by the note."""
    monkeypatch.setattr("s3warm.tiers.pins._COUNTERS", 1)
    other = "s3://cfg/other.json"
    world.s3[other] = b"other"
    caches = [world.cache() for _ in range(2)]
    second = threading.Event()

    def hold(request: Request) -> None:
        if request.object.key == "other.json" and not second.is_set():
            second.set()
            assert world.waits.wait(30)

    world.s3.before_answer = hold
    leading = world.pool.submit(caches[0].get, other)
    assert second.wait(30)
    following = world.pool.submit(caches[1].get, other)
    assert world.waits.wait(30)
    with pytest.raises(ObjectNotFoundError):
        caches[1].get("s3://cfg/missing.json")
    assert [leading.result(30), following.result(30)] == [b"other"] * 2
