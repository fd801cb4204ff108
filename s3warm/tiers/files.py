"""Bodies as raw files: read-only, complete before they are visible, and there as long as somebody uses them."""

from __future__ import annotations

import contextlib
import os
import time

from s3warm import codec
from s3warm.entries import FileEntry
from s3warm.origin.base import NoRoom
from s3warm.tiers import row as rows
from s3warm.tiers.directory import open_body
from s3warm.tiers.store import StoreError
from s3warm.tiers.verified import check_file, check_size, check_touched, pieces, whole_inline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from s3warm.keys import ObjectKey
    from s3warm.tiers.row import Row
    from s3warm.tiers.shelf import Shelf

__all__ = ["Pin", "no_room", "open_file", "pinned_entry"]

_TRIES = 50  # to pin a file that others evict or replace
_POLL = 0.002  # seconds between them


class Pin:
    """The right to use a file, until it is released."""

    def __init__(self, drop: Callable[[str], None], name: str) -> None:
        self._drop: Callable[[str], None] | None = drop
        self._name = name

    def release(self) -> None:
        """Give the file back; it may be evicted from now on. Once is enough."""
        drop, self._drop = self._drop, None
        if drop is not None:
            drop(self._name)


def open_file(shelf: Shelf, key: ObjectKey) -> FileEntry | None:
    """The object as a file, pinned; None if nothing is held.

    Raises:
        NoRoom: it is held compressed, and there is no room for it as it is.
    """
    for _ in range(_TRIES):
        seen, inline = shelf.look_up(key)
        if seen is None:
            return None
        row_key, row = seen.row_key, seen.row
        try:
            if row.codec != codec.RAW or row.seal is None:
                _unfold(shelf, row_key, row, inline)
                continue
            name = rows.file_name(row, row_key)
            if not shelf.pins.hold(name):
                time.sleep(_POLL)  # somebody is removing it
                continue
            with contextlib.ExitStack() as unless_sound:
                unless_sound.callback(shelf.pins.drop, name)
                if _is_sound(shelf, row_key, row, name):
                    unless_sound.pop_all()
                    shelf.room.hit(row_key)
                    return pinned_entry(shelf, row, name)
        except FileNotFoundError:
            shelf.drop_if_still(row_key, rows.pack(row))
        except codec.CorruptFrame as error:
            shelf.drop_corrupt(row_key, key, error, rows.pack(row))
    return None


def pinned_entry(shelf: Shelf, row: Row, name: str) -> FileEntry:
    """What is handed out for a file that is pinned already."""
    path, pin = shelf.directory.body(name), Pin(lambda name: _release(shelf, name), name)
    return FileEntry(row.object, row.info, row.validated_at, row.expires_at, path, pin)


def _release(shelf: Shelf, name: str) -> None:
    """Take a pin back. What is not to be found again, as it may not be kept, goes with its last pin."""
    shelf.pins.drop(name)
    key = rows.older_key(name)
    with contextlib.suppress(*StoreError):
        if not shelf.store.closed and shelf.store.goes_first(key):
            with shelf.room.transaction():
                if not shelf.room.in_use(key):
                    shelf.room.drop(key)
            shelf.room.hold_log()


def no_room(shelf: Shelf, key: ObjectKey, size: int) -> NoRoom:
    """The reason why a body of `size` bytes cannot be kept; inside a transaction."""
    return NoRoom(f"{key} does not fit", size=size, budget=shelf.room.budget, pinned=tuple(shelf.room.pinned()))


def _is_sound(shelf: Shelf, row_key: bytes, row: Row, name: str) -> bool:
    """Whether a pinned file is still the row's, and whole; it is summed only if it is not as it was sealed.

    Raises:
        FileNotFoundError: it is gone.
        CorruptFrame: it is damaged.
    """
    text = rows.pack(row)
    descriptor, seal = open_body(shelf.directory.body(name))
    try:
        if seal == row.seal:
            return shelf.store.text(row_key) == text
        check_size(row, seal.size)
        check_touched(row, descriptor)
        sealed = row._replace(seal=shelf.directory.seal(descriptor))
        shelf.store.replace_text(row_key, text, rows.pack(sealed))
        return False  # look at the new row
    finally:
        os.close(descriptor)


def _unfold(shelf: Shelf, row_key: bytes, row: Row, inline: bytes | None) -> None:
    """Let a body that lies in its row, or compressed, lie in a raw file.

    Raises:
        FileNotFoundError, CorruptFrame: as `_is_sound` has it.
    """
    size, room = row.info.size, shelf.room
    with room.transaction():
        if not room.make(room.needed(size), None, spare=row_key):
            raise no_room(shelf, row.object, size)
    raw = row._replace(codec=codec.RAW, stored_size=size)
    staged = shelf.directory.stage(rows.file_name(raw, row_key))
    room.staged_bytes += size
    replaced = None
    try:
        with contextlib.closing(_pieces(shelf, row_key, row, inline)) as body:
            staged.write(body)
        with room.transaction():
            if shelf.store.text(row_key) != rows.pack(row):
                return  # replaced meanwhile
            replaced = shelf.replace(row_key, row, raw._replace(checksum=None, seal=staged.publish()), None)
        staged.committed(cleaned=True)  # what it replaced has a row of its own
    finally:
        room.staged_bytes -= size
        staged.finish(shelf.store.names)
    shelf.drop_replaced(replaced)
    room.hold_budget()


def _pieces(shelf: Shelf, row_key: bytes, row: Row, inline: bytes | None) -> Generator[bytes | memoryview]:
    """The body that a row stands for, verified by its end."""
    if inline is not None:
        yield whole_inline(row, inline)
        return
    descriptor, seal = open_body(shelf.directory.body(rows.file_name(row, row_key)))
    try:
        check_file(row, descriptor, seal)
        yield from pieces(row, descriptor)
    finally:
        os.close(descriptor)
