"""One value: how it is made of a body or a file, what it takes, how long its file stays, and which values of an object are kept.

A value is found by the function that makes it. A function that is made anew in each call could be found by nobody: its value takes the
place of the one that the same line of the program made before, and somebody is told.
"""

from __future__ import annotations

import time
from collections import deque

from s3warm.entries import FileEntry, Known
from s3warm.errors import ObjectTooLargeError, TransformError
from s3warm.metrics import Event
from s3warm.sizing import size_of
from s3warm.tiers.slot import ValueSlot
from s3warm.transforms import code_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.entries import Entry, Pin
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters, Troubles
    from s3warm.tiers.base import HotTier
    from s3warm.transforms import Decoder

    Measure = Callable[[Any], int]

__all__ = ["Making"]

AT_MOST = 4  # values of one object


class Making:
    """See the module.

    Args:
        memory: where values are kept.
        anonymous: tells how much anonymous memory the process holds.
        watch: is told of each value that is made.
        counters: counts.
        troubles: complains, once.
        announcer: tells.
    """

    def __init__(
        self,
        memory: HotTier,
        anonymous: Callable[[], int],
        watch: Callable[[ObjectKey, str, object], object],
        *,
        counters: Counters,
        troubles: Troubles,
        announcer: Announcer,
    ) -> None:
        self._memory = memory
        self._anonymous = anonymous
        self._watch = watch
        self._counters = counters
        self._troubles = troubles
        self._announcer = announcer
        self._unused: deque[Pin] = deque()  # of values that are gone; filled wherever the collector happens to run

    def give_back(self) -> None:
        """Let go of the files whose values are gone."""
        while self._unused:
            self._unused.popleft().release()

    def of_bytes(self, entry: Entry, decoder: Decoder, measure: Measure | None) -> ValueSlot:
        """What the decoder makes of a body.

        Raises:
            TransformError: it could not.
            ObjectTooLargeError: there is not enough memory for what is in the body.
        """
        return self._slot(entry, decoder, lambda: decoder.make(entry), measure or size_of)

    def of_file(self, entry: FileEntry, decoder: Decoder, measure: Measure | None) -> ValueSlot:
        """What the decoder makes of a file, whose pin is the value's from then on.

        Raises:
            TransformError: it could not, and the pin is still the caller's.
        """
        import weakref
        from pathlib import Path

        before = self._anonymous()

        def default(value: object) -> int:
            # What a library allocates for itself is seen from outside only.
            return max(size_of(value), self._anonymous() - before)

        slot = self._slot(entry, decoder, lambda: decoder.make(Path(entry.path)), measure or default)
        try:
            ending = weakref.finalize(slot.value, self._unused.append, entry.pin)
        except TypeError:  # a value that cannot be watched: the file stays as long as memory holds it
            ending = weakref.finalize(slot, self._unused.append, entry.pin)
        ending.atexit = False
        return slot

    def _slot(
        self, entry: Entry | FileEntry, decoder: Decoder, make: Callable[[], Any], measure: Callable[[Any], int]
    ) -> ValueSlot:
        where, trouble = entry.object, f"decode {entry.object} {decoder.name}"
        self._counters.decoded += 1
        began = time.monotonic()
        try:
            value = make()
            seconds = time.monotonic() - began
            size = _counted(measure(value))
        except ObjectTooLargeError:
            raise
        except Exception as error:
            kind = type(error).__name__
            message = f"{where} could not be decoded by {decoder.name}: {kind}{_raised_at(error, decoder)}"
            self._counters.decode_errors += 1
            self._announcer.note(Event("decode_failed", where.bucket, where.key, entry.size, detail=kind))
            self._troubles.report(trouble, f"{message}; where there is a value from before, it is served on", uri=str(where))
            raise TransformError(f"{message}, see the cause", bucket=where.bucket, key=where.key) from error
        if self._troubles:
            self._troubles.over(trouble, f"{where} is decoded by {decoder.name} again", uri=str(where))
        self._announcer.note(Event("decoded", where.bucket, where.key, entry.size, seconds, decoder.name))
        self._watch(where, decoder.name, value)
        known = Known(where, entry.info, entry.validated_at, entry.expires_at)
        return ValueSlot(known, value, decoder.key, made_by=decoder.name, size=size, seconds=seconds)

    def keep(self, slot: ValueSlot, decoder: Decoder) -> None:
        """Keep a value in memory, where it is found by its decoder, and let go of what nobody will find again."""
        where, others = slot.object, self._memory.values_of(slot.object)
        code = code_of(decoder.key)
        same_line = [other for other in others if other.decoder != decoder.key and code and code_of(other.decoder) == code]
        if same_line:
            self._troubles.report(
                f"new function {code}",
                f"{decoder.name} is a new function in each call, so that {where} is decoded anew each time: define it once, "
                "outside of the handler",
                uri=str(where),
            )
        too_many = [other for other in others if other not in same_line and other.decoder != decoder.key][: 1 - AT_MOST]
        for other in (*same_line, *too_many):
            self._memory.drop(other)
        displaced = self._memory.beside
        self._memory.put_value(slot)
        if self._memory.beside is slot and displaced is not None and displaced.object != where:
            self._troubles.report(
                "large values",
                f"what {decoder.name} makes of {where} takes {slot.size:,} bytes, more than the memory budget, and so did that of "
                f"{displaced.object}: only the last one is kept; raise memory_budget",
                uri=str(where),
            )
        self._memory.drop_unused(where)


def _raised_at(error: Exception, decoder: Decoder) -> str:
    """What JSON says of itself; of a user's function only the line, as what it says may quote the body."""
    if isinstance(decoder.key, str):
        return f" ({error})"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _counted(size: object) -> int:
    # numpy's and pandas' sums are no `int`, and as good.
    index = getattr(size, "__index__", None)
    number: object = index() if index is not None and not isinstance(size, bool) else None
    if not isinstance(number, int) or number < 0:
        raise TypeError(f"size_of must give a number of bytes, not {size!r}")
    return number
