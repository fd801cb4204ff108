"""The part of the disk tier that sees to it that forked children and restored snapshots have a directory, and not their ancestor's handles."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.tiers.pins import Pins
    from s3warm.tiers.shelf import Shelf
    from s3warm.tiers.store import Store
    from s3warm.tiers.turns import Turns

__all__ = ["Lasts"]

OPENING = 2.0  # seconds that a fork waits for a directory that is just being opened


class Lasts:
    """See `FileTier`; mixed into the tier."""

    _lock: Any
    _shelf: Shelf | None
    _store: Store | None
    _pins: Pins | None
    _turns: Turns | None
    _all_expired: bool
    _let_go: Any

    def before_fork(self) -> Callable[[], None] | None:
        """See `FileTier.before_fork`."""
        # A child would wait for ever for the modules that another thread of its parent was just importing.
        locked = self._lock.acquire(timeout=OPENING)
        store = self._store
        held = store is not None and store.before_fork()

        def go_on() -> None:
            if held and store is not None:
                store.after_fork()
            if locked:
                self._lock.release()

        return go_on

    def renew(self) -> None:
        """See `Tier.renew`."""
        self._lock = threading.RLock()
        if self._store is not None:
            self._store.leave_to_parent()
        if self._pins is not None:
            self._pins.renew()
        if self._turns is not None:
            self._turns.renew()
        if self._shelf is not None:
            self._shelf.room.staged_bytes = 0  # those are its parent's

    def suspend(self) -> None:
        """See `FileTier.suspend`. Files that are in use stay so."""
        with self._lock:
            self._all_expired = True
            self._let_go()
