"""What is not asked again at once: an object in an outage, one that does not exist, and one that another is asking for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from s3warm import Event, ObjectNotFoundError, OriginUnavailableError, Settings
from s3warm.origin.base import Request
from s3warm.testing import FakeCache, FakeS3

URI, OTHER = "s3://cfg/flags.json", "s3://cfg/other.json"


class Counting(FakeS3):
    """Counts what was tried, those that failed too."""

    __slots__ = ("tried",)

    def __init__(self) -> None:
        super().__init__({URI: b"{}", OTHER: b"other"})
        self.tried: list[str] = []
        self.before_answer = lambda request: self.tried.append(f"s3://cfg/{request.object.key}")


@pytest.fixture
def s3() -> Counting:
    return Counting()


def opened(cache: FakeCache, uri: str) -> bytes:
    with cache.open(uri) as file:
        return file.read()


WAYS: dict[str, Callable[[FakeCache, str], bytes]] = {
    "get": lambda cache, uri: cache.get(uri),
    "path": lambda cache, uri: cache.path(uri).read_bytes(),
    "open": opened,
}


# -- an outage, and nothing at hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_in_an_outage_an_object_that_failed_is_left_in_peace(s3: Counting, tmp_path: Path, way: str) -> None:
    ask = WAYS[way]
    with FakeCache(s3, directory=tmp_path) as cache:
        s3.down = True
        for _ in range(3):
            with pytest.raises(OriginUnavailableError, match=r"s3://cfg/flags\.json could not be fetched"):
                ask(cache, URI)
        assert s3.tried == [URI]
        s3.advance(0.5)
        with pytest.raises(OriginUnavailableError, match=r"for another 0\.5 s; ttl=0 asks all the same"):
            ask(cache, URI)
        with pytest.raises(OriginUnavailableError):
            cache.get(URI, ttl=0)
        assert s3.tried == [URI] * 2, "who asks for what S3 says now, asks"
        s3.advance(1.999)
        with pytest.raises(OriginUnavailableError):
            ask(cache, URI)
        assert len(s3.tried) == 2, "that was the second failure: two seconds"
        s3.down = False
        s3.advance(0.001)
        assert ask(cache, URI) == b"{}"


def test_an_object_that_has_not_failed_is_asked_for(s3: Counting) -> None:
    with FakeCache(s3) as cache:
        s3.down = True
        for uri in (URI, OTHER, URI, OTHER):
            with pytest.raises(OriginUnavailableError, match=uri.replace(".", r"\.")):
                cache.get(uri)
        assert s3.tried == [URI, OTHER]
        s3.down = False
        assert cache.get("s3://cfg/other.json", ttl=0) == b"other"
        assert cache.get(URI) == b"{}", "S3 has answered: the outage is over for all"


def test_an_earlier_outage_is_forgotten(s3: Counting) -> None:
    with FakeCache(s3) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        s3.down = False
        cache.get(OTHER)
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(OTHER, ttl=0)
        s3.tried.clear()
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        assert s3.tried == [URI], "it has not failed in this one yet"


def test_invalidated_it_is_asked_for(s3: Counting) -> None:
    with FakeCache(s3) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        s3.down = False
        cache.invalidate(URI)
        assert cache.get(URI) == b"{}"


def test_a_clock_that_is_set_back_keeps_nobody_waiting(s3: Counting) -> None:
    with FakeCache(s3) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        s3.down = False
        s3.advance(-1)
        assert cache.get(URI) == b"{}"


def test_what_is_remembered_of_an_outage_is_bounded(s3: Counting) -> None:
    with FakeCache(s3, disk_budget=0) as cache:
        s3.down = True
        for number in range(1100):
            with pytest.raises(OriginUnavailableError):
                cache.get("cfg", str(number))
        assert len(cache._revalidation._watch._errors) == 1024


def test_explain_says_why_it_is_not_asked_for(s3: Counting) -> None:
    with FakeCache(s3) as cache:
        assert cache.explain(URI).refusal is None
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        assert "S3 is left in peace for another 1.0 s" in str(cache.explain(URI))


# -- 404 -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_404_is_asked_for_each_time_unless_it_is_to_be_remembered(s3: Counting, tmp_path: Path, way: str) -> None:
    ask = WAYS[way]
    for negative_ttl, requests in ((0, 3), (10, 1)):
        s3.tried.clear()
        with FakeCache(s3, directory=tmp_path, negative_ttl=negative_ttl) as cache:
            for _ in range(3):
                with pytest.raises(ObjectNotFoundError, match="does not exist; check the key"):
                    ask(cache, "s3://cfg/missing")
            assert len(s3.tried) == requests
            assert cache.stats().negative_hits == 3 - requests
            assert cache.stats().errors == 3


def test_a_404_is_remembered_for_as_long_as_it_may(s3: Counting) -> None:
    with FakeCache(s3, negative_ttl=10) as cache:
        with pytest.raises(ObjectNotFoundError):
            cache.get("s3://cfg/new")
        s3["s3://cfg/new"] = b"new"
        s3.advance(9.9)
        with pytest.raises(ObjectNotFoundError, match=r"S3 said so 9\.9 s ago: negative_ttl"):
            cache.get("s3://cfg/new")
        assert "negative_ttl" in str(cache.explain("s3://cfg/new"))
        s3.advance(0.1)
        assert cache.get("s3://cfg/new") == b"new"


@pytest.mark.parametrize("how", ["ttl=0", "ttl=5", "invalidate", "clear", "clock set back"])
def test_what_ends_it_earlier(s3: Counting, how: str) -> None:
    with FakeCache(s3, negative_ttl=10) as cache:
        with pytest.raises(ObjectNotFoundError):
            cache.get("s3://cfg/new")
        s3["s3://cfg/new"] = b"new"
        s3.advance(-1 if how == "clock set back" else 5)
        if how == "invalidate":
            cache.invalidate("s3://cfg/new")
        if how == "clear":
            cache.clear()
        ttl = {"ttl=0": 0, "ttl=5": 5}.get(how)
        assert cache.get("s3://cfg/new", ttl=ttl) == b"new"
        s3.advance(1)
        assert cache.get("s3://cfg/new") == b"new", "it is not forgotten again"


def test_a_403_is_never_remembered(s3: Counting) -> None:
    with FakeCache(s3, negative_ttl=10) as cache:
        s3.denied.add(URI)
        with pytest.raises(PermissionError):
            cache.get(URI)
        s3.denied.clear()
        assert cache.get(URI) == b"{}"


def test_what_is_invalidated_while_s3_is_asked_is_not_remembered(s3: Counting) -> None:
    with FakeCache(s3, negative_ttl=10) as cache:
        s3.before_answer = lambda _: cache.invalidate("s3://cfg/new")
        with pytest.raises(ObjectNotFoundError):
            cache.get("s3://cfg/new")
        s3.before_answer = None
        s3["s3://cfg/new"] = b"new"
        assert cache.get("s3://cfg/new") == b"new"


# -- stale while revalidate --------------------------------------------------------------------------------------------------


class Held:
    """An S3 whose next answer waits until it is let go."""

    def __init__(self, s3: FakeS3) -> None:
        self.sent, self.go = threading.Event(), threading.Event()
        self.pool = ThreadPoolExecutor(4)

        def hold(_: Request) -> None:
            s3.before_answer = None
            self.sent.set()
            assert self.go.wait(30)

        s3.before_answer = hold


@pytest.fixture
def one_second_late(s3: Counting) -> Iterator[Callable[[], Held]]:
    made: list[Held] = []

    def hold() -> Held:
        s3.advance(61)
        made.append(Held(s3))
        return made[-1]

    yield hold
    for each in made:
        each.go.set()
        each.pool.shutdown()


@pytest.mark.parametrize("process", ["same", "another"])
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_served_while_another_asks(
    s3: Counting, tmp_path: Path, one_second_late: Callable[[], Held], way: str, process: str
) -> None:
    """Another process is another cache on the directory."""
    ask = WAYS[way]
    told: list[Event] = []
    settings = Settings(directory=tmp_path, namespace="x", ttl=60, ttl_jitter=0, stale_while_revalidate=30)
    with FakeCache(s3, settings) as one, FakeCache(s3, settings, on_event=told.append) as other:
        two = one if process == "same" else other
        for cache in (one, two):
            assert ask(cache, URI) == b"{}"
        s3[URI] = b"new"
        held = one_second_late()
        leading = held.pool.submit(ask, one, URI)
        assert held.sent.wait(30)
        before = two.stats()
        assert ask(two, URI) == b"{}"
        after = two.stats() - before
        assert (after.stale_served, after.coalesced, after.origin_requests) == (1, 0, 0)
        assert not leading.done()
        held.go.set()
        assert leading.result(30) == b"new"
        assert ask(two, URI) == b"new"
        assert [event.detail for event in told if event.name == "stale_served"] == (
            [] if process == "same" else ["another is asking S3"]
        )


@pytest.mark.parametrize("why", ["off", "too old", "ttl=0", "no-cache"])
def test_who_has_to_wait(s3: Counting, one_second_late: Callable[[], Held], why: str) -> None:
    if why == "no-cache":
        s3.put(URI, b"{}", cache_control="no-cache")
    seconds = {"off": 0, "too old": 1}.get(why, 30)
    with FakeCache(s3, ttl=60, stale_while_revalidate=seconds) as cache:
        cache.get(URI)
        s3[URI] = b"new"
        held = one_second_late()
        leading = held.pool.submit(cache.get, URI)
        assert held.sent.wait(30)
        ttl = 0 if why == "ttl=0" else None
        following = held.pool.submit(cache.get, URI, ttl=ttl)
        if why != "ttl=0":
            held.go.set()
        assert following.result(30) == b"new"
        held.go.set()
        assert leading.result(30) == b"new"
