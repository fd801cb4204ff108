"""A sink for a body that is wanted in memory and in another sink as well, usually a file."""

from __future__ import annotations

import functools
import threading
from queue import SimpleQueue

from s3warm.origin.base import CHUNK, part_length
from s3warm.origin.buffer import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from s3warm.entries import Metadata
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Sink

__all__ = ["Tee"]


class Tee(Buffer):
    """A buffer whose bytes go to another sink as well, as they arrive; that is never read but for what it had before.

    One thread writes behind the connections: if each of them wrote, sixteen would wait for the file, and for Python's lock after that,
    while nobody received (64 MiB: 0.16 s instead of 0.11).
    """

    def __init__(self, key: ObjectKey, largest: int, other: Sink) -> None:
        super().__init__(key, largest)
        self._other = other
        self._behind: Behind | None = None
        self._counting = threading.Lock()
        self._length = 1
        self._missing: set[int] = set()  # parts; guarded by _counting

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._settle()
        super().__exit__(kind, error, trace)

    def begin(self, info: Metadata) -> frozenset[int]:
        """See `Sink.begin`: what an earlier transfer has finished is read into the memory."""
        self._settle()
        super().begin(info)
        ready = self._other.begin(info)
        length = part_length(info.size)
        for part in sorted(ready):
            self._read_back(part * length, min((part + 1) * length, info.size))
        self._length = length
        self._missing = set(range(-(-info.size // length))) - ready
        self._behind = Behind()
        return ready

    def write(self, piece: memoryview, offset: int) -> None:
        """See `Sink.write`."""
        with self._counting:
            # Without `If-Match` all is brought anew, what was ready too.
            self._missing.add(offset // self._length)
        self._later(functools.partial(self._copy, offset, offset + len(piece)))

    def finished(self, part: int) -> None:
        """See `Sink.finished`: the other one is told when it has the part, and with the last part it has all."""
        self._later(functools.partial(self._other.finished, part))
        with self._counting:
            self._missing.discard(part)
            is_last = not self._missing
        if is_last and (error := self._settle()) is not None:
            raise error

    def reset(self) -> None:
        """See `Sink.reset`."""
        self._settle()
        self._other.reset()

    def _read_back(self, position: int, end: int) -> None:
        while position < end:
            with self._other.read(position, min(CHUNK, end - position)) as piece:
                self._view[position : position + len(piece)] = piece
                position += len(piece)

    def _copy(self, start: int, end: int) -> None:
        with self._view[start:end] as piece:
            self._other.write(piece, start)

    def _later(self, work: Callable[[], object]) -> None:
        with self._counting:
            behind = self._behind = self._behind or Behind()
        behind.do(work)

    def _settle(self) -> BaseException | None:
        """Wait until all that was received is written; the error that came in its place, if one did."""
        behind, self._behind = self._behind, None
        return None if behind is None else behind.end()


class Behind:
    """A thread that does one thing after another, up to the first that fails; without any more threads, who asks does it."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._alone = threading.Lock()
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="s3warm-writer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None

    def do(self, work: Callable[[], object]) -> None:
        """Have it done soon; raises what an earlier one has raised."""
        if self._error is not None:
            raise self._error
        if self._thread is not None:
            self._work.put(work)
        else:
            with self._alone:
                work()

    def end(self) -> BaseException | None:
        """Wait until all is done. What failed."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
        error, self._error = self._error, None
        return error

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            if self._error is None:
                try:
                    work()
                except BaseException as error:  # noqa: BLE001  # it is raised where the next piece arrives
                    self._error = error
