"""One account of the process's memory: what the memory tier holds, what is under way, and what everything else takes.

Only anonymous memory counts: the pages of a mapped model can be dropped by the kernel, so they are no reason to evict anything. When the
function's memory runs short the memory tier shrinks, what it freed is given back to the system, and only then is anything new allocated.
What else the tier freed, by evictions of its own, is given back as soon as the allocator keeps much of it.
"""

from __future__ import annotations

import contextlib
import threading

from s3warm import deadlines
from s3warm.errors import ObjectTooLargeError, late
from s3warm.rules import pressure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from s3warm.keys import ObjectKey
    from s3warm.tiers.base import Elastic

__all__ = ["Ledger"]

LOOK_EVERY = 1.0  # seconds, for handlers that only hit
LOOK_FIRST = 2**20  # bytes; a larger body is not allocated before a look
PATIENCE = 30.0  # seconds to wait for memory that other threads' bodies take
_TRIM_FROM = 2**20  # freed bytes that are worth the 2 to 12 ms


class _Hold:
    """Bytes that are kept for the length of a block. A class, and nothing at all for what is small: a generator costs each disk hit 1 µs."""

    __slots__ = ("_ledger", "_size", "_where")

    def __init__(self, ledger: Ledger, where: ObjectKey, size: int) -> None:
        self._ledger, self._where, self._size = ledger, where, size

    def __enter__(self) -> int:
        return self._ledger.take(self._where, self._size)

    def __exit__(self, *_error: object) -> None:
        self._ledger.release(self._size)


_NOT_LOOKED_AT = contextlib.nullcontext(0)


class Ledger:
    """See the module; bytes throughout.

    Args:
        share: what this process may use of the function's memory.
        memory: the tier that shrinks.
        anonymous: tells how much anonymous memory the process holds.
        give_back: makes the allocator return what is free to the system.
        free_at_once: makes it return large blocks whenever they are freed, by the handler too.
    """

    def __init__(
        self,
        share: int,
        memory: Elastic,
        *,
        anonymous: Callable[[], int],
        give_back: Callable[[], object],
        free_at_once: Callable[[], object],
    ) -> None:
        self._memory = memory
        self._anonymous = anonymous
        self._give_back = give_back
        self._free_at_once = free_at_once
        self.renew()
        self.derive(share)

    def derive(self, share: int) -> None:
        """Begin anew with this share: nothing is known of the handler's needs yet."""
        self._share = share
        self._is_small = share <= pressure.SMALL
        self._allowed = share - pressure.margin(share)
        self._peak = pressure.Peak()
        self._slack = pressure.Slack()
        self._unseen = 0  # allocated since the last look, by bodies too small for one
        # Freed by the tier in pieces of less than a page, which the allocator keeps: no need of the handler's.
        self._kept = self._held = 0

    def renew(self) -> None:
        """This is a forked child: what is under way is its parent's."""
        self._changed = threading.Condition()
        self._pending = 0  # guarded by _changed: bytes that are allocated, or about to be, and in no tier yet

    def look(self, now: float) -> None:
        """Let the tier fit into what the handler leaves, at most once a second; the hit path may answer alone until the next look is due."""
        due = self._memory.due
        if not due - LOOK_EVERY <= now < due:
            self._memory.due = now + LOOK_EVERY
            with self._changed:
                self._balance(0, now)

    def largest(self) -> int:
        """The largest body that may be allocated now; what the tier holds could make room for it."""
        with self._changed:
            return self._largest()

    def hold(self, where: ObjectKey, size: int) -> AbstractContextManager[int]:
        """Make room for a body of `size` bytes and keep it for the length of the block, in which the body is allocated.

        Yields:
            The bytes that buffers, or a longer body, may take besides.

        Raises:
            ObjectTooLargeError: there is not enough memory for it.
            OriginUnavailableError: there is not while others are under way, for longer than anybody should wait.
        """
        with self._changed:
            if size <= LOOK_FIRST and self._unseen + size <= pressure.UNSEEN:
                self._unseen += size
                return _NOT_LOOKED_AT
        return _Hold(self, where, size)

    @contextlib.contextmanager
    def buffers(self, most: int) -> Iterator[int]:
        """Up to `most` bytes for buffers, for the length of the block."""
        with self._changed:
            granted = min(most, self._largest())
            if granted > LOOK_FIRST:
                self._balance(granted, None)
            self._pending += granted
        try:
            yield granted
        finally:
            self.release(granted)

    def take(self, where: ObjectKey, size: int) -> int:
        """`hold`, to be ended by `release`."""
        with self._changed:
            if self._is_small and size > LOOK_FIRST:
                self._is_small = False
                self._free_at_once()
            spare = self._await(where, size) - size
            self._balance(size, None)
            self._pending += size
        return spare

    def release(self, held: int) -> None:
        """Bytes that were kept are in a tier now, or free."""
        if held:
            with self._changed:
                self._pending = max(0, self._pending - held)  # a forked child began at 0
                self._changed.notify_all()

    # -- with the lock -----------------------------------------------------------------------------------------------------

    def _largest(self, beside: int | None = None) -> int:
        pending = self._pending if beside is None else beside
        free = self._share - self._anonymous() - pending + self._memory.held()
        return pressure.for_one_body(free)

    def _await(self, where: ObjectKey, size: int) -> int:
        """Wait while only what other threads have under way keeps a body from being allocated; how large it might be."""
        largest = self._largest()
        if size <= largest:
            return largest
        left = deadlines.left()
        patience = PATIENCE if left is None else min(PATIENCE, max(0.0, left))
        self._changed.wait_for(lambda: not self._pending or size <= self._largest(), patience)
        if size > self._largest():
            self._given_back()
        largest = self._largest()
        if size <= largest:
            return largest
        if size <= self._largest(beside=0):
            message = f"{where} has {size:,} bytes, for which there is no memory while other threads fetch {self._pending:,}; fetch fewer at once"
            raise late(where, message)
        raise ObjectTooLargeError.of(where, size, largest)

    def _balance(self, need: int, now: float | None) -> None:
        """Let the tier hold what is left beside the handler, as much as that ever had of late, and what is needed now."""
        self._unseen = 0
        need += self._pending
        anonymous, held = self._anonymous(), self._memory.held()
        beside = anonymous - held - self._pending
        if anonymous + need > self._allowed or self._slack.is_much(beside, self._memory.freed, held):
            anonymous = self._given_back()
        self._kept = max(0, self._kept - max(0, held - self._held))  # what it has taken since comes out of that
        own = self._peak.of(max(0, anonymous - held - self._kept - self._pending), now)
        bound = pressure.bound(self._allowed, own=own, held=held, over=anonymous + need - self._allowed)
        anonymous = self._shrink(bound, anonymous)
        if anonymous + need > self._allowed and self._memory.held():
            # Crumbs between what is left keep the allocator from giving anything back.
            self._shrink(0, anonymous)
            self._memory.limit(bound)
        self._held = self._memory.held()

    def _shrink(self, bound: int, before: int) -> int:
        """Let the tier hold no more than `bound`; the anonymous memory afterwards, where it was `before`."""
        freed, crumbs = self._memory.limit(bound)
        if freed < _TRIM_FROM:
            return before
        after = self._given_back()
        lost = freed - (before - after)
        self._kept = max(0, self._kept + (min(lost, crumbs) if lost > 0 else lost))
        return after

    def _given_back(self) -> int:
        """What is left of the anonymous memory when the allocator has returned what is free."""
        self._give_back()
        anonymous = self._anonymous()
        self._slack.given_back(anonymous - self._memory.held() - self._pending, self._memory.freed)
        return anonymous
