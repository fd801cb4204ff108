"""Decoded values: once per body, the same object to all, and right whatever happens to the object."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import (
    AccessDeniedError,
    Cache,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    TransformError,
)
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.support.threads import until, wait, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URI = "s3://cfg/flags.json"
BUCKET, KEY = "cfg", "flags.json"


class Counting:
    """A transform that counts its runs, and can be made to fail or to wait."""

    def __init__(self) -> None:
        self.runs: list[bytes] = []
        self.during: Callable[[], object] = lambda: None

    def __call__(self, body: bytes) -> list[bytes]:
        self.runs.append(body)
        self.during()
        if body.startswith(b"bad"):
            raise KeyError(body)
        return [body]


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3({URI: b'{"n": 1}'}, ttl=60) as s3:
        yield s3


def statuses(s3: FakeS3) -> list[int]:
    return [request.status for request in s3.requests]


def pins(cache: Cache) -> list[int]:
    tier: Any = cache._files
    return sorted(tier._pins._held.values()) if tier._pins is not None else []


# -- one value, as long as the object is the same ------------------------------------------------------------------------------


def test_it_is_decoded_once_and_the_same_object_is_given_until_the_object_changes(s3: FakeS3) -> None:
    decode = Counting()
    value = s3warm.get(BUCKET, KEY, transform=decode)
    assert s3warm.get(URI, transform=decode) is value
    s3.advance(61)
    assert s3warm.get(BUCKET, KEY, transform=decode) is value
    assert statuses(s3) == [200, 304]
    s3[URI] = b"new"
    assert s3warm.get(BUCKET, KEY, transform=decode) is value, "still fresh"
    s3.advance(61)
    new = s3warm.get(BUCKET, KEY, transform=decode)
    assert new == [b"new"]
    assert s3warm.get(BUCKET, KEY, transform=decode) is new
    assert decode.runs == [b'{"n": 1}', b"new"]
    assert statuses(s3) == [200, 304, 200]
    assert s3warm.stats().decoded == 2


def test_json_and_text(s3: FakeS3) -> None:
    assert s3warm.get(BUCKET, KEY, transform="json") == {"n": 1}
    assert s3warm.get(BUCKET, KEY, transform="text") == '{"n": 1}'
    s3["s3://cfg/bom"] = "\ufeffä".encode()
    assert s3warm.get("s3://cfg/bom", transform="text") == "ä"
    assert statuses(s3) == [200, 200]


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_json_and_text_undo_gzip_a_function_gets_what_is_stored(s3: FakeS3, encoding: str) -> None:
    packed = gzip.compress(b'["a"]') + gzip.compress(b"  ")
    s3.put("s3://cfg/z", packed, content_encoding=encoding)
    assert s3warm.get("s3://cfg/z", transform="json") == ["a"]
    assert s3warm.get("s3://cfg/z", transform="text") == '["a"]  '
    assert s3warm.get("s3://cfg/z", transform=gzip.decompress) == b'["a"]  '
    assert s3warm.get("s3://cfg/z") == packed


@pytest.mark.parametrize(
    "body", [b"", gzip.compress(b"[1]", mtime=0)[:-9], b"no gzip", gzip.compress(b"[1]", mtime=0) + b"rest"]
)
def test_what_is_no_gzip_though_its_header_says_so_is_an_error(s3: FakeS3, body: bytes) -> None:
    s3.put("s3://cfg/z", body, content_encoding="gzip")
    with pytest.raises(TransformError, match="s3://cfg/z could not be decoded by json: "):
        s3warm.get("s3://cfg/z", transform="json")


def test_a_gzip_that_would_fill_the_memory_is_refused() -> None:
    bomb = gzip.compress(bytes(80 * 2**20))
    with fake_s3() as s3, pytest.MonkeyPatch.context() as patch:
        s3.put("s3://cfg/z", bomb, content_encoding="gzip")
        cache: Any = s3warm.default_cache()
        patch.setattr(cache._decoding, "_largest", lambda: 2**20)
        cache._decoding._ledger = cache._ledger
        with pytest.raises(ObjectTooLargeError, match="s3://cfg/z has"):
            s3warm.get("s3://cfg/z", transform="text")


def test_two_transforms_live_side_by_side_on_one_body_and_one_304(s3: FakeS3) -> None:
    one, two = Counting(), Counting()
    values = [s3warm.get(BUCKET, KEY, transform=each) for each in (one, two)]
    s3.advance(61)
    assert s3warm.get(BUCKET, KEY, transform=one) is values[0]
    assert s3warm.get(BUCKET, KEY, transform=two) is values[1]
    assert s3warm.get(BUCKET, KEY) == b'{"n": 1}'
    assert statuses(s3) == [200, 304], "what one was told holds for all"


def test_of_five_transforms_four_are_kept(s3: FakeS3) -> None:
    decoders = [Counting() for _ in range(5)]
    for decode in decoders:
        s3warm.get(BUCKET, KEY, transform=decode)
    for decode in decoders[1:]:
        s3warm.get(BUCKET, KEY, transform=decode)
    assert [len(decode.runs) for decode in decoders] == [1] * 5
    s3warm.get(BUCKET, KEY, transform=decoders[0])
    assert len(decoders[0].runs) == 2
    assert statuses(s3) == [200]


def test_a_function_made_anew_in_each_call_takes_its_predecessors_place_and_is_complained_of_once(
    s3: FakeS3, caplog: pytest.LogCaptureFixture
) -> None:
    other = Counting()
    s3warm.get(BUCKET, KEY, transform=other)
    values = [s3warm.get(BUCKET, KEY, transform=lambda body: [body]) for _ in range(6)]
    assert len({id(value) for value in values}) == 6
    cache: Any = s3warm.default_cache()
    assert len(cache._memory.values_of(cache._memory._all()[0].object)) == 2
    s3warm.get(BUCKET, KEY, transform=other)
    assert len(other.runs) == 1, "the others are not pushed out by it"
    (record,) = [record for record in caplog.records if record.name == "s3warm"]
    assert record.levelno == logging.WARNING
    assert "is a new function in each call" in record.message
    assert f"{Path(__file__).name}:" in record.message
    assert record.__dict__["s3warm_uri"] == URI


def test_what_is_equal_is_the_same_transform(s3: FakeS3, caplog: pytest.LogCaptureFixture) -> None:
    class Model:
        def parse(self, body: bytes) -> list[bytes]:
            return [body]

    model, another = Model(), Model()
    value = s3warm.get(BUCKET, KEY, transform=model.parse)
    assert s3warm.get(BUCKET, KEY, transform=model.parse) is value, "bound methods are made at each access, and equal"
    assert s3warm.get(BUCKET, KEY, transform=another.parse) is not value
    assert s3warm.get(BUCKET, KEY, transform=model.parse) is value, "side by side: they are of two objects"
    assert not [record for record in caplog.records if record.name == "s3warm"]


# -- what cannot be decoded ----------------------------------------------------------------------------------------------------


def test_a_body_that_cannot_be_decoded_is_an_error_with_its_cause_each_time(s3: FakeS3) -> None:
    s3[URI] = b"bad"
    decode = Counting()
    for _ in range(2):
        with pytest.raises(
            TransformError, match=r"s3://cfg/flags.json could not be decoded by .*Counting.*: KeyError"
        ) as caught:
            s3warm.get(BUCKET, KEY, transform=decode)
        assert isinstance(caught.value.__cause__, KeyError)
        assert (caught.value.bucket, caught.value.key) == (BUCKET, KEY)
        assert "bad" not in str(caught.value), "no message quotes a body"
    assert len(decode.runs) == 2
    assert (s3warm.stats().decode_errors, s3warm.stats().errors) == (2, 2)
    assert statuses(s3) == [200], "the body is there"
    assert s3warm.get(BUCKET, KEY) == b"bad"


def test_a_refresh_that_cannot_be_decoded_keeps_the_value_until_one_can(s3: FakeS3, caplog: pytest.LogCaptureFixture) -> None:
    decode = Counting()
    value = s3warm.get(BUCKET, KEY, transform=decode)
    s3[URI] = b"bad"
    for _ in range(3):
        s3.advance(61)
        assert s3warm.get(BUCKET, KEY, transform=decode) is value
        assert s3warm.get(BUCKET, KEY, transform=decode) is value
    assert statuses(s3) == [200, 200, 304, 304], "the bad body is fetched once, and asked about as any other"
    assert len(decode.runs) == 2, "and tried once"
    s3[URI] = b"bad too"
    s3.advance(61)
    assert s3warm.get(BUCKET, KEY, transform=decode) is value
    assert s3warm.stats().decode_errors == 2
    s3[URI] = b"good"
    s3.advance(61)
    assert s3warm.get(BUCKET, KEY, transform=decode) == [b"good"]
    said = [record.message for record in caplog.records if record.name == "s3warm"]
    assert len(said) == 2
    assert "a value from before" in said[0]
    assert "decoded by" in said[1]
    assert "again" in said[1]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"transform": "yaml"}, ValueError, '"json", "text" or a function'),
        ({"transform": 7}, TypeError, "not int: 7"),
        ({"transform": []}, TypeError, "must be"),
        ({"transform": type("C", (), {"__call__": len, "__hash__": None})()}, TypeError, "has no hash"),
        ({"size_of": len}, TypeError, "size_of measures what a transform makes"),
        ({"transform": "json", "tll": 5}, TypeError, "tll"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    s3: FakeS3, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        s3warm.get(BUCKET, KEY, **options)
    assert statuses(s3) == []


@pytest.mark.parametrize("size", [-1, 1.5, None])
def test_a_size_that_is_none_is_an_error_that_says_so(s3: FakeS3, size: Any) -> None:
    with pytest.raises(TransformError) as caught:
        s3warm.get(BUCKET, KEY, transform="text", size_of=lambda _: size)
    assert "size_of must give a number of bytes" in str(caught.value.__cause__)


# -- memory --------------------------------------------------------------------------------------------------------------------


def test_the_body_leaves_memory_where_only_the_value_is_used(s3: FakeS3) -> None:
    s3.put("s3://cfg/large", json.dumps(["x" * 100_000]).encode())
    value = s3warm.get("s3://cfg/large", transform="json")
    assert s3warm.explain("s3://cfg/large").tiers == ("disk",)
    assert 100_000 < s3warm.stats().memory_bytes < 110_000
    assert s3warm.get("s3://cfg/large")[2:100_002].decode() == value[0]
    assert statuses(s3) == [200], "the disk has it"


def test_explain_tells_what_is_made_of_it(s3: FakeS3) -> None:
    s3warm.get(BUCKET, KEY, transform="text", size_of=len)
    assert s3warm.explain(BUCKET, KEY).values == ("text, 8 bytes",)
    assert "  value     by text, 8 bytes" in str(s3warm.explain(BUCKET, KEY)).splitlines()
    s3warm.clear()
    assert s3warm.explain(BUCKET, KEY).values == ()


def test_it_stays_where_it_is_used_as_well(s3: FakeS3) -> None:
    for _ in range(3):
        s3warm.get(BUCKET, KEY)
    s3warm.get(BUCKET, KEY, transform="json")
    assert s3warm.explain(BUCKET, KEY).tiers == ("memory", "disk")


def test_preloaded_bytes_make_room_for_the_value(s3: FakeS3) -> None:
    assert s3warm.preload(URI).ok
    assert s3warm.explain(BUCKET, KEY).tiers == ("memory", "disk")
    s3warm.get(BUCKET, KEY, transform="json")
    assert s3warm.explain(BUCKET, KEY).tiers == ("disk",)
    assert statuses(s3) == [200]


def test_without_a_disk_the_value_is_all_there_is_and_a_304_is_all_it_needs() -> None:
    with fake_s3({URI: b"[1]"}, ttl=60, disk_budget=0) as s3:
        value = s3warm.get(BUCKET, KEY, transform="json")
        assert s3warm.explain(BUCKET, KEY).tiers == ()
        s3.advance(61)
        assert s3warm.get(BUCKET, KEY, transform="json") is value
        assert [(each.status, each.bytes) for each in s3.requests] == [(200, 3), (304, 0)]


def test_values_are_charged_what_size_of_says_and_evicted_within_the_budget() -> None:
    bodies = {f"s3://cfg/{number:03}": b"%d" % number for number in range(100)}
    with fake_s3(bodies, memory_budget="64KiB", disk_budget=0) as s3:
        for uri in bodies:
            s3warm.get(uri, transform="json", size_of=lambda _: 4096)
            assert s3warm.stats().memory_bytes <= 64 * 1024
        assert 8 <= s3warm.stats().memory_entries <= 16
        assert len(s3.requests) == 100
        assert s3warm.stats().evictions + s3warm.stats().memory_entries <= 100


def test_one_value_that_is_larger_than_the_budget_is_kept_beside_it_until_another_such_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    decode = Counting()
    with fake_s3({"s3://cfg/a": b"a", "s3://cfg/b": b"b"}, memory_budget="64KiB"):

        def get(uri: str) -> object:
            return s3warm.get(uri, transform=decode, size_of=lambda _: 2**20)

        first = get("s3://cfg/a")
        assert get("s3://cfg/a") is first
        get("s3://cfg/b")
        get("s3://cfg/a")
        assert decode.runs == [b"a", b"b", b"a"]
        assert (s3warm.stats().memory_bytes < 64 * 1024, s3warm.stats().evictions) == (True, 2)
        (said,) = [record.message for record in caplog.records if record.name == "s3warm"]
        assert "of s3://cfg/b takes 1,048,576 bytes, more than the memory budget, and so did that of s3://cfg/a" in said
        s3warm.clear()
        get("s3://cfg/a")
        assert decode.runs == [b"a", b"b", b"a", b"a"]


def test_with_s3warm_disabled_each_call_decodes_what_s3_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    decode = Counting()
    with fake_s3({URI: b"1"}) as s3:
        for _ in range(3):
            assert s3warm.get(BUCKET, KEY, transform=decode) == [b"1"]
        assert (len(decode.runs), statuses(s3)) == (3, [200, 200, 200])
        assert s3warm.stats().memory_entries == 0


@pytest.mark.parametrize("headers", [{"cache_control": "no-store"}, {"etag": ""}])
def test_what_may_not_be_kept_is_decoded_each_time(s3: FakeS3, headers: dict[str, str]) -> None:
    decode = Counting()
    s3.put(URI, b"1", **headers)
    for _ in range(2):
        assert s3warm.get(BUCKET, KEY, transform=decode) == [b"1"]
    assert (len(decode.runs), statuses(s3)) == (2, [200, 200])
    assert s3warm.stats().memory_entries == 0


# -- freshness -----------------------------------------------------------------------------------------------------------------


def test_a_call_that_wants_it_now_asks_and_goes_on_with_the_value(s3: FakeS3) -> None:
    value = s3warm.get(BUCKET, KEY, transform="json")
    assert s3warm.get(BUCKET, KEY, transform="json", ttl=0) is value
    assert s3warm.get(BUCKET, KEY, transform="json", ttl=600) is value
    assert statuses(s3) == [200, 304]


@pytest.mark.parametrize("how", ["get", "path"])
def test_who_sees_the_new_object_in_another_form_ends_the_old_value(s3: FakeS3, how: str) -> None:
    s3warm.get(BUCKET, KEY, transform="json")
    s3.advance(1)
    s3[URI] = b'{"n": 2}'
    getattr(s3warm, how)(BUCKET, KEY, ttl=0)
    assert s3warm.get(BUCKET, KEY, transform="json") == {"n": 2}
    assert statuses(s3) == [200, 200]


def test_what_path_was_told_keeps_the_value_fresh(s3: FakeS3) -> None:
    value = s3warm.get(BUCKET, KEY, transform="json")
    s3.advance(61)
    s3warm.path(BUCKET, KEY)
    assert s3warm.get(BUCKET, KEY, transform="json") is value
    assert statuses(s3) == [200, 304]


def test_invalidate_and_clear_end_it(s3: FakeS3) -> None:
    decode = Counting()
    value = s3warm.get(BUCKET, KEY, transform=decode)
    s3warm.invalidate(BUCKET, KEY)
    assert s3warm.get(BUCKET, KEY, transform=decode) is value
    assert statuses(s3) == [200, 304]
    s3warm.clear()
    assert s3warm.get(BUCKET, KEY, transform=decode) is not value
    assert statuses(s3) == [200, 304, 200]


def test_a_value_that_was_invalidated_while_it_was_made_is_given_and_not_kept(s3: FakeS3) -> None:
    decode = Counting()

    def overwrite() -> None:
        s3[URI] = b"new"
        s3warm.invalidate(BUCKET, KEY)

    decode.during = overwrite
    assert s3warm.get(BUCKET, KEY, transform=decode) == [b'{"n": 1}']
    decode.during = lambda: None
    assert s3warm.get(BUCKET, KEY, transform=decode) == [b"new"]


@pytest.mark.parametrize(("how", "error"), [("delete", ObjectNotFoundError), ("deny", AccessDeniedError)])
def test_what_is_gone_or_forbidden_is_never_masked_by_a_value(s3: FakeS3, how: str, error: type[Exception]) -> None:
    s3warm.get(BUCKET, KEY, transform="json")
    if how == "delete":
        del s3[URI]
    else:
        s3.denied.add(URI)
    s3.advance(61)
    for _ in range(2):
        with pytest.raises(error):
            s3warm.get(BUCKET, KEY, transform="json")
    assert s3warm.stats().memory_entries == 0


def test_a_stale_value_stands_in_while_s3_is_down_and_not_for_longer(s3: FakeS3) -> None:
    value = s3warm.get(BUCKET, KEY, transform="json")
    s3.down = True
    s3.advance(61)
    assert s3warm.get(BUCKET, KEY, transform="json") is value
    assert s3warm.stats().stale_served == 1
    with pytest.raises(OriginUnavailableError):
        s3warm.get(BUCKET, KEY, transform="json", ttl=0)
    s3.advance(3600)
    with pytest.raises(OriginUnavailableError):
        s3warm.get(BUCKET, KEY, transform="json")


def test_a_version_is_decoded_by_itself_and_for_good(s3: FakeS3) -> None:
    version = s3.put("s3://cfg/v", b"[1]")
    s3.put("s3://cfg/v", b"[2]")
    old = s3warm.get("s3://cfg/v", version_id=version, transform="json")
    assert (old, s3warm.get("s3://cfg/v", transform="json")) == ([1], [2])
    s3.advance(10_000)
    assert s3warm.get("s3://cfg/v", version_id=version, transform="json") is old
    assert statuses(s3) == [200, 200]


def test_what_another_process_was_told_keeps_the_value_too(tmp_path: Path) -> None:
    s3 = FakeS3({URI: b"[1]"})
    decode = Counting()
    shared: dict[str, Any] = {"ttl": 60, "directory": str(tmp_path), "namespace": "shared"}
    with FakeCache(s3, **shared) as one, FakeCache(s3, **shared) as two:
        value = one.get(BUCKET, KEY, transform=decode)
        assert two.get(BUCKET, KEY) == b"[1]"
        s3.advance(61)
        two.get(BUCKET, KEY)
        assert one.get(BUCKET, KEY, transform=decode) is value
        assert (statuses(s3), len(decode.runs)) == ([200, 304], 1)
        s3[URI] = b"[2]"
        s3.advance(61)
        two.get(BUCKET, KEY)
        assert one.get(BUCKET, KEY, transform=decode) == [b"[2]"]
        assert statuses(s3) == [200, 304, 200]


def test_after_a_crash_the_value_is_made_of_what_lies_on_disk(tmp_path: Path) -> None:
    s3 = FakeS3({URI: b"[1]"})
    kept: dict[str, Any] = {"directory": str(tmp_path), "namespace": "kept"}
    with FakeCache(s3, **kept) as cache:
        cache.get(BUCKET, KEY, transform="json")
    with FakeCache(s3, **kept) as cache:
        assert cache.get(BUCKET, KEY, transform="json") == [1]
    assert statuses(s3) == [200]


# -- threads -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttls", [[None], [None, 30, 20.0, 10]], ids=["alike", "of several ages"])
def test_of_many_threads_one_asks_and_one_decodes(s3: FakeS3, ttls: list[float | None]) -> None:
    decode = Counting()
    together = threading.Barrier(16)

    def get(number: int) -> object:
        together.wait(30)
        return s3warm.get(BUCKET, KEY, transform=decode, ttl=ttls[number % len(ttls)])

    with ThreadPoolExecutor(16) as pool:
        values = list(pool.map(get, range(16)))
    assert len({id(value) for value in values}) == 1
    assert len(decode.runs) == 1
    assert 1 <= len(s3.requests) <= len(ttls), "calls that accept other ages have flights of their own"


def test_who_cannot_wait_for_another_threads_decoding_gets_the_old_value_or_an_error(s3: FakeS3) -> None:
    decode, inside, go_on = Counting(), threading.Event(), threading.Event()

    def hesitate() -> None:
        inside.set()
        wait(go_on)

    decode.during = hesitate
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(s3warm.get, BUCKET, KEY, transform=decode)
        wait(inside)
        with s3warm.deadline(0.01, 0), pytest.raises(OriginUnavailableError, match="being decoded by another thread"):
            s3warm.get(BUCKET, KEY, transform=decode)
        go_on.set()
        value = first.result(30)
        s3[URI] = b"new"
        s3.advance(61)
        inside.clear()
        go_on.clear()
        second = pool.submit(s3warm.get, BUCKET, KEY, transform=decode)
        wait(inside)
        with s3warm.deadline(0.01, 0):
            assert s3warm.get(BUCKET, KEY, transform=decode) is value
        go_on.set()
        assert second.result(30) == [b"new"]


def test_nothing_is_locked_while_a_value_is_made(s3: FakeS3) -> None:
    decode = Counting()
    decode.during = lambda: (s3warm.get(BUCKET, KEY), s3warm.get("s3://cfg/other"), s3warm.stats())
    s3["s3://cfg/other"] = b""
    assert s3warm.get(BUCKET, KEY, transform=decode) == [b'{"n": 1}']

    def in_another_thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(s3warm.get, BUCKET, KEY, ttl=0).result(30)

    s3[URI] = b"new"
    s3.advance(61)
    decode.during = in_another_thread
    assert s3warm.get(BUCKET, KEY, transform=decode) == [b"new"]


def test_an_interrupted_decoding_is_taken_over(s3: FakeS3) -> None:
    decode, inside, go_on = Counting(), threading.Event(), threading.Event()

    def interrupt() -> None:
        inside.set()
        wait(go_on)
        decode.during = lambda: None
        raise KeyboardInterrupt

    decode.during = interrupt
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(s3warm.get, BUCKET, KEY, transform=decode)
        wait(inside)
        second = pool.submit(s3warm.get, BUCKET, KEY, transform=decode)
        cache: Any = s3warm.default_cache()
        until(lambda: bool(waiting_for_values(cache)))
        go_on.set()
        with pytest.raises(KeyboardInterrupt):
            first.result(30)
        assert second.result(30) == [b'{"n": 1}']
    assert waiting(cache) == 0


def waiting_for_values(cache: Any) -> int:
    flights = [flight for under_way in cache._decoding._under_way._flights.values() for flight in under_way]
    return sum(len(vars(flight.done)["_cond"]._waiters) for flight in flights if flight.done is not None)


# -- load ----------------------------------------------------------------------------------------------------------------------


class Model:
    """What a loader makes of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights = path.read_bytes()
        if self.weights == b"bad":
            raise OSError("not a model")


