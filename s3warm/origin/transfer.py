"""A large body by parallel ranged requests, each pinned to the ETag of the first answer, each part written at its offset.

The first answer, which asked for no range so that empty objects and checksums just work, brings the first part. Parts are claimed in order, and
the calling thread follows and sums what is complete, so that the sum is ready shortly after the last part. The threads end with the transfer:
nothing runs behind the handler's back.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from s3warm import deadlines
from s3warm.origin.base import CHUNK, part_length
from s3warm.origin.exchange import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.origin.base import Progress, Request, Response, Sink
    from s3warm.origin.exchange import Exchange
    from s3warm.origin.integrity import Digest

__all__ = ["Transfer"]


NICE = (
    10  # of the connections' threads: the sum is what a fast transfer waits for (512 MiB on two cores: 0.91 s instead of 1.06)
)


class Transfer:
    """One body of `size` bytes on its way into a sink."""

    def __init__(
        self, exchange: Exchange, request: Request, size: int, *, sink: Sink, digest: Digest, progress: Progress
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._size = size
        self._length = part_length(size)
        self._sink = sink
        self._digest = digest
        self._progress = progress
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._to_do: list[int] = []
        self._done: set[int] = set()
        self._summed = 0  # parts from the first on
        self._ahead: float = float("inf")  # parts that may be brought before they are summed
        self._error: BaseException | None = None

    def run(self, response: Response, ready: frozenset[int], connections: int, *, at_once: int = CHUNK) -> None:
        """Bring what is not ready, and sum it `at_once` bytes at a time; raises what the first connection that gave up raised."""
        self._at_once = at_once
        parts = range(-(-self._size // self._length))
        self._done = set(ready)
        self._to_do = [part for part in reversed(parts) if part not in ready]
        first: Response | None = response
        if 0 in ready:
            response.close()
            first = None
        threads: list[threading.Thread] = []
        try:
            for number in range(min(connections, len(self._to_do))):
                part = self._claim()
                thread = threading.Thread(
                    target=deadlines.carried(self._run), args=(first, part), name=f"s3warm-{number}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    # No more threads. Those that there are may have ended by now, so this one does what is left.
                    taken, first = first, None
                    self._work(taken, part)
                    break
                first = None
                threads.append(thread)
            if self._digest.wanted:
                # Where the network is faster than the sum, connections that ran ahead would only take the processor from it.
                self._ahead = connections
            self._follow(parts)
        except BaseException as error:
            self._give_up(error)
            if first is not None:
                first.close()
            raise
        finally:
            for thread in threads:
                thread.join()
            self._error = None  # its traceback holds the frames of everybody above, and they hold this

    # -- in the calling thread ---------------------------------------------------------------------------------------------

    def _follow(self, parts: range) -> None:
        for part in parts:
            with self._changed:
                while part not in self._done and self._error is None:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                arrived = len(self._done)
            if self._digest.wanted:
                self._sum(part)
            with self._changed:
                self._summed = part + 1
                self._changed.notify_all()
            self._progress(min(arrived * self._length, self._size), self._size)

    def _sum(self, part: int) -> None:
        position, end = part * self._length, min((part + 1) * self._length, self._size)
        while position < end:
            # As much as there is memory for: each piece costs a wait for Python's lock, which the other threads want as well.
            with self._sink.read(position, min(self._at_once, end - position)) as piece:
                self._digest.update(piece)
                position += len(piece)

    # -- in the connections' threads ---------------------------------------------------------------------------------------

    def _claim(self) -> int:
        """The next part to bring, once it is not too far ahead of the sum; none: -1."""
        with self._changed:
            while self._to_do and self._error is None:
                if self._to_do[-1] < self._summed + self._ahead:
                    return self._to_do.pop()
                self._changed.wait()
            return -1

    def _run(self, response: Response | None, part: int) -> None:
        """The life of a connection's thread."""
        if self._digest.wanted and sys.platform == "linux":  # where threads have priorities of their own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        self._work(response, part)

    def _work(self, response: Response | None, part: int) -> None:
        try:
            while part >= 0:
                self._bring(part, response)
                response = None
                self._sink.finished(part)
                with self._changed:
                    self._done.add(part)
                    self._changed.notify_all()
                part = self._claim()
        except BaseException as error:  # noqa: BLE001  # it is raised in the calling thread
            self._give_up(error)

    def _bring(self, part: int, response: Response | None) -> None:
        span = part * self._length, min((part + 1) * self._length, self._size) - 1
        stream = Stream(self._exchange, self._request, span, response)
        try:
            while (start := stream.position) <= span[1]:
                if self._error is not None:
                    raise self._error
                with self._sink.buffer(start, min(CHUNK, span[1] + 1 - start)) as buffer:
                    count = stream.readinto(buffer)
                    with buffer[:count] as piece:
                        self._sink.write(piece, start)
        finally:
            stream.close()

    def _give_up(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()
