"""The database of a directory, read without changing a byte of it, whether or not other processes have it open.

SQLite itself would write when it only reads: its index of the log (`-shm`), and files beside a database that was closed. So:

- where there is an index, other processes have the database open, or were killed: SQLite reads the log with `readonly_shm`, and takes locks
  that the kernel forgets with this process;
- where there is none the database was closed, and all is in one file, which is read as `immutable`: without locks, and so only as long as
  the file stays what it was, which is looked at after each statement (https://www.sqlite.org/uri.html#recognized_query_parameters).
"""

from __future__ import annotations

import os
import sqlite3
import time

from s3warm.tiers import database
from s3warm.tiers.database import database_files
from s3warm.tiers.own import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BadDatabase", "ReadOnly"]

_TRIES = 100
_PAUSE = 0.02  # seconds between them: others are opening or closing the database


class BadDatabase(OSError):
    """There is no database of this version's form, or it is damaged."""


class ReadOnly:
    """A look at the database of one directory."""

    def __init__(self, directory: str) -> None:
        self._path, self._log, self._index, _ = database_files(directory)
        self._connection: sqlite3.Connection | None = None
        self._stamp: tuple[int, ...] | None = None  # of the file; None where SQLite's own locks hold

    def query(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """What a statement finds.

        Raises:
            BadDatabase: it cannot be read.
        """
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                connection = self._opened()
                found = connection.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                if self._may_pass(error) and not last:
                    self.close()
                    time.sleep(_PAUSE)
                    continue
                raise BadDatabase(f"{self._path} cannot be read: {error}") from error
            if self._is_as_it_was():
                return found
            self.close()
        raise BadDatabase(f"{self._path} changes so often that it cannot be read")

    def close(self) -> None:
        """Let go of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        for path in (self._path, self._log, self._index):
            self._check(path)
        has_index = os.path.exists(self._index)
        self._stamp = None if has_index else self._looked_at()
        if self._stamp is not None and self._stamp[-1]:
            raise BadDatabase(f"{self._log} has no -shm beside it: the next process that uses this cache makes one")
        connection = sqlite3.connect(
            f"file:{_quoted(self._path)}?mode=ro&{'readonly_shm' if has_index else 'immutable'}=1",
            uri=True,
            timeout=database.BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.text_factory = database.text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, database.LONGEST)
            connection.execute("PRAGMA trusted_schema = 0")
            if not database.has_our_form(connection) and self._is_as_it_was():
                raise BadDatabase(f"{self._path} is no database of this version of s3warm")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _check(self, path: str) -> None:
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if path == self._path:
                raise BadDatabase(f"{os.path.dirname(path)} holds no cache: there is no {database.DATABASE} in it") from None
            return
        if not is_own(status):
            raise BadDatabase(f"{path} is a link, or no plain file: it is not read")

    def _may_pass(self, error: sqlite3.Error) -> bool:
        """Whether others are in the way for a moment: they open or close the database, or have changed what was read without a lock."""
        words = str(error)
        return not self._is_as_it_was() or any(word in words for word in ("locked", "unable to open", "readonly"))

    def _is_as_it_was(self) -> bool:
        return self._stamp is None or self._stamp == self._looked_at()

    def _looked_at(self) -> tuple[int, ...]:
        """Inode, size and time of the file, and the size of the log beside it."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            return ()
        try:
            log = os.lstat(self._log).st_size
        except FileNotFoundError:
            log = 0
        return status.st_ino, status.st_size, status.st_mtime_ns, log


def _quoted(path: str) -> str:
    """A path for a URI."""
    from urllib.parse import quote

    return quote(os.fsencode(os.path.abspath(path)))
