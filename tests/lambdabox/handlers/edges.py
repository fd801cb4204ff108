"""One action for each limit of the cache that a test goes up to."""

from __future__ import annotations

import functools
import itertools
import mmap
import os
import time
from collections.abc import Callable
from typing import Any

import s3warm
from tests.lambdabox.objects import BUCKET, Checker, key_of

_PATIENCE = 5.0  # seconds in which the cache has to give way
_PAGE = os.sysconf("SC_PAGE_SIZE")
_checker = Checker(os.environ["BODIES"])
_numbers = itertools.count(100_000)  # of one length, as the keys are in memory too
_held: list[Any] = []


def handler(event: dict[str, Any], context: Any) -> Any:
    return _ACTIONS[event.pop("action")](**event)


def _get(keys: list[str]) -> dict[str, Any]:
    """Ask for objects in turn; which were not what they should be, and what the cache says after it."""
    wrong = [key for key in keys if not _checker.is_right(key, s3warm.get(BUCKET, key))]
    return {"wrong": wrong, "pid": os.getpid(), **s3warm.stats()._asdict()}


def _size(bucket: str, key: str) -> int:
    return len(s3warm.get(bucket, key))


def _one(size: int, options: dict[str, Any]) -> dict[str, Any]:
    """What a new cache with these options does with one object, asked for twice."""
    key = key_of(next(_numbers), size, text=False)
    with s3warm.Cache(client=_client(), directory=f"/tmp/edge-{next(_numbers)}", **options) as cache:
        right = [_checker.is_right(key, cache.get(BUCKET, key)) for _ in range(2)]
        return {"right": right, "tiers": cache.explain(BUCKET, key).tiers, **cache.stats()._asdict()}


@functools.cache
def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _largest_on_disk(budget: int) -> int:
    """The size of the largest body that a disk tier with this budget keeps, by bisection."""
    low, high = 0, budget + 1
    while high - low > 1:
        middle = (low + high) // 2
        kept = _one(middle, {"memory_budget": 0, "disk_budget": budget})["tiers"]
        low, high = (middle, high) if kept else (low, middle)
    return low


def _try(key: str, bucket: str = BUCKET) -> dict[str, Any]:
    """A `get` that may be refused: whether the body was right, or else the refusal."""
    try:
        return {"right": _checker.is_right(key, s3warm.get(bucket, key))}
    except s3warm.ObjectTooLargeError as error:
        return {"refused": str(error)}


def _hold(size: int) -> None:
    """Keep as much memory."""
    _held.append(b"x" * size)


def _crowd(keys: list[str], size: int) -> dict[str, Any]:
    """Hold `size` bytes, and see what the cache holds while it does nothing but hit."""
    for key in keys:
        s3warm.get(BUCKET, key)
    before = s3warm.stats()
    work = bytearray(size)
    work[::_PAGE] = b"\1" * len(range(0, size, _PAGE))
    begin = time.monotonic()
    small = keys[0]
    while (after := s3warm.stats()).memory_bytes >= before.memory_bytes and time.monotonic() < begin + _PATIENCE:
        for _ in range(100):
            s3warm.get(BUCKET, small)
    taken = time.monotonic() - begin
    return {
        "before": before.memory_bytes,
        "after": after.memory_bytes,
        "seconds": taken,
        "misses": after.misses - before.misses,
    }


def _map(bucket: str, model: str, keys: list[str]) -> dict[str, Any]:
    """Map a model beside a warm cache, touch all of it, and ask for the objects again."""
    for key in keys:
        s3warm.get(BUCKET, key)
    before = s3warm.stats()
    with open(s3warm.path(bucket, model), "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _held.append(mapped)
    touched = sum(mapped[::_PAGE]) + len(mapped)
    wrong = [key for _ in range(3) for key in keys if not _checker.is_right(key, s3warm.get(BUCKET, key))]
    after = s3warm.stats()
    return {
        "touched": touched,
        "wrong": wrong,
        "before": before.memory_bytes,
        "after": after.memory_bytes,
        "memory_hits": after.memory_hits - before.memory_hits,
    }


_ACTIONS: dict[str, Callable[..., Any]] = {
    "get": _get,
    "size": _size,
    "one": _one,
    "largest_on_disk": _largest_on_disk,
    "try": _try,
    "hold": _hold,
    "crowd": _crowd,
    "map": _map,
}
