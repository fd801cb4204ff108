"""Room in the directory: what is held within the budget, and what goes when more is needed. Files that are in use stay."""

from __future__ import annotations

import contextlib
import time

from s3warm.rules import eviction
from s3warm.rules.eviction import GOES_FIRST, GOES_LAST
from s3warm.tiers import row as rows
from s3warm.tiers.row import OLDER, PARTIAL, WHOLE
from s3warm.tiers.store import LOG_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.rules.costs import LearntCost
    from s3warm.rules.eviction import Candidate, Rank
    from s3warm.tiers.base import Evicted
    from s3warm.tiers.directory import Directory
    from s3warm.tiers.pins import Pins
    from s3warm.tiers.row import Row
    from s3warm.tiers.store import Store

__all__ = ["Room"]

ROW_OVERHEAD = 512  # bytes that a row takes beside body and text: indices, rank, its share of half-empty pages
_PROCESSES = 16  # that write at once
_SHARE = 128 * 1024  # bytes that each of them may take without a look
_LOOK_EVERY = 1.0  # seconds, on the monotonic clock
_HITS_KEPT = 16_000  # rows; with 4,000 a long tail of small objects took 4 % longer


class Room:
    """`budget` bytes, shared by all processes on the directory."""

    def __init__(
        self,
        directory: Directory,
        store: Store,
        pins: Pins,
        *,
        budget: int,
        cost: LearntCost,
        counters: Counters,
        evicted: Evicted,
    ) -> None:
        self.budget = budget
        self.staged_bytes = 0  # of files that are being written and have no row yet
        # Hits since a row was filed; lost with the process, which costs the order some accuracy and spares each hit a write.
        self.hits: dict[bytes, int] = {}
        self._directory = directory
        self._store = store
        self._pins = pins
        # Left free when room is made, so that not every write has to fold SQLite's log to stay within the budget.
        self._headroom = min(LOG_SIZE + _PROCESSES * _SHARE, budget // 16)
        self._cost = cost
        self._counters = counters
        self._evicted = evicted
        # Of the transaction under way, which may yet be rolled back; guarded by it.
        self._victims: list[tuple[ObjectKey, int]] = []
        # What was left when the directory was last looked at, less what was put there since, and until when that will do. Two threads that
        # count at once may lose one's count.
        self._left = self._unlooked = 0
        self._look_due = 0.0
        self._floor: float | None = None  # of the order, as it was then

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction; who was evicted in it is told once it is committed."""
        with self._store.writing():
            victims = self._victims = []
            yield
        self._counters.evictions += len(victims)
        for key, size in victims:
            self._evicted(key, size)

    def hit(self, row_key: bytes) -> None:
        """Count a hit, of so many rows as there is memory for."""
        if row_key in self.hits or len(self.hits) < _HITS_KEPT:
            self.hits[row_key] = self.hits.get(row_key, 0) + 1

    def needed(self, size: int) -> int:
        """Bytes to be freed before `size` more may be held; 0 or less if there is room."""
        size += ROW_OVERHEAD
        now = time.monotonic()
        if size > self._unlooked or now >= self._look_due:
            self._left = self.budget - self._headroom - self._store.held() - self.staged_bytes
            # What may be taken of it before the next look: so little that what all processes take is within the headroom.
            self._unlooked, self._look_due = min(_SHARE, self._left // 64), now + _LOOK_EVERY
            self._floor = None
        self._left -= size
        self._unlooked -= size
        return -self._left

    def make(self, needed: int, newcomer_size: int | None, *, spare: bytes | None = None) -> bool:
        """Evict until `needed` bytes are free, or nothing at all; inside a transaction.

        Args:
            needed: bytes; 0 or less if there is room already.
            newcomer_size: size of the body that they are for, which is turned away rather than that something worth much more
                goes; None: it is wanted at any cost.
            spare: key of a row that stays.
        """
        if needed <= 0:
            return True
        weight = None if newcomer_size is None else self._cost.weight(newcomer_size)
        if self._evict(needed, weight, spare=spare):
            return True
        if weight is None:
            return False
        # Older files are worth nothing to the cache: they go before a newcomer is turned away.
        needed -= self._drop_older(needed)
        return needed <= 0 or self._evict(needed, weight)

    def hold_budget(self) -> None:
        """Evict until what is really held is within the budget: SQLite takes whole pages, and keeps a log beside them."""
        if self._store.held() <= self.budget:
            return
        self._store.fold()
        while (over := self._store.held() - self.budget) > 0:
            with self.transaction():
                gave = self.shrink(over)
            self._store.fold()
            if not gave:
                return  # nothing is left but SQLite's own pages and what is in use

    def hold_log(self) -> None:
        """`hold_budget` after a row was changed that is no longer than before: only the log has grown, for which there is room as a rule."""
        if self._headroom < LOG_SIZE:
            self.hold_budget()

    def settle(self) -> None:
        """Come within the budget, when the directory is opened.

        Raises:
            OSError: the budget is less than an empty database takes.
            ValueError: the database says that it holds more, and nothing can be evicted: it is damaged.
        """
        self.hold_budget()
        if self._store.held() > self.budget and not self._store.entries():
            raise OSError(f"its budget of {self.budget:,} bytes is less than an empty database takes")
        if self._store.held() > self.budget and not self.pinned():
            raise ValueError("it says that it holds more than its budget, and gives nothing back")

    def file(self, row_key: bytes, row: Row, text: str) -> None:
        """File the row of a newcomer in the order; inside a transaction."""
        weight = self._cost.weight(row.info.size)
        if self._floor is None:
            self._floor = self._store.floor
        self._store.rank(row_key, eviction.newcomer(self._floor, weight), row.stored_size + len(text) + ROW_OVERHEAD)
        self.hits.pop(row_key, None)

    def write(self, row_key: bytes, row: Row, rank: Rank) -> None:
        """Add the row of a file that is not ranked by its worth; inside a transaction."""
        self._store.write(row_key, rows.pack(row), None, row.stored_size)
        self._store.rank(row_key, rank, row.stored_size + ROW_OVERHEAD)

    def write_older(self, name: str, row: Row, rank: Rank) -> bytes:
        """Let a file stand under a row of its own, as it is not the object's current body any more; the key of that row."""
        key = rows.older_key(name)
        self.write(key, row._replace(state=OLDER), rank)
        return key

    def drop(self, row_key: bytes) -> None:
        """Remove a row and its file; inside a transaction. A file that is in use becomes an older one, a download goes on.

        The file goes first: a crash in between leaves a row that finds nothing.
        """
        row = rows.readable(self._store.text(row_key))
        name = None if row is None else file_of(row_key, row)
        if row is not None and name is not None:
            with self._pins.alone(name) as free:
                if free and row.state == PARTIAL:
                    self.forget_partial(row_key, name, row)
                elif free:
                    self._directory.remove(name)
                elif row.state == WHOLE:
                    self.write_older(name, row, GOES_LAST)
                else:
                    self._store.rank(row_key, _rank_of_file(row), row.stored_size + ROW_OVERHEAD)
                    return
        self._store.remove(row_key)
        self.hits.pop(row_key, None)

    def forget_partial(self, row_key: bytes, name: str, row: Row | None) -> None:
        """Remove what there is of a download; inside a transaction."""
        self._directory.remove_partial(name)
        if row is not None and row.state == PARTIAL and not self._store.names(published := rows.file_name(row)):
            with self._pins.alone(published) as free:
                if free:
                    self._directory.remove(published)  # a crash came between the file's name and the row's commit
        self._store.remove(row_key)

    def shrink(self, size: int) -> bool:
        """Evict what gives `size` bytes, or less if there is no more; inside a transaction. Whether anything went."""
        return self._evict(size, None, or_less=True)

    def retire(self, old: Row | None, successor: str | None) -> bytes | None:
        """The old row of an object is about to be replaced by one whose file is `successor`; inside a transaction.

        Returns:
            Key of the row under which the old file stands from now on, to be dropped once this is committed, unless it is in use.
        """
        name = _outdated(old, successor)
        if old is None or name is None:
            return None
        with self._pins.alone(name) as free:
            key = self.write_older(name, old, GOES_FIRST if free else GOES_LAST)
        return key if free else None

    def supersede(self, old: Row | None, successor: str | None) -> str | None:
        """`retire` for a writer whose intent stands for the old file until it is gone, so that it needs no row of its own.

        Returns:
            Name of the old file, to be removed once this is committed; None if there is none, or it is in use and has its own row now.
        """
        name = _outdated(old, successor)
        if old is None or name is None:
            return None
        with self._pins.alone(name) as free:
            if not free:
                self.write_older(name, old, GOES_LAST)
        return name if free else None

    def remove_superseded(self, old: Row | None, name: str | None, row_key: bytes, text: str) -> None:
        """Remove the file, if any, that was superseded by the row that says `text`, unless the old row has come back since.

        That row may itself be replaced or evicted by now; whoever did so knows its file alone. If the old file cannot be removed, or
        somebody has begun to use it, it gets a row of its own.
        """
        if old is None or name is None:
            return
        with self.transaction():
            if self._store.text(row_key) != text and self._store.names(name):
                return
            with contextlib.suppress(OSError), self._pins.alone(name) as free:
                if free:
                    self._directory.remove(name)
                    return
            self.write_older(name, old, GOES_LAST)

    def in_use(self, row_key: bytes) -> bool:
        """Whether somebody uses, or writes, the file that a row stands for."""
        row = rows.readable(self._store.text(row_key))
        name = None if row is None else file_of(row_key, row)
        if name is None:
            return False
        with self._pins.alone(name) as free:
            return not free

    def pinned(self) -> list[tuple[ObjectKey, int]]:
        """The objects whose files are in use, with their sizes; inside a transaction."""
        found = []
        for row_key, text in self._store.texts():
            row = rows.readable(text)
            if row is not None and row.state != PARTIAL and self.in_use(row_key):
                found.append((row.object, row.stored_size))
        return found

    def _evict(self, needed: int, weight: float | None, *, or_less: bool = False, spare: bytes | None = None) -> bool:
        """Let the eviction rule decide what goes; if that is not enough nothing goes, or what there is (`or_less`)."""
        store = self._store
        self._floor = None
        order = _Order(self, store, spare)
        verdict = eviction.make_room(order, needed, store.floor, weight)
        order.restore()
        ranked = [victim.rank.priority for victim in verdict.victims if victim.rank.priority < GOES_LAST.priority]
        if not verdict.admitted and not or_less:
            for victim in verdict.victims:
                store.rank(victim.item, victim.rank, victim.size)
            if weight is not None:
                store.floor = verdict.floor
            return False
        # Not the priority of what goes last: nothing would grow old beside it.
        store.floor = max([store.floor, *ranked])
        for victim in verdict.victims:
            row = rows.readable(store.text(victim.item))
            self.drop(victim.item)
            if row is not None and row.state == WHOLE:
                self._victims.append((row.object, row.info.size))
        return bool(verdict.victims) if or_less else True

    def _drop_older(self, needed: int) -> int:
        """Drop older files that nobody holds, until `needed` bytes are free; returns the bytes."""
        freed = 0
        for row_key, size in self._store.last():
            if freed < needed and not self.in_use(row_key):
                self.drop(row_key)
                freed += size
        return freed


def _outdated(old: Row | None, successor: str | None) -> str | None:
    """Name of the file of an old row that its successor's file does not take the place of."""
    name = None if old is None else rows.body_name(old)
    return None if name == successor else name


def file_of(row_key: bytes, row: Row) -> str | None:
    """Name of the file that a row stands for, by which it is pinned; None for an inline body."""
    if row.state == PARTIAL:
        return rows.partial_name(row_key)
    return rows.body_name(row)


def _rank_of_file(row: Row) -> Rank:
    return GOES_FIRST if row.state == PARTIAL else GOES_LAST


class _Order:
    """The rows as the eviction rule's queue, with the hits that this process has counted, without what is in use."""

    def __init__(self, room: Room, store: Store, spare: bytes | None) -> None:
        self._spare = spare
        self._room = room
        self._store = store
        self._in_use: list[Candidate] = []

    def pop(self) -> Candidate | None:
        """See `Queue.pop`."""
        while (lowest := self._store.take_lowest()) is not None:
            if lowest.item != self._spare and not self._room.in_use(lowest.item):
                return lowest._replace(hits=self._room.hits.pop(lowest.item, 0))
            self._in_use.append(lowest)
        return None

    def file(self, candidate: Candidate, rank: Rank) -> None:
        """See `Queue.file`."""
        self._store.rank(candidate.item, rank, candidate.size)

    def restore(self) -> None:
        """Put back into the order what was left out."""
        for candidate in self._in_use:
            self.file(candidate, candidate.rank)
