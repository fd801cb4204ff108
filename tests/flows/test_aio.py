"""Many tasks, cancellation, deadlines and several loops over one cache."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import ObjectNotFoundError, OriginUnavailableError, TransformError, aio, crew, taskflight
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.support.threads import until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

    from s3warm.origin.base import Request

ONE, TWO = "s3://b/one", "s3://b/two"
MANY = 1000


class Gate:
    """Holds the requests to S3, or those for one object, until it is opened."""

    def __init__(self, s3: FakeS3, key: str | None = None) -> None:
        self._key = key
        self._entered = threading.Semaphore(0)
        self._go = threading.Event()
        s3.before_answer = self._hold

    def _hold(self, request: Request) -> None:
        if self._key in (None, request.object.key):
            self._entered.release()
            wait(self._go)

    async def reached(self, times: int = 1) -> None:
        """Until so many requests are held."""
        for _ in range(times):
            assert await asyncio.to_thread(self._entered.acquire, timeout=30)

    def open(self) -> None:
        """Let all pass."""
        self._go.set()


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3({ONE: b"one", TWO: b"two", "s3://b/tree/x": b"x", "s3://b/tree/y": b"y"})


@pytest.fixture
def cache(s3: FakeS3) -> Iterator[FakeCache]:
    with FakeCache(s3, ttl=60) as made:
        yield made
        idle()
        assert taskflight._under_way == {}


def idle() -> None:
    """Until no thread of ours is left."""
    until(lambda: crew.asking._at_work == crew.quick._at_work == 0)


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run it in asyncio's debug mode, in which nothing may be told to the loop's handler of exceptions."""
    told: list[dict[str, Any]] = []

    async def watched() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        return await main()

    result = asyncio.run(watched(), debug=True)
    assert told == []
    return result


def in_use(cache: FakeCache) -> int:
    """How often files are pinned."""
    assert cache._disk_tier is not None
    shelf = cache._disk_tier._shelf
    return 0 if shelf is None else sum(shelf.pins._held.values())


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task; it ends at once."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def entered(cache: aio.AsyncCache) -> AbstractAsyncContextManager[Path]:
    """A block of `as_file` that has begun."""
    block = cache.as_file(ONE)
    await block.__aenter__()
    return block


WAYS: dict[str, Callable[[aio.AsyncCache], Coroutine[Any, Any, Any]]] = {
    "get": lambda cache: cache.get(ONE),
    "ttl": lambda cache: cache.get(ONE, ttl=30),
    "value": lambda cache: cache.get(ONE, transform="text"),
    "entry": lambda cache: cache.entry(ONE),
    "load": lambda cache: cache.load(ONE, loader=Path.read_bytes),
    "path": lambda cache: cache.path(ONE),
}
FILES: dict[str, Callable[[aio.AsyncCache], Coroutine[Any, Any, Any]]] = {
    "path": WAYS["path"],
    "tree": lambda cache: cache.tree("s3://b/tree/"),
    "open": lambda cache: cache.open(ONE),
    "as_file": entered,
}


# -- many tasks -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_thousand_tasks_for_one_cold_object_take_one_thread_and_one_request(
    cache: FakeCache, s3: FakeS3, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    do = crew.Crew.do

    def counted(self: crew.Crew, work: Callable[[], object]) -> None:
        given.append(work)
        do(self, work)

    monkeypatch.setattr(crew.Crew, "do", counted)
    gate = Gate(s3)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(WAYS[way](aio.AsyncCache(cache))) for _ in range(MANY)]
        await gate.reached()
        gate.open()
        return await asyncio.gather(*tasks)

    found = run(main)
    assert len({id(each) for each in found}) == 1
    assert (len(given), len(s3.requests)) == (1, 1)
    assert cache.stats().coalesced == MANY - 1


