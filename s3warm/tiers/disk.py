"""The disk tier: compressed bodies in a private directory, for the next invocation, the next runtime and the next process.

The directory is opened at the first use, so that a start without it costs none of SQLite, diskcache and zstandard. Trouble of the disk's
own is counted, reported once, and never reaches the caller: the next tier answers.
"""

from __future__ import annotations

import atexit
import os
import threading
import time

from s3warm.rules import placement
from s3warm.rules.budget import disk_budget
from s3warm.rules.freshness import never_fresh
from s3warm.tiers.base import Usage
from s3warm.tiers.complaints import Complaints
from s3warm.tiers.doubts import Doubts
from s3warm.tiers.handing import HandsOutFiles
from s3warm.tiers.lasting import Lasts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from s3warm.entries import Entry
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters, Troubles
    from s3warm.rules.budget import Budget, Share
    from s3warm.rules.costs import LearntCost
    from s3warm.tiers.base import Account, Evicted, Held, Term
    from s3warm.tiers.locks import RangeLock
    from s3warm.tiers.pins import Pins
    from s3warm.tiers.row import Row
    from s3warm.tiers.shelf import Shelf
    from s3warm.tiers.store import Store
    from s3warm.tiers.turns import Turns

    T = TypeVar("T")

__all__ = ["DiskTier"]


def _expired(row: Row) -> Row:
    return row._replace(expires_at=never_fresh(row.validated_at))


REOPEN_AFTER = 30.0  # seconds without disk after it could not be opened
# Seconds without writes after another process had the database locked for longer than anybody should wait.
REST_AFTER_BUSY = 5.0


