"""Preload through the whole cache: what is there afterwards, and what the report says of it."""

from __future__ import annotations

import os
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

import s3warm
from s3warm import AccessDeniedError, ObjectNotFoundError, ObjectTooLargeError, OriginUnavailableError, PreloadError
from s3warm.origin.base import PART, Late, Request
from s3warm.origin.transfer import Transfer
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.flows.test_deadline import SilentServer
from tests.support.entries import noise

A, B, C = (f"s3://cfg/{name}.json" for name in "abc")
MODEL = "s3://models/net.onnx"
WAIT = 30  # seconds until a test that hangs fails


@pytest.fixture(autouse=True)
def _leaves_no_thread() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("s3warm-pool")] == []


def said(report: s3warm.PreloadReport) -> list[tuple[str, str, int]]:
    return [(each.outcome, each.tier, each.bytes) for each in report.sources]


def test_what_is_preloaded_is_there() -> None:
    with fake_s3({A: b"{}", B: b"[1]", MODEL: b"weights"}) as s3:
        report = s3warm.preload(A, ("cfg", "b.json"), lambda: s3warm.path(MODEL))
        assert said(report) == [("fetched", "memory", 2), ("fetched", "memory", 3), ("called", "", 7)]
        assert [each.source for each in report.sources][:2] == [A, ("cfg", "b.json")]
        assert report.ok
        assert report.bytes == 12
        assert report.seconds >= max(each.seconds for each in report.sources) >= 0
        s3.down = True
        assert (s3warm.get(A), s3warm.get(B), s3warm.path(MODEL).read_bytes()) == (b"{}", b"[1]", b"weights")
        assert len(s3.requests) == 3


def test_of_a_cache_of_ones_own() -> None:
    with FakeCache(FakeS3({A: b"{}"})) as cache:
        assert said(cache.preload(A)) == [("fetched", "memory", 2)]
        assert cache.explain(A).tiers == ("memory", "disk")


def test_each_outcome_is_what_happened() -> None:
    with fake_s3({A: b"1", B: b"2", C: b"3"}, ttl=60, stale_if_error=600) as s3:
        assert said(s3warm.preload(A, B)) == [("fetched", "memory", 1)] * 2
        assert said(s3warm.preload(A, C)) == [("fresh", "memory", 1), ("fetched", "memory", 1)]
        s3.advance(60)
        s3[B] = b"two"
        assert said(s3warm.preload(A, B)) == [("revalidated", "memory", 1), ("fetched", "memory", 3)]
        s3.down = True
        s3.advance(60)
        assert said(s3warm.preload(A)) == [("stale", "memory", 1)]
        assert s3warm.preload(A), "what is stale is there"


def test_a_clock_that_stands_still_does_not_hide_a_revalidation() -> None:
    with fake_s3({A: b"1"}, ttl=60):
        s3warm.preload(A)
        s3warm.invalidate(A)
        assert said(s3warm.preload(A)) == [("revalidated", "memory", 1)]
    with fake_s3({A: b"1"}, ttl=0):
        s3warm.preload(A)
        assert said(s3warm.preload(A)) == [("revalidated", "memory", 1)]


def test_what_another_environment_left_on_disk_is_fresh(tmp_path: Path) -> None:
    s3 = FakeS3({A: b"1"})
    for outcome in ("fetched", "fresh"):
        with FakeCache(s3, directory=tmp_path, namespace="x", ttl=60) as cache:
            assert said(cache.preload(A)) == [(outcome, "memory", 1)]
    s3.advance(60)
    with FakeCache(s3, directory=tmp_path, namespace="x", ttl=60) as cache:
        assert said(cache.preload(A)) == [("revalidated", "memory", 1)]


def test_other_threads_do_not_change_what_is_said_of_a_source() -> None:
    """Another one revalidates other objects in the middle of it."""
    with fake_s3({A: b"1", B: b"2"}, ttl=60) as s3:
        s3warm.get(B)
        s3.advance(60)

        def meanwhile(request: Request) -> None:
            s3.before_answer = None
            if request.object.key == "a.json":
                other = threading.Thread(target=s3warm.get, args=(B,))
                other.start()
                other.join(WAIT)

        s3.before_answer = meanwhile
        assert said(s3warm.preload(A)) == [("fetched", "memory", 1)]
        assert s3warm.stats().revalidated == 1