@pytest.mark.parametrize("way", ["open", "as_file"])
def test_each_of_many_tasks_has_a_file_of_its_own_from_one_request(cache: FakeCache, s3: FakeS3, way: str) -> None:
    gate = Gate(s3)

    async def main() -> None:
        tasks = [asyncio.create_task(FILES[way](aio.AsyncCache(cache))) for _ in range(100)]
        await gate.reached()
        gate.open()
        files = await asyncio.gather(*tasks)
        assert in_use(cache) == 100
        for file in files:
            if way == "open":
                assert file.read() == b"one"
                file.close()
            else:
                await file.__aexit__(None, None, None)

    run(main)
    assert len(s3.requests) == 1
    assert in_use(cache) == 0


def test_a_file_is_in_use_for_the_length_of_its_block(cache: FakeCache) -> None:
    async def main() -> None:
        async with aio.AsyncCache(cache).as_file(ONE) as path:
            assert path.read_bytes() == b"one"
            assert in_use(cache) == 1
        assert in_use(cache) == 0

    run(main)


def test_threads_are_few_whatever_there_is_to_bring(cache: FakeCache, s3: FakeS3) -> None:
    for number in range(100):
        s3[f"s3://b/{number}"] = b"%d" % number
    gate = Gate(s3)

    async def main() -> list[bytes]:
        ours = aio.AsyncCache(cache)
        tasks = [asyncio.create_task(ours.get("b", str(number))) for number in range(100)]
        await gate.reached(32)
        assert sum(thread.name == "s3warm-aio" for thread in threading.enumerate()) == 32
        gate.open()
        return await asyncio.gather(*tasks)

    assert run(main) == [b"%d" % number for number in range(100)]


def test_a_value_is_made_once_for_all(cache: FakeCache) -> None:
    made: list[bytes] = []

    def transform(body: bytes) -> list[int]:
        made.append(body)
        return list(body)

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        found = await asyncio.gather(*(ours.get(ONE, transform=transform) for _ in range(MANY)))
        assert len({id(each) for each in found}) == 1

    run(main)
    assert made == [b"one"]


def test_what_differs_in_its_options_is_not_shared(cache: FakeCache) -> None:
    async def main() -> tuple[Any, ...]:
        ours = aio.AsyncCache(cache)
        return await asyncio.gather(
            ours.get(ONE),
            ours.get(ONE, transform="text"),
            ours.get(ONE, transform=len),
            ours.get(TWO),
            ours.get(ONE, version_id="v1"),
            ours.load(ONE, loader=lambda path: path.suffix),
        )

    assert list(run(main)) == [b"one", "one", 3, b"two", b"one", ""]


def test_an_error_is_everybodys_and_each_has_its_own(cache: FakeCache, s3: FakeS3) -> None:
    gate = Gate(s3)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(aio.AsyncCache(cache).get("b", "gone")) for _ in range(MANY)]
        await gate.reached()
        gate.open()
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = run(main)
    assert {type(error) for error in errors} == {ObjectNotFoundError}
    assert {(str(error), error.key) for error in errors} == {(str(errors[0]), "gone")}
    assert len({id(error) for error in errors}) == MANY
    assert (len(s3.requests), cache.stats().errors) == (1, MANY)


