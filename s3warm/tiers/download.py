"""A large body on its way into one file of the directory."""

from __future__ import annotations

import contextlib
import os
from zlib import crc32

from s3warm.origin.base import NoRoom, StartOver
from s3warm.tiers.directory import read_all
from s3warm.tiers.landing import Landing
from s3warm.tiers.scattered import ScatteredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.entries import Entry, Metadata
    from s3warm.tiers.row import Row

__all__ = ["Download"]


class Download(Landing):
    """See `Sink`."""

    _file: ScatteredFile | None = None
    _crc = 0

    def begin(self, info: Metadata) -> frozenset[int]:
        """See `Sink.begin`."""
        self._crc = 0
        return self.start(info)

    def buffer(self, offset: int, length: int) -> memoryview:
        """See `Sink.buffer`."""
        return self._opened.buffer(length)

    def write(self, piece: memoryview, offset: int) -> None:
        """See `Sink.write`."""
        try:
            self._opened.write(piece, offset)
        except OSError as error:
            if self.is_first_time_full(error):
                raise StartOver(str(error)) from error
            self._trouble("download", error)
            raise NoRoom(f"{self._key} could not be written: {error}") from error

    def read(self, offset: int, length: int) -> memoryview:
        """See `Sink.read`."""
        with self._guarded("download"):
            return self._opened.read(offset, length)

    @property
    def sums(self) -> bool:
        """See `Sink.sums`: the row needs a checksum where the ETag is no MD5."""
        return self._row is not None and self._row.info.verified_by != "md5"

    def summed(self, piece: memoryview) -> None:
        """See `Sink.summed`."""
        self._crc = crc32(piece, self._crc)

    def body(self) -> bytes:
        """The complete body, in one allocation."""
        assert self._row is not None
        with self._guarded("download"):
            return read_all(self._opened.descriptor, self._row.info.size)

    def admit(self, entry: Entry) -> bool:
        """See `Download.admit`: compressed if that pays."""
        with contextlib.suppress(NoRoom), self._guarded("put"):
            if self._shelf.pays(entry.body):
                self.reset()
                return self._shelf.put(entry)
            self.publish(entry.info, entry.validated_at, entry.expires_at, current=True).pin.release()
            return True
        return False

    @property
    def _opened(self) -> ScatteredFile:
        assert self._file is not None
        return self._file

    def _create(self, size: int) -> None:
        self._file = ScatteredFile(self._shelf.directory.partial(self._name), os.O_CREAT | os.O_EXCL)
        self._file.allocate(size)

    def _reopen(self, size: int) -> None:
        self._file = ScatteredFile(self._shelf.directory.partial(self._name), 0)
        if os.fstat(self._file.descriptor).st_size != size:
            raise OSError("the file is not as long as it was")

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sealed(self, row: Row) -> tuple[Row, bytes | None]:
        checksum = self._crc if self.sums else None
        return row._replace(checksum=checksum, seal=self._shelf.directory.seal(self._opened.descriptor)), None
