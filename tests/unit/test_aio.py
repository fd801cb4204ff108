"""The parts of `s3warm.aio`: what is at hand needs no thread, threads are few, and an errand's result always goes to somebody."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import aio, awaiting, crew, taskflight
from s3warm.crew import Crew
from s3warm.keys import locate
from s3warm.near import Wanted
from s3warm.taskflight import Errand
from s3warm.testing import FakeCache, FakeS3
from tests.support.threads import until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from s3warm import Cache

OBJECTS = {"s3://b/k": b'{"a": 1}', "s3://b/other": b"[]", "s3://b/tree/x": b"x"}


@pytest.fixture
def cache() -> Iterator[Cache]:
    with FakeCache(FakeS3(OBJECTS), ttl=60) as made:
        yield made


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that never gives way; there is no loop that it could give way to."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def loaded(path: Any) -> int:
    return len(path.read_bytes())


def decoded(body: bytes) -> list[int]:
    return list(body)


HITS: list[Callable[[aio.AsyncCache], Coroutine[Any, Any, Any]]] = [
    lambda cache: cache.get("b", "k"),
    lambda cache: cache.get("s3://b/k"),
    lambda cache: cache.get("b", "k", ttl=30),
    lambda cache: cache.get("b", "k", version_id="v1"),
    lambda cache: cache.get("b", "k", transform="json"),
    lambda cache: cache.get("b", "k", transform=decoded),
    lambda cache: cache.get("b", "k", transform=decoded, ttl=30),
    lambda cache: cache.load("b", "k", loader=loaded),
    lambda cache: cache.load("b", "k", loader=loaded, ttl=30),
    lambda cache: cache.entry("b", "k"),
    lambda cache: cache.get_many(["s3://b/k", ("b", "other")]),
]


@pytest.mark.parametrize("call", HITS)
def test_a_fresh_hit_in_memory_takes_no_thread_and_gives_way_to_nobody(
    cache: Cache, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asynchronous = aio.AsyncCache(cache)
    first = asyncio.run(call(asynchronous))
    cache.get("b", "k")  # a value takes the place of its body
    before = cache.stats()
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    assert at_once(call(asynchronous)) == first
    assert started == []
    difference = cache.stats() - before
    assert difference.memory_hits >= 1
    assert (difference.origin_requests, difference.disk_hits) == (0, 0)


def test_a_hit_is_the_same_object_each_time(cache: Cache) -> None:
    asynchronous = aio.AsyncCache(cache)
    asyncio.run(asynchronous.get("b", "k"))
    assert at_once(asynchronous.get("b", "k")) is at_once(asynchronous.get("b", "k")) is cache.get("b", "k")


@pytest.mark.parametrize(
    ("name", "arguments", "options", "error"),
    [
        ("get", ("b",), {}, ValueError),
        ("get", ("b", 1), {}, TypeError),
        ("get", ("b", "k"), {"ttl": -1}, ValueError),
        ("get", ("b", "k"), {"tll": 1}, TypeError),
        ("get", ("b", "k"), {"transform": "yaml"}, ValueError),
        ("get", ("b", "k"), {"transform": 1}, TypeError),
        ("get", ("b", "k"), {"size_of": len}, TypeError),
        ("entry", ("b", ""), {}, ValueError),
        ("load", ("b", "k"), {"loader": 1}, TypeError),
        ("path", ("b",), {}, ValueError),
        ("tree", ("b", 1), {}, TypeError),
        ("open", ("s3://b/k", "rb"), {}, TypeError),
        ("get_many", ("s3://b/k",), {}, TypeError),
        ("get_many", (["s3://b/k"],), {"concurrency": 0}, ValueError),
        ("release", ("b",), {}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(
    cache: Cache, name: str, arguments: Any, options: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(aio.AsyncCache(cache), name)(*arguments, **options).send(None)


def test_as_file_refuses_where_it_is_called(cache: Cache) -> None:
    with pytest.raises(ValueError, match="'b' is not an object"):
        aio.AsyncCache(cache).as_file("b")


def test_preload_refuses_coroutine_functions(cache: Cache) -> None:
    async def load() -> None: ...

    with pytest.raises(TypeError, match="give a plain function, not the coroutine function"):
        asyncio.run(aio.AsyncCache(cache).preload(load))


@pytest.mark.parametrize("wrong", [FakeS3(), "cache", aio.AsyncCache()], ids=["fake", "text", "itself"])
def test_it_is_made_of_a_cache(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"cache must be an s3warm\.Cache, or None for the default one, not"):
        aio.AsyncCache(wrong)


@pytest.mark.parametrize("name", sorted(set(aio.__all__) - {"AsyncCache"}))
def test_a_function_takes_what_the_synchronous_one_takes(name: str) -> None:
    ours, theirs = inspect.signature(getattr(aio, name)), inspect.signature(getattr(s3warm, name))
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    assert inspect.iscoroutinefunction(getattr(aio, name)) is (name != "as_file")


# -- threads ------------------------------------------------------------------------------------------------------------------------


def test_a_crew_has_no_more_threads_than_it_may_and_begins_in_order() -> None:
    few, gate, begun = Crew(3), threading.Event(), threading.Semaphore(0)
    done: list[int] = []
    order: list[int] = []

    def work(number: int) -> None:
        order.append(number)
        begun.release()
        wait(gate)
        done.append(number)

    for number in range(10):
        few.do(lambda number=number: work(number))  # type: ignore[misc]
    for _ in range(3):
        assert begun.acquire(timeout=30)
    assert not begun.acquire(blocking=False)
    assert (sorted(order), len(few._waiting)) == ([0, 1, 2], 7)
    gate.set()
    until(lambda: few._at_work == 0)
    assert sorted(done) == list(range(10))


def test_threads_end_when_there_is_nothing_to_do(cache: Cache) -> None:
    asyncio.run(aio.AsyncCache(cache).path("b", "k"))
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "s3warm-aio"])


def test_no_thread_keeps_the_process_alive(cache: Cache) -> None:
    kinds: list[bool] = []
    cache.get("b", "k")

    def transform(body: bytes) -> bytes:
        kinds.append(threading.current_thread().daemon)
        return body

    asyncio.run(aio.AsyncCache(cache).get("b", "k", transform=transform))
    assert kinds == [True]


def test_without_any_thread_left_the_call_fails_and_the_next_one_does_not(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            asyncio.run(aio.AsyncCache(cache).get("b", "k"))
    assert taskflight._under_way == {}
    assert (crew.asking._at_work, len(crew.asking._waiting)) == (0, 0)
    assert asyncio.run(aio.AsyncCache(cache).get("b", "k")) == OBJECTS["s3://b/k"]


def test_those_threads_that_there_are_do_what_others_cannot_be_started_for(monkeypatch: pytest.MonkeyPatch) -> None:
    few, gate, done = Crew(2), threading.Event(), threading.Event()
    few.do(lambda: wait(gate))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    few.do(done.set)
    gate.set()
    wait(done)


# -- errands ------------------------------------------------------------------------------------------------------------------------


def test_an_errand_that_nobody_waits_for_any_more_is_not_begun() -> None:
    begun: list[str] = []

    async def main() -> None:
        errand = Errand(lambda _: begun.append("work"), lambda value: value, lambda _: begun.append("back"))
        assert errand.join()
        errand.leave()
        errand.labour("key")
        assert not errand.join()

    asyncio.run(main())
    assert begun == []


def test_what_comes_while_nobody_waits_is_given_back_once() -> None:
    back: list[int] = []

    def work(errand: Errand) -> int:
        errand.leave()
        return 42

    async def main() -> None:
        errand = Errand(work, lambda value: value, back.append)
        assert errand.join()
        errand.labour("key")

    asyncio.run(main())
    assert back == [42]


def test_what_came_and_was_not_fetched_is_given_back_once() -> None:
    """As of a task that is cancelled between the end of the work and its own next step."""
    back: list[int] = []

    async def main() -> None:
        errand = Errand(lambda _: 42, lambda value: value, back.append)
        assert errand.join()
        assert errand.join()
        errand.labour("key")
        errand.leave()
        assert back == []
        errand.leave()

    asyncio.run(main())
    assert back == [42]


def test_what_was_received_is_not_given_back() -> None:
    back: list[int] = []

    async def main() -> list[tuple[int, bool]]:
        errand = Errand(lambda _: 42, lambda value: value + 1, back.append)
        outcomes = []
        for _ in range(2):
            assert errand.join()
        errand.labour("key")
        for _ in range(2):
            outcome = errand.outcome()
            outcomes.append((outcome.value, outcome.first))
            errand.leave()
        return outcomes

    assert asyncio.run(main()) == [(43, True), (43, False)]
    assert back == []


def test_an_error_leaves_no_circle_that_keeps_bodies(cache: Cache) -> None:
    """Frames of a traceback hold what is in them: they must go with the error, not with the next run of the collector."""
    bodies: list[Any] = []

    class Body(bytes):
        def __del__(self) -> None:
            bodies.append("gone")

    def fail() -> Any:
        body = Body(b"body")
        raise s3warm.S3WarmError(f"{len(body)} bytes")

    async def one() -> int:
        wanted = Wanted(locate("b", "k"), None, ("entry",), fail, fail)
        try:
            await awaiting.brought(cache, wanted)
        except s3warm.S3WarmError:
            return 1
        return 0

    async def main() -> None:
        assert sum(await asyncio.gather(*(one() for _ in range(3)))) == 3
        await asyncio.to_thread(until, lambda: crew.asking._at_work == 0)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
        assert len(bodies) >= 1
        assert not [each for each in gc.get_objects() if isinstance(each, (Body, Errand))]
    finally:
        gc.enable()