def test_a_model_is_loaded_once_and_its_file_is_in_use_as_long_as_it_lives(s3: FakeS3) -> None:
    s3["s3://models/net.bin"] = b"weights"
    cache = s3warm.default_cache()
    model = s3warm.load("models", "net.bin", loader=Model)
    assert (model.weights, model.path.suffix) == (b"weights", ".bin")
    assert s3warm.load("s3://models/net.bin", loader=Model) is model
    assert pins(cache) == [1]
    s3.advance(61)
    assert s3warm.load("models", "net.bin", loader=Model) is model
    assert (statuses(s3), pins(cache)) == ([200, 304], [1])
    s3["s3://models/net.bin"] = b"heavier"
    s3.advance(61)
    newer = s3warm.load("models", "net.bin", loader=Model)
    assert (newer.weights, statuses(s3), pins(cache)) == (b"heavier", [200, 304, 200], [1, 1])
    assert model.path.read_bytes() == b"weights", "the handler has it still"
    del model
    gc.collect()
    s3warm.load("models", "net.bin", loader=Model, ttl=0)
    assert pins(cache) == [1]
    del newer
    s3warm.clear()
    cache._making.give_back()
    assert pins(cache) == []


def test_a_value_that_cannot_be_watched_keeps_its_file_as_long_as_memory_has_it(s3: FakeS3) -> None:
    s3["s3://models/words"] = b"a b"
    cache = s3warm.default_cache()
    words = s3warm.load("models", "words", loader=_split)
    assert (words, pins(cache)) == (["a", "b"], [1])
    s3warm.clear()
    cache._making.give_back()
    assert pins(cache) == []


