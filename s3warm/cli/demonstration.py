"""What a cache goes through in a function's life, played through with the S3 in memory of `s3warm.testing`: the figures of `s3warm demo`."""

from __future__ import annotations

import tempfile
import time
from itertools import repeat

from s3warm.record import NamedTuple
from s3warm.testing import FakeCache, FakeS3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.metrics import Stats

__all__ = ["CALLS", "OBJECTS", "Step", "many_calls", "play"]

BUCKET, KEY = "shop", "config.json"
URI = f"s3://{BUCKET}/{KEY}"
TTL = 300.0  # seconds
CALLS, OBJECTS = 10_000, 50
_BATCH = 10_000


class Step(NamedTuple):
    """What happened, where the answer came from, requests that S3 answered and the bytes that it sent, and the seconds that a call took.

    The seconds are None where S3 was asked: there is no network here that would make them mean something.
    """

    what: str
    source: str
    requests: int
    bytes: int
    seconds: float | None


def play() -> Iterator[Step]:
    """One object, from the first call to an outage of S3. Every body is compared with what S3 holds.

    Raises:
        RuntimeError: an answer is not what it should be.
    """
    s3 = FakeS3({URI: b'{"discount": 0.25}'})
    with tempfile.TemporaryDirectory(prefix="s3warm-demo-") as directory:
        with _environment(s3, directory) as cache:
            yield _step(s3, cache, "first call")
            yield _step(s3, cache, "again", calls=_BATCH)
        with _environment(s3, directory) as cache:
            yield _step(s3, cache, "runtime crashed")
            s3.advance(TTL + 1)
            yield _step(s3, cache, "TTL over, unchanged")
            s3[URI] = b'{"discount": 0.5}'
            s3.advance(TTL + 1)
            yield _step(s3, cache, "TTL over, changed")
            s3.down = True
            s3.advance(TTL + 1)
            yield _step(s3, cache, "S3 is down")


def many_calls() -> tuple[int, int]:
    """Calls for some objects in one environment, and the requests that they took."""
    s3 = FakeS3({f"s3://{BUCKET}/products/{number}.json": b"{}" for number in range(OBJECTS)})
    with tempfile.TemporaryDirectory(prefix="s3warm-demo-") as directory, _environment(s3, directory) as cache:
        for number in range(CALLS):
            cache.get(BUCKET, f"products/{number % OBJECTS}.json")
    return CALLS, len(s3.requests)


def _environment(s3: FakeS3, directory: str) -> FakeCache:
    return FakeCache(s3, directory=directory, namespace="demo", ttl=TTL)


def _step(s3: FakeS3, cache: FakeCache, what: str, calls: int = 1) -> Step:
    sent, before = len(s3.requests), cache.stats()
    began, body = time.perf_counter(), b""
    for _ in repeat(None, calls):
        body = cache.get(BUCKET, KEY)
    seconds = (time.perf_counter() - began) / calls
    if body != s3[URI]:
        raise RuntimeError(f"{what}: the answer is {body!r}, and S3 holds {s3[URI]!r}")
    made, requests = cache.stats() - before, s3.requests[sent:]
    local = made.memory_hits + made.disk_hits == calls
    return Step(what, _source(made), len(requests), sum(each.bytes for each in requests), seconds if local else None)


def _source(made: Stats) -> str:
    """Where the answers came from, as the cache has counted them."""
    counted = {
        "memory": made.memory_hits,
        "/tmp": made.disk_hits,  # noqa: S108  # a name
        "memory, after a 304": made.revalidated,
        "S3": made.misses + made.replaced,
        "an older copy": made.stale_served,
    }
    return ", ".join(source for source, count in counted.items() if count)