class DiskTier(HandsOutFiles, Lasts):
    """See the module. `budget` is settled at opening; of what it does not `admit` nothing is kept or found; a `temporary` directory is removed at `close` or exit by the process that named it."""

    name = "disk"

    def __init__(
        self,
        directory: str,
        namespace: str,
        *,
        budget: int | Share | None,
        level: int,
        cost: LearntCost,
        learn: Callable[[int, float], None] = lambda _size, _seconds: None,
        free: Callable[[str], int],
        account: Account,
        counters: Counters,
        troubles: Troubles,
        evicted: Evicted,
        corrupted: Callable[[ObjectKey, Exception], None],
        failed: Callable[[Exception], None] = lambda _: None,
        temporary: bool = False,
        admits: Callable[[ObjectKey], bool] = lambda _: True,
    ) -> None:
        self._temporary = temporary
        self._admits = admits
        self._pid = os.getpid()
        self._occupied: RangeLock | None = None
        if temporary:
            atexit.register(self.close)
        self.path = directory
        self.namespace = namespace
        self._asked = budget
        self._level = level
        self._cost = cost
        self._learn = learn
        self._free = free
        self._account = account
        self._counters = counters
        self._complaints = Complaints(directory, counters, troubles, failed)
        self._evicted = evicted
        self._corrupted = corrupted
        self._lock = threading.RLock()
        # Guarded by _lock.
        self._shelf: Shelf | None = None
        self._store: Store | None = None
        self._pins: Pins | None = None
        self._turns: Turns | None = None
        self._settled: Budget | None = None
        self._closed = self._all_expired = False  # all: by `expire_all`, before it was let go of
        self._why = ""  # it could not be opened
        self._errors: tuple[type[Exception], ...] = ()  # what an opened directory may raise
        self._closed_until = self._read_only_until = 0.0  # on the monotonic clock: back-offs, not expiries
        self._doubts = Doubts()

    def get(self, key: ObjectKey) -> Entry | None:
        """See `Tier.get`."""
        if not self._admits(key) or self._in_doubt(key):
            return None
        return self._use("get", None, lambda shelf: shelf.get(key))

    def put(self, entry: Entry) -> bool:
        """See `Tier.put`."""
        if not self._admits(entry.object):
            if self._may_hold(entry.object):  # from before it was forbidden
                self.evict(entry.object)
            return False
        doing = "put" if placement.is_inline(len(entry.body)) else "put a file"
        admitted = self._write(doing, None, lambda shelf: shelf.put(entry))
        if admitted is None and self._may_hold(entry.object):
            # It could not be written; what is held for the key may be older, and must not be found again.
            self.evict(entry.object)
        elif admitted:
            self._doubts.resolve(entry.object)
            self._brought(entry.object, (entry.validated_at, entry.expires_at))
        return bool(admitted)

    def refresh(self, key: ObjectKey, etag: str, validated_at: float, expires_at: float, *, supersede: bool = False) -> bool:
        """See `Tier.refresh`."""

        def confirmed(row: Row) -> Row | None:
            if row.info.etag != etag or (row.validated_at > validated_at and not supersede):
                return None
            return row._replace(validated_at=validated_at, expires_at=expires_at)

        done = not self._in_doubt(key) and self._write("refresh", False, lambda shelf: shelf.retime(key, confirmed))
        if done:
            self._brought(key, (validated_at, expires_at))
        return done

    def _brought(self, key: ObjectKey, times: Term) -> None:
        if self._turns is not None:
            self._turns.brought(key, times)

    def expire(self, key: ObjectKey) -> None:
        """See `Tier.expire`."""
        if self._write("expire", None, lambda shelf: shelf.retime(key, _expired)) is None:
            self._doubts.add(key)

    def expire_all(self) -> None:
        """See `Tier.expire_all`."""
        if self._all_expired:  # and not opened since
            return
        if not self._write("expire", False, lambda shelf: shelf.retime_all(_expired)):
            self._doubts.add_all()

    def evict(self, key: ObjectKey) -> None:
        """See `Tier.evict`."""
        if self._write("evict", False, lambda shelf: shelf.evict(key)):
            self._doubts.resolve(key)
        else:
            self._doubts.add(key)

    def clear(self) -> None:
        """See `Tier.clear`. Rows of other namespaces stay."""
        if self._write("clear", False, lambda shelf: shelf.clear()):
            self._doubts.resolve_all()
        else:
            self._doubts.add_all()

    def _may_hold(self, key: ObjectKey) -> bool:
        """Whether something is held for the key, or that cannot be told."""
        return self._use("describe", True, lambda shelf: shelf.describe(key) is not None)

    def _in_doubt(self, key: ObjectKey) -> bool:
        """Whether what is held for the key must not be used; what could not be evicted is tried again."""
        if not self._doubts:
            return False
        if self._doubts.all:
            self.clear()
        elif key in self._doubts:
            self.evict(key)
        return key in self._doubts

    def usage(self) -> Usage:
        """See `Tier.usage`."""
        return self._use("usage", Usage(0, 0, 0), lambda shelf: shelf.usage())

    def describe(self, key: ObjectKey) -> Held | None:
        """See `Tier.describe`."""
        if not self._admits(key) or self._in_doubt(key):
            return None
        return self._use("describe", None, lambda shelf: shelf.describe(key))

    def budget(self) -> Budget | None:
        """The budget and what it was chosen from; None while there is no disk."""
        return self._use("budget", None, lambda _: self._settled)

    def close(self) -> None:
        """See `Tier.close`. What is on disk stays for the next process."""
        with self._lock:
            self._closed = True
            self._let_go()
            if self._pins is not None:
                self._pins.close()
            if self._temporary and self._pid == os.getpid():
                from shutil import rmtree

                atexit.unregister(self.close)
                rmtree(self.path, ignore_errors=True)
            if self._occupied is not None:
                self._occupied.release()

    # -- opening and trouble ----------------------------------------------------------------------------------------------

    def _write(self, doing: str, otherwise: T, work: Callable[[Shelf], T]) -> T:
        """`_use` for what takes the database's lock, which is left alone for a while after it could not be had."""
        if time.monotonic() < self._read_only_until:
            return otherwise
        return self._use(doing, otherwise, work)

    def _use(self, doing: str, otherwise: T, work: Callable[[Shelf], T]) -> T:
        """What `work` makes of the opened directory, or `otherwise` if there is none or it gives trouble."""
        shelf = self._shelf or self._opened()
        if shelf is None:
            return otherwise
        try:
            result = work(shelf)
        except self._errors as error:
            self._trouble(doing, error)
            return otherwise
        if self._complaints:
            self._complaints.over(doing)
        return result

    def _trouble(self, doing: str, error: Exception) -> None:
        """Something of the disk's own went wrong: say so, and draw the consequences."""
        from s3warm.tiers.store import is_busy, is_malformed, is_read_only

        self._complaints.trouble(doing, error)
        if is_malformed(error):
            self._discard()
        elif is_busy(error):
            self._read_only_until = time.monotonic() + REST_AFTER_BUSY
        elif isinstance(error, FileNotFoundError) or is_read_only(error):
            # It was removed under us, with its directory perhaps: the next use makes it anew, or opens it anew.
            with self._lock:
                self._let_go()

    def _opened(self) -> Shelf | None:
        with self._lock:
            if self._closed or time.monotonic() < self._closed_until:
                return None
            if self._shelf is None:
                self._try_to_open()
            return self._shelf

    def _try_to_open(self) -> None:
        try:
            from s3warm.tiers.store import StoreError, is_malformed
        except OSError as error:  # no descriptor is left to read the module with
            self._cannot_be_opened(error)
            return
        try:
            try:
                self._open()
            except StoreError as error:
                if not is_malformed(error):
                    raise
                self._discard()
                self._open()
                self._complaints.made_anew(error)
        except StoreError as error:
            self._cannot_be_opened(error)
        else:
            self._complaints.over("open")

    def _cannot_be_opened(self, error: Exception) -> None:
        self._let_go()
        self._closed_until = time.monotonic() + REOPEN_AFTER
        self._why = f" ({error})"
        self._complaints.closed(error)

    def _open(self) -> None:
        from s3warm.tiers.directory import Directory
        from s3warm.tiers.opening import open_store
        from s3warm.tiers.pins import Pins
        from s3warm.tiers.room import Room
        from s3warm.tiers.shelf import Shelf
        from s3warm.tiers.store import StoreError
        from s3warm.tiers.turns import Turns

        directory = Directory(self.path)
        directory.prepare()
        if self._temporary and self._occupied is None:
            from s3warm.tiers.temporary import occupy, sweep

            self._occupied = occupy(self.path)
            sweep()
        # They outlive a database that has to be made anew: who was given a file goes on using it.
        pins = self._pins = self._pins or Pins(directory.pins)
        pins.follow()
        self._turns = self._turns or Turns(pins)
        store = self._store = open_store(directory, pins)
        self._settled = disk_budget(self._asked, free=self._free(self.path), held=store.held())
        budget, cost = self._settled.bytes, self._cost
        room = Room(directory, store, pins, budget=budget, cost=cost, counters=self._counters, evicted=self._evicted)
        room.settle()
        level, account, corrupted = self._level, self._account, self._corrupted
        self._all_expired = False
        self._errors = StoreError
        self._shelf = Shelf(
            directory, store, pins, room, self.namespace, level=level, account=account, corrupted=corrupted, learn=self._learn
        )

    def _discard(self) -> None:
        """The database is malformed: the next use makes it anew. Unless somebody else has done so already."""
        from s3warm.tiers.opening import remove_database

        with self._lock:
            # Damaged so that it cannot even be opened: it is whichever lies there.
            opened = self._store.inode if self._store is not None else None
            self._let_go()
            remove_database(self.path, opened)

    def _let_go(self) -> None:
        store, self._store, self._shelf = self._store, None, None
        if store is not None:
            store.close()
