"""`put`: what is written is what is read, here at once and elsewhere when the TTL is over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import AccessDeniedError, ObjectNotFoundError, OriginUnavailableError
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.support.entries import noise
from tests.support.threads import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3warm.origin.base import Request, Response, Upload
    from tests.support.worlds import World

URI = "s3://cfg/state.json"


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3({URI: b"old"}, ttl=60) as s3:
        yield s3


# -- at any S3 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 20, 200_000, 5 * 2**20])
def test_a_write_is_read_here_without_a_request_and_elsewhere(world: World, size: int) -> None:
    cache, body = world.cache(), noise(size)
    cache.put(world.bucket, "old", b"before")
    entry = cache.put(
        world.bucket, "a b/+é", body, content_type="text/plain", cache_control="max-age=30", metadata={"Owner": "ops"}
    )
    assert [(seen.method, seen.status) for seen in world.seen()] == [("PUT", 200)] * 2
    world.forget()
    assert cache.get(world.bucket, "a b/+é") == body
    assert world.seen() == []
    assert (entry.size, entry.content_type, dict(entry.metadata), entry.verified_by) == (
        size,
        "text/plain",
        {"owner": "ops"},
        "md5",
    )
    assert cache.explain(world.bucket, "a b/+é").expires_in == pytest.approx(30, abs=4)
    fetched = world.cache(namespace="elsewhere").entry(world.bucket, "a b/+é")
    assert (fetched.body, fetched.etag, fetched.content_type, fetched.metadata) == (
        body,
        entry.etag,
        "text/plain",
        entry.metadata,
    )
    world.forget()
    assert cache.get(world.bucket, "a b/+é", ttl=0) == body
    assert [seen.status for seen in world.seen()] == [304], "its ETag is the one that S3 has"


def test_what_was_held_before_is_replaced_in_each_form(world: World) -> None:
    cache = world.cache()
    world.put("state", b'{"n": 1}')
    assert cache.get(world.bucket, "state", transform="json") == {"n": 1}
    old = cache.path(world.bucket, "state")
    cache.put(world.bucket, "state", b'{"n": 2}')
    world.forget()
    assert cache.get(world.bucket, "state") == b'{"n": 2}'
    assert cache.get(world.bucket, "state", transform="json") == {"n": 2}
    assert cache.path(world.bucket, "state").read_bytes() == b'{"n": 2}'
    assert old.read_bytes() == b'{"n": 1}', "a file that was handed out never changes"
    assert world.seen() == []


def test_a_bucket_that_is_not_there_is_named(world: World) -> None:
    if world.name == "fake":
        pytest.skip("the fake has every bucket")
    with pytest.raises(ObjectNotFoundError, match="there is no bucket 'no-such-bucket-0'"):
        world.cache().put("no-such-bucket-0", "key", b"")


# -- what is kept --------------------------------------------------------------------------------------------------------------


def test_by_one_uri_and_from_other_kinds_of_bytes(s3: FakeS3) -> None:
    s3warm.put(URI, b"1")
    s3warm.put(URI, bytearray(b"2"))
    assert s3warm.put(URI, body=memoryview(b"3")).body == b"3"
    assert (s3[URI], s3warm.get(URI)) == (b"3", b"3")
    assert [request.method for request in s3.requests] == ["PUT"] * 3
    assert s3warm.stats().written == 3


def test_what_may_not_be_kept_is_not(s3: FakeS3, tmp_path: Path) -> None:
    s3warm.get(URI)
    s3warm.put(URI, b"new", cache_control="no-store")
    assert s3warm.explain(URI).tiers == ()
    assert s3warm.get(URI) == b"new"
    with FakeCache(s3, rules={"s3://cfg/": {"disk": False}}, directory=str(tmp_path)) as cache:
        cache.put("cfg", "secret", b"1")
        assert cache.explain("cfg", "secret").tiers == ("memory",)


def test_a_body_too_large_for_memory_lies_on_disk_alone() -> None:
    with fake_s3(memory_budget="64KiB") as s3:
        s3warm.put(URI, b"small")
        s3warm.put(URI, noise(200_000))
        assert s3warm.explain(URI).tiers == ("disk",)
        assert s3warm.get(URI) == noise(200_000)
        assert len(s3.requests) == 2


def test_a_404_that_was_remembered_is_forgotten() -> None:
    with fake_s3(negative_ttl=60) as s3:
        with pytest.raises(ObjectNotFoundError):
            s3warm.get(URI)
        s3warm.put(URI, b"1")
        assert s3warm.get(URI) == b"1"
        assert len(s3.requests) == 2


def test_with_s3warm_disabled_it_only_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    with fake_s3() as s3:
        s3warm.put(URI, b"1")
        assert s3warm.get(URI) == b"1"
        assert [request.method for request in s3.requests] == ["PUT", "GET"]


def test_events_and_counters() -> None:
    events: list[Any] = []
    with fake_s3(on_event=events.append):
        s3warm.put(URI, b"12")
        assert [(event.name, event.bucket, event.key, event.bytes) for event in events] == [("written", "cfg", "state.json", 2)]
        assert (s3warm.stats().origin_requests, s3warm.stats().errors, s3warm.stats().misses) == (1, 0, 0)


# -- what goes wrong -----------------------------------------------------------------------------------------------------------


def test_who_may_not_write_may_go_on_reading(s3: FakeS3) -> None:
    s3warm.get(URI)
    s3.denied.add(URI)
    with pytest.raises(AccessDeniedError, match=r"writing .* is denied; the role needs s3:PutObject on arn:aws:s3:::cfg/state"):
        s3warm.put(URI, b"new")
    assert s3warm.get(URI) == b"old"
    assert (s3[URI], s3warm.stats().errors) == (b"old", 1)


def test_after_a_write_without_an_answer_the_copy_is_revalidated(s3: FakeS3) -> None:
    value = s3warm.get(URI, transform="text")
    s3.down = True
    with pytest.raises(OriginUnavailableError, match=r"s3://cfg/state\.json could not be written"):
        s3warm.put(URI, b"new")
    s3.down = False
    s3.requests.clear()
    assert s3warm.get(URI) == b"old"
    assert s3warm.get(URI, transform="text") is value
    assert [request.status for request in s3.requests] == [304]


def test_nothing_is_written_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_OFFLINE", "1")
    with s3warm.Cache(disk_budget=0) as cache, pytest.raises(OriginUnavailableError, match="S3WARM_OFFLINE"):
        cache.put(URI, b"")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((URI, "text"), {}, ValueError, "takes no second argument"),
        (("cfg", "key", "text"), {}, TypeError, "encode it"),
        (("cfg", "key"), {}, TypeError, "needs a body"),
        (("cfg", "key", None), {}, TypeError, "must be bytes, not NoneType"),
        (("cfg", "key", b""), {"content_type": "a\r\nx: y"}, ValueError, "cannot be sent in a header"),
        (("cfg", "key", b""), {"metadata": {"a b": "c"}}, ValueError, "cannot be sent in a header"),
        (("cfg", "key", b""), {"metadata": {"a": 5}}, ValueError, "cannot be sent in a header"),
        (("cfg", "key", b""), {"metadata": {"a": "é"}}, ValueError, "cannot be sent in a header"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_sent(
    s3: FakeS3, arguments: Any, options: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        s3warm.put(*arguments, **options)
    assert s3.requests == []


# -- races ---------------------------------------------------------------------------------------------------------------------


class Slow(FakeS3):
    """Holds the next GET between S3's answer and its arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.answered, self.go_on = threading.Event(), threading.Event()
        self.slow = False

    def get(self, request: Request) -> Any:
        answer: Response = super().get(request)
        if self.slow:
            self.slow = False
            self.answered.set()
            wait(self.go_on)
        return answer