def _split(path: Path) -> list[str]:
    return path.read_text().split()


def test_a_database_of_sqlite_is_a_value(s3: FakeS3, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "prices") as database:
        database.execute("CREATE TABLE prices AS SELECT 7 AS price")
    database.close()
    s3["s3://models/prices.sqlite"] = (tmp_path / "prices").read_bytes()
    connection = s3warm.load("models", "prices.sqlite", loader=_connect)
    assert connection.execute("SELECT price FROM prices").fetchone() == (7,)
    assert s3warm.load("models", "prices.sqlite", loader=_connect) is connection
    connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def test_a_loader_of_a_prefix_gets_the_directory(s3: FakeS3) -> None:
    s3["s3://models/bert/config.json"] = b"{}"
    s3["s3://models/bert/shards/1"] = b"1"
    names = s3warm.load("s3://models/bert/", loader=_names)
    assert names == ["config.json", "shards"]
    assert s3warm.load("models", "bert/", loader=_names) is names
    s3["s3://models/bert/more"] = b"2"
    s3.advance(61)
    assert s3warm.load("models", "bert/", loader=_names) == ["config.json", "more", "shards"]


def _names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def test_a_loader_that_fails_keeps_the_model_and_no_file(s3: FakeS3) -> None:
    s3["s3://models/net.bin"] = b"bad"
    cache = s3warm.default_cache()
    with pytest.raises(TransformError, match=r"s3://models/net.bin could not be decoded by Model.*: OSError") as caught:
        s3warm.load("models", "net.bin", loader=Model)
    assert isinstance(caught.value.__cause__, OSError)
    assert pins(cache) == []
    s3["s3://models/net.bin"] = b"good"
    model = s3warm.load("models", "net.bin", loader=Model, ttl=0)
    s3["s3://models/net.bin"] = b"bad"
    for _ in range(2):
        s3.advance(61)
        assert s3warm.load("models", "net.bin", loader=Model) is model
        assert s3warm.load("models", "net.bin", loader=Model) is model
    assert (pins(cache), s3warm.stats().decode_errors) == ([1], 2)


