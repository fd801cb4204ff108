"""The process's default cache, which the module functions use: made at first use, replaced by `configure`."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from s3warm.factory import Cache
from s3warm.front import Front

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Unpack

    from s3warm.entries import Entry
    from s3warm.keys import ObjectKey
    from s3warm.making import Measure
    from s3warm.metrics import Event
    from s3warm.options import Options
    from s3warm.settings import Settings

__all__ = ["configure", "default_cache", "front", "making"]


class _DefaultFront(Front):
    """The hit path over whichever cache is the default now, so that `from s3warm import get` always means that one."""

    def __init__(self) -> None:
        self.follow(None)

    def follow(self, cache: Cache | None) -> None:
        """Look into this cache's memory from now on."""
        self._slots = {} if cache is None else cache._slots
        self._values = {} if cache is None else cache._values
        self._clock = time.time if cache is None else cache._clock
        self._look = float if cache is None else cache._look
        self._prolong = float if cache is None else cache._prolong

    def _read(self, where: ObjectKey, bound: float | None) -> Entry:
        return default_cache()._read(where, bound)

    def _value(self, where: ObjectKey, bound: float | None, transform: object, size_of: Measure | None) -> Any:
        return default_cache()._value(where, bound, transform, size_of)

    def _loaded(self, where: ObjectKey, bound: float | None, loader: object, size_of: Measure | None) -> Any:
        return default_cache()._loaded(where, bound, loader, size_of)


front = _DefaultFront()
_lock = threading.RLock()
# Guarded by _lock.
_cache: Cache | None = None
_make: Callable[..., Cache] = Cache


def _renew_lock() -> None:
    """This is a forked child: another thread of the parent may have held the lock."""
    global _lock  # noqa: PLW0603  # the process's default is what this module is
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def default_cache() -> Cache:
    """The cache behind the module functions, made now if there is none yet.

    Example:
        >>> import s3warm
        >>> s3warm.default_cache() is s3warm.default_cache()
        True
    """
    cache = _cache
    if cache is None:
        with _lock:
            cache = _cache
            if cache is None:
                cache = _make()
                _swap(cache)
    return cache


def configure(
    settings: Settings | None = None,
    *,
    client: Any = None,
    shared_client: Any = None,
    clock: Callable[[], float] = time.time,
    on_event: Callable[[Event], None] | None = None,
    **options: Unpack[Options],
) -> None:
    """Replace the default cache; takes what `Cache` takes.

    Call it once, where the module is loaded, before the first `get`. Later it works too, closes the old cache with all that it
    has in memory, and warns.

    Args:
        settings: a `Settings` object; without it `S3WARM_*` variables are read.
        client: a boto3 S3 client to use as it is.
        shared_client: a client of redis-py or valkey-py to use as it is.
        clock: the wall clock, seconds since the epoch.
        on_event: called with an `Event` for what is not a memory hit.
        **options: single settings, which win over `settings` and the environment; `Settings` says what there is.

    Raises:
        ConfigurationError: a setting cannot be understood, or there is no such setting. The default cache is then the one that it was.
        TypeError: `settings`, `client`, `shared_client`, `clock` or `on_event` is something else; the default cache is then the same, too.

    Example:
        >>> import s3warm
        >>> s3warm.configure(ttl=60, memory_budget="16MiB")
        >>> s3warm.default_cache().settings.ttl
        60.0
    """
    new = _make(settings, client=client, shared_client=shared_client, clock=clock, on_event=on_event, **options)
    old = _swap(new)
    if old is None:
        return
    used = old.used
    old.close()
    if used:
        import warnings

        warnings.warn(
            "s3warm.configure() was called after the default cache had been used: that cache is closed, and what it held in "
            "memory is gone. Call configure() before the first get().",
            RuntimeWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def making(make: Callable[..., Cache], first: Cache) -> Iterator[None]:
    """For the length of a block, `first` is the default cache, and `make` makes those that follow it."""
    global _make  # noqa: PLW0603  # the process's default is what this module is
    with _lock:
        make_before, _make = _make, make
        before = _swap(first)
    try:
        yield
    finally:
        with _lock:
            _make = make_before
            last = _swap(before)
        for cache in (first, last):
            if cache is not None:
                cache.close()


def _swap(new: Cache | None) -> Cache | None:
    global _cache
    with _lock:
        old, _cache = _cache, new
        front.follow(new)
        return old
