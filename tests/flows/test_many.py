"""Many objects at once: `get_many` and `glob` through the whole cache."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import s3warm
from s3warm import AccessDeniedError, ObjectNotFoundError, OriginUnavailableError
from s3warm.origin.base import Request
from s3warm.testing import FakeCache, FakeS3, fake_s3

ROOT = Path(__file__).parents[2]
WAIT = 30  # seconds until a test that hangs fails
URIS = [f"s3://cfg/{number:02}.json" for number in range(20)]
BODIES = {uri: uri.encode() for uri in URIS}


@pytest.fixture(autouse=True)
def _leaves_no_thread() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("s3warm-pool")] == []


@pytest.fixture
def no_new_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))


@pytest.mark.parametrize("name", ["preload", "get_many", "glob"])
def test_a_function_takes_and_gives_what_the_method_does(name: str) -> None:
    function, method = inspect.signature(getattr(s3warm, name)), inspect.signature(getattr(s3warm.default_cache(), name))
    assert function == method
    assert getattr(s3warm, name).__doc__ == getattr(s3warm.Cache, name).__doc__


def test_none_of_it_is_loaded_before_it_is_used() -> None:
    code = "import sys, s3warm; print([name for name in sys.modules if name.split('.')[-1] in ('preloading', 'sources', 'globbing', 're')])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


# -- get_many ------------------------------------------------------------------------------------------------------------------


def test_bodies_by_source_in_the_given_order() -> None:
    with fake_s3(BODIES) as s3:
        bodies = s3warm.get_many(reversed(URIS))
        assert list(bodies.items()) == [(uri, BODIES[uri]) for uri in reversed(URIS)]
        assert sorted(request.uri for request in s3.requests) == URIS
        assert s3warm.get(URIS[3]) is bodies[URIS[3]]


def test_sources_are_keys_as_they_were_given() -> None:
    with FakeCache(FakeS3(BODIES)) as cache:
        pair = ("cfg", "01.json")
        sources: list[str | tuple[str, str]] = [URIS[0], pair, URIS[1], URIS[0]]
        many = cache.get_many(sources)
        assert many == {URIS[0]: BODIES[URIS[0]], pair: BODIES[URIS[1]], URIS[1]: BODIES[URIS[1]]}
        assert list(many) == [URIS[0], pair, URIS[1]]
        assert cache.stats().origin_requests == 2, "an object is asked for once"


@pytest.mark.usefixtures("no_new_threads")
def test_nothing_of_nothing() -> None:
    with fake_s3(BODIES) as s3:
        assert s3warm.get_many([]) == {}
        assert s3warm.get_many(iter(())) == {}
        assert s3.requests == []


def test_what_is_fresh_in_memory_takes_no_thread_and_counts_as_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_s3(BODIES) as s3:
        first = s3warm.get_many(URIS)
        before = s3warm.stats()
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
        again = s3warm.get_many(URIS)
        assert all(again[uri] is first[uri] for uri in URIS)
        moved = s3warm.stats() - before
        assert (moved.memory_hits, moved.origin_requests, moved.misses, moved.disk_hits) == (20, 0, 0, 0)
        assert len(s3.requests) == 20


def test_a_single_miss_is_fetched_in_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_s3(BODIES):
        s3warm.get_many(URIS[1:])
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
        assert s3warm.get_many(URIS) == BODIES


def test_what_has_expired_is_revalidated() -> None:
    with fake_s3(BODIES, ttl=60) as s3:
        s3warm.get_many(URIS)
        s3.advance(60)
        s3[URIS[5]] = b"new"
        assert s3warm.get_many(URIS) == {**BODIES, URIS[5]: b"new"}
        assert sorted(request.status for request in s3.requests[20:]) == [200, *[304] * 19]


@pytest.mark.parametrize(("concurrency", "at_once"), [(None, 8), (3, 3), (20, 20)])
def test_so_many_are_under_way_at_a_time(concurrency: int | None, at_once: int) -> None:
    count = at_once * 2 if at_once < 10 else 20
    barrier = threading.Barrier(at_once)
    lock, under_way, most = threading.Lock(), 0, 0

    def meet(_: Request) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        barrier.wait(WAIT)  # passes only if so many are in here
        with lock:
            under_way -= 1

    with fake_s3(BODIES) as s3:
        s3.before_answer = meet
        assert len(s3warm.get_many(URIS[:count], concurrency=concurrency)) == count
    assert most == at_once


def test_without_threads_one_comes_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with fake_s3(BODIES) as s3:
        assert s3warm.get_many(URIS) == BODIES
        assert [request.uri for request in s3.requests] == URIS


def test_the_first_error_in_the_order_of_the_sources_is_raised_and_no_more_is_begun() -> None:
    """Both are under way when the second one fails; the first one fails later."""
    second_failed, first_begun = threading.Event(), threading.Event()
    with fake_s3(BODIES) as s3:
        s3.denied.add(URIS[1])
        del s3[URIS[0]]

        def order(request: Request) -> None:
            if request.object.key == "00.json":
                first_begun.set()
                assert second_failed.wait(WAIT)
            elif request.object.key == "01.json":
                assert first_begun.wait(WAIT)
                second_failed.set()

        s3.before_answer = order
        with pytest.raises(ObjectNotFoundError, match=r"00\.json"):
            s3warm.get_many(URIS, concurrency=2)
        assert {request.uri for request in s3.requests} == set(URIS[:2])


def test_what_was_under_way_is_in_the_cache() -> None:
    failed, begun = threading.Event(), threading.Event()
    with fake_s3({**BODIES}) as s3:
        s3.denied.add(URIS[1])

        def order(request: Request) -> None:
            if request.object.key == "00.json":
                begun.set()
                assert failed.wait(WAIT)
            elif request.object.key == "01.json":
                assert begun.wait(WAIT)
                failed.set()

        s3.before_answer = order
        with pytest.raises(AccessDeniedError):
            s3warm.get_many(URIS[:2])
        s3.down = True
        assert s3warm.get(URIS[0]) == BODIES[URIS[0]]


def test_within_a_deadline() -> None:
    with fake_s3(BODIES, ttl=60) as s3:
        s3warm.get_many(URIS[:10])
        with s3warm.deadline(0, 0):
            assert len(s3warm.get_many(URIS[:10])) == 10, "what is fresh needs no time"
            with pytest.raises(OriginUnavailableError, match="no time left") as caught:
                s3warm.get_many(URIS)
            assert caught.value.late
        s3.advance(60)
        with s3warm.deadline(0, 0):
            assert len(s3warm.get_many(URIS[:10])) == 10, "stale copies stand in"
        assert len(s3.requests) == 10


def test_a_deadline_that_comes_while_one_waits_ends_all() -> None:
    """Another thread is at it, and does not come to an end in time."""
    gate, entered = threading.Event(), threading.Barrier(3)
    with fake_s3(BODIES) as s3:

        def hold(_: Request) -> None:
            entered.wait(WAIT)
            assert gate.wait(WAIT)

        s3.before_answer = hold
        others = [threading.Thread(target=s3warm.get, args=(uri,)) for uri in URIS[:2]]
        for other in others:
            other.start()
        entered.wait(WAIT)
        with s3warm.deadline(0.05, 0), pytest.raises(OriginUnavailableError, match="until the deadline"):
            s3warm.get_many(URIS[:2])
        gate.set()
        for other in others:
            other.join(WAIT)


def test_bad_sources_are_refused_before_any_request() -> None:
    with fake_s3(BODIES) as s3:
        all_bad: list[Any] = [URIS[0], None, [URIS[0], None], ("cfg", "00.json"), [URIS[0], "00.json"], [URIS[0], [*URIS[:2]]]]
        for bad in all_bad:
            with pytest.raises((TypeError, ValueError)):
                s3warm.get_many(bad)
        with pytest.raises(ValueError, match="concurrency must be 1 or more"):
            s3warm.get_many(URIS, concurrency=0)
        assert s3.requests == []


def test_objects_that_are_kept_nowhere_are_fetched_each_time() -> None:
    with fake_s3(BODIES, memory_budget=0, disk_budget=0) as s3:
        assert s3warm.get_many(URIS) == s3warm.get_many(URIS) == BODIES
        assert len(s3.requests) == 40


def test_callers_in_many_threads_share_the_requests() -> None:
    """Each object is fetched once, whoever comes first."""
    callers = threading.Barrier(4)
    results: list[dict[str, bytes]] = []
    with fake_s3(BODIES) as s3:

        def call() -> None:
            callers.wait(WAIT)
            results.append(s3warm.get_many(URIS))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert results == [BODIES] * 4
        assert len(s3.requests) == 20


# -- glob ----------------------------------------------------------------------------------------------------------------------

TREE = {
    f"s3://models/{key}": b"x"
    for key in (
        "bert/config.json",
        "bert/shards/1.bin",
        "bert/shards/2.bin",
        "bert/shards/deep/3.bin",
        "bert2/config.json",
        "a",
    )
}


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3(TREE) as fake:
        fake.put("s3://models/bert/shards/", b"")
        yield fake


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("bert/*", ["bert/config.json"]),
        ("bert/**", ["bert/config.json", "bert/shards/1.bin", "bert/shards/2.bin", "bert/shards/deep/3.bin"]),
        ("bert*/config.json", ["bert/config.json", "bert2/config.json"]),
        ("**/config.json", ["bert/config.json", "bert2/config.json"]),
        ("bert/shards/[13].bin", ["bert/shards/1.bin"]),
        ("bert/**/?.bin", ["bert/shards/1.bin", "bert/shards/2.bin", "bert/shards/deep/3.bin"]),
        ("bert/config.json", ["bert/config.json"]),
        ("bert", []),
        ("bert/shards/", []),
        ("gpt/*", []),
        ("a", ["a"]),
        ("*", ["a"]),
    ],
)
def test_what_matches_in_the_order_of_keys(s3: FakeS3, pattern: str, keys: list[str]) -> None:
    assert s3warm.glob(f"s3://models/{pattern}") == [f"s3://models/{key}" for key in keys]
    assert s3warm.default_cache().glob(f"s3://models/{pattern}") == [f"s3://models/{key}" for key in keys]


def test_only_what_is_below_the_prefix_is_listed(s3: FakeS3) -> None:
    s3warm.glob("s3://models/bert/sh*/1.bin")
    assert [request.uri for request in s3.requests] == ["s3://models/bert/sh"]


def test_no_bucket_of_others_is_looked_at(s3: FakeS3) -> None:
    s3["s3://other/bert/config.json"] = b"x"
    assert s3warm.glob("s3://other/**") == ["s3://other/bert/config.json"]


def test_what_may_not_be_listed_names_the_right_that_is_missing(s3: FakeS3) -> None:
    s3.denied.add("s3://models/bert/")
    with pytest.raises(AccessDeniedError, match="the role needs s3:ListBucket on arn:aws:s3:::models"):
        s3warm.glob("s3://models/bert/*")
    assert s3warm.stats().errors == 1


def test_an_outage_is_one(s3: FakeS3) -> None:
    s3.down = True
    with pytest.raises(OriginUnavailableError):
        s3warm.glob("s3://models/*")


def test_without_time_nothing_is_listed(s3: FakeS3) -> None:
    with s3warm.deadline(0, 0), pytest.raises(OriginUnavailableError) as caught:
        s3warm.glob("s3://models/*")
    assert caught.value.late
    assert s3.requests == []


def test_more_matches_than_the_limit_are_an_error_and_as_many_are_none(s3: FakeS3) -> None:
    assert len(s3warm.glob("s3://models/bert/**", limit=4)) == 4
    with pytest.raises(
        ValueError, match=r"pattern 's3://models/bert/\*\*' matches 4 objects, more than the limit of 3; narrow it, or raise"
    ):
        s3warm.glob("s3://models/bert/**", limit=3)
    assert len(s3warm.glob("s3://models/bert/*", limit=1)) == 1, "what does not match does not count"


def test_a_thousand_are_the_limit_without_being_told_otherwise() -> None:
    with fake_s3({f"s3://b/{number:04}": b"" for number in range(1001)}):
        assert len(s3warm.glob("s3://b/0*")) == 1000
        with pytest.raises(ValueError, match="matches 1,001 objects, more than the limit of 1,000"):
            s3warm.glob("s3://b/*")
        assert len(s3warm.glob("s3://b/*", limit=2000)) == 1001, "over several pages"


def test_the_listing_is_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3warm.bulk.LISTED", 50)
    with fake_s3({f"s3://b/x/{number:03}": b"" for number in range(60)}) as s3:
        with pytest.raises(
            ValueError, match="more than 50 keys begin with 'x/', the part before the first wildcard; make that part longer"
        ):
            s3warm.glob("s3://b/x/*7", limit=10)
        assert len(s3warm.glob("s3://b/x/*7", limit=60)) == 6, "who wants more is given more"
        assert len(s3warm.glob("s3://b/x/00*", limit=10)) == 10
        assert len(s3.requests) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((None,), TypeError), (("models/*",), ValueError), (("s3://mod*/a",), ValueError), (("s3://models/*", 0), TypeError)],
)
def test_bad_patterns_are_refused_before_any_request(s3: FakeS3, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        s3warm.glob(*arguments)
    assert s3.requests == []


def test_a_uri_that_glob_gives_is_one_that_get_takes() -> None:
    odd = ["s3://b/a b", "s3://b/a%20b", "s3://b/a+b", "s3://b/é", "s3://b//x", "s3://b/../y", "s3://b/[1]"]
    with fake_s3({uri: uri.encode() for uri in odd}):
        found = s3warm.glob("s3://b/**")
        assert sorted(found) == sorted(odd)
        assert s3warm.get_many(found) == {uri: uri.encode() for uri in odd}
        assert s3warm.glob("s3://b/[[]1]") == ["s3://b/[1]"]


def test_the_age_that_is_accepted_is_that_of_the_call() -> None:
    with fake_s3(BODIES, ttl=3600) as s3:
        s3warm.get_many(URIS)
        s3.advance(50)
        asked = len(s3.requests)
        assert s3warm.get_many(URIS, ttl=60) == BODIES
        assert len(s3.requests) == asked
        assert s3warm.get_many(URIS, ttl=40) == BODIES
        assert [request.status for request in s3.requests[asked:]] == [304] * len(URIS)
        with pytest.raises(ValueError, match="ttl of get_many must be seconds"):
            s3warm.get_many(URIS, ttl=-1)