def test_the_cause_is_told_to_all(cache: FakeCache) -> None:
    async def main() -> list[Any]:
        tasks = [aio.AsyncCache(cache).get(ONE, transform="json") for _ in range(3)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [(type(error), type(error.__cause__).__name__) for error in run(main)] == [(TransformError, "JSONDecodeError")] * 3


def test_a_task_group_gets_errors_and_ends_the_others(cache: FakeCache, s3: FakeS3) -> None:
    gate = Gate(s3, "one")

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        tasks: list[asyncio.Task[bytes]] = []

        async def grouped() -> None:
            async with asyncio.TaskGroup() as group:
                tasks.append(group.create_task(ours.get(ONE)))
                await gate.reached()
                group.create_task(ours.get("b", "gone"))

        with pytest.raises(ExceptionGroup) as caught:
            await grouped()
        assert [type(error) for error in caught.value.exceptions] == [ObjectNotFoundError]
        assert [task.cancelled() for task in tasks] == [True]
        gate.open()

    run(main)
    idle()
    assert cache.explain(ONE).tiers == ("memory", "disk")


# -- cancellation ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_first_task_may_be_cancelled_and_the_others_get_the_answer(cache: FakeCache, s3: FakeS3, way: str) -> None:
    gate = Gate(s3)

    async def main() -> Any:
        first, *others = [asyncio.create_task(WAYS[way](aio.AsyncCache(cache))) for _ in range(3)]
        await gate.reached()
        await cancelled(first)
        gate.open()
        return await asyncio.gather(*others)

    one, another = run(main)
    assert one is another
    assert len(s3.requests) == 1


@pytest.mark.parametrize("way", WAYS)
def test_when_all_are_cancelled_the_thread_ends_what_it_has_begun(cache: FakeCache, s3: FakeS3, way: str) -> None:
    gate = Gate(s3)

    async def main() -> None:
        tasks = [asyncio.create_task(WAYS[way](aio.AsyncCache(cache))) for _ in range(3)]
        await gate.reached()
        for task in tasks:
            await cancelled(task)

    run(main)
    gate.open()
    idle()
    assert cache.explain(ONE).fresh
    run(lambda: WAYS[way](aio.AsyncCache(cache)))
    assert len(s3.requests) == 1


def test_a_task_that_asks_again_finds_the_thread_of_the_cancelled_one(cache: FakeCache, s3: FakeS3) -> None:
    """Or tries with time-outs would fill all threads, each of which waits for the first."""
    gate = Gate(s3)

    async def main() -> bytes:
        ours = aio.AsyncCache(cache)
        await cancelled(await begun(ours.get(ONE), gate))
        for _ in range(100):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await ours.get(ONE)
        assert crew.asking._at_work == 1
        task = asyncio.create_task(ours.get(ONE))
        asyncio.get_running_loop().call_soon(gate.open)
        return await task

    assert run(main) == b"one"
    assert len(s3.requests) == 1


async def begun(call: Coroutine[Any, Any, Any], gate: Gate) -> asyncio.Task[Any]:
    """A task whose request is held."""
    task = asyncio.create_task(call)
    await gate.reached()
    return task


@pytest.mark.parametrize("way", FILES)
def test_a_file_that_comes_too_late_is_given_back(cache: FakeCache, s3: FakeS3, way: str) -> None:
    gate = Gate(s3)

    async def main() -> None:
        await cancelled(await begun(FILES[way](aio.AsyncCache(cache)), gate))

    run(main)
    gate.open()
    idle()
    assert len(s3.requests) >= 1
    assert in_use(cache) == 0
    assert cache._pinned == {}


@pytest.mark.parametrize("way", FILES)
def test_a_file_whose_loop_is_gone_is_given_back(cache: FakeCache, s3: FakeS3, way: str) -> None:
    """The loop is closed with the task in it, as a program does that stops in the middle."""
    gate = Gate(s3)
    loop = asyncio.new_event_loop()
    task = loop.create_task(FILES[way](aio.AsyncCache(cache)))
    loop.run_until_complete(gate.reached())
    task.cancel()
    loop.close()
    gate.open()
    idle()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    gc.collect()
    until(lambda: in_use(cache) == 0)
    assert cache._pinned == {}


@pytest.mark.parametrize("way", FILES)
def test_a_file_that_came_in_the_moment_of_the_cancellation_is_given_back(cache: FakeCache, way: str) -> None:
    async def main() -> None:
        task = asyncio.create_task(FILES[way](aio.AsyncCache(cache)))
        await asyncio.sleep(0)  # it is begun
        idle()  # and ended, of which the loop does not know yet
        assert in_use(cache) == 1
        await cancelled(task)
        assert in_use(cache) == 0

    run(main)


def test_a_file_that_is_in_use_already_stays_so_when_another_task_is_cancelled(cache: FakeCache, s3: FakeS3) -> None:
    path = cache.path(ONE)
    s3.advance(61)
    gate = Gate(s3)

    async def main() -> None:
        await cancelled(await begun(aio.AsyncCache(cache).path(ONE), gate))

    run(main)
    gate.open()
    idle()
    assert in_use(cache) == 1
    run(lambda: aio.AsyncCache(cache).release(ONE))
    assert in_use(cache) == 0
    assert path.read_bytes() == b"one"


def test_a_time_out_of_asyncio_ends_the_wait(cache: FakeCache, s3: FakeS3) -> None:
    gate = Gate(s3)

    async def main() -> None:
        task = await begun(aio.AsyncCache(cache).get(ONE), gate)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0)

    run(main)
    gate.open()


