"""A large body on its way into the directory: a sink that makes room first, and keeps finished parts for the next try if it is cut off."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from zlib import crc32

from s3warm import codec
from s3warm.origin.base import CHUNK, NoRoom, StartOver
from s3warm.tiers import row as rows
from s3warm.tiers.directory import read_all
from s3warm.tiers.files import no_room, pinned_entry
from s3warm.tiers.store import GOES_FIRST, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.entry import Entry, FileEntry, Metadata
    from s3warm.keys import ObjectKey
    from s3warm.tiers.row import Row
    from s3warm.tiers.shelf import Shelf

__all__ = ["Download"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Download:
    """See `Sink`. Its row, of the state `partial`, counts in the budget from the first byte on, and is what names its file.

    Args:
        shelf: the opened directory.
        key: the object.
        at_any_cost: whether everything that nobody uses may go for it.
        trouble: told of the disk's own trouble, by what was done and the error.
    """

    def __init__(self, shelf: Shelf, key: ObjectKey, *, at_any_cost: bool, trouble: Callable[[str, Exception], object]) -> None:
        self._shelf = shelf
        self._key = key
        self._at_any_cost = at_any_cost
        self._trouble = trouble
        self._row: Row | None = None
        self._slot = b""  # key of the partial row
        self._name = ""  # of its file
        self._descriptor = -1
        self._was_full = self._made_space = self._published = False
        self._crc = 0
        self._lock = threading.Lock()
        self._finished = 0  # a bit for each part; guarded by _lock
        self._buffers = threading.local()

    # -- the sink ----------------------------------------------------------------------------------------------------------

    def begin(self, info: Metadata) -> frozenset[int]:
        """See `Sink.begin`."""
        self.close()
        self._crc, self._finished = 0, 0
        with self._guarded("download"):
            self._claim()
            try:
                self._make_space(info.size)
                self._reserve(info)
            except OSError as error:
                if not self._is_first_time_full(error):
                    raise
                self._discard()
                self._make_space(info.size)
                self._reserve(info)
        return frozenset(part for part in range(self._finished.bit_length()) if self._finished >> part & 1)

    def buffer(self, offset: int, length: int) -> memoryview:
        """See `Sink.buffer`: one for each thread."""
        held: memoryview | None = getattr(self._buffers, "held", None)
        if held is None:
            held = self._buffers.held = memoryview(bytearray(CHUNK))
        return held[:length]

    def write(self, piece: memoryview, offset: int) -> None:
        """See `Sink.write`."""
        try:
            while piece:
                written = os.pwrite(self._descriptor, piece, offset)
                offset += written
                piece = piece[written:]
        except OSError as error:
            if self._is_first_time_full(error):
                raise StartOver(str(error)) from error
            self._trouble("download", error)
            raise NoRoom(f"{self._key} could not be written: {error}") from error

    def finished(self, part: int) -> None:
        """See `Sink.finished`: noted in the row, so that it outlives the process."""
        with self._lock, contextlib.suppress(*StoreError):
            before, self._finished = self._finished, self._finished | 1 << part
            assert self._row is not None
            old, self._row = self._row, self._row._replace(finished=f"{self._finished:x}")
            if not self._shelf.store.replace_text(self._slot, rows.pack(old), rows.pack(self._row)):
                self._row, self._finished = old, before  # its row is gone; what is written counts all the same

    def read(self, offset: int, length: int) -> memoryview:
        """See `Sink.read`."""
        view = self.buffer(offset, length)
        count = os.preadv(self._descriptor, [view], offset)
        if not count:
            raise NoRoom(f"{self._key} was cut off while it was written")
        return view[:count]

    def reset(self) -> None:
        """See `Sink.reset`."""
        self._finished = 0
        self.close()

    @property
    def sums(self) -> bool:
        """Whether the pieces are to be shown to `summed` in their order: the row needs a checksum where the ETag is no MD5."""
        return self._row is not None and self._row.info.verified_by != "md5"

    def summed(self, piece: memoryview) -> None:
        """See `sums`."""
        self._crc = crc32(piece, self._crc)

    # -- what becomes of it ------------------------------------------------------------------------------------------------

    def body(self) -> bytes:
        """The complete body, in one allocation."""
        assert self._row is not None
        with self._guarded("download"):
            return read_all(self._descriptor, self._row.info.size)

    def admit(self, entry: Entry) -> None:
        """Keep the body of an entry, compressed if that pays; afterwards the tier holds it, or nothing older."""
        with contextlib.suppress(NoRoom), self._guarded("put"):
            if self._shelf.pays(entry.body):
                self.reset()
                self._shelf.put(entry)
            else:
                self.publish(entry.info, entry.validated_at, entry.expires_at, current=True).pin.release()

    def publish(self, info: Metadata, validated_at: float, expires_at: float, *, current: bool) -> FileEntry:
        """Make the complete body a file, pinned, and the object's own unless it is not to be found again (`current`).

        Raises:
            NoRoom: the disk gave trouble.
        """
        assert self._row is not None
        shelf, times = self._shelf, (validated_at, expires_at)
        checksum = self._crc if self.sums else None
        row = self._row._replace(
            info=info, checksum=checksum, validated_at=times[0], expires_at=times[1], state=rows.WHOLE, finished=""
        )
        name = rows.file_name(row)
        with self._guarded("download"):
            if not shelf.pins.hold(name):  # an older file of that name is just being removed
                raise OSError(f"{name} cannot be pinned")
            with contextlib.ExitStack() as unless_done:
                unless_done.callback(shelf.pins.drop, name)
                replaced, row = self._commit(row, name, current=current)
                unless_done.pop_all()
            self._published = True
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
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1
            self._shelf.pins.drop(self._name)
            self._name = ""
            self._row = None

    def _commit(self, row: Row, name: str, *, current: bool) -> tuple[bytes | None, Row]:
        """Name the file and write its row, in one transaction; also what was replaced (see `Shelf.replace`)."""
        shelf, store = self._shelf, self._shelf.store
        row_key = shelf.row_key(self._key)
        with shelf.room.transaction():
            old = rows.readable(store.text(row_key))
            shelf.directory.publish_partial(self._name, name)
            row = row._replace(seal=shelf.directory.seal(self._descriptor))
            store.remove(self._slot)
            if current and (old is None or old.validated_at <= row.validated_at):
                return shelf.replace(row_key, old, row, None), row
            if not store.names(name):
                shelf.room.write(rows.older_key(name), row._replace(state=rows.OLDER), GOES_FIRST)
            return None, row

    # -- room --------------------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Find a row for the download that no other process is at."""
        for key in rows.partial_keys(self._shelf.row_key(self._key)):
            if self._shelf.pins.claim(rows.partial_name(key)):
                self._slot, self._name = key, rows.partial_name(key)
                return
        raise NoRoom(f"{self._key} is being downloaded by {rows.SLOTS} others")

    def _reserve(self, info: Metadata) -> None:
        """Make room for the body, by its row and in its file, or go on with what a download that was cut off has left."""
        shelf, room, size = self._shelf, self._shelf.room, info.size
        with room.transaction():
            old = rows.readable(shelf.store.text(self._slot))
            resumed = old is not None and self._is_resumable(old, info)
            if old is not None and resumed:
                self._row, self._finished = old._replace(info=info), int(old.finished, 16)
                room.write(self._slot, self._row, GOES_FIRST)
            else:
                room.forget_partial(self._slot, self._name, old)
                if not room.make(room.needed(size), None if self._at_any_cost else size):
                    raise no_room(shelf, self._key, size)
                self._row = rows.Row(shelf.namespace, self._key, info, codec.RAW, size, None, None, 0.0, 0.0, rows.PARTIAL)
                room.write(self._slot, self._row, GOES_FIRST)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if resumed else os.O_CREAT | os.O_EXCL)
        self._descriptor = os.open(shelf.directory.partial(self._name), flags, 0o600)
        if not resumed and size:
            _allocate(self._descriptor, size)

    def _is_resumable(self, old: Row, info: Metadata) -> bool:
        if (
            old.state != rows.PARTIAL
            or not old.finished
            or not info.etag
            or old.info.etag != info.etag
            or old.object != self._key
        ):
            return False
        try:
            status = os.lstat(self._shelf.directory.partial(self._name))
        except OSError:
            return False
        return status.st_size == old.info.size == info.size

    def _is_first_time_full(self, error: OSError) -> bool:
        """Whether the disk is full for the first time, though the budget says that it is not: somebody else fills it."""
        if error.errno not in _FULL or self._was_full:
            return False
        self._was_full = True
        return True

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
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
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


def _allocate(descriptor: int, size: int) -> None:
    """Have the disk's blocks before anything is downloaded, where the system can do that."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
