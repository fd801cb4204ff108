"""The opened directory of the disk tier: rows in SQLite, large bodies in files, room made by the eviction rule.

Small bodies lie in their rows, larger ones in files of their own. Everything raises here; `DiskTier` is what guards it.
"""

from __future__ import annotations

import contextlib
from zlib import crc32

from s3warm import codec
from s3warm.errors import ObjectTooLargeError
from s3warm.rules import eviction, placement
from s3warm.tiers import row as rows
from s3warm.tiers.base import Held, Usage
from s3warm.tiers.directory import Directory
from s3warm.tiers.store import LOG_SIZE, Store, Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.entry import Entry
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.rules.eviction import Candidate, Cost, Rank
    from s3warm.tiers.base import Evicted
    from s3warm.tiers.directory import Staged
    from s3warm.tiers.row import Row

    Corrupted = Callable[[ObjectKey, Exception], None]

__all__ = ["Shelf"]

ROW_OVERHEAD = 512  # bytes that a row takes beside body and text: indices, rank, its share of half-empty pages
LOOK_FIRST = 2**20  # bytes; before a larger body is read it is asked whether there is memory for it
_TRIES = 16  # to change a row that other processes change as well
_HITS_KEPT = 4_000


class Shelf:
    """Rows and files of one namespace in one directory, within `budget` bytes that all its processes share."""

    def __init__(
        self,
        directory: Directory,
        store: Store,
        namespace: str,
        *,
        budget: int,
        level: int,
        cost: Cost,
        largest: Callable[[], int],
        counters: Counters,
        evicted: Evicted,
        corrupted: Corrupted,
    ) -> None:
        self._directory = directory
        self._store = store
        self._namespace = namespace
        self._budget = budget
        # Left free when room is made, so that not every write has to fold SQLite's log to stay within the budget.
        self._headroom = min(LOG_SIZE, budget // 16)
        self._level = level
        self._cost = cost
        self._largest = largest
        self._counters = counters
        self._evicted = evicted
        self._corrupted = corrupted
        self._staged_bytes = 0  # of files that are being written
        # Of the transaction under way, which may yet be rolled back; guarded by it.
        self._victims: list[tuple[ObjectKey, int]] = []
        # Hits since a row was filed; lost with the process, which costs the order some accuracy and spares each hit a write.
        self._hits: dict[bytes, int] = {}

    # -- reading ----------------------------------------------------------------------------------------------------------

    def get(self, key: ObjectKey) -> Entry | None:
        """See `Tier.get`.

        Raises:
            ObjectTooLargeError: there is not enough memory left for the body.
        """
        row_key = rows.digest(self._namespace, key)
        row, inline = self._look_up(row_key, key)
        if row is None:
            return None
        if row.info.size > LOOK_FIRST and row.info.size > (largest := self._largest()):
            raise ObjectTooLargeError.of(key, bucket=key.bucket, key=key.key, size=row.info.size, largest=largest)
        body = self._verified(row_key, row, inline)
        if body is None:
            return None
        if row_key in self._hits or len(self._hits) < _HITS_KEPT:
            self._hits[row_key] = self._hits.get(row_key, 0) + 1
        return row.entry(body)

    def describe(self, key: ObjectKey) -> Held | None:
        """See `Tier.describe`."""
        row, _ = self._look_up(rows.digest(self._namespace, key), key)
        if row is None:
            return None
        info = row.info
        times = row.validated_at, row.expires_at
        return Held("disk", row.codec, row.stored_size, info.etag, info.size, info.verified_by, *times)

    def usage(self) -> Usage:
        """See `Tier.usage`."""
        return Usage(self._store.held(), self._budget, self._store.entries())

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction; who was evicted in it is told once it is committed."""
        with self._store.writing():
            victims = self._victims = []
            yield
        self._counters.evictions += len(victims)
        for key, size in victims:
            self._evicted(key, size)

    def _look_up(self, row_key: bytes, key: ObjectKey) -> tuple[Row | None, bytes | None]:
        """The row of an object and its inline body; a row that is not the object's own is dropped."""
        try:
            found = self._store.read(row_key)
            if found is None:
                return None, None
            row = rows.unpack(found[0])
            if row.object != key or row.namespace != self._namespace:
                raise rows.BadRow("its row speaks of another object")
        except (Unreadable, rows.BadRow) as error:
            self._drop_corrupt(row_key, key, error, None)
            return None, None
        return row, found[1]

    def _verified(self, row_key: bytes, row: Row, inline: bytes | None) -> bytes | None:
        """The body that the row stands for; None, and the row gone, if it is not whole."""
        seal = None
        stored = inline
        if stored is None:
            try:
                stored, seal = self._directory.read(rows.file_name(row_key, row.info.etag), row.stored_size)
            except FileNotFoundError:
                # Another process has just replaced or evicted it, or a crash came between file and row.
                self._drop_if_still(row_key, rows.pack(row))
                return None
        try:
            if len(stored) != row.stored_size:
                raise codec.CorruptFrame(f"{len(stored)} bytes are stored instead of {row.stored_size}")
            if row.codec == codec.ZSTD:
                return codec.decompress(stored, row.info.size)
            # The kernel's ctime shows that a sealed file was not touched since it was written and verified.
            if (seal is None or seal != row.seal) and (len(stored) != row.info.size or crc32(stored) != row.checksum):
                raise codec.CorruptFrame("its checksum differs")
        except codec.CorruptFrame as error:
            self._drop_corrupt(row_key, row.object, error, rows.pack(row))
            return None
        return stored

    def _drop_corrupt(self, row_key: bytes, key: ObjectKey, error: Exception, text: str | None) -> None:
        if self._drop_if_still(row_key, text):
            self._corrupted(key, error)

    def _drop_if_still(self, row_key: bytes, text: str | None) -> bool:
        """Drop a row, unless another process has replaced it since it was read (None: whatever it says)."""
        with self._transaction():
            still = text is None or self._store.text(row_key) == text
            if still:
                self._drop(row_key)
        return still

    # -- writing ----------------------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> bool:
        """See `Tier.put`."""
        row_key = rows.digest(self._namespace, entry.object)
        kind, stored = self._encode(entry.body)
        checksum = crc32(entry.body) if kind == codec.RAW else 0
        times = entry.validated_at, entry.expires_at
        row = rows.Row(self._namespace, entry.object, entry.info, kind, 0, checksum, None, *times)
        if stored is not None and placement.is_inline(len(stored)):
            return self._commit(row_key, row._replace(stored_size=len(stored)), stored, None)
        if not self._reserve(row_key, row, len(entry.body if stored is None else stored)):
            return False
        staged = self._directory.stage(rows.file_name(row_key, entry.etag))
        self._staged_bytes += len(entry.body)
        try:
            size = staged.write(codec.compressed_chunks(entry.body, self._level) if stored is None else [stored])
            return self._commit(row_key, row._replace(stored_size=size), None, staged)
        finally:
            self._staged_bytes -= len(entry.body)
            staged.finish(self._store.names)

    def retime(self, key: ObjectKey, change: Callable[[Row], Row | None]) -> bool:
        """Change the times of a row; False if it is gone or `change` declines by None."""
        row_key = rows.digest(self._namespace, key)
        for _ in range(_TRIES):
            text = self._store.text(row_key)
            row = rows.readable(text)
            changed = None if row is None else change(row)
            if changed is None or text is None:
                return False
            if self._store.replace_text(row_key, text, rows.pack(changed)):
                self.hold_budget()  # the log has grown
                return True
            # Another process was quicker: look at what it wrote.
        # It never is, so often: the row holds bytes that are no text, and cannot be found by what is read from it.
        self._drop_if_still(row_key, None)
        return False

    def evict(self, key: ObjectKey) -> bool:
        """See `Tier.evict`. True, as it is done."""
        row_key = rows.digest(self._namespace, key)
        if self._store.text(row_key) is not None:
            with self._transaction():
                self._drop(row_key)
            self.hold_budget()
        return True

    def clear(self) -> bool:
        """Forget every row of this namespace, and those that nobody can read. True, as it is done."""
        with self._transaction():
            for row_key, text in self._store.texts():
                row = rows.readable(text)
                if row is None or row.namespace == self._namespace:
                    self._drop(row_key)
        self._store.fold()
        return True

    def hold_budget(self) -> None:
        """Evict until what is really held is within the budget: SQLite takes whole pages, and keeps a log beside them."""
        if self._store.held() <= self._budget:
            return
        self._store.fold()
        while (over := self._store.held() - self._budget) > 0:
            with self._transaction():
                gave = self._make_room(over, None)
            self._store.fold()
            if not gave:
                return  # nothing is left but SQLite's own pages

    def _encode(self, body: bytes) -> tuple[str, bytes | None]:
        """The codec and the stored body; None for one that is large enough to be compressed piece by piece as it is written."""
        if codec.pays(body, self._level):
            if len(body) > placement.WHOLE_LIMIT:
                return codec.ZSTD, None
            frame = codec.compress(body, self._level)
            if frame is not None:
                return codec.ZSTD, frame
        return codec.RAW, body

    def _reserve(self, row_key: bytes, row: Row, size: int) -> bool:
        """Make room before the first byte of a file is written. If there is none, what is held for the key goes too: it is older."""
        with self._transaction():
            admitted = self._make_room(self._needed(size), row.info.size)
            held = rows.readable(self._store.text(row_key))
            if not admitted and (held is None or held.validated_at <= row.validated_at):
                self._drop(row_key)
            return admitted

    def _commit(self, row_key: bytes, row: Row, inline: bytes | None, staged: Staged | None) -> bool:
        """Publish body and row in one transaction, and remove the file of the body that they replace."""
        store = self._store
        with self._transaction():
            old = rows.readable(store.text(row_key))
            if old is not None and old.validated_at > row.validated_at:
                return False
            reserved = row.info.size if staged is not None else 0
            if not self._make_room(self._needed(row.stored_size) - reserved, row.info.size):
                self._drop(row_key)
                return False
            if staged is not None:
                row = row._replace(seal=staged.publish())
            text = rows.pack(row)
            store.write(row_key, text, inline, row.stored_size if staged is not None else 0)
            weight = self._cost.weight(row.info.size)
            size = row.stored_size + len(text) + ROW_OVERHEAD
            store.rank(row_key, eviction.newcomer(store.floor, weight), size)
            self._hits.pop(row_key, None)
        if staged is not None:
            staged.committed()
        if old is not None and (staged is None or old.info.etag != row.info.etag):
            self._directory.remove(rows.file_name(row_key, old.info.etag))
        self.hold_budget()
        return store.text(row_key) is not None

    # -- room -------------------------------------------------------------------------------------------------------------

    def _needed(self, stored_size: int) -> int:
        return self._store.held() + self._staged_bytes + stored_size + ROW_OVERHEAD - (self._budget - self._headroom)

    def _make_room(self, needed: int, newcomer_size: int | None) -> bool:
        """Evict until `needed` bytes are free, for a body of `newcomer_size` or at any cost; inside a transaction."""
        if needed <= 0:
            return True
        store = self._store
        weight = None if newcomer_size is None else self._cost.weight(newcomer_size)
        verdict = eviction.make_room(_Order(store, self._hits), needed, store.floor, weight)
        store.floor = verdict.floor
        for victim in verdict.victims:
            row = rows.readable(store.text(victim.item))
            self._drop(victim.item)
            if row is not None:
                self._victims.append((row.object, row.info.size))
        return verdict.admitted

    def _drop(self, row_key: bytes) -> None:
        """Remove a row and its file; inside a transaction. The file first: a crash in between leaves a row that finds nothing."""
        row = rows.readable(self._store.text(row_key))
        if row is not None and row.seal is not None:
            self._directory.remove(rows.file_name(row_key, row.info.etag))
        self._store.remove(row_key)
        self._hits.pop(row_key, None)


class _Order:
    """The rows as the eviction rule's queue, with the hits that this process has counted."""

    def __init__(self, store: Store, hits: dict[bytes, int]) -> None:
        self._store = store
        self._hits = hits

    def pop(self) -> Candidate | None:
        """See `Queue.pop`."""
        lowest = self._store.take_lowest()
        return None if lowest is None else lowest._replace(hits=self._hits.pop(lowest.item, 0))

    def file(self, candidate: Candidate, rank: Rank) -> None:
        """See `Queue.file`."""
        self._store.rank(candidate.item, rank, candidate.size)