def test_what_is_joined_was_fetched() -> None:
    """The same object twice: one request, and both sources are there."""
    with fake_s3({A: b"1"}) as s3:
        report = s3warm.preload(A, ("cfg", "a.json"))
        assert report.ok
        assert {each.outcome for each in report.sources} <= {"fetched", "fresh"}
        assert report.sources[0].outcome == "fetched" or report.sources[1].outcome == "fetched"
        assert len(s3.requests) == 1


@pytest.mark.parametrize(
    ("options", "tier"),
    [({"memory_budget": 0}, "disk"), ({"disk_budget": 0}, "memory"), ({"memory_budget": 0, "disk_budget": 0}, "")],
)
def test_the_tier_is_where_it_lies(options: dict[str, Any], tier: str) -> None:
    with fake_s3({A: b"1"}, **options):
        assert said(s3warm.preload(A)) == [("fetched", tier, 1)]


def test_what_may_not_be_kept_lies_nowhere() -> None:
    with fake_s3() as s3:
        s3.put(A, b"1", cache_control="no-store")
        assert said(s3warm.preload(A)) == [("fetched", "", 1)]


def too_large(cache: s3warm.Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no memory for the body of any object that has more than a few bytes."""
    entry = type(cache).entry

    def small_only(self: s3warm.Cache, bucket: str, key: Any = None, **options: Any) -> Any:
        if key == "net.onnx":
            raise ObjectTooLargeError("too large", bucket=bucket, key=key)
        return entry(self, bucket, key, **options)

    monkeypatch.setattr(type(cache), "entry", small_only)


def test_what_is_too_large_for_memory_goes_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FakeS3({A: b"1", MODEL: b"weights"})
    with FakeCache(s3, ttl=60) as cache:
        too_large(cache, monkeypatch)
        assert said(cache.preload(A, MODEL)) == [("fetched", "memory", 1), ("fetched", "disk", 7)]
        assert said(cache.preload(MODEL)) == [("fresh", "disk", 7)]
        s3.advance(60)
        assert said(cache.preload(MODEL)) == [("revalidated", "disk", 7)]
        s3.down = True
        s3.advance(60)
        assert said(cache.preload(MODEL)) == [("stale", "disk", 7)]
        usage = cache._files.usage()  # type: ignore[union-attr]
        assert usage.entries == 2
        cache.clear()
        assert cache._files.usage().entries == 0, "it is not in use: nothing keeps it"  # type: ignore[union-attr]


def test_what_the_function_has_no_memory_for_goes_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, decided by the memory that there is."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2")
    body = noise(2_000_000)
    with FakeCache(FakeS3({MODEL: body})) as cache:
        with pytest.raises(ObjectTooLargeError):
            cache.get(MODEL)
        assert said(cache.preload(MODEL)) == [("fetched", "disk", len(body))]
        with cache.as_file(MODEL) as path:
            assert path.read_bytes() == body
        assert cache.stats().misses == 1


def test_what_is_too_large_and_has_no_disk_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeCache(FakeS3({MODEL: b"weights"}), disk_budget=0) as cache:
        too_large(cache, monkeypatch)
        report = cache.preload(MODEL)
        assert said(report) == [("failed", "", 0)]
        assert isinstance(report.sources[0].error, ObjectTooLargeError)


def test_what_has_no_room_anywhere_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeCache(FakeS3({MODEL: noise(2_000_000)}), disk_budget="1MiB") as cache:
        too_large(cache, monkeypatch)
        report = cache.preload(MODEL)
        assert said(report) == [("failed", "", 0)]
        assert "disk budget" in str(report.sources[0].error)


def test_a_failure_does_not_keep_the_others_away_and_comes_lazily_later(caplog: pytest.LogCaptureFixture) -> None:
    with fake_s3({A: b"1", C: b"3"}) as s3:
        s3.denied.add(C)
        report = s3warm.preload(B, C, A, concurrency=1)
        assert [each.outcome for each in report.sources] == ["failed", "failed", "fetched"]
        assert [type(each.error) for each in report.sources] == [ObjectNotFoundError, AccessDeniedError, type(None)]
        assert [each.source for each in report.failed] == [B, C]
        assert not report
        assert len(caplog.records) == 1
        s3[B] = b"2"
        assert s3warm.get(B) == b"2"


def test_an_outage_fails_and_does_not_raise(caplog: pytest.LogCaptureFixture) -> None:
    with fake_s3({A: b"1"}) as s3:
        s3.down = True
        report = s3warm.preload(A)
        assert isinstance(report.failed[0].error, OriginUnavailableError)
        assert "are not loaded yet (1 failed)" in caplog.records[-1].getMessage()


def test_strict_raises_after_all_were_tried() -> None:
    with fake_s3({A: b"1"}) as s3:
        with pytest.raises(PreloadError, match=B) as caught:
            s3warm.preload(B, A, strict=True)
        assert isinstance(caught.value.__cause__, ObjectNotFoundError)
        assert [each.outcome for each in caught.value.report.sources] == ["failed", "fetched"]
        assert isinstance(caught.value, s3warm.S3WarmError)
        assert len(s3.requests) == 2


def test_bad_sources_are_refused_before_any_request() -> None:
    with fake_s3({A: b"1"}) as s3:
        for bad in (None, "a.json", ("cfg",), ["s3://cfg/a.json"], "s3://cfg/folder/"):
            with pytest.raises((TypeError, ValueError)):
                s3warm.preload(A, bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="concurrency"):
            s3warm.preload(A, concurrency=0)
        with pytest.raises(ValueError, match="timeout"):
            s3warm.preload(A, timeout=-1)
        assert s3.requests == []


def test_four_are_under_way_at_a_time_without_being_told_otherwise() -> None:
    barrier = threading.Barrier(4)
    with fake_s3({f"s3://cfg/{number}": b"x" for number in range(8)}) as s3:

        def meet(_: Request) -> None:
            barrier.wait(WAIT)

        s3.before_answer = meet
        assert s3warm.preload(*(f"s3://cfg/{number}" for number in range(8))).ok
        assert len(s3.requests) == 8


def test_sources_are_begun_in_their_order() -> None:
    uris = [f"s3://cfg/{number}" for number in (3, 1, 2, 0)]
    with fake_s3(dict.fromkeys(uris, b"x")) as s3:
        s3warm.preload(*uris, concurrency=1)
        assert [request.uri for request in s3.requests] == uris


def test_without_threads_it_works_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with fake_s3({A: b"1", B: b"2"}):
        assert said(s3warm.preload(A, B)) == [("fetched", "memory", 1)] * 2


def test_without_time_nothing_is_asked_for() -> None:
    with fake_s3({A: b"1"}) as s3:
        called: list[str] = []
        report = s3warm.preload(A, lambda: called.append("too late"), timeout=0)
        assert [each.outcome for each in report.unfinished] == ["unfinished"] * 2
        with s3warm.deadline(0, 0):
            assert not s3warm.preload(A).ok
        assert s3.requests == []
        assert called == []
        assert s3warm.preload(A).ok, "the time of one call is not that of the next"


def test_what_is_under_way_when_the_time_is_over_keeps_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two connections bring three parts: when the third is asked for, at least one is complete. Then the time is over."""
    body = noise(2 * PART + 1000)
    clock = FakeClock()
    run = Transfer.run
    monkeypatch.setattr(Transfer, "run", lambda self, first, ready, _, **options: run(self, first, ready, 2, **options))
    monkeypatch.setattr("s3warm.deadlines.time", clock)
    with fake_s3({MODEL: body, A: b"1"}) as s3:

        def late(request: Request) -> None:
            if request.span is not None and request.span[0] >= 2 * PART:
                clock.passed = 100
                raise Late

        s3.before_answer = late
        report = s3warm.preload(MODEL, A, timeout=50, concurrency=1)
        assert [each.outcome for each in report.sources] == ["unfinished", "unfinished"]
        assert getattr(report.sources[0].error, "late", False)
        assert report.sources[1].error is None
        s3.before_answer = None
        before = s3warm.stats()
        assert s3warm.get(MODEL) == body
        assert 0 < (s3warm.stats() - before).origin_bytes <= len(body) - PART
        assert s3warm.get(A) == b"1"


class FakeClock:
    """`time` for the deadlines."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed


def test_an_s3_that_never_answers_takes_no_longer_than_the_time_that_there_is() -> None:
    server = SilentServer()
    config = Config(signature_version=UNSIGNED, connect_timeout=600, read_timeout=600, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=config)
    with s3warm.Cache(client=client) as cache:
        report = cache.preload(A, lambda: cache.path(MODEL), B, timeout=0.3, concurrency=2)
    server.close()
    assert [each.outcome for each in report.sources] == ["unfinished"] * 3
    assert [getattr(each.error, "late", None) for each in report.sources] == [True, True, None]


def test_in_lambda_the_age_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    with fake_s3({A: b"1"}) as s3:
        monkeypatch.setattr("s3warm.machine.process_age", lambda: 8.0)
        assert not s3warm.preload(A)
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
        assert s3warm.preload(A)
        monkeypatch.setattr("s3warm.machine.process_age", lambda: 3600.0)
        assert not s3warm.preload(B)
        with s3warm.deadline(60):
            assert s3warm.preload(A), "in a handler the time of init does not count"
        assert len(s3.requests) == 1


def test_an_interrupt_passes_and_leaves_nothing_behind() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with fake_s3({A: b"1"}) as s3:
        with pytest.raises(KeyboardInterrupt):
            s3warm.preload(interrupted, A, concurrency=1)
        assert s3.requests == []
        assert s3warm.get(A) == b"1"


def test_a_preload_within_a_preload_works() -> None:
    with fake_s3({A: b"1", B: b"2"}):
        report = s3warm.preload(lambda: s3warm.preload(A, B, strict=True), A, B)
        assert report.ok
        assert s3warm.stats().origin_requests == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_uses_what_was_preloaded_and_preloads_itself() -> None:
    with fake_s3({A: b"1", B: b"2"}) as s3:
        s3warm.preload(A)
        child = os.fork()
        if child == 0:
            well = False
            try:
                well = (
                    s3warm.get(A) == b"1"
                    and bool(s3warm.preload(B))
                    and len(s3.requests) == 2
                    and threading.active_count() == 1
                )
            finally:
                os._exit(0 if well else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_result_of_glob_is_what_preload_takes() -> None:
    with fake_s3({A: b"1", B: b"2", MODEL: b"weights"}):
        report = s3warm.preload(*s3warm.glob("s3://cfg/**"))
        assert [each.source for each in report.sources] == [A, B]


def test_the_example_does_what_it_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 60_000

    monkeypatch.setenv("BUCKET", "cfg")
    objects = {
        "config.json": b'{"discount": 0.5}',
        "model.bin": b"weights",
        "rules/a.json": b"{}",
        "products/1.json": b'{"price": 3}',
    }
    with fake_s3({f"s3://cfg/{key}": body for key, body in objects.items()}) as s3:
        example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "preload.py"))
        assert capsys.readouterr().out.splitlines()[-1].endswith(": 1 fetched, 2 called")
        already = len(s3.requests)
        assert example["handler"]({"products": ["1"]}, Context()) == {"prices": [1.5], "model_bytes": 7}
        assert [request.uri for request in s3.requests[already:]] == ["s3://cfg/products/1.json"]


def test_the_report_says_where_things_are_when_all_are_done() -> None:
    """What came first may have had to make room for what came last."""
    with fake_s3({f"s3://b/{number}": bytes(2**20) for number in range(8)}, memory_budget="3MiB"):
        report = s3warm.preload(*(f"s3://b/{number}" for number in range(8)))
        tiers = [each.tier for each in report.sources]
        assert tiers == [s3warm.explain("b", str(number)).tiers[0] for number in range(8)]
        assert tiers.count("memory") == s3warm.stats().memory_entries < 4