def test_what_was_not_begun_when_it_was_cancelled_is_never_asked_for(cache: FakeCache, s3: FakeS3) -> None:
    for number in range(32):
        s3[f"s3://b/{number}"] = b""
    gate = Gate(s3)

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        tasks = [asyncio.create_task(ours.get("b", str(number))) for number in range(32)]
        await gate.reached(32)
        waiting = asyncio.create_task(ours.get(ONE))
        await asyncio.sleep(0)
        assert len(crew.asking._waiting) == 1
        await cancelled(waiting)
        gate.open()
        await asyncio.gather(*tasks)

    run(main)
    idle()
    assert ONE not in {request.uri for request in s3.requests}


# -- freshness ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["invalidate", "clear", "sync"])
def test_a_call_after_invalidate_gets_what_s3_has_from_then_on(s3: FakeS3, how: str) -> None:
    cache = FakeCache(s3, disk_budget=0)  # on a disk it would be the older call's turn, for a while
    gates = [threading.Event(), threading.Event()]
    entered = threading.Semaphore(0)
    held = iter(gates)

    def before(request: Request) -> None:
        gate = next(held, None)
        entered.release()
        if gate is not None:
            wait(gate)

    async def main() -> tuple[bytes, bytes]:
        ours = aio.AsyncCache(cache)
        older = asyncio.create_task(ours.get(ONE))
        await asyncio.to_thread(entered.acquire)
        if how == "sync":
            cache.invalidate(ONE)
        else:
            await (ours.clear() if how == "clear" else ours.invalidate(ONE))
        newer = asyncio.create_task(ours.get(ONE))
        await asyncio.to_thread(entered.acquire)
        gates[1].set()
        second = await newer
        gates[0].set()
        return await older, second

    s3.before_answer = before
    with cache:
        assert run(main) == (b"one", b"one")
    assert len(s3.requests) == 2


def test_ttl_0_asks_anew_each_time(cache: FakeCache, s3: FakeS3) -> None:
    async def main() -> None:
        await asyncio.gather(*(aio.AsyncCache(cache).get(ONE, ttl=0) for _ in range(5)))

    run(main)
    assert len(s3.requests) == 5


def test_what_was_asked_for_before_a_call_may_be_too_old_for_it(cache: FakeCache, s3: FakeS3) -> None:
    gate = Gate(s3)

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        first = await begun(ours.entry(ONE, ttl=10), gate)
        s3.advance(11)
        second = asyncio.create_task(ours.entry(ONE, ttl=10))
        await asyncio.sleep(0)
        gate.open()
        older, newer = await first, await second
        assert newer.validated_at - older.validated_at == 11

    run(main)
    assert [request.status for request in s3.requests] == [200, 304]


def test_with_stale_while_revalidate_nobody_waits_for_another_task(s3: FakeS3) -> None:
    with FakeCache(s3, ttl=60, stale_while_revalidate=60) as cache:
        cache.get(ONE)
        s3.advance(61)
        gate = Gate(s3)

        async def main() -> None:
            asking = await begun(aio.AsyncCache(cache).entry(ONE), gate)
            assert (await aio.AsyncCache(cache).entry(ONE)).stale
            gate.open()
            assert not (await asking).stale

        run(main)


# -- deadlines and contexts -----------------------------------------------------------------------------------------------------------


def test_the_deadline_holds_in_threads_and_in_tasks(cache: FakeCache, s3: FakeS3) -> None:
    cache.get(ONE)
    s3.advance(61)

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        with s3warm.deadline(0):
            assert (await ours.entry(ONE)).stale
            with pytest.raises(OriginUnavailableError) as caught:
                await ours.get(TWO)
            assert caught.value.late
            with pytest.raises(OriginUnavailableError):
                await ours.get_many([TWO])
        assert await ours.get(TWO) == b"two"

    run(main)


