"""A large body on its way into one file of the directory."""

from __future__ import annotations

import contextlib
import os

from s3warm.origin.base import NoRoom, StartOver
from s3warm.tiers.landing import Landing
from s3warm.tiers.own import is_own
from s3warm.tiers.scattered import ScatteredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.entries import Entry, Metadata
    from s3warm.tiers.row import Row

__all__ = ["Download"]


class Download(Landing):
    """See `Sink`."""

    _file: ScatteredFile | None = None

    def begin(self, info: Metadata) -> frozenset[int]:
        """See `Sink.begin`."""
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
        status = os.fstat(self._file.descriptor)
        if status.st_size != size or not is_own(status):
            raise OSError("the file is not as it was")

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sealed(self, row: Row) -> tuple[Row, bytes | None]:
        return row._replace(seal=self._shelf.directory.seal(self._opened.descriptor)), None
