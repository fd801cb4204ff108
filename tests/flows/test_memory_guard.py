"""The memory of a handler that grows: the cache makes room for it, whatever it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import s3warm
from s3warm import machine
from s3warm.testing import FakeS3, fake_s3

MIB = 2**20
LIMIT = 512 * MIB


class Handler:
    """What the process holds beside the cache, which is what the test says."""

    grown = 40 * MIB

    def anonymous(self) -> int:
        return self.grown + s3warm.stats().memory_bytes


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Handler:
    handler = Handler()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", str(LIMIT // MIB))
    monkeypatch.setattr(machine, "anonymous_memory", handler.anonymous)
    return handler


@pytest.fixture
def s3(handler: Handler) -> Iterator[FakeS3]:
    with fake_s3({f"s3://bucket/{number}": bytes(MIB) for number in range(100)}, ttl=3600, memory_budget="128MiB") as s3:
        for number in range(100):
            s3warm.get("bucket", str(number))
        yield s3


def entries() -> int:
    return s3warm.stats().memory_entries


def test_a_handler_that_only_hits_makes_room_within_a_second(handler: Handler, s3: FakeS3) -> None:
    handler.grown = 440 * MIB
    for _ in range(1000):
        assert s3warm.get("bucket", "7") == bytes(MIB)
    assert entries() == 100  # the hit path looks at nothing
    s3.advance(1)
    assert s3warm.get("bucket", "7") == bytes(MIB)
    assert 25 < entries() < 40
    assert len(s3.requests) == 100


def opened() -> bytes:
    with s3warm.open("bucket", "7") as file:
        return file.read()


@pytest.mark.parametrize("way", ["s3warm.get", "cache.get", "entry", "get with ttl", "path", "open", "get_many"])
def test_every_kind_of_hit_looks_once_a_second(handler: Handler, s3: FakeS3, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    cache = s3warm.default_cache()
    hits: dict[str, Callable[[], bytes]] = {
        "s3warm.get": lambda: s3warm.get("bucket", "7"),
        "cache.get": lambda: cache.get("bucket", "7"),
        "entry": lambda: cache.entry("bucket", "7").body,
        "get with ttl": lambda: cache.get("bucket", "7", ttl=1000),
        "path": lambda: s3warm.path("bucket", "7").read_bytes(),
        "open": opened,
        "get_many": lambda: s3warm.get_many([("bucket", "7")])["bucket", "7"],
    }
    hit = hits[way]
    looks: list[float] = []
    monkeypatch.setattr(cache._ledger, "_balance", lambda need, now: looks.append(now))
    s3.advance(0.5)  # of a fresh start
    hit()
    looks.clear()
    for _ in range(40):
        s3.advance(0.1)
        hit()
        hit()
    assert 3 <= len(looks) <= 5
    stats = s3warm.stats()
    assert stats.memory_hits + stats.disk_hits >= 80


def test_the_first_hit_of_a_second_that_evicts_its_own_object_answers_all_the_same(handler: Handler, s3: FakeS3) -> None:
    handler.grown = LIMIT
    s3.advance(1)
    assert s3warm.get("bucket", "7") == bytes(MIB)
    assert entries() == 0
    assert s3warm.get("bucket", "7") == bytes(MIB)  # from /tmp
    assert len(s3.requests) == 100


def test_hits_do_not_outlive_their_ttl_by_looking(handler: Handler, s3: FakeS3) -> None:
    s3["s3://bucket/7"] = b"new"
    for _ in range(3599):
        s3.advance(1)
        s3warm.get("bucket", "7")
    s3.advance(1)
    assert s3warm.get("bucket", "7") == b"new"


def test_what_the_cache_gave_up_it_takes_again(handler: Handler, s3: FakeS3) -> None:
    handler.grown = 440 * MIB
    s3.advance(1)
    s3warm.get("bucket", "7")
    assert entries() < 40
    handler.grown = 40 * MIB
    s3.advance(700)  # the peak is forgotten
    for number in range(100):
        s3warm.get("bucket", str(number))
    assert entries() == 100


def test_a_body_is_refused_for_what_is_left_and_not_for_what_the_cache_holds(handler: Handler, s3: FakeS3) -> None:
    handler.grown = LIMIT - 80 * MIB
    s3["s3://bucket/large"] = bytes(59 * MIB)
    s3["s3://bucket/larger"] = bytes(61 * MIB)
    assert len(s3warm.get("bucket", "large")) == 59 * MIB
    with pytest.raises(s3warm.ObjectTooLargeError, match=r"the function has [\d,]+ \(60\.0 MiB\) left"):
        s3warm.get("bucket", "larger")
    assert s3warm.get("bucket", "8") == bytes(MIB)