def test_of_many_threads_one_loads(s3: FakeS3) -> None:
    loaded: list[Path] = []
    together = threading.Barrier(12)

    def load(path: Path) -> Model:
        loaded.append(path)
        return Model(path)

    def get(_: int) -> Model:
        together.wait(30)
        return s3warm.load(URI, loader=load)

    with ThreadPoolExecutor(12) as pool:
        models = list(pool.map(get, range(12)))
    assert (len({id(model) for model in models}), len(loaded), statuses(s3)) == (1, 1, [200])
    assert pins(s3warm.default_cache()) == [1]


def test_one_function_may_be_both_a_transform_and_a_loader(s3: FakeS3) -> None:
    assert s3warm.get(URI, transform=repr) == repr(b'{"n": 1}')
    assert s3warm.load(URI, loader=repr).startswith("PosixPath")
    assert s3warm.get(URI, transform=repr) == repr(b'{"n": 1}')


@pytest.mark.parametrize("loader", ["json", None, 7])
def test_what_is_no_loader_is_refused(s3: FakeS3, loader: Any) -> None:
    with pytest.raises(TypeError, match="loader must be a function of a path"):
        s3warm.load(URI, loader=loader)
    assert statuses(s3) == []


# -- the shared value ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (b'{"a": {"b": [1]}}', lambda value: value["a"]["b"].append(2)),
        (b'{"a": 1}', lambda value: value.update(a=1.0)),
        (b"[[1], [2]]", lambda value: value[1].clear()),
    ],
)
def test_a_test_that_changes_a_shared_value_fails(body: bytes, change: Callable[[Any], object]) -> None:
    with pytest.raises(AssertionError, match=r"what json made of s3://cfg/flags.json was changed since"), fake_s3({URI: body}):
        change(s3warm.get(URI, transform="json"))
    with pytest.raises(AssertionError, match="was changed since"), FakeCache(FakeS3({URI: body})) as cache:
        change(cache.get(URI, transform="json"))


def test_one_that_fails_for_another_reason_says_that() -> None:
    def test() -> None:
        with fake_s3({URI: b"[]"}):
            s3warm.get(URI, transform="json").append(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        test()
