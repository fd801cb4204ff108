"""Objects through s3warm, or through a plain dict, beside a working memory of the handler's own that comes and goes."""

from __future__ import annotations

import functools
import os
from typing import Any

import s3warm
from tests.lambdabox.objects import BUCKET, Checker

_LIMIT = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) * 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
_checker = Checker(os.environ["BODIES"])
_held: dict[str, bytes] = {}


class _Work:
    """The handler's own memory, all of it touched, and the most that the process ever had (bytes)."""

    def __init__(self) -> None:
        self.peak = 0
        self._held = bytearray()

    def resize(self, size: int) -> None:
        """Have as much; the old one goes first."""
        if size != len(self._held):
            self._held = bytearray()
            self._held = bytearray(size)
            self._held[::_PAGE] = b"\1" * len(range(0, size, _PAGE))
            self.note()

    def note(self) -> None:
        """See how much there is now."""
        self.peak = max(self.peak, _anonymous())


_work = _Work()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do the steps of the event, (key, bytes of work) each, and tell what came of them."""
    plain = event.get("cache") == "dict"
    get = _through_dict if plain else functools.partial(s3warm.get, BUCKET)
    told: dict[str, Any] = {"pid": os.getpid(), "wrong": [], "too_large": [], "errors": []}
    for key, size in event["steps"]:
        _work.resize(size)
        try:
            if not _checker.is_right(key, get(key)):
                told["wrong"].append(key)
        except s3warm.ObjectTooLargeError as error:
            told["too_large"].append((key, _free(), str(error)))
        except (s3warm.S3WarmError, OSError) as error:
            told["errors"].append((key, repr(error)))
        _work.note()
    return told if plain else {**told, **_state()}


def _through_dict(key: str) -> bytes:
    if key not in _held:
        _held[key] = _client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return _held[key]


@functools.cache
def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _anonymous() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * _PAGE


def _free() -> int:
    """Bytes that the function could have for a body: what nobody has, and what the cache has."""
    return _LIMIT - _anonymous() + s3warm.stats().memory_bytes


def _state() -> dict[str, Any]:
    status = os.statvfs("/tmp")
    budgets = s3warm.budgets()
    return {
        "stats": s3warm.stats()._asdict(),
        "memory_budget": budgets.memory.bytes,
        "largest_in_memory": budgets.largest_in_memory,
        "disk_budget": budgets.disk.bytes if budgets.disk else 0,
        "peak": _work.peak,
        "anonymous": _anonymous(),
        "tmp_used": (status.f_blocks - status.f_bfree) * status.f_frsize,
    }
