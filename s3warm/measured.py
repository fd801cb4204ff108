"""Blocks and handlers whose use of a cache is measured: what was counted meanwhile goes to whoever sends metrics."""

from __future__ import annotations

import os
import threading
from collections import deque
from functools import wraps
from weakref import WeakKeyDictionary

from s3warm.default import default_cache
from s3warm.measures import COUNTERS, checked, measures, taken
from s3warm.metrics import Stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, ParamSpec, Self, TypeVar

    from s3warm.factory import Cache
    from s3warm.measures import Measure
    from s3warm.metrics import Event

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Measured", "Totals"]

_ASYNC = 0x80  # inspect.CO_COROUTINE; `inspect` would cost a cold start 7 ms

_NOTHING = Stats()

# One for all: it is held for some 50 µs, twice in an invocation.
_lock = threading.RLock()


def _renew_lock() -> None:
    """This is a forked child: another thread of the parent may have held the lock."""
    global _lock  # noqa: PLW0603  # one lock is what this module has
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Totals:
    """What a cache has counted, or the default cache, whichever that is: counters only grow, also when another takes its place.

    Raises:
        TypeError: `cache` is no `Cache`.
    """

    __slots__ = ("_latest", "_own", "_process", "_seen", "_total")

    def __init__(self, cache: Cache | None = None) -> None:
        if cache is not None and not callable(getattr(cache, "stats", None)):
            raise TypeError(
                f"cache must be an s3warm.Cache, or None for the default one, not {type(cache).__name__}: {cache!r}"
            )
        self._own = cache
        self._latest: Cache | None = None
        self._process = os.getpid()
        self._seen: WeakKeyDictionary[Cache, Stats] = WeakKeyDictionary()
        self._total = _NOTHING

    def read(self) -> Stats:
        """All counts so far, and the gauges of the cache as it is now."""
        with _lock:
            if self._process != os.getpid():  # in a forked child caches count from nought
                self._process = os.getpid()
                self._seen.clear()
            current = default_cache() if self._own is None else self._own
            if self._latest is not None and self._latest is not current:
                self._take(self._latest)
            self._latest = current
            return self._take(current)

    def _take(self, cache: Cache) -> Stats:
        now = cache.stats()
        grown = now - self._seen.get(cache, _NOTHING)
        self._seen[cache] = now
        counted = {name: getattr(self._total, name) + getattr(grown, name) for name in COUNTERS}
        self._total = grown._replace(**counted)
        return self._total


class Measured:
    """A decorator of handlers, also of async ones, and a context manager: at the end it reports what the cache did meanwhile.

    It may be used any number of times. A handler that raises reports as well. What is counted is what the whole process did with the cache:
    of blocks that overlap, in threads or tasks, the one that ends first reports what happened so far, and each thing is reported once.
    Nothing is reported if nothing happened.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> report = Measured(print, only=("misses",), cache=None)
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}), report:
        ...     body = s3warm.get("cfg", "flags.json")
        [Measure(name='Misses', unit='Count', values=[1])]
    """

    __slots__ = ("_latencies", "_names", "_open", "_reported", "_send", "_totals")

    def __init__(self, send: Callable[[list[Measure]], None], *, only: Iterable[str], cache: Cache | None) -> None:
        self._send = send
        self._names = checked(only)
        self._totals = Totals(cache)
        self._latencies: deque[float] = deque()
        # Guarded by _lock.
        self._open = 0
        self._reported = _NOTHING

    def __call__(self, handler: Callable[P, R]) -> Callable[P, R]:
        """The same handler, each of whose calls is reported."""
        if not callable(handler):
            raise TypeError(f"this decorates a handler, which {handler!r} is not")
        if _is_async(handler):
            work: Callable[P, Any] = handler

            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self:
                    return await work(*args, **kwargs)

            reported: Any = awaited
        else:

            def called(*args: P.args, **kwargs: P.kwargs) -> R:
                with self:
                    return handler(*args, **kwargs)

            reported = called
        decorated: Callable[P, R] = wraps(handler)(reported)
        return decorated

    def __enter__(self) -> Self:
        with _lock:
            if not self._open:
                self._reported = self._totals.read()
                self._latencies.clear()
            self._open += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with _lock:
            self._open -= 1
            now = self._totals.read()
            happened = now - self._reported
            self._reported = now
            latencies = [self._latencies.popleft() for _ in range(len(self._latencies))]
        found = measures(happened, latencies, self._names)
        if found:
            self._send(found)

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that are reported, by their names in `Stats`."""
        return self._names

    def on_event(self, event: Event) -> None:
        """Take note of how long S3 took, for `origin_latency`.

        Pass it as `on_event` to `configure` or `Cache`; a hook of your own calls it with each event.

        Example:
            >>> import s3warm
            >>> report = s3warm.emf.metrics("shop")
            >>> s3warm.configure(on_event=report.on_event)
        """
        spent = taken(event) if self._open else None
        if spent is not None:
            self._latencies.append(round(spent * 1000, 3))


def _is_async(handler: Callable[..., Any]) -> bool:
    function = getattr(handler, "func", handler)  # functools.partial's
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _ASYNC)
