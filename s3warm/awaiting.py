"""How tasks of asyncio wait for a cache: for what another task has asked for already, or for a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from s3warm import taskflight
from s3warm.errors import S3WarmError
from s3warm.near import Elsewhere, Wanted
from s3warm.taskflight import Errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from typing import Any, TypeVar

    from s3warm.crew import Crew
    from s3warm.entries import FileEntry
    from s3warm.factory import Cache
    from s3warm.keys import ObjectKey
    from s3warm.singleflight import Flight
    from s3warm.taskflight import Outcome

    R = TypeVar("R")
    T = TypeVar("T")

__all__ = ["brought", "done", "of_ones_own", "pinned", "released", "several", "wanted_file"]


def _same(value: Any) -> Any:
    return value


def _kept(_value: object) -> None:
    """What nobody received is in the cache, and needs no giving back."""


async def brought(cache: Cache, wanted: Wanted) -> Any:
    """What is wanted, the same one for all tasks that ask for it at this moment."""
    if _shares(cache, wanted):
        errand = partial(_flown, cache, wanted)
        outcome = _given(_counted(cache, await taskflight.shared(_key(cache, wanted), errand)))
        cache._counters.coalesced += not outcome.first
        if outcome.first or wanted.bound is None:
            return outcome.value
        # It was asked for before this call, and may be older by now than this call accepts.
        with contextlib.suppress(Elsewhere):
            return wanted.look()
    return _given(await taskflight.alone(_errand(wanted))).value


async def pinned(cache: Cache, where: ObjectKey, bound: float | None) -> Path:
    """A file with the one pin that `path` has for each object."""
    wanted = wanted_file(cache, where, bound, "path")
    given: Path
    if _shares(cache, wanted):
        errand = partial(_flown, cache, wanted, cache._pin, released)
        outcome = _given(_counted(cache, await taskflight.shared(_key(cache, wanted), errand)))
        cache._counters.coalesced += not outcome.first
        if outcome.first or bound is None:
            given = outcome.value
            return given
    given = _given(await taskflight.alone(_errand(wanted, cache._pin, released))).value
    return given


async def of_ones_own(cache: Cache, wanted: Wanted, give_back: Callable[[Any], object]) -> Any:
    """What each task is to have for itself: those that ask at one moment wait until the first has it, and then find it in the cache."""
    if _shares(cache, wanted):
        errand = partial(_flown, cache, wanted, _same, give_back)
        outcome = _given(_counted(cache, await taskflight.shared(_key(cache, wanted), errand)))
        if outcome.first:
            return outcome.value
    return _given(await taskflight.alone(_errand(wanted, _same, give_back))).value


def wanted_file(cache: Cache, where: ObjectKey, bound: float | None, kind: str) -> Wanted:
    """An object as a file with a pin."""
    bring = partial(cache._file, where, bound)
    return Wanted(where, bound, (kind,), bring, bring)


def released(entry: FileEntry) -> None:
    """Give back a file."""
    entry.pin.release()


async def done(work: Callable[[], R], crew: Crew) -> R:
    """What `work` returns, which a thread does for this task alone."""
    value: R = _given(await taskflight.alone(Errand(lambda _errand: work(), _same, _kept), crew)).value
    return value


async def several(fetch: Callable[[T], Coroutine[Any, Any, object]], items: Sequence[T], at_once: int) -> None:
    """Await `fetch` of each, begun in this order, `at_once` at a time.

    Raises:
        Exception: what one of them raised, the first in the order of the items. What was not begun by then is not begun.
    """
    numbers = iter(range(len(items)))
    errors: dict[int, Exception] = {}

    async def labour() -> None:
        for number in numbers:
            try:
                await fetch(items[number])
            except Exception as error:  # noqa: BLE001  # it is raised below
                errors[number] = error
            if errors:
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(items))):
                group.create_task(labour())
        if errors:
            raise errors[min(errors)]
    finally:
        errors.clear()  # their tracebacks lead here: a circle, which would keep bodies in memory


def _shares(cache: Cache, wanted: Wanted) -> bool:
    """Whether another task's answer will do. Not for a call that asks S3 now; and with `stale_while_revalidate` none has to wait for it."""
    return wanted.bound != 0 and not cache._revalidation.serves_meanwhile


def _key(cache: Cache, wanted: Wanted) -> tuple[object, ...]:
    return cache, wanted.where, wanted.bound, wanted.kind


def _errand(wanted: Wanted, receive: Callable[[Any], Any] = _same, give_back: Callable[[Any], object] = _kept) -> Errand:
    return Errand(lambda _errand: wanted.bring(), receive, give_back)


def _flown(
    cache: Cache, wanted: Wanted, receive: Callable[[Any], Any] = _same, give_back: Callable[[Any], object] = _kept
) -> Errand:
    """One in a flight of its own, which ends for those that come later when the object is invalidated."""

    def work(errand: Errand) -> Any:
        def bring(flight: Flight[Any]) -> Any:
            errand.flight = flight
            return wanted.bring()

        return cache._flights.run(wanted.where, bring, terms=object(), join=False)

    return Errand(work, receive, give_back)


def _counted(cache: Cache, outcome: Outcome) -> Outcome:
    """The outcome; of an error that several tasks get the cache has counted the first one's call alone."""
    if not outcome.first and isinstance(outcome.error, S3WarmError):
        cache._counters.errors += 1
    return outcome


def _given(outcome: Outcome) -> Outcome:
    """The outcome, if it is no error."""
    if outcome.error is None:
        return outcome
    try:
        raise outcome.error
    finally:
        del outcome  # its error leads to this frame: a circle, which would keep bodies in memory
