"""One object, got in each way in turn: what `s3warm bench` measures."""

from __future__ import annotations

import time
from itertools import repeat

from s3warm.factory import Cache
from s3warm.keys import locate
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from s3warm.keys import ObjectKey
    from s3warm.metrics import Stats
    from s3warm.settings import Settings

__all__ = ["BATCH", "Bill", "Measured", "measure"]

BATCH = 1_000  # calls that make one sample of a memory hit: one call alone is not much longer than a look at the clock


class Bill(NamedTuple):
    """What a run costs: the object's bytes, requests in all, and how many of them bring a body, or a part of it."""

    size: int
    requests: int
    bodies: int


class Measured(NamedTuple):
    """One way: seconds of each call, requests and bytes of bodies in all. Without any seconds it is not to be had: the object is not kept there."""

    way: str
    seconds: tuple[float, ...]
    requests: int
    bytes: int


def measure(uri: str, settings: Settings, *, repeats: int, announce: Callable[[Bill], object]) -> list[Measured]:
    """Get an object in all ways, in turn, `repeats` times.

    Args:
        uri: of the object.
        settings: with a directory of this run alone.
        repeats: samples of each way.
        announce: told what it will cost, once the object was brought for the first time.

    Raises:
        S3WarmError: it cannot be had.
        ValueError: there is no such object in S3 by name.
    """
    where = locate(uri)
    with _Boto(where) as boto, Cache(settings) as warm, Cache(settings.replace(memory_budget=0)) as on_disk:
        size = len(warm.get(where.bucket, where.key))  # connections are opened before anything is measured
        boto.get()
        first = warm.stats()
        announce(
            Bill(
                size,
                1 + first.origin_requests + repeats * (first.origin_requests + 2),
                1 + repeats + (1 + repeats) * first.origin_requests,
            )
        )
        samplers = [
            _Sampler("cold", lambda: warm.get(where.bucket, where.key), warm, lambda made: made.misses, before=warm.clear),
            _Sampler("memory", lambda: warm.get(where.bucket, where.key), warm, lambda made: made.memory_hits, calls=BATCH),
            _Sampler("disk", lambda: on_disk.get(where.bucket, where.key), on_disk, lambda made: made.disk_hits),
            _Sampler("revalidate", lambda: warm.get(where.bucket, where.key, ttl=0), warm, lambda made: made.revalidated),
        ]
        for number in range(repeats):
            # Whoever comes second finds the server's caches warm.
            if number % 2:
                boto.sample()
            for sampler in samplers:
                sampler.sample()
            if not number % 2:
                boto.sample()
        return [*(sampler.measured() for sampler in samplers), boto.measured()]


class _Sampler:
    """One way through a cache. `counted` says how many calls went that way: what came otherwise is no sample, and not tried again."""

    def __init__(
        self,
        way: str,
        call: Callable[[], object],
        cache: Cache,
        counted: Callable[[Stats], int],
        *,
        before: Callable[[], object] = lambda: None,
        calls: int = 1,
    ) -> None:
        self._way, self._call, self._cache, self._counted = way, call, cache, counted
        self._before, self._calls = before, calls
        self._seconds: list[float] = []
        self._requests = self._bytes = 0
        self._is_to_be_had = True

    def sample(self) -> None:
        """One more, unless there is none."""
        if not self._is_to_be_had:
            return
        if self._calls > 1 and not self._went(1):  # a thousand calls that all ask S3 are not what was announced
            self._is_to_be_had = False
            return
        self._before()
        seconds = self._went(self._calls)
        if seconds:
            self._seconds.append(seconds / self._calls)
        else:
            self._is_to_be_had = False

    def measured(self) -> Measured:
        """All of them."""
        return Measured(self._way, tuple(self._seconds) if self._is_to_be_had else (), self._requests, self._bytes)

    def _went(self, calls: int) -> float:
        """Seconds that so many calls took; 0 if one of them went another way."""
        before, call = self._cache.stats(), self._call
        began = time.perf_counter()
        for _ in repeat(None, calls):
            call()
        seconds = time.perf_counter() - began
        made = self._cache.stats() - before
        self._requests += made.origin_requests
        self._bytes += made.origin_bytes
        return seconds if self._counted(made) == calls else 0.0


class _Boto:
    """The same object by plain boto3, as one would get it without a cache."""

    def __init__(self, where: ObjectKey) -> None:
        import boto3

        self._where = where
        self._client: Any = boto3.client("s3")
        self._client.meta.events.register("before-send.s3", self._sent)
        self._seconds: list[float] = []
        self._requests = self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def get(self) -> int:
        """The length of the body."""
        return len(self._client.get_object(Bucket=self._where.bucket, Key=self._where.key)["Body"].read())

    def sample(self) -> None:
        """One more."""
        requests = self._requests
        began = time.perf_counter()
        size = self.get()
        self._seconds.append(time.perf_counter() - began)
        self._bytes += size
        assert self._requests > requests

    def measured(self) -> Measured:
        """All of them; without the request that has opened the connection."""
        return Measured("boto3", tuple(self._seconds), self._requests - 1, self._bytes)

    def _sent(self, **_request: object) -> None:
        self._requests += 1
