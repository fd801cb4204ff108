"""What is on its way into the directory: room is made first, by a row, and finished parts stay for the next try if it is cut off."""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from s3warm import codec
from s3warm.origin.base import NoRoom, part_length
from s3warm.rules.eviction import GOES_FIRST
from s3warm.tiers import row as rows
from s3warm.tiers.files import no_room, pinned_entry
from s3warm.tiers.store import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.entries import FileEntry, Metadata
    from s3warm.keys import ObjectKey
    from s3warm.tiers.row import Row
    from s3warm.tiers.shelf import Shelf

__all__ = ["FULL", "Landing"]

FULL = (errno.ENOSPC, errno.EDQUOT)


class Landing:
    """Base of downloads. Its row, of the state `partial`, counts in the budget from the first byte on, and is what names its file.

    Args:
        shelf: the opened directory.
        key: the object.
        at_any_cost: whether everything that nobody uses may go for it.
        trouble: told of the disk's own trouble, by what was done and the error.
        over: told that what was done works again.
    """

    def __init__(
        self,
        shelf: Shelf,
        key: ObjectKey,
        *,
        at_any_cost: bool,
        trouble: Callable[[str, Exception], object],
        over: Callable[[str], object],
    ) -> None:
        self._shelf = shelf
        self._key = key
        self._at_any_cost = at_any_cost
        self._trouble = trouble
        self._over = over
        self._row: Row | None = None
        self._slot = b""  # key of the partial row
        self._name = ""  # of its file
        self._was_full = self._made_space = self._published = False
        self._lock = threading.Lock()
        self._finished = 0  # a bit for each part; guarded by _lock

    # -- what kinds of downloads differ in ----------------------------------------------------------------------------------

    def _parts(self, size: int) -> int:
        """How many parts there are."""
        return -(-size // part_length(size))

    def _still_good(self, finished: int) -> int:
        """Which of the parts that an earlier download has finished may be relied on. The whole is summed in the end."""
        return finished

    def _to_write(self, size: int) -> int:
        """Bytes that the disk has to take for a body of this size."""
        return size

    def _create(self, size: int) -> None:
        """Make the file and take its room on the disk."""
        raise NotImplementedError

    def _reopen(self, size: int) -> None:
        """Open what an earlier download has left.

        Raises:
            OSError: it is not there, or not as it was.
        """
        raise NotImplementedError

    def _let_go(self) -> None:
        """Close what is open."""
        raise NotImplementedError

    def _sealed(self, row: Row) -> tuple[Row, bytes | None]:
        """The row of the file, which has its final name, and what lies in the row beside it."""
        raise NotImplementedError

    # -- from the first byte to the last -----------------------------------------------------------------------------------

    def start(self, info: Metadata) -> frozenset[int]:
        """Make room for a body; the parts that are there already."""
        self.close()
        self._finished = 0
        with self._guarded("download"):
            self._claim()
            try:
                self._make_space(info.size)
                self._reserve(info)
            except OSError as error:
                if not self.is_first_time_full(error):
                    raise
                self._discard()
                self._make_space(info.size)
                self._reserve(info)
        return frozenset(part for part in range(self._finished.bit_length()) if self._finished >> part & 1)

    def finished(self, part: int) -> None:
        """See `Sink.finished`: noted in the row, so that it outlives the process."""
        with self._lock, contextlib.suppress(*StoreError):
            assert self._row is not None
            finished = self._finished | 1 << part
            row = self._row._replace(finished=f"{finished:x}")
            # If the row is gone, what is written counts all the same.
            if self._shelf.store.replace_text(self._slot, rows.pack(self._row), rows.pack(row)):
                self._row, self._finished = row, finished

    def reset(self) -> None:
        """See `Sink.reset`."""
        self._finished = 0
        self.close()

    def publish(self, info: Metadata, validated_at: float, expires_at: float, *, current: bool) -> FileEntry:
        """Make what is complete a file, pinned, and the object's own unless it is not to be found again (`current`).

        Raises:
            NoRoom: the disk gave trouble.
        """
        assert self._row is not None
        shelf = self._shelf
        if not info.etag:  # nothing tells such bodies apart, and each is a file of its own
            info = info._replace(etag=f"none {os.urandom(8).hex()}")
        row = self._row._replace(info=info, validated_at=validated_at, expires_at=expires_at, state=rows.WHOLE, finished="")
        name = rows.file_name(row)
        with self._guarded("download"):
            replaced, row = self._commit(row, name, current=current)
            self._published = True
        self._over("download")
        with contextlib.suppress(NoRoom), self._guarded("put"):
            shelf.drop_replaced(replaced)
            shelf.room.hold_budget()
        return pinned_entry(shelf, row, name)

    def close(self) -> None:
        """End it. If it is not complete its finished parts stay for the next try; nothing stays of one without any."""
        if not self._name:
            return
        try:
            if not self._published and not self._finished:
                with contextlib.suppress(NoRoom), self._guarded("download"):
                    self._discard()
        finally:
            self._let_go()
            self._shelf.pins.drop(self._name)
            self._name = ""
            self._row = None

    def is_first_time_full(self, error: OSError) -> bool:
        """Whether the disk is full for the first time, though the budget says that it is not: somebody else fills it."""
        if error.errno not in FULL or self._was_full:
            return False
        self._was_full = True
        return True

    def _commit(self, row: Row, name: str, *, current: bool) -> tuple[bytes | None, Row]:
        """Name the file and write its row, in one transaction; also what was replaced (see `Shelf.replace`)."""
        shelf, store = self._shelf, self._shelf.store
        row_key = shelf.row_key(self._key)
        with contextlib.ExitStack() as unless_done:
            with shelf.room.transaction():
                # In the transaction nobody removes files, so that each can be pinned.
                if not shelf.pins.hold(name):
                    raise OSError(f"{name} cannot be pinned")
                unless_done.callback(shelf.pins.drop, name)
                old = rows.readable(store.text(row_key))
                shelf.directory.publish_partial(self._name, name)
                row, inline = self._sealed(row)
                store.remove(self._slot)
                replaced = None
                if current and (old is None or old.validated_at <= row.validated_at):
                    replaced = shelf.replace(row_key, old, row, inline)
                else:
                    self._stand_beside(row_key, name, row)
            unless_done.pop_all()
        return replaced, row

    def _stand_beside(self, row_key: bytes, name: str, row: Row) -> None:
        """The file is not the object's current one, and gets a row of its own, unless it has taken the place of one that a row names."""
        store = self._shelf.store
        for key in (row_key, rows.older_key(name)):
            text = store.text(key)
            there = rows.readable(text)
            if text is not None and there is not None and rows.body_name(there) == name:
                store.replace_text(key, text, rows.pack(there._replace(seal=row.seal)))
                return
        self._shelf.room.write_older(name, row, GOES_FIRST)

    def _claim(self) -> None:
        """Find a row for the download that no other process is at."""
        for key in rows.partial_keys(self._shelf.row_key(self._key)):
            if self._shelf.pins.claim(rows.partial_name(key)):
                self._slot, self._name = key, rows.partial_name(key)
                return
        # Many at once: what this one leaves, if it is cut off, nobody goes on with.
        self._slot = os.urandom(16)
        self._name = rows.partial_name(self._slot)
        self._shelf.pins.claim(self._name)

    def _reserve(self, info: Metadata) -> None:
        """Make room for the body, by its row and in its file, or go on with what a download that was cut off has left."""
        shelf, room, size = self._shelf, self._shelf.room, info.size
        old = rows.readable(shelf.store.text(self._slot))
        if old is not None and self._is_resumable(old, info):
            with contextlib.suppress(OSError):
                shelf.directory.take_back(self._name, rows.file_name(old), shelf.store.names)
                self._reopen(size)
                self._row, self._finished = old, self._still_good(int(old.finished, 16))
                return
            self._let_go()
        checksum = int.from_bytes(os.urandom(4), "big") if self._key.tree else None
        row = rows.Row(shelf.namespace, self._key, info, codec.RAW, size, checksum, None, 0.0, 0.0, rows.PARTIAL)
        refusal: NoRoom | None = None
        with room.transaction():
            room.forget_partial(self._slot, self._name, old)
            if room.make(room.needed(self._to_write(size)), None if self._at_any_cost else size):
                room.write(self._slot, row, GOES_FIRST)
            else:
                refusal = no_room(shelf, self._key, size)
        room.hold_budget()  # SQLite has not given back the pages of what was evicted yet
        if refusal is not None:  # raised out here: what has gone in vain is gone, and its rows must not come back
            raise refusal
        self._row = row
        self._create(size)

    def _is_resumable(self, old: Row, info: Metadata) -> bool:
        same = old.state == rows.PARTIAL and old.object == self._key and old.info.etag == info.etag != ""
        bits = self._parts(info.size)
        return (
            same and 0 < len(old.finished) <= bits // 4 + 1 and old.info.size == info.size and int(old.finished, 16) < 1 << bits
        )

    def _make_space(self, size: int) -> None:
        """Once after the disk was found full, evict as much as the body takes."""
        if self._was_full and not self._made_space:
            self._made_space = True
            with self._shelf.room.transaction():
                self._shelf.room.shrink(size)
            self._shelf.store.fold()

    def _discard(self) -> None:
        """Remove the file and the row."""
        self._finished = 0
        self._let_go()
        with self._shelf.room.transaction():
            row = rows.readable(self._shelf.store.text(self._slot))
            self._shelf.room.forget_partial(self._slot, self._name, row)

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._trouble(doing, error)
            raise NoRoom(f"{self._key} could not be written: {error}") from error
