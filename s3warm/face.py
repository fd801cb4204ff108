"""What `import s3warm` offers: the cache, its values and errors, and functions that are the methods of the default cache."""

from __future__ import annotations

from s3warm.deadlines import deadline
from s3warm.default import configure, default_cache, front
from s3warm.entries import Entry
from s3warm.errors import (
    AccessDeniedError,
    ConfigurationError,
    DiskUnavailableError,
    FleetUnavailableError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    PreloadError,
    S3WarmError,
    TransformError,
)
from s3warm.explanation import Budgets, Explanation
from s3warm.factory import Cache
from s3warm.keys import MISSING
from s3warm.metrics import Event, Stats
from s3warm.report import PreloadReport
from s3warm.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from pathlib import Path
    from typing import Any, BinaryIO, TypeVar

    from s3warm.front import Request
    from s3warm.injection import Injection
    from s3warm.keys import Missing

    S = TypeVar("S", bound=str | tuple[str, str])

__all__ = [
    "AccessDeniedError",
    "Budgets",
    "Cache",
    "ConfigurationError",
    "DiskUnavailableError",
    "Entry",
    "Event",
    "Explanation",
    "FleetUnavailableError",
    "IntegrityError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "OriginUnavailableError",
    "PreloadError",
    "PreloadReport",
    "S3WarmError",
    "Settings",
    "Stats",
    "TransformError",
    "as_file",
    "budgets",
    "clear",
    "configure",
    "deadline",
    "default_cache",
    "entry",
    "explain",
    "get",
    "get_many",
    "glob",
    "inject",
    "invalidate",
    "load",
    "open",
    "path",
    "preload",
    "put",
    "release",
    "stats",
    "tree",
]

# Bound once: the front follows the default cache, so this name stays right when `configure` replaces it. A function around it
# would cost a hit 40 % more.
get = front.get
load = front.load


def entry(
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    ttl: float | timedelta | None = None,
    request: Request | None = None,
) -> Entry:
    """See `Cache.entry`."""
    return default_cache().entry(bucket, key, version_id=version_id, ttl=ttl, request=request)


def path(
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    ttl: float | timedelta | None = None,
    request: Request | None = None,
) -> Path:
    """See `Cache.path`."""
    return default_cache().path(bucket, key, version_id=version_id, ttl=ttl, request=request)


def put(
    bucket: str,
    key: str | bytes | bytearray | memoryview | Missing = MISSING,
    body: bytes | bytearray | memoryview | Missing = MISSING,
    *,
    content_type: str | None = None,
    content_encoding: str | None = None,
    cache_control: str | None = None,
    metadata: Mapping[str, str] | None = None,
    request: Request | None = None,
) -> Entry:
    """See `Cache.put`."""
    return default_cache().put(
        bucket,
        key,
        body,
        content_type=content_type,
        content_encoding=content_encoding,
        cache_control=cache_control,
        metadata=metadata,
        request=request,
    )


def tree(bucket: str, prefix: str | Missing = MISSING, *, ttl: float | timedelta | None = None) -> Path:
    """See `Cache.tree`."""
    return default_cache().tree(bucket, prefix, ttl=ttl)


def preload(
    *sources: str | tuple[str, str] | Callable[[], object],
    timeout: float | timedelta | None = None,
    concurrency: int | None = None,
    strict: bool = False,
) -> PreloadReport:
    """See `Cache.preload`."""
    return default_cache().preload(*sources, timeout=timeout, concurrency=concurrency, strict=strict)


def get_many(sources: Iterable[S], *, ttl: float | timedelta | None = None, concurrency: int | None = None) -> dict[S, bytes]:
    """See `Cache.get_many`."""
    return default_cache().get_many(sources, ttl=ttl, concurrency=concurrency)


def glob(pattern: str, *, limit: int = 1000) -> list[str]:
    """See `Cache.glob`."""
    return default_cache().glob(pattern, limit=limit)


