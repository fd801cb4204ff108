"""The threads in which the cache works for tasks of asyncio: at most so many, each of which ends when there is nothing more to do.

asyncio's own executor is the program's: it has few threads, and is shut down, which waits for them, at the end of `asyncio.run`. These wait for
nothing and keep no process alive: after the response none is left but what is busy with S3 for a caller that was cancelled.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Crew", "asking", "quick"]


class Crew:
    """A few threads, which begin what they are given in its order.

    Args:
        most: threads at a time.

    Example:
        >>> done = threading.Event()
        >>> Crew(2).do(done.set)
        >>> done.wait(10)
        True
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """This is a forked child: the threads, and what they were to do, are its parent's."""
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._waiting: deque[Callable[[], object]] = deque()
        self._at_work = 0

    def do(self, work: Callable[[], object]) -> None:
        """Let a thread do it, as soon as one is free. What it raises is lost: it is to tell the outcome itself.

        Raises:
            RuntimeError: there are no threads at all any more; it will not be done.
        """
        with self._lock:
            self._waiting.append(work)
            if self._at_work == self._most:
                return
            self._at_work += 1
        try:
            threading.Thread(target=self._labour, name="s3warm-aio", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._at_work -= 1
                if self._at_work:
                    return  # those that there are do all of it
                self._waiting.remove(work)
            raise

    def _labour(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._at_work -= 1
                    return
                work = self._waiting.popleft()
            with contextlib.suppress(BaseException):  # or there would be a thread less from now on
                work()
            del work  # or its result would live as long as this thread has nothing else to do


# What may wait for S3: as many as asyncio's own executor has at most.
asking = Crew(32)
# What asks nobody, and so must not wait behind it: changes of the cache, and answers to those whose deadline has come.
quick = Crew(4)


def _renew() -> None:
    asking.renew()
    quick.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
