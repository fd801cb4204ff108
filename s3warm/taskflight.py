"""Single flight for tasks of asyncio: of all the tasks of a loop that want the same at the same time, one has a thread work for it.

`singleflight` does this for threads, whose followers wait where they are: a thousand tasks would take a thousand threads for it. Here they wait
in their loop. A task that is cancelled leaves at once, and nobody else notices: the thread goes on for those who still wait, or, if nobody
does, ends what it has begun and gives the result back. What it has not begun by then is not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from functools import partial

from s3warm import crew, deadlines
from s3warm.record import NamedTuple
from s3warm.singleflight import copied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    from s3warm.crew import Crew
    from s3warm.singleflight import Flight

__all__ = ["Errand", "Outcome", "alone", "shared"]

# One for all: it is held for microseconds. Reentrant, as the collector may end a task wherever it happens to run.
_lock = threading.RLock()
# By loop and key; guarded by _lock.
_under_way: dict[Hashable, Errand] = {}


def _renew() -> None:
    """This is a forked child: what is under way, and in which loops, is its parent's."""
    global _lock  # noqa: PLW0603  # one lock is what this module has
    _lock = threading.RLock()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class Outcome(NamedTuple):
    """What a task is given: a value or an error, and whether it is the first one that is given it."""

    value: Any
    error: BaseException | None
    first: bool


class Errand:
    """One piece of work for the tasks of one loop.

    Args:
        work: called in a thread, with this errand.
        receive: called in the loop with what the work returned, once: makes of it what the tasks are given.
        give_back: called with what the work returned, in whatever thread, if no task is there any more to receive it.
    """

    def __init__(
        self, work: Callable[[Errand], Any], receive: Callable[[Any], Any], give_back: Callable[[Any], object]
    ) -> None:
        self.flight: Flight[Any] | None = None  # set by the work: a flight that whoever invalidates the object ends
        self.begun = False
        self._work = work
        self._receive = receive
        self._give_back = give_back
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        # Guarded by _lock.
        self._tasks = 0  # that wait for it
        self._landed = self._received = False
        self._value: Any = None
        self._error: BaseException | None = None

    def anew(self) -> Errand:
        """The same, for a task that has no time to wait for this one."""
        return Errand(self._work, self._receive, self._give_back)

    def join(self) -> bool:
        """One more task waits for it, unless it has ended, or was begun before the object was invalidated."""
        with _lock:
            if self._landed or (self.flight is not None and self.flight.forgotten):
                return False
            self._tasks += 1
            return True

    async def wait(self, patience: float | None) -> bool:
        """Until it has ended, or for so many seconds; whether it has ended."""
        try:
            async with asyncio.timeout(patience):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    def outcome(self) -> Outcome:
        """What has come of it, for one of the tasks."""
        first, self._received = not self._received, True
        if self._error is not None:
            error = self._error
            return Outcome(None, error if first or not isinstance(error, Exception) else copied(error), first)
        if first:
            self._value = self._receive(self._value)
        return Outcome(self._value, None, first)

    def leave(self) -> None:
        """A task that has joined does not wait any more."""
        with _lock:
            self._tasks -= 1
            last = self._landed and not self._tasks
        if last:
            self._drop()

    def labour(self, key: Hashable) -> None:
        """Do the work, in a thread, if anybody still waits for it."""
        with _lock:
            self.begun = bool(self._tasks)
            self._landed = not self.begun
        if self.begun:
            try:
                self._value = self._work(self)
            except BaseException as error:  # noqa: BLE001  # it is raised in the tasks
                self._error = error
        self._land(key)

    def fail(self, key: Hashable, error: Exception) -> None:
        """There is no thread to do it."""
        self._error = error
        self._land(key)

    def _land(self, key: Hashable) -> None:
        with _lock:
            self._landed = True
            wanted = bool(self._tasks)
            if _under_way.get(key) is self:
                del _under_way[key]
        if not wanted:
            self._drop()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks are gone or going
            self._loop.call_soon_threadsafe(self._ended.set)

    def _drop(self) -> None:
        """Nobody waits any more."""
        if self.begun and self._error is None and not self._received:
            self._received = True
            self._give_back(self._value)
        self._value = self._error = None  # the error's traceback leads here: a circle, which would keep bodies in memory


async def shared(key: Hashable, errand: Callable[[], Errand]) -> Outcome:
    """The outcome of the errand that is under way for `key` in this loop, or of a new one.

    It is waited for until the deadline of this task; then the task's own errand tells at once what there is for those who are late.
    """
    place = asyncio.get_running_loop(), key
    while True:
        with _lock:
            found = _under_way.get(place)
            own = found is None or not found.join()
            if own:
                found = _under_way[place] = errand()
                found.join()
        assert found is not None
        outcome = await _awaited(found, crew.asking if own else None, place)
        if outcome is None:
            return await alone(found.anew(), crew.quick)
        if own or not _says_nothing(outcome.error):
            return outcome


async def alone(errand: Errand, who: Crew = crew.asking) -> Outcome:
    """The outcome of an errand that nobody else waits for."""
    errand.join()
    outcome = await _awaited(errand, who, None)
    return outcome if outcome is not None else await alone(errand.anew(), crew.quick)


async def _awaited(errand: Errand, who: Crew | None, key: Hashable) -> Outcome | None:
    """The outcome of an errand that this task has joined and `who`, if given, is to run; None if the deadline comes before.

    What was begun within the same deadline ends by itself when that comes.
    """
    try:
        if who is not None:
            try:
                who.do(deadlines.carried(partial(errand.labour, key)))
            except RuntimeError as error:
                errand.fail(key, error)
        patience = None if who is crew.quick else deadlines.left()
        if not await errand.wait(patience):
            if who is None or not errand.begun:
                return None
            await errand.wait(None)
        return errand.outcome()
    finally:
        errand.leave()


def _says_nothing(error: BaseException | None) -> bool:
    """Whether it is about the task that had begun, and no other: it was late, or was interrupted."""
    return error is not None and (not isinstance(error, Exception) or getattr(error, "late", False))