def release(
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    request: Request | None = None,
) -> None:
    """See `Cache.release`."""
    default_cache().release(bucket, key, version_id=version_id, request=request)


def as_file(
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    ttl: float | timedelta | None = None,
    request: Request | None = None,
) -> AbstractContextManager[Path]:
    """See `Cache.as_file`."""
    return default_cache().as_file(bucket, key, version_id=version_id, ttl=ttl, request=request)


def open(  # noqa: A001  # it is what it says: s3warm.open
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    ttl: float | timedelta | None = None,
    request: Request | None = None,
) -> BinaryIO:
    """See `Cache.open`."""
    return default_cache().open(bucket, key, version_id=version_id, ttl=ttl, request=request)


def inject(
    sources: Mapping[str, str | tuple[str, str] | Callable[[], object]] | None = None,
    /,
    *,
    transform: Any = None,
    ttl: float | timedelta | None = None,
    **named: str | tuple[str, str] | Callable[[], object],
) -> Injection:
    """A decorator that gives a handler objects of S3, decoded if you like, as arguments by the names of its parameters.

    What memory holds fresh is given at once. All that is missing is fetched at the same time, and within the time that the invocation has left
    if the last argument is a context of Lambda's (see `deadline`); the handler itself is under no deadline but its own. What a caller gives
    for a parameter is taken as it is, and nothing is fetched for it: tests give `handler(event, None, flags={})`. The decorator may be
    stacked, each with a `transform` and a `ttl` of its own, and decorates functions, methods and `async def`s, whose event loop goes on meanwhile.

    Args:
        sources: sources by name, for parameters that are called `transform` or `ttl`: `inject({"ttl": "s3://cfg/ttl.txt"})`.
        transform: of all objects of this decorator; as `get` has it.
        ttl: as `get` has it, for all objects of this decorator.
        **named: by the parameter's name `"s3://bucket/key"`, `(bucket, key)`, or a function without arguments that gives a value:
            `model=lambda: s3warm.load("models", "net.onnx", loader=InferenceSession)`. Functions are called one after the other, in the handler's
            thread; for an `async def` in another one, but such as are an `async def` themselves are awaited.

    Raises:
        TypeError: a source is none, there are none, or two for one parameter; or, where it decorates: the handler has no such parameter, or is a
            generator. Calls of the handler raise what `get` raises.
        ValueError: a source cannot name an object, the TTL is negative, or there is no such transform.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> @s3warm.inject(flags="s3://cfg/flags.json", transform="json", ttl=60)
        ... def handler(event, context, *, flags):
        ...     return flags["dark"]
        >>> with fake_s3({"s3://cfg/flags.json": b'{"dark": true}'}) as s3:
        ...     handler({}, None)
        ...     handler({}, None, flags={"dark": False})
        ...     len(s3.requests)
        True
        False
        1
    """
    from s3warm.injection import inject as injection

    return injection(sources, named, transform, ttl)


def invalidate(
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    request: Request | None = None,
    everywhere: bool = False,
) -> None:
    """See `Cache.invalidate`."""
    default_cache().invalidate(bucket, key, version_id=version_id, request=request, everywhere=everywhere)


def clear() -> None:
    """See `Cache.clear`."""
    default_cache().clear()


def stats() -> Stats:
    """See `Cache.stats`."""
    return default_cache().stats()


def explain(
    bucket: str,
    key: str | Missing = MISSING,
    *,
    version_id: str | None = None,
    request: Request | None = None,
) -> Explanation:
    """See `Cache.explain`."""
    return default_cache().explain(bucket, key, version_id=version_id, request=request)


def budgets() -> Budgets:
    """See `Cache.budgets`."""
    return default_cache().budgets()


# What `help` shows.
for _name, _value in list(globals().items()):
    if getattr(_value, "__module__", None) == __name__ and hasattr(Cache, _name):
        _value.__doc__ = getattr(Cache, _name).__doc__