def test_a_task_waits_for_another_ones_request_until_its_own_deadline(cache: FakeCache, s3: FakeS3) -> None:
    cache.get(TWO)
    s3.advance(61)
    gate = Gate(s3)

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        slow = [asyncio.create_task(ours.entry(ONE)), asyncio.create_task(ours.entry(TWO))]
        await gate.reached(2)
        with s3warm.deadline(0):
            with pytest.raises(OriginUnavailableError, match="another thread or process was at it until the deadline"):
                await ours.entry(ONE)
            assert (await ours.entry(TWO)).stale
        gate.open()
        assert [entry.stale for entry in await asyncio.gather(*slow)] == [False, False]

    run(main)


def test_whoever_has_more_time_goes_on_where_the_first_was_late(cache: FakeCache, s3: FakeS3) -> None:
    gate, failed = Gate(s3), threading.Event()

    async def first() -> None:
        with s3warm.deadline(1000):
            await ours.get(ONE)

    def late(request: Request) -> None:
        s3.before_answer = None
        wait(failed)
        raise s3warm.errors.late(request.object, "the deadline came")

    async def main() -> bytes:
        s3.before_answer = late
        task = asyncio.create_task(first())
        await asyncio.sleep(0)
        another = asyncio.create_task(ours.get(ONE))
        await asyncio.sleep(0)
        failed.set()
        with pytest.raises(OriginUnavailableError):
            await task
        return await another

    ours = aio.AsyncCache(cache)
    assert run(main) == b"one"
    gate.open()


def test_all_threads_may_be_busy_and_those_who_are_late_are_answered(cache: FakeCache, s3: FakeS3) -> None:
    cache.get(ONE)
    s3.advance(61)
    for number in range(32):
        s3[f"s3://b/{number}"] = b""
    gate = Gate(s3)

    async def main() -> None:
        ours = aio.AsyncCache(cache)
        tasks = [asyncio.create_task(ours.get("b", str(number))) for number in range(32)]
        await gate.reached(32)
        with s3warm.deadline(0):
            assert (await ours.entry(ONE)).stale
            assert (await ours.entry(ONE, ttl=30)).stale
            with pytest.raises(OriginUnavailableError):
                await ours.entry(ONE, ttl=0)
            with pytest.raises(OriginUnavailableError):
                async with ours.as_file(TWO):
                    pytest.fail("nothing is there")
        await ours.invalidate(ONE)
        gate.open()
        await asyncio.gather(*tasks)

    run(main)


def test_context_variables_of_a_task_are_there_for_its_transform(cache: FakeCache) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")

    def transform(body: bytes) -> str:
        return tenant.get() + body.decode()

    async def main() -> str:
        tenant.set("acme ")
        return await aio.AsyncCache(cache).get(ONE, transform=transform)

    assert run(main) == "acme one"


# -- many objects ---------------------------------------------------------------------------------------------------------------------


def test_get_many_brings_so_many_at_a_time(cache: FakeCache, s3: FakeS3) -> None:
    uris = [f"s3://b/{number}" for number in range(20)]
    for uri in uris:
        s3[uri] = uri.encode()
    gate = Gate(s3)

    async def main() -> dict[str, bytes]:
        task = asyncio.create_task(aio.AsyncCache(cache).get_many(uris, concurrency=3))
        await gate.reached(3)
        assert (crew.asking._at_work, len(crew.asking._waiting)) == (3, 0)
        gate.open()
        return await task

    assert run(main) == {uri: uri.encode() for uri in uris}
    assert len(s3.requests) == 20


def test_get_many_raises_the_first_error_and_begins_no_more(cache: FakeCache, s3: FakeS3) -> None:
    async def main() -> None:
        with pytest.raises(ObjectNotFoundError) as caught:
            await aio.AsyncCache(cache).get_many([ONE, "s3://b/gone", TWO], concurrency=1)
        assert caught.value.key == "gone"

    run(main)
    assert [request.uri for request in s3.requests] == [ONE, "s3://b/gone"]


