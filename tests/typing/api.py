"""The public API as type checkers see it: checked by mypy and pyright, never run.

An expected error is an ignore that both checkers would call unnecessary if it were none.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from aws_lambda_powertools import Metrics as PowertoolsMetrics

import s3warm
from s3warm import (
    Budgets,
    Cache,
    ConfigurationError,
    Entry,
    Event,
    Explanation,
    ObjectNotFoundError,
    OriginUnavailableError,
    PreloadError,
    PreloadReport,
    S3WarmError,
    Settings,
    Stats,
)
from s3warm.testing import FakeRequest, FakeS3, fake_s3


def functions() -> None:
    assert_type(s3warm.get("bucket", "key"), bytes)
    assert_type(s3warm.get("s3://bucket/key"), bytes)
    assert_type(s3warm.get("bucket", "key", version_id="v1", ttl=60), bytes)
    assert_type(s3warm.get("bucket", "key", version_id=None, ttl=None), bytes)
    assert_type(s3warm.get("bucket", "key", ttl=timedelta(minutes=1)), bytes)
    assert_type(s3warm.entry("bucket", "key"), Entry)
    assert_type(s3warm.stats(), Stats)
    assert_type(s3warm.stats() - s3warm.stats(), Stats)
    assert_type(s3warm.stats().memory_hits, int)
    assert_type(s3warm.explain("bucket", "key"), Explanation)
    assert_type(s3warm.budgets(), Budgets)
    assert_type(s3warm.budgets().memory.bytes, int)
    assert_type(s3warm.default_cache(), Cache)
    s3warm.invalidate("bucket", "key", version_id="v1")
    s3warm.clear()
    s3warm.configure(ttl=60, directory=Path("/tmp/x"))
    s3warm.configure(Settings(ttl=60), client=object(), on_event=print)


async def asynchronous(cache: Cache) -> None:
    assert_type(await s3warm.aio.get("bucket", "key"), bytes)
    assert_type(await s3warm.aio.get("s3://bucket/key", ttl=timedelta(minutes=1)), bytes)
    assert_type(await s3warm.aio.get("bucket", "key", transform="text", size_of=len), str)
    assert_type(await s3warm.aio.get("bucket", "key", transform=len), int)
    assert_type(await s3warm.aio.load("bucket", "key", loader=lambda path: path.suffix), str)
    assert_type(await s3warm.aio.entry("bucket", "key"), Entry)
    assert_type(await s3warm.aio.path("bucket", "key"), Path)
    assert_type(await s3warm.aio.tree("bucket", "prefix"), Path)
    async with s3warm.aio.as_file("bucket", "key") as path:
        assert_type(path, Path)
    with await s3warm.aio.open("bucket", "key") as file:
        assert_type(file.read(), bytes)
    assert_type(await s3warm.aio.get_many([("bucket", "key")]), dict[tuple[str, str], bytes])
    assert_type(await s3warm.aio.glob("s3://bucket/*"), list[str])
    assert_type(await s3warm.aio.preload("s3://bucket/key", lambda: s3warm.path("bucket", "key")), PreloadReport)
    await s3warm.aio.release("bucket", "key")
    await s3warm.aio.invalidate("bucket", "key")
    await s3warm.aio.clear()
    own = s3warm.aio.AsyncCache(cache)
    assert_type(await own.get("bucket", "key"), bytes)
    assert_type(own.cache, Cache)
    await s3warm.aio.get("bucket", None)  # type: ignore[call-overload]
    await s3warm.aio.get("bucket", "key", tll=60)  # type: ignore[call-overload]
    await s3warm.aio.path("bucket", "key", mode="r")  # type: ignore[call-arg]
    s3warm.aio.AsyncCache("cache")  # type: ignore[arg-type]


def values(numbers: bytes | bytearray) -> None:
    def parse(body: bytes) -> dict[str, int]:
        return {"n": len(body)}

    class Model:
        def __init__(self, path: Path) -> None: ...

    assert_type(s3warm.get("bucket", "key", transform="text"), str)
    assert_type(s3warm.get("s3://bucket/key", transform="json"), Any)
    assert_type(s3warm.get("bucket", "key", transform=parse), dict[str, int])
    assert_type(s3warm.get("bucket", "key", transform=parse, ttl=0, size_of=len), dict[str, int])
    assert_type(Cache().get("bucket", "key", transform=int, version_id="v1"), int)
    assert_type(s3warm.get("bucket", "key", transform=None), bytes)
    assert_type(s3warm.load("bucket", "key", loader=Model), Model)
    assert_type(s3warm.load("s3://bucket/prefix/", loader=lambda path: path.name, ttl=60), str)
    s3warm.get("bucket", "key", transform="yaml")  # type: ignore[call-overload]
    s3warm.get("bucket", "key", transform=7)  # type: ignore[call-overload]
    s3warm.get("bucket", "key", size_of=len)  # type: ignore[call-overload]
    s3warm.load("bucket", "key")  # type: ignore[call-arg]
    s3warm.load("bucket", "key", loader="json")  # type: ignore[arg-type]

    payer = {"RequestPayer": "requester"}
    assert_type(s3warm.get("bucket", "key", request=payer), bytes)
    assert_type(s3warm.get("bucket", "key", request={"SSECustomerKey": b"k"}, transform="text"), str)
    assert_type(s3warm.path("bucket", "key", request=payer), Path)
    s3warm.release("bucket", "key", request=payer)
    s3warm.get("bucket", "key", request="requester")  # type: ignore[call-overload]

    assert_type(s3warm.put("bucket", "key", numbers, content_type="text/plain", metadata={"a": "b"}), Entry)
    assert_type(s3warm.put("s3://bucket/key", b"body"), Entry)
    s3warm.put("bucket", "key", "text")  # type: ignore[arg-type]
    s3warm.configure(rules={"s3://bucket/": {"ttl": 5, "disk": False}})
    s3warm.configure(rules=5)  # type: ignore[arg-type]
    try:
        s3warm.get("bucket", "key", transform="json")
    except s3warm.TransformError as error:
        assert_type(error.__cause__, BaseException | None)


def many() -> None:
    uris = s3warm.glob("s3://bucket/**/*.json", limit=50)
    assert_type(uris, list[str])
    assert_type(s3warm.get_many(uris), dict[str, bytes])
    assert_type(s3warm.get_many(uri for uri in uris), dict[str, bytes])
    assert_type(s3warm.get_many([("bucket", "key")], concurrency=2), dict[tuple[str, str], bytes])
    mixed: list[str | tuple[str, str]] = ["s3://bucket/key", ("bucket", "key")]
    assert_type(Cache().get_many(mixed), dict[str | tuple[str, str], bytes])
    assert_type(s3warm.preload(*uris, ("bucket", "key"), lambda: s3warm.path("bucket", "key")), PreloadReport)
    report = Cache().preload(functions, timeout=timedelta(seconds=5), concurrency=2, strict=True)
    assert_type(report.ok, bool)
    assert_type(report.bytes, int)
    assert_type(report.seconds, float)
    for source in (*report.sources, *report.failed, *report.unfinished):
        assert_type(source.source, str | tuple[str, str])
        assert_type(source.outcome, str)
        assert_type(source.error, Exception | None)
    report.seconds = 1.0  # type: ignore[misc]
    s3warm.preload(uris)  # type: ignore[arg-type]
    s3warm.preload(len)  # type: ignore[arg-type]
    s3warm.preload("s3://bucket/key", timeout="5")  # type: ignore[arg-type]
    s3warm.get_many([None])  # type: ignore[type-var]
    s3warm.get_many(7)  # type: ignore[arg-type]
    s3warm.glob(("bucket", "*"))  # type: ignore[arg-type]
    try:
        s3warm.preload("s3://bucket/key", strict=True)
    except PreloadError as error:
        assert_type(error.report, PreloadReport)


def wrong_arguments() -> None:
    s3warm.get("bucket", None)  # type: ignore[call-overload]
    s3warm.get("bucket", b"key")  # type: ignore[call-overload]
    s3warm.get("bucket", "key", "v1")  # type: ignore[call-overload]
    s3warm.get("bucket", "key", ttl="60")  # type: ignore[call-overload]
    s3warm.get("bucket", "key", tll=60)  # type: ignore[call-overload]
    s3warm.entry()  # type: ignore[call-arg]
    s3warm.gett("bucket", "key")  # type: ignore[attr-defined]


def entries(entry: Entry) -> None:
    assert_type(entry.body, bytes)
    assert_type(entry.bucket, str)
    assert_type(entry.key, str)
    assert_type(entry.version_id, str | None)
    assert_type(entry.etag, str)
    assert_type(entry.size, int)
    assert_type(entry.last_modified, datetime | None)
    assert_type(entry.content_type, str | None)
    assert_type(entry.metadata, Mapping[str, str])
    assert_type(entry.stale, bool)
    assert_type(entry.verified_by, str)
    entry.body = b"other"  # type: ignore[misc]
    entry.metadata["owner"] = "me"  # type: ignore[index]


def options() -> None:
    Settings(
        ttl=timedelta(minutes=5),
        ttl_jitter=0.1,
        stale_if_error=3600,
        memory_budget="64MiB",
        disk_budget="25%",
        directory="/tmp/x",
        max_memory_object=2**20,
        compression_level=3,
        namespace="team",
        cache_control="trust",
    )
    Cache(ttl=None, memory_budget=0, directory=None, namespace=None)
    assert_type(Settings().replace(ttl=60), Settings)
    assert_type(Settings().ttl, float | None)


def misspelt_options() -> None:
    Cache(tll=60)  # type: ignore[call-arg]
    Settings(memory_bugdet="64MiB")  # type: ignore[call-arg]
    Settings().replace(namespce="x")  # type: ignore[call-arg]
    s3warm.configure(cache_contol="trust")  # type: ignore[call-arg]
    fake_s3({}, tll=60)  # type: ignore[call-arg]


def options_of_another_type() -> None:
    Cache(ttl="60")  # type: ignore[arg-type]
    Cache(cache_control="always")  # type: ignore[arg-type]
    Cache(memory_budget=1.5)  # type: ignore[arg-type]
    Cache({"ttl": 60})  # type: ignore[arg-type]
    Cache(clock=60)  # type: ignore[arg-type]
    Cache(on_event=lambda: None)  # type: ignore[arg-type, misc]


def caches(clock: Callable[[], float], hook: Callable[[Event], None]) -> None:
    with Cache(Settings(), client=object(), clock=clock, on_event=hook, ttl=60) as cache:
        assert_type(cache, Cache)
        assert_type(cache.get("bucket", "key"), bytes)
        assert_type(cache.entry("s3://bucket/key"), Entry)
        assert_type(cache.settings, Settings)
        assert_type(cache.stats(), Stats)
        assert_type(cache.budgets(), Budgets)
        assert_type(cache.explain("bucket", "key"), Explanation)
    cache.close()


def errors() -> None:
    try:
        s3warm.get("bucket", "key")
    except ObjectNotFoundError as error:
        assert_type(error.bucket, str | None)
        missing: FileNotFoundError = error
        print(missing)
    except OriginUnavailableError as error:
        down: ConnectionError = error
        print(down)
    except ConfigurationError as error:
        wrong: ValueError = error
        print(wrong)
    except S3WarmError as error:
        assert_type(error.key, str | None)


def testing() -> None:
    with fake_s3({"s3://bucket/key": b"body"}, ttl=60) as s3:
        assert_type(s3, FakeS3)
        assert_type(s3.requests, list[FakeRequest])
        assert_type(s3.down, bool)
        assert_type(s3.put("s3://bucket/key", b"body", cache_control="no-cache"), str)
        s3["s3://bucket/key"] = b"new"
        s3.advance(61)
        s3["s3://bucket/key"] = "text"  # type: ignore[assignment]


def measured(powertools: PowertoolsMetrics) -> None:
    @s3warm.emf.metrics("shop", dimensions={"service": "orders"}, only=("misses", "errors"))
    def handler(event: dict[str, str], context: object) -> bytes:
        return s3warm.get("bucket", event["key"])

    @s3warm.powertools.add_metrics(powertools)
    async def slow(key: str, *, version: int = 1) -> bytes:
        return s3warm.get("bucket", key)

    async def use() -> None:
        assert_type(await slow("key", version=2), bytes)
        await slow("key", verison=2)  # type: ignore[call-arg]

    print(use)
    assert_type(handler({"key": "k"}, None), bytes)
    handler("k", None)  # type: ignore[arg-type]
    with s3warm.emf.metrics(cache=Cache()) as block:
        s3warm.configure(on_event=block.on_event)
    s3warm.configure(on_event=s3warm.otel.instrument())
    s3warm.emf.metrics(names=())  # type: ignore[call-arg]
    s3warm.powertools.add_metrics(print)  # type: ignore[arg-type]


def notified(event: dict[str, Any], context: object) -> None:
    assert_type(s3warm.notifications.handler(event, context), dict[str, list[dict[str, str]]])
    assert_type(s3warm.notifications.invalidate([event]), dict[str, list[dict[str, str]]])
    s3warm.notifications.invalidate(event, everywhere=True)  # type: ignore[call-arg]


class Handlers:
    @s3warm.inject(flags=("bucket", "key"), transform="json")
    def handle(self, event: str, context: object, *, flags: dict[str, bool]) -> int:
        return len(flags)


def injected() -> None:
    @s3warm.inject(flags="s3://bucket/flags.json", transform="json", ttl=timedelta(minutes=1))
    @s3warm.inject({"ttl": "s3://bucket/ttl"}, model=lambda: s3warm.path("bucket", "model"), transform=int)
    def handler(event: dict[str, str], context: object, *, flags: dict[str, bool], ttl: int, model: Path) -> bytes:
        return model.read_bytes()

    @s3warm.inject(flags="s3://bucket/flags.json")
    async def slow(event: dict[str, str], context: object, *, flags: bytes) -> bytes:
        return flags

    @s3warm.inject(flags="s3://bucket/flags.json")
    def no_handler(*, flags: bytes) -> bytes:
        return flags

    @s3warm.inject(flags="s3://bucket/flags.json")
    def loose(event: dict[str, Any], context: Any, **more: Any) -> dict[str, Any]:
        return more

    async def use() -> None:
        assert_type(await slow({}, None), bytes)

    print(use)
    # What a handler returns is kept; its callers give what they like of its parameters.
    assert_type(handler({"key": "value"}, None), bytes)
    assert_type(handler(event={}, context=None, flags={}, ttl=1), bytes)
    assert_type(Handlers().handle("event", None), int)
    assert_type(no_handler(), bytes)
    assert_type(no_handler(flags=b"{}"), bytes)
    assert_type(loose({}, None), dict[str, Any])
    s3warm.inject(flags=1)  # type: ignore[arg-type]
    s3warm.inject(flags=len)  # type: ignore[arg-type]
    s3warm.inject(flags="s3://bucket/key", ttl="60")  # type: ignore[arg-type]
    s3warm.inject(handler)  # type: ignore[arg-type]
    s3warm.inject(flags="s3://bucket/key")("handler")  # type: ignore[arg-type]
