"""The opened directory of the disk tier: rows in SQLite, large bodies in files.

Small bodies lie in their rows, larger ones in files of their own. Everything raises here; `DiskTier` is what guards it.
"""

from __future__ import annotations

import os
import time
from functools import partial
from zlib import crc32

from s3warm import codec
from s3warm.rules import placement
from s3warm.tiers import row as rows
from s3warm.tiers.base import Held, Usage
from s3warm.tiers.directory import open_body
from s3warm.tiers.recent import Recent, Seen
from s3warm.tiers.store import Unreadable
from s3warm.tiers.verified import whole_file, whole_inline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm.entries import Entry
    from s3warm.keys import ObjectKey
    from s3warm.tiers.base import Account
    from s3warm.tiers.directory import Directory, Staged
    from s3warm.tiers.pins import Pins
    from s3warm.tiers.room import Room
    from s3warm.tiers.row import Row
    from s3warm.tiers.store import Store

    Corrupted = Callable[[ObjectKey, Exception], None]

__all__ = ["Shelf"]

AMPLE = 2**20  # bytes that are left; SQLite's pages and log take no such step
_TRIES = 16  # to change a row that other processes change as well


class Shelf:
    """Rows and files of one namespace in one directory."""

    def __init__(
        self,
        directory: Directory,
        store: Store,
        pins: Pins,
        room: Room,
        namespace: str,
        *,
        level: int,
        account: Account,
        corrupted: Corrupted,
        learn: Callable[[int, float], None],
    ) -> None:
        self.directory = directory
        self.store = store
        self.pins = pins
        self.room = room
        self.namespace = namespace
        self._level = level
        self._account = account
        self._corrupted = corrupted
        self._learn = learn
        self._recent = Recent()

    # -- reading ----------------------------------------------------------------------------------------------------------

    def get(self, key: ObjectKey) -> Entry | None:
        """See `Tier.get`.

        Raises:
            ObjectTooLargeError: there is not enough memory left for the body.
        """
        began = time.monotonic()
        seen = self._recent.find(key, self.store.changes, began)
        if seen is not None:
            try:
                body = self._read_file(seen)
            except (FileNotFoundError, codec.CorruptFrame):
                self._recent.forget(key)  # and see what the row says now
            else:
                self.room.hit(seen.row_key)
                return seen.row.entry(body)
        return self._looked_up(key, began)

    def _looked_up(self, key: ObjectKey, began: float) -> Entry | None:
        seen, inline = self.look_up(key)
        body = None if seen is None else self._verified(seen, inline)
        if seen is None or body is None:
            return None
        self.room.hit(seen.row_key)
        self._learn(len(body), time.monotonic() - began)
        return seen.row.entry(body)

    def describe(self, key: ObjectKey) -> Held | None:
        """See `Tier.describe`."""
        seen, _ = self.look_up(key)
        if seen is None:
            return None
        row, info = seen.row, seen.row.info
        times = row.validated_at, row.expires_at
        return Held("disk", row.codec, row.stored_size, info.etag, info.size, info.verified_by, *times, info.last_modified)

    def usage(self) -> Usage:
        """See `Tier.usage`."""
        return Usage(self.store.held(), self.room.budget, self.store.entries())

    def row_key(self, key: ObjectKey) -> bytes:
        """Key of an object's row."""
        return rows.digest(self.namespace, key)

    def look_up(self, key: ObjectKey) -> tuple[Seen | None, bytes | None]:
        """The row of an object and its inline body; a row that is not the object's own is dropped."""
        row_key, changes = self.row_key(key), self.store.changes
        try:
            found = self.store.read(row_key)
            if found is None:
                return None, None
            text, inline = found
            seen = self._recent.last(key)
            if seen is None or seen.text != text:
                seen = self._parsed(row_key, key, text)
        except (Unreadable, rows.BadRow) as error:
            self.drop_corrupt(row_key, key, error, None)
            return None, None
        self._recent.note(key, seen, changes, time.monotonic())
        return seen, inline

    def _parsed(self, row_key: bytes, key: ObjectKey, text: object) -> Seen:
        row = rows.unpack(text)
        if row.object != key or row.namespace != self.namespace or row.state != rows.WHOLE:
            raise rows.BadRow("its row speaks of another object")
        name = rows.body_name(row, row_key)
        return Seen(row_key, row, str(text), "" if name is None else self.directory.body(name))

    def drop_corrupt(self, row_key: bytes, key: ObjectKey, error: Exception, text: str | None) -> None:
        """Drop what is damaged, and tell of it; see `drop_if_still`."""
        if self.drop_if_still(row_key, text):
            self._corrupted(key, error)

    def drop_if_still(self, row_key: bytes, text: str | None) -> bool:
        """Drop a row, unless another process has replaced it since it was read (None: whatever it says)."""
        with self.room.transaction():
            still = text is None or self.store.text(row_key) == text
            if still:
                self.room.drop(row_key)
        return still

    def _read_file(self, seen: Seen) -> bytes:
        row = seen.row
        with self._account.hold(row.object, row.info.size):
            descriptor, seal = open_body(seen.path)
            try:
                return whole_file(row, descriptor, seal)
            finally:
                os.close(descriptor)

    def _verified(self, seen: Seen, inline: bytes | None) -> bytes | None:
        """The body that the row stands for; None, and the row gone, if it is not whole."""
        row = seen.row
        try:
            if inline is None:
                return self._read_file(seen)
            with self._account.hold(row.object, row.info.size):
                return whole_inline(row, inline)
        except FileNotFoundError:
            # Another process has just replaced or evicted it, or a crash came between file and row.
            self.drop_if_still(seen.row_key, seen.text)
        except codec.CorruptFrame as error:
            self.drop_corrupt(seen.row_key, row.object, error, seen.text)
        return None

    # -- writing ----------------------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> bool:
        """See `Tier.put`."""
        row_key = self.row_key(entry.object)
        kind, stored = self._encode(entry.body)
        inline = stored is not None and placement.is_inline(len(stored))
        # A file needs none: its seal tells whether somebody has touched it since.
        checksum = crc32(stored) if inline and stored is not None else None
        times = entry.validated_at, entry.expires_at
        row = rows.Row(self.namespace, entry.object, entry.info, kind, 0, checksum, None, *times)
        if inline and stored is not None:
            return self.commit(row_key, row._replace(stored_size=len(stored)), stored, None)
        if not self._reserve(row_key, row, len(entry.body if stored is None else stored)):
            return False
        staged = self.directory.stage(rows.file_name(row, row_key))
        self.room.staged_bytes += len(entry.body)
        try:
            size = staged.write(codec.compressed_chunks(entry.body, self._level) if stored is None else [stored])
            return self.commit(row_key, row._replace(stored_size=size), None, staged)
        finally:
            self.room.staged_bytes -= len(entry.body)
            staged.finish(self.store.names)

    def retime(self, key: ObjectKey, change: Callable[[Row], Row | None]) -> bool:
        """Change the times of a row; False if it is gone or `change` declines by None."""
        self.store.check()
        seen = self._recent.last(key)  # it was read just now, as a rule
        row_key = self.row_key(key) if seen is None else seen.row_key
        text, row = (None, None) if seen is None else (seen.text, seen.row)
        for _ in range(_TRIES):
            changed = None if row is None else change(row)
            if changed is not None and text is not None and self.store.replace_text(row_key, text, rows.pack(changed)):
                self.room.hold_log()
                return True
            # Nobody has read it, or another process was quicker: look at what it says.
            before, text = text, self.store.text(row_key)
            row = rows.readable(text)
            if row is None or (text == before and changed is None):
                return False
        # It never is, so often: something is wrong with the row.
        self.drop_if_still(row_key, None)
        return False

    def retime_all(self, change: Callable[[Row], Row]) -> bool:
        """Change the times of all rows of this namespace. True, as it is done."""
        with self.room.transaction():
            for row_key, text in self.store.texts():
                row = rows.readable(text)
                if row is not None and row.namespace == self.namespace and row.state == rows.WHOLE:
                    changed = change(row)
                    if changed != row:
                        self.store.replace_text(row_key, rows.pack(row), rows.pack(changed))
        self.store.fold()
        return True

    def evict(self, key: ObjectKey) -> bool:
        """See `Tier.evict`. True, as it is done."""
        row_key = self.row_key(key)
        self.store.check()
        found = [found for found in (row_key, *rows.partial_keys(row_key)) if self.store.text(found) is not None]
        if found:
            with self.room.transaction():
                for each in found:
                    self.room.drop(each)
            self.room.hold_budget()
        return True

    def clear(self) -> bool:
        """Forget every row of this namespace, and those that nobody can read. True, as it is done."""
        with self.room.transaction():
            for row_key, text in self.store.texts():
                row = rows.readable(text)
                if row is None or row.namespace == self.namespace:
                    self.room.drop(row_key)
        self.store.fold()
        return True

    def commit(self, row_key: bytes, row: Row, inline: bytes | None, staged: Staged | None) -> bool:
        """Publish body and row in one transaction, and then remove the file of the body that they replace."""
        store, room = self.store, self.room
        clean_up: Callable[[], object] | None
        with room.transaction():
            old = self._last_row(row.object, store.text(row_key))
            if old is not None and old.validated_at > row.validated_at:
                return False
            reserved = row.info.size if staged is not None else 0
            needed = room.needed(row.stored_size) - reserved
            if not room.make(needed, row.info.size):
                room.drop(row_key)
                clean_up = None
            elif staged is None:
                clean_up = partial(self.drop_replaced, self.replace(row_key, old, row, inline))
            else:
                row = row._replace(seal=staged.publish())
                superseded = room.supersede(old, rows.body_name(row, row_key))
                clean_up = partial(room.remove_superseded, old, superseded, row_key, self._write_row(row_key, row, None))
        if clean_up is None:
            room.hold_budget()  # that it is not kept has gone through SQLite's log too
            return False
        if staged is not None:
            staged.committed(cleaned=False)
        clean_up()
        if staged is not None:
            staged.committed(cleaned=True)
        if needed < -AMPLE:
            return True
        room.hold_budget()
        return store.text(row_key) is not None

    def _last_row(self, key: ObjectKey, text: str | None) -> Row | None:
        """The row in a text, not parsed again if it was read a moment ago."""
        seen = self._recent.last(key)
        return seen.row if seen is not None and seen.text == text else rows.readable(text)

    def replace(self, row_key: bytes, old: Row | None, row: Row, inline: bytes | None) -> bytes | None:
        """Write an object's row in place of its old one; inside a transaction. See `Room.retire`."""
        replaced = self.room.retire(old, rows.body_name(row, row_key))
        self._write_row(row_key, row, inline)
        return replaced

    def _write_row(self, row_key: bytes, row: Row, inline: bytes | None) -> str:
        name = rows.body_name(row, row_key)
        if name is not None:
            self.store.remove(rows.older_key(name))  # the same body has come back: the file is its own again
        text = rows.pack(row)
        self.store.write(row_key, text, inline, row.stored_size if name is not None else 0)
        self.room.file(row_key, row, text)
        return text

    def drop_replaced(self, older: bytes | None) -> None:
        """Remove the file of a body that was replaced, now that this is committed; outside a transaction."""
        if older is not None:
            with self.room.transaction():
                self.room.drop(older)

    def pays(self, body: bytes) -> bool:
        """Whether a body is worth compressing."""
        return codec.estimate(body, self._level) is not None

    def _encode(self, body: bytes) -> tuple[str, bytes | None]:
        """The codec and the stored body; None for one that is large enough to be compressed piece by piece as it is written."""
        estimated = codec.estimate(body, self._level)
        if estimated is not None:
            if not placement.in_one_piece(len(body), estimated):
                return codec.ZSTD, None
            frame = codec.compress(body, self._level)
            if frame is not None:
                return codec.ZSTD, frame
        return codec.RAW, body

    def _reserve(self, row_key: bytes, row: Row, size: int) -> bool:
        """Make room before the first byte of a file is written. If there is none, what is held for the key goes too: it is older."""
        if self.room.needed(size) <= 0:
            return True
        with self.room.transaction():
            admitted = self.room.make(self.room.needed(size), row.info.size)
            held = rows.readable(self.store.text(row_key))
            if not admitted and (held is None or held.validated_at <= row.validated_at):
                self.room.drop(row_key)
        if not admitted:
            self.room.hold_budget()  # that it is not kept has gone through SQLite's log too
        return admitted
