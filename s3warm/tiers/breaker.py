"""A circuit breaker: whoever failed is left in peace for a while, then one call tries again for all."""

from __future__ import annotations

import threading

from s3warm.rules.outage import MAX_RETRY_AFTER, retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Breaker"]

_TRIAL = 1.0  # seconds for which the others wait for what the one that tries finds out


class Breaker:
    """Closed as long as nothing fails; open, and asked by nobody, from the first failure on, for 1 s and then up to 30 s; then half open.

    One success closes it. A failure that comes soon after that goes on counting where the last one was: there may be something that succeeds
    each time, and something else that never does.

    Example:
        >>> now = 0.0
        >>> breaker = Breaker(lambda: now)
        >>> breaker.failed()
        >>> breaker.admits()
        False
        >>> now = 1.0
        >>> breaker.admits(), breaker.admits()
        (True, False)
        >>> breaker.succeeded()
        True
        >>> breaker.admits()
        True
    """

    __slots__ = ("_clock", "_failures", "_lock", "_open", "_since", "_trying", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Close it; also of a forked child, whose parent may hold the lock."""
        self._lock = threading.Lock()
        self._failures = 0
        self._open = False
        self._since = self._until = 0.0
        self._trying = False

    def admits(self) -> bool:
        """Whether this call may try."""
        if not self._open:
            return True
        with self._lock:
            now = self._clock()
            if self._since <= now < self._until:
                return False
            self._since, self._until, self._trying = now, now + _TRIAL, True
            return True

    def failed(self) -> None:
        """A call that was admitted has failed. Several that were under way at once count as one."""
        with self._lock:
            if self._open and not self._trying:
                return
            now = self._clock()
            if not self._open and not self._since <= now < self._since + MAX_RETRY_AFTER:
                self._failures = 0
            self._failures += 1
            self._since, self._trying, self._open = now, False, True
            self._until = self._since + retry_after(self._failures)

    def succeeded(self) -> bool:
        """A call has succeeded; True if that closes it."""
        if not self._open:
            return False
        with self._lock:
            was_open, self._open = self._open, False
        return was_open