def test_get_many_that_is_cancelled_begins_no_more(cache: FakeCache, s3: FakeS3) -> None:
    gate = Gate(s3)

    async def main() -> None:
        await cancelled(await begun(aio.AsyncCache(cache).get_many([ONE, TWO], concurrency=1), gate))
        gate.open()

    run(main)
    idle()
    assert [request.uri for request in s3.requests] == [ONE]


def test_get_many_takes_what_is_at_hand_and_what_is_not_too_old(cache: FakeCache, s3: FakeS3) -> None:
    cache.get(ONE)
    s3.advance(20)
    cache.get(TWO)
    many = aio.AsyncCache(cache).get_many
    assert run(lambda: many([ONE, ("b", "two"), ONE])) == {ONE: b"one", ("b", "two"): b"two"}
    run(lambda: many([ONE, TWO], ttl=10))
    assert [request.status for request in s3.requests] == [200, 200, 304]


def test_preload_and_glob(cache: FakeCache, s3: FakeS3) -> None:
    async def main() -> None:
        ours = aio.AsyncCache(cache)
        assert await ours.glob("s3://b/tree/*") == ["s3://b/tree/x", "s3://b/tree/y"]
        assert (await ours.preload(ONE, lambda: cache.path(TWO), timeout=30, concurrency=2, strict=True)).ok

    run(main)
    assert cache.explain(ONE).tiers == ("memory", "disk")


# -- loops, processes, caches ---------------------------------------------------------------------------------------------------------


def test_loops_in_several_threads_use_one_cache(cache: FakeCache, s3: FakeS3) -> None:
    gate, found = Gate(s3), []

    async def main() -> None:
        found.extend(await asyncio.gather(*(aio.AsyncCache(cache).get(ONE) for _ in range(50))))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(taskflight._under_way) == 4)
    gate.open()
    for thread in threads:
        thread.join()
    assert found == [b"one"] * 200
    assert len(s3.requests) == 1


def test_the_functions_follow_the_default_cache() -> None:
    for body in (b"one", b"two"):
        with fake_s3({ONE: body}) as s3:
            assert asyncio.run(s3warm.aio.get(ONE)) == body
            assert asyncio.run(s3warm.aio.get(ONE)) == body
            assert s3warm.stats().memory_hits == 1
            assert len(s3.requests) == 1
            assert aio.AsyncCache().cache is s3warm.default_cache()


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    said = script(
        """
        import asyncio, threading
        from s3warm import aio
        from s3warm.testing import FakeCache, FakeS3

        s3, entered = FakeS3({"s3://b/one": b"one"}), threading.Event()

        def hang(request):
            entered.set()
            threading.Event().wait()

        async def main():
            task = asyncio.create_task(aio.AsyncCache(cache).get("b", "one"))
            await asyncio.to_thread(entered.wait)
            task.cancel()

        s3.before_answer = hang
        cache = FakeCache(s3)
        asyncio.run(main())
        print("ended")
        """
    )
    assert said == "ended\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """All of the parent's are busy when it forks."""
    said = script(
        """
        import asyncio, os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork with threads
        from s3warm import aio, crew
        from s3warm.testing import FakeCache, FakeS3

        s3 = FakeS3({f"s3://b/{number}": b"body" for number in range(40)})
        entered, go = threading.Semaphore(0), threading.Event()
        parent = os.getpid()

        def hold(request):
            if os.getpid() == parent:
                entered.release()
                go.wait()

        async def main():
            tasks = [asyncio.create_task(ours.get("b", str(number))) for number in range(33)]
            for _ in range(32):
                await asyncio.to_thread(entered.acquire)
            return os.fork(), tasks

        s3.before_answer = hold
        ours = aio.AsyncCache(FakeCache(s3))
        loop = asyncio.new_event_loop()
        child, tasks = loop.run_until_complete(main())
        if not child:
            asyncio.set_event_loop(None)
            asyncio.events._set_running_loop(None)
            print(asyncio.run(ours.get("b", "39")), asyncio.run(ours.get("b", "38")), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        go.set()
        print(len(loop.run_until_complete(asyncio.gather(*tasks))))
        loop.close()
        """
    )
    assert said == "b'body' b'body'\n33\n"


def script(text: str) -> str:
    """What a script says in a fresh interpreter."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
