"""What lies in a cache directory, looked at from outside: nothing is changed, locked for others, followed or unpickled."""

from __future__ import annotations

import contextlib
import os

from s3warm.record import NamedTuple
from s3warm.tiers import intents, pins
from s3warm.tiers import row as rows
from s3warm.tiers.database import database_files
from s3warm.tiers.directory import Directory, Refused
from s3warm.tiers.readonly import ReadOnly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from s3warm.tiers.row import Row

__all__ = ["Found", "Survey"]

_AT_ONCE = 100  # rows
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO that somebody planted would wait for a writer


class Found(NamedTuple):
    """A row of the database: its key, its text and what that says (None where it cannot be read, and then why), bytes of an inline body."""

    key: bytes
    text: object
    row: Row | None
    problem: str
    inline: int | None


class Survey:
    """A directory of a cache, open for reading.

    Raises:
        Refused: it is not this user's alone, or no cache's.

    Example:
        >>> import tempfile
        >>> from s3warm.testing import FakeCache, FakeS3
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with FakeCache(FakeS3({"s3://cfg/flags.json": b"{}"}), directory=place) as cache:
        ...         body = cache.get("cfg", "flags.json")
        ...     with Survey(place) as survey:
        ...         [str(found.row.object) for found in survey.rows() if found.row]
        ['s3://cfg/flags.json']
    """

    def __init__(self, path: str) -> None:
        self.directory = Directory(path)
        try:
            self.directory.check()
        except FileNotFoundError as error:
            raise Refused(f"{path} holds no cache: there is no {error.filename}") from None
        except NotADirectoryError as error:
            raise Refused(f"{path} is not a directory") from error
        self._database = ReadOnly(path)
        self._pins = _opened(self.directory.pins)
        self._intents = _opened(self.directory.intents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._database.close()
        for descriptor in (self._pins, self._intents):
            if descriptor is not None:
                os.close(descriptor)
        self._pins = self._intents = None

    # -- rows -------------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Found]:
        """All rows. Others may change them meanwhile: no transaction holds SQLite's log back."""
        last = -(2**63)
        columns = "rowid, key, raw, mode, filename, tag, typeof(value), length(value)"
        while found := self._database.query(
            f"SELECT {columns} FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT {_AT_ONCE}",  # noqa: S608  # constants
            (last,),
        ):
            for last, key, raw, mode, name, text, kind, length in found:  # noqa: B007  # the last one is where to go on
                plain = type(key) is bytes and raw == 1 and mode == 1 and name is None and kind in ("blob", "null")
                yield _found(key if type(key) is bytes else b"", text, length, plain=plain)

    def still(self, found: Found) -> bool:
        """Whether a row says what it said."""
        return self.text(found.key) == found.text

    def text(self, key: bytes) -> object:
        """The text of a row; None if there is none."""
        row = self._database.query("SELECT tag FROM Cache WHERE key = ? AND raw = 1", (key,))
        return row[0][0] if row else None

    def body(self, key: bytes) -> bytes:
        """The inline body of a row, empty if there is none."""
        row = self._database.query("SELECT value FROM Cache WHERE key = ? AND raw = 1 AND typeof(value) = 'blob'", (key,))
        return bytes(row[0][0]) if row else b""

    def complaints(self) -> list[str]:
        """What SQLite says of the soundness of its file; all of which is read for it."""
        return [str(line) for (line,) in self._database.query("PRAGMA integrity_check(10)") if line != "ok"]

    # -- bytes ------------------------------------------------------------------------------------------------------------

    def database_bytes(self) -> int:
        """Bytes of SQLite's own files, bodies that lie in rows included."""
        total = 0
        for path in database_files(self.directory.path):
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(path).st_size
        return total

    def file_bytes(self) -> int:
        """Bytes of the files that rows stand for, as diskcache's triggers have counted them."""
        row = self._database.query("SELECT value FROM Settings WHERE key = 'size'")
        counted = row[0][0] if row else 0
        return counted if type(counted) is int and counted > 0 else 0

    # -- who is at it -----------------------------------------------------------------------------------------------------

    def in_use(self, name: str) -> bool | None:
        """Whether any process uses or writes a file; None where that cannot be told (on macOS)."""
        return False if self._pins is None else pins.is_pinned(self._pins, name)

    def is_being_written(self, name: str) -> bool:
        """Whether a living writer has said that it is at a file of that object."""
        key, said = rows.key_of_name(name), [] if self._intents is None else intents.standing(self._intents)
        return key is not None and any(rows.key_of_name(text) == key for text in said)


def _found(key: bytes, text: object, inline: int | None, *, plain: bool) -> Found:
    if not plain:
        return Found(key, text, None, "it is in a form that s3warm never writes, and is not read", None)
    try:
        return Found(key, text, rows.unpack(text), "", inline)
    except rows.BadRow as error:
        return Found(key, text, None, str(error), inline)


def _opened(path: str) -> int | None:
    try:
        return os.open(path, _READ)
    except OSError:  # nobody has written it yet; or it is a link, and says nothing
        return None
