"""What is not asked again at once: an object in an outage, one that does not exist, and one that another is asking for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from s3warm import Event, ObjectNotFoundError, OriginUnavailableError, Settings, revalidation
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
        s3.advance(0.5)
        with pytest.raises(OriginUnavailableError):
            ask(cache, URI)
        assert len(s3.tried) == 3, "the second was over"
        s3.advance(1.999)
        with pytest.raises(OriginUnavailableError):
            ask(cache, URI)
        assert len(s3.tried) == 3, "after the second pause's failure: two seconds"
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


@pytest.mark.parametrize("answer", ["404", "403"])
def test_any_answer_ends_an_outage(s3: Counting, answer: str) -> None:
    with FakeCache(s3) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        s3.down = False
        if answer == "403":
            s3.denied.add(OTHER)
        with pytest.raises(OSError, match="does not exist" if answer == "404" else "denied"):
            cache.get("s3://cfg/new" if answer == "404" else OTHER)
        assert cache.get(URI) == b"{}"


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


def test_many_objects_that_fail_at_once_are_one_failure(s3: Counting) -> None:
    """A preload in a short outage must not keep the handler from S3 for half a minute."""
    uris = [f"s3://cfg/{number}" for number in range(10)]
    for uri in uris:
        s3[uri] = b"body"
    with FakeCache(s3) as cache:
        s3.down = True
        assert len(cache.preload(*uris).failed) == 10
        s3.down = False
        s3.advance(1)
        assert cache.get(uris[0]) == b"body"


@pytest.mark.parametrize("how", ["invalidate", "clear", "suspend"])
def test_what_is_to_be_forgotten_is_asked_for(s3: Counting, how: str) -> None:
    with FakeCache(s3) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        s3.down = False
        getattr(cache, how)(*((URI,) if how == "invalidate" else ()))
        assert cache.get(URI) == b"{}"


@pytest.mark.parametrize("disabled", [False, True])
def test_with_a_ttl_of_0_each_call_asks(s3: Counting, monkeypatch: pytest.MonkeyPatch, disabled: bool) -> None:
    """Disabled it is for incidents: nothing is remembered, whatever the settings say."""
    settings = Settings(ttl=0)
    if disabled:
        monkeypatch.setenv("S3WARM_DISABLED", "1")
        settings = Settings(negative_ttl=60, stale_while_revalidate=60)
    with FakeCache(s3, settings) as cache:
        s3.down = True
        for _ in range(2):
            with pytest.raises(OriginUnavailableError):
                cache.get(URI)
        assert s3.tried == [URI] * 2
        s3.down = False
        assert cache.get(URI) == b"{}"
        with pytest.raises(ObjectNotFoundError):
            cache.get("s3://cfg/new")
        s3["s3://cfg/new"] = b"new"
        assert cache.get("s3://cfg/new") == b"new"


def test_a_stream_keeps_to_its_ttl(s3: Counting) -> None:
    with FakeCache(s3, disk_budget=0) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            opened(cache, URI)
        s3.down = False
        with pytest.raises(OriginUnavailableError, match="ttl=0 asks all the same"):
            opened(cache, URI)
        with cache.open(URI, ttl=0) as file:
            assert file.read() == b"{}"


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


def test_nothing_of_the_failed_call_is_kept_with_its_error(s3: Counting) -> None:
    """The frames of a traceback hold bodies."""
    with FakeCache(s3) as cache:
        s3.down = True
        with pytest.raises(OriginUnavailableError) as caught:
            cache.get(URI)
        (kept,) = cache._revalidation._watch._errors.values()
        assert kept is not caught.value
        assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)


def test_what_is_remembered_of_another_bucket_stays(s3: Counting) -> None:
    s3["s3://other/flags.json"] = b"{}"
    with FakeCache(s3) as cache:
        s3.down = True
        for uri in (URI, "s3://other/flags.json"):
            with pytest.raises(OriginUnavailableError):
                cache.get(uri)
        s3.down = False
        assert cache.get("s3://other/flags.json", ttl=0) == b"{}"
        s3.tried.clear()
        with pytest.raises(OriginUnavailableError, match="left in peace"):
            cache.get(URI)
        assert s3.tried == []


def test_explain_says_why_it_is_not_asked_for(s3: Counting) -> None:
    with FakeCache(s3) as cache:
        assert cache.explain(URI).refusal is None
        s3.down = True
        with pytest.raises(OriginUnavailableError):
            cache.get(URI)
        assert "S3 is left in peace for another 1.0 s" in str(cache.explain(URI))


def test_explain_says_that_a_stale_copy_is_not_revalidated_for_now(s3: Counting) -> None:
    with FakeCache(s3, ttl=60) as cache:
        cache.get(URI)
        s3.advance(60)
        s3.down = True
        assert "the next call revalidates it" in str(cache.explain(URI))
        assert cache.entry(URI).stale
        asked = cache.stats().origin_requests
        assert "S3 failed a moment ago, and is left in peace for another 1.0 s" in str(cache.explain(URI))
        assert cache.entry(URI).stale
        assert cache.stats().origin_requests == asked
        s3.advance(1)
        assert cache.explain(URI).paused == 0
        assert "the next call revalidates it" in str(cache.explain(URI))


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


def test_of_many_that_are_not_there_the_one_known_for_longest_is_forgotten(
    s3: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3warm.absence._MOST", 3)
    with FakeCache(s3, negative_ttl=10, disk_budget=0) as cache:

        def ask(key: str, ttl: int | None = None) -> None:
            with pytest.raises(ObjectNotFoundError):
                cache.get("cfg", key, ttl=ttl)

        for key in "abc":
            ask(key)
        ask("b", ttl=0)  # known anew, and nothing goes for it
        s3.tried.clear()
        for key in "abcdcbda":
            ask(key)
        assert s3.tried == ["s3://cfg/d", "s3://cfg/a"]


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


def test_a_stream_of_what_is_not_there_is_asked_for_once(s3: Counting) -> None:
    with FakeCache(s3, negative_ttl=10, disk_budget=0) as cache:
        for _ in range(3):
            with pytest.raises(ObjectNotFoundError):
                opened(cache, "s3://cfg/new")
        assert s3.tried == ["s3://cfg/new"]
        assert (cache.stats().negative_hits, cache.stats().errors) == (2, 3)


def test_a_404_that_comes_after_the_body_that_was_asked_for_later_is_not_remembered(s3: Counting) -> None:
    uri = "s3://cfg/new"
    with FakeCache(s3, negative_ttl=10) as cache:

        def write_and_remove(_: Request) -> None:
            s3.before_answer = None
            s3[uri] = b"new"
            s3.advance(1)
            assert cache.get(uri, ttl=5) == b"new"
            del s3[uri]

        s3.before_answer = write_and_remove
        with pytest.raises(ObjectNotFoundError):
            cache.get(uri)
        s3[uri] = b"new"
        assert cache.get(uri) == b"new"


def test_a_body_that_was_asked_for_before_a_404_does_not_end_it(s3: Counting) -> None:
    with FakeCache(s3, negative_ttl=10) as cache:

        def remove_and_write(_: Request) -> None:
            s3.before_answer = None
            del s3[URI]
            s3.advance(1)
            with pytest.raises(ObjectNotFoundError):
                cache.get(URI, ttl=5)
            s3[URI] = b"{}"

        s3.before_answer = remove_and_write
        assert cache.get(URI) == b"{}"
        with pytest.raises(ObjectNotFoundError, match="negative_ttl"):
            cache.get(URI)


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
    s3: Counting,
    tmp_path: Path,
    one_second_late: Callable[[], Held],
    monkeypatch: pytest.MonkeyPatch,
    *,
    way: str,
    process: str,
) -> None:
    """Another process is another cache on the directory."""
    monkeypatch.setattr(revalidation, "PATIENCE_WITH_COPY", 3600)  # nobody waits at all
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


@pytest.mark.parametrize("process", ["same", "another"])
@pytest.mark.parametrize("why", ["invalidated", "a snapshot", "ttl=5"])
@pytest.mark.parametrize("way", ["get", "as_file"])
def test_what_the_caller_may_not_have_is_not_served_meanwhile(
    s3: Counting, tmp_path: Path, one_second_late: Callable[[], Held], *, way: str, why: str, process: str
) -> None:
    """An invalidated copy has to be confirmed first, and the age that a call accepts is its TTL."""
    ttl, seconds = (5, 30) if why == "ttl=5" else (None, 300)
    settings = Settings(directory=tmp_path, namespace="x", ttl=300, ttl_jitter=0, stale_while_revalidate=seconds)
    with FakeCache(s3, settings) as one, FakeCache(s3, settings) as other:
        two = one if process == "same" else other
        one.get(URI)
        two.get(URI)
        s3[URI] = b"new"
        held = one_second_late()
        for cache in (one, two):
            if why == "invalidated":
                cache.invalidate(URI)
            elif why == "a snapshot":
                cache.suspend()

        def ask(cache: FakeCache) -> bytes:
            if way == "get":
                return cache.get(URI, ttl=ttl)
            with cache.as_file(URI, ttl=ttl) as path:
                return path.read_bytes()

        leading = held.pool.submit(ask, one)
        assert held.sent.wait(30)
        following = held.pool.submit(ask, two)
        wait([following], 0.1)  # it would not take longer to serve what it may not
        held.go.set()
        assert following.result(30) == b"new"
        assert leading.result(30) == b"new"
        for cache in (one, two):
            assert cache._disk_tier is not None
            assert cache._disk_tier._pins is not None
            assert not cache._disk_tier._pins._held, "no file is in use"


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
