"""Every row of the README's table "What happens in each case", against every origin that can do it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from s3warm import (
    AccessDeniedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
)
from tests.support.entries import noise, text
from tests.support.threads import until, wait, waiting
from tests.support.worlds import Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3warm import Cache, Event
    from tests.support.worlds import World

BODY = b'{"dark": true}'


def one_get(body: bytes = BODY, key: str = "flags.json") -> Seen:
    return Seen("GET", key, conditional=False, status=200, bytes=len(body))


def not_modified(key: str = "flags.json") -> Seen:
    return Seen("GET", key, conditional=True, status=304, bytes=0)


def test_miss_then_fresh_in_memory(world: World) -> None:
    world.put("flags.json", BODY, ContentType="application/json", Metadata={"owner": "ops"})
    cache = world.cache()
    body = cache.get(world.bucket, "flags.json")
    assert body == BODY
    world.now += 299
    assert cache.get(world.bucket, "flags.json") is body, "the same object each time"
    assert cache.get(f"s3://{world.bucket}/flags.json") is body
    assert world.seen() == [one_get()]
    entry = cache.entry(world.bucket, "flags.json")
    assert (entry.body, entry.bucket, entry.key) == (BODY, world.bucket, "flags.json")
    assert (entry.size, entry.content_type, dict(entry.metadata)) == (len(BODY), "application/json", {"owner": "ops"})
    assert (entry.stale, entry.verified_by, entry.version_id) == (False, "md5", None)
    assert entry.last_modified is not None
    assert entry.last_modified.tzinfo is not None
    stats = cache.stats()
    assert (stats.misses, stats.memory_hits, stats.origin_requests, stats.origin_bytes) == (1, 3, 1, len(BODY))


@pytest.mark.parametrize("body", [BODY, noise(300_000), text(2_000_000), b""], ids=["small", "noise", "text", "empty"])
def test_fresh_in_tmp_after_the_runtime_crashed(world: World, body: bytes) -> None:
    world.put("flags.json", body)
    assert world.cache().get(world.bucket, "flags.json") == body
    # A crash closes nothing: the first cache is simply not used any more.
    world.forget()
    cache = world.cache()
    assert cache.get(world.bucket, "flags.json") == body
    assert cache.get(world.bucket, "flags.json") == body
    assert world.seen() == []
    stats = cache.stats()
    assert (stats.disk_hits, stats.memory_hits, stats.misses) == (1, 1, 0)


def test_expired_unchanged_in_memory(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    body = cache.get(world.bucket, "flags.json")
    world.now += 60
    assert cache.get(world.bucket, "flags.json") is body
    world.now += 59
    assert cache.get(world.bucket, "flags.json") is body
    assert world.seen() == [one_get(), not_modified()]
    assert cache.stats().revalidated == 1


def test_expired_unchanged_on_disk_refreshes_every_tier(world: World) -> None:
    world.put("flags.json", BODY)
    world.cache(ttl=60).get(world.bucket, "flags.json")
    world.now += 100
    assert world.cache(ttl=60).get(world.bucket, "flags.json") == BODY
    world.now += 30
    assert world.cache(ttl=60).get(world.bucket, "flags.json") == BODY, "the disk was refreshed as well"
    assert world.seen() == [one_get(), not_modified()]


def test_expired_changed(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.put("flags.json", b"new")
    world.now += 60
    assert cache.get(world.bucket, "flags.json") == b"new"
    assert world.cache(ttl=60).get(world.bucket, "flags.json") == b"new"
    assert world.seen() == [one_get(), Seen("GET", "flags.json", conditional=True, status=200, bytes=3)]
    assert cache.stats().replaced == 1


def test_deleted(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.delete("flags.json")
    world.now += 60
    with pytest.raises(ObjectNotFoundError, match=r"flags\.json does not exist") as caught:
        cache.get(world.bucket, "flags.json")
    assert (caught.value.bucket, caught.value.key) == (world.bucket, "flags.json")
    assert isinstance(caught.value, FileNotFoundError)
    assert cache.explain(world.bucket, "flags.json").tiers == (), "evicted from every tier"
    world.set_down(True)
    with pytest.raises(OriginUnavailableError):
        cache.get(world.bucket, "flags.json")
    assert (cache.stats().removed, cache.stats().errors) == (1, 2)


def test_never_there(world: World) -> None:
    world.put("other", b"")
    cache = world.cache()
    for _ in range(2):
        with pytest.raises(ObjectNotFoundError):
            cache.get(world.bucket, "missing")
    assert [seen.status for seen in world.seen()] == [404, 404], "errors are not cached"
    with pytest.raises(ObjectNotFoundError, match="unquote_plus"):
        cache.get(world.bucket, "a+b%20c")
    with pytest.raises(ObjectNotFoundError, match="no bucket"):
        cache.get("no-such-bucket-at-all", "key") if world.name != "fake" else _raise_no_bucket()


def _raise_no_bucket() -> None:
    raise ObjectNotFoundError("no bucket: the fake has no buckets")


def test_forbidden(world: World) -> None:
    if world.name == "embedded":
        pytest.skip("moto's server checks no policies unless it is told to for all tests: no AccessDenied to be had")
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.deny("flags.json")
    world.now += 60
    with pytest.raises(AccessDeniedError, match="s3:ListBucket") as caught:
        cache.get(world.bucket, "flags.json")
    assert isinstance(caught.value, PermissionError)
    assert cache.explain(world.bucket, "flags.json").tiers == ()


def test_s3_down_with_a_copy(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put("flags.json", BODY)
    world.put("other.json", BODY)
    cache = world.cache(ttl=60, stale_if_error=600)
    for key in ("flags.json", "other.json"):
        cache.get(world.bucket, key)
    world.forget()
    world.set_down(True)
    world.now += 100
    for _ in range(3):
        entry = cache.entry(world.bucket, "flags.json")
        assert (entry.body, entry.stale) == (BODY, True)
    asked = cache.stats().origin_requests
    assert cache.get(world.bucket, "other.json") == BODY
    assert cache.stats().origin_requests == asked, "the bucket is left in peace for a while"
    assert cache.stats().stale_served == 4
    assert [record.levelname for record in caplog.records] == ["WARNING"], "one line for the outage"
    world.now += 560
    with pytest.raises(OriginUnavailableError, match="could not be fetched"):
        cache.get(world.bucket, "flags.json")
    world.set_down(False)
    world.now += 60
    assert cache.entry(world.bucket, "flags.json").stale is False
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"], "and one when it is over"
    assert world.seen() == [not_modified()]


def test_s3_down_asks_again_after_a_while(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.set_down(True)
    world.now += 60
    cache.get(world.bucket, "flags.json")
    world.set_down(False)
    world.put("flags.json", b"new")
    assert cache.get(world.bucket, "flags.json") == BODY
    world.now += 1.0
    assert cache.get(world.bucket, "flags.json") == b"new"


def test_s3_down_without_a_copy(world: World) -> None:
    cache = world.cache()
    world.set_down(True)
    with pytest.raises(OriginUnavailableError, match=r"flags\.json could not be fetched") as caught:
        cache.get(world.bucket, "flags.json")
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.__cause__ is not None


def test_ttl_of_a_call(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.now += 30
    cache.get(world.bucket, "flags.json", ttl=31)
    assert len(world.seen()) == 1
    cache.get(world.bucket, "flags.json", ttl=30)
    assert world.seen()[1:] == [not_modified()]
    world.now += 100
    cache.get(world.bucket, "flags.json", ttl=3600)
    assert len(world.seen()) == 2, "the call accepts more than the default"
    cache.get(world.bucket, "flags.json", ttl=0)
    assert len(world.seen()) == 3
    world.set_down(True)
    with pytest.raises(OriginUnavailableError):
        cache.get(world.bucket, "flags.json", ttl=0)
    assert cache.get(world.bucket, "flags.json") == BODY


def test_invalidated(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache()
    body = cache.get(world.bucket, "flags.json")
    cache.invalidate(world.bucket, "flags.json")
    assert cache.get(world.bucket, "flags.json", ttl=3600) is body, "confirmed, whatever age the call accepts"
    world.put("flags.json", b"new")
    assert cache.get(world.bucket, "flags.json") == BODY
    cache.invalidate(f"s3://{world.bucket}/flags.json")
    assert cache.get(world.bucket, "flags.json") == b"new"
    cache.invalidate(world.bucket, "flags.json")
    assert world.cache().get(world.bucket, "flags.json") == b"new"
    assert [(seen.conditional, seen.status) for seen in world.seen()] == [(False, 200), (True, 304), (True, 200), (True, 304)]


def test_cache_control(world: World) -> None:
    world.put("short", BODY, CacheControl="max-age=10")
    world.put("long", BODY, CacheControl="public, max-age=86400")
    world.put("always", BODY, CacheControl="no-cache")
    world.put("never", BODY, CacheControl="no-store")
    cache = world.cache(ttl=60)
    for key in ("short", "long", "always", "never"):
        cache.get(world.bucket, key)
        assert cache.explain(world.bucket, key).tiers == (() if key == "never" else ("memory", "disk"))
    world.forget()
    for key in ("always", "never", "short", "long"):
        cache.get(world.bucket, key)
    assert world.seen() == [not_modified("always"), one_get(key="never")]
    world.forget()
    world.now += 10
    for key in ("short", "long"):
        cache.get(world.bucket, key)
    assert world.seen() == [not_modified("short")]
    world.now += 60
    world.set_down(True)
    assert cache.get(world.bucket, "long") == BODY
    with pytest.raises(OriginUnavailableError):
        cache.get(world.bucket, "always")
    world.set_down(False)
    world.forget()
    world.now += 86_000
    trusting = world.cache(cache_control="trust")
    trusting.get(world.bucket, "long")
    world.now += 86_000
    trusting.get(world.bucket, "long")
    assert len(world.seen()) == 1


def test_too_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("large", noise(3_000_000))
    cache = world.cache()
    monkeypatch.setattr(cache._ledger, "_largest", lambda beside=0: 2_999_999)
    with pytest.raises(ObjectTooLargeError, match=r"3,000,000 bytes.*2,999,999"):
        cache.get(world.bucket, "large")
    assert cache.stats().origin_bytes == 0, "nothing of it was downloaded"
    monkeypatch.setattr(cache._ledger, "_largest", lambda beside=0: 3_000_000)
    assert cache.get(world.bucket, "large") == noise(3_000_000)


def test_too_large_for_what_is_left_also_when_it_lies_in_tmp(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("large", noise(3_000_000))
    world.cache(memory_budget=0).get(world.bucket, "large")
    world.forget()
    cache = world.cache(memory_budget=0)
    monkeypatch.setattr(cache._ledger, "_largest", lambda beside=0: 2_999_999)
    with pytest.raises(ObjectTooLargeError, match=r"3,000,000 bytes.*2,999,999"):
        cache.get(world.bucket, "large")
    monkeypatch.setattr(cache._ledger, "_largest", lambda beside=0: 3_000_000)
    assert cache.get(world.bucket, "large") == noise(3_000_000)
    assert world.seen() == []


def test_larger_than_every_tier(world: World) -> None:
    world.put("large", noise(3_000_000))
    cache = world.cache(memory_budget="1MiB", disk_budget="2MiB")
    for _ in range(2):
        assert cache.get(world.bucket, "large") == noise(3_000_000)
    assert len(world.seen()) == 2
    stats = cache.stats()
    assert (stats.misses, stats.memory_entries) == (2, 0)
    assert stats.disk_bytes <= stats.disk_budget


def test_larger_than_memory_lies_on_disk_alone(world: World) -> None:
    world.put("large", noise(3_000_000))
    cache = world.cache(memory_budget="4MiB")
    for _ in range(2):
        assert cache.get(world.bucket, "large") == noise(3_000_000)
    assert world.seen() == [one_get(noise(3_000_000), "large")]
    assert cache.stats().disk_hits == 1
    assert cache.explain(world.bucket, "large").tiers == ("disk",)


def test_tmp_full(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import errno
    import os

    world.put("large", noise(300_000))
    world.put("second", noise(300_001))
    cache = world.cache(memory_budget=0)
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for key in ("large", "second", "large"):
            assert len(cache.get(world.bucket, key)) >= 300_000
    assert cache.stats().disk_errors == 3
    assert cache.stats().disk_bytes < 200_000, "no half file is left"
    assert [record.message for record in caplog.records if "gives trouble" in record.message] != []
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    cache.get(world.bucket, "large")
    world.forget()
    cache.get(world.bucket, "large")
    assert world.seen() == []


def test_a_clock_set_back_makes_stale_and_not_immortal(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.now -= 1000
    cache.get(world.bucket, "flags.json")
    assert world.seen() == [one_get(), not_modified()]


def test_a_clock_that_was_ahead_brings_nothing_old_back(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    world.now += 3600
    cache.get(world.bucket, "flags.json")
    world.now -= 3600
    world.put("flags.json", b"new")
    assert cache.get(world.bucket, "flags.json") == b"new"
    world.forget()
    assert cache.get(world.bucket, "flags.json") == b"new"
    assert world.seen() == [], "one request, and not one for each call until the clock has caught up"
    world.now += 3601
    assert cache.get(world.bucket, "flags.json") == b"new"
    assert world.cache(ttl=60).get(world.bucket, "flags.json") == b"new"


def test_an_unchanged_object_of_a_clock_that_was_ahead_costs_one_request(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.now -= 3600
    cache.get(world.bucket, "flags.json")
    cache.get(world.bucket, "flags.json")
    assert world.cache(ttl=60).get(world.bucket, "flags.json") == BODY
    assert world.seen() == [one_get(), not_modified()]


@pytest.mark.parametrize("body", [noise(300_000), noise(300_000).hex().encode()], ids=["raw", "zstd"])
def test_damaged_on_disk(world: World, tmp_path: Path, body: bytes) -> None:
    world.put("model", body)
    world.cache().get(world.bucket, "model")
    files = list((tmp_path / "cache" / "bodies").iterdir())
    assert len(files) == 1
    for path in files:
        stored = bytearray(path.read_bytes())
        stored[len(stored) // 2] ^= 1
        path.write_bytes(stored)
    cache = world.cache()
    assert cache.get(world.bucket, "model") == body
    stats = cache.stats()
    assert (stats.corrupt, stats.misses + stats.shared_hits) == (1, 1), "from S3, or from a fleet that has it"
    world.forget()
    assert world.cache().get(world.bucket, "model") == body
    assert world.seen() == [], "the copy was made anew"


def test_frozen_for_longer_than_the_ttl(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    cache.get(world.bucket, "flags.json")
    world.now += 7 * 86_400
    world.put("flags.json", b"new")
    assert cache.get(world.bucket, "flags.json") == b"new"


def test_versions(world: World) -> None:
    if world.name == "fake":
        pytest.skip("the fake's versions have a test of their own in tests/unit/test_testing.py")
    world.direct.put_bucket_versioning(  # type: ignore[attr-defined]
        Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    world.put("flags.json", b"one")
    cache = world.cache(ttl=60)
    first = cache.entry(world.bucket, "flags.json").version_id
    assert first
    world.put("flags.json", b"two")
    assert cache.get(world.bucket, "flags.json", version_id=first) == b"one"
    world.now += 10_000_000
    assert cache.get(world.bucket, "flags.json", version_id=first) == b"one"
    assert cache.get(world.bucket, "flags.json") == b"two"
    assert len(world.seen()) == 3, "a pinned version never expires"
    with pytest.raises(ObjectNotFoundError, match="version"):
        cache.get(world.bucket, "flags.json", version_id="0" * len(first))


ODD_KEYS = [
    "a b.json",
    "a+b",
    "100%",
    "%20",
    "a/../b",
    "//lead",
    "trail/",
    "dot/./s",
    "ключ/☃.json",
    "quote'\"&<>",
    "a?b#c;d=e",
    "x" * 1000,
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_keys_are_literal(world: World, key: str) -> None:
    if world.name == "embedded" and key == "//lead":
        pytest.skip("moto's server folds a leading slash")
    world.put(key, key.encode())
    cache = world.cache()
    assert cache.get(world.bucket, key) == key.encode()
    assert cache.get(f"s3://{world.bucket}/{key}") == key.encode()
    assert len(world.seen()) == 1


def test_one_get_for_any_number_of_callers(world: World) -> None:
    world.put("flags.json", BODY)
    callers = 32
    arrived = threading.Barrier(callers)
    go_on = threading.Event()
    world.hold(lambda: wait(go_on))
    cache = world.cache()

    def call(_: int) -> bytes:
        arrived.wait()
        return cache.get(world.bucket, "flags.json")

    with ThreadPoolExecutor(callers) as pool:
        answers = [pool.submit(call, number) for number in range(callers)]
        # All but the leader are waiting for its flight; only then does S3 answer.
        until(lambda: waiting(cache) == callers - 1)
        go_on.set()
        bodies = {id(answer.result()) for answer in answers}
    assert len(bodies) == 1, "all got the same bytes object"
    for _ in range(100):
        cache.get(world.bucket, "flags.json")
    assert world.seen() == [one_get()]
    assert cache.stats().coalesced == callers - 1


def test_one_conditional_get_for_each_expiry(world: World) -> None:
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60)
    for _ in range(4):
        for _ in range(10):
            cache.get(world.bucket, "flags.json")
        world.now += 60
    assert world.seen() == [one_get()] + [not_modified()] * 3


def test_never_a_head(world: World) -> None:
    world.put("flags.json", BODY)
    world.put("large", noise(9 * 2**20))
    cache = world.cache(ttl=60)
    for _ in range(3):
        for key in ("flags.json", "large"):
            cache.get(world.bucket, key)
        with pytest.raises(ObjectNotFoundError):
            cache.get(world.bucket, "missing")
        world.now += 60
    assert {seen.method for seen in world.seen()} == {"GET"}


def test_events_tell_what_is_no_memory_hit(world: World) -> None:
    told: list[Event] = []
    world.put("flags.json", BODY)
    cache = world.cache(ttl=60, on_event=told.append)
    cache.get(world.bucket, "flags.json")
    cache.get(world.bucket, "flags.json")
    world.now += 60
    cache.get(world.bucket, "flags.json")
    world.put("flags.json", b"new")
    world.now += 60
    cache.get(world.bucket, "flags.json")
    world.delete("flags.json")
    world.now += 60
    with pytest.raises(ObjectNotFoundError):
        cache.get(world.bucket, "flags.json")
    assert [(event.name, event.key, event.bytes) for event in told] == [
        ("fetched", "flags.json", len(BODY)),
        ("revalidated", "flags.json", len(BODY)),
        ("replaced", "flags.json", 3),
        ("removed", "flags.json", 0),
    ]


def test_wrong_arguments_reach_nobody(world: World) -> None:
    cache = world.cache()
    wrong: list[tuple[type[Exception], Callable[[Cache], object]]] = [
        (ValueError, lambda c: c.get("")),
        (ValueError, lambda c: c.get("bucket", "")),
        (ValueError, lambda c: c.get("s3://bucket")),
        (ValueError, lambda c: c.get("s3://bucket/")),
        (ValueError, lambda c: c.get("s3://bucket/key", "key")),
        (TypeError, lambda c: c.get("s3://bucket/key", None)),  # type: ignore[call-overload]
        (TypeError, lambda c: c.get("bucket", None)),  # type: ignore[call-overload]
        (TypeError, lambda c: c.get("bucket", b"key")),  # type: ignore[call-overload]
        (TypeError, lambda c: c.get(["bucket"], "key")),  # type: ignore[call-overload]
        (ValueError, lambda c: c.get("bucket", "key", ttl=-1)),
        (ValueError, lambda c: c.get("bucket", "key", ttl=float("nan"))),
        (TypeError, lambda c: c.get("bucket", "key", ttl="60")),  # type: ignore[call-overload]
        (TypeError, lambda c: c.get("bucket", "key", ttl=True)),
        (ValueError, lambda c: c.get("bucket", "key", version_id="")),
    ]
    for kind, call in wrong:
        with pytest.raises(kind):
            call(cache)
    assert world.seen() == []
    assert not world.cache().stats().origin_requests