@pytest.mark.parametrize("disk_budget", [None, 0])
@pytest.mark.parametrize("held", [False, True])
def test_who_was_told_of_the_older_body_does_not_bring_it_back(disk_budget: int | None, held: bool) -> None:
    s3 = Slow()
    s3[URI] = b"old"
    with FakeCache(s3, ttl=60, disk_budget=disk_budget) as cache, ThreadPoolExecutor(1) as pool:
        if held:
            cache.get(URI)
            s3.advance(61)
        s3.slow = True
        reading = pool.submit(cache.get, URI)
        wait(s3.answered)
        s3.advance(1)
        cache.put(URI, b"new")
        s3.go_on.set()
        assert reading.result(30) == b"old", "it asked before the write"
        assert cache.get(URI) == b"new"
        assert cache.get(URI, ttl=0) == b"new"


class SlowToWrite(FakeS3):
    """Holds a PUT before S3 sees it."""

    def __init__(self) -> None:
        super().__init__({URI: b"old"})
        self.inside, self.go_on = threading.Event(), threading.Event()

    def write(self, upload: Upload) -> Any:
        self.inside.set()
        wait(self.go_on)
        self.advance(1)
        return super().write(upload)


def test_who_asks_while_it_is_written_does_not_outlive_it() -> None:
    s3 = SlowToWrite()
    with FakeCache(s3, ttl=60) as cache, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(cache.put, URI, b"new")
        wait(s3.inside)
        s3.advance(1)
        assert cache.get(URI) == b"old", "S3 has not been written to yet"
        s3.go_on.set()
        writing.result(30)
        assert cache.get(URI) == b"new"
        cache._memory.clear()
        assert cache.get(URI) == b"new", "on disk as well"
        assert [request.method for request in s3.requests] == ["GET", "PUT"]


def test_another_process_on_the_directory_reads_it_at_once(tmp_path: Path) -> None:
    s3 = FakeS3({URI: b"old"})
    shared: dict[str, Any] = {"ttl": 60, "directory": str(tmp_path), "namespace": "shared", "memory_budget": 0}
    with FakeCache(s3, **shared) as one, FakeCache(s3, **shared) as two:
        one.get(URI)
        two.put(URI, b"new")
        assert FakeCache(s3, **shared).get(URI) == b"new"
