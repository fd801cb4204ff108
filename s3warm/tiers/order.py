"""The order of eviction, kept in SQLite beside diskcache's rows, and the lock under which it is changed."""

from __future__ import annotations

import sqlite3
import threading

from s3warm.rules.eviction import GOES_FIRST, GOES_LAST, Candidate, Rank
from s3warm.tiers import database
from s3warm.tiers.database import USER_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EvictionOrder", "Writer"]


class Writer:
    """The writer's connection is the calling thread's. A class, as an interrupt would leave a generator suspended, and the lock with it."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __enter__(self) -> None:
        store = self._store
        if not store._writing.acquire(timeout=database.BUSY_TIMEOUT):  # noqa: SLF001  # it is the store's own
            raise sqlite3.OperationalError("the database is locked by another thread, which is writing")
        self._before, store._writing_thread = store._writing_thread, threading.get_ident()  # noqa: SLF001

    def __exit__(self, *_error: object) -> None:
        self._store._writing_thread = self._before  # noqa: SLF001
        self._store._writing.release()  # noqa: SLF001


class EvictionOrder:
    """The part of the store that ranks rows."""

    _sql: Any
    _as_writer: Any

    def _create_order(self) -> None:
        self._sql(
            "CREATE TABLE IF NOT EXISTS Rank (key BLOB PRIMARY KEY, priority REAL, frequency REAL, weight REAL, size INTEGER)"
            " WITHOUT ROWID"
        )
        self._sql("CREATE INDEX IF NOT EXISTS Rank_priority ON Rank (priority)")
        self._sql("CREATE TABLE IF NOT EXISTS Floor (one INTEGER PRIMARY KEY, value REAL)")
        self._sql("INSERT OR IGNORE INTO Floor VALUES (1, 0.0)")
        self._sql(f"PRAGMA user_version = {USER_VERSION}")

    @property
    def floor(self) -> float:
        """The eviction rule's floor, one for all processes; inside `writing`."""
        return float(self._sql("SELECT value FROM Floor").fetchone()[0])

    @floor.setter
    def floor(self, value: float) -> None:
        self._sql("UPDATE Floor SET value = ?", (value,))

    def rank(self, key: bytes, rank: Rank, size: int) -> None:
        """File a row in the order; inside `writing`."""
        self._sql("INSERT OR REPLACE INTO Rank VALUES (?, ?, ?, ?, ?)", (key, *rank, size))

    def goes_first(self, key: bytes) -> bool:
        """Whether a row is one of those that go first."""
        with self._as_writer():
            found = self._sql("SELECT priority FROM Rank WHERE key = ?", (key,)).fetchone()
        return found is not None and bool(found[0] == GOES_FIRST.priority)

    def last(self) -> list[tuple[bytes, int]]:
        """Keys and sizes of the rows that go last; inside `writing`."""
        return list(self._sql("SELECT key, size FROM Rank WHERE priority >= ?", (GOES_LAST.priority,)))

    def take_lowest(self) -> Candidate | None:
        """Take the row with the lowest priority out of the order; inside `writing`."""
        found = self._sql("SELECT key, priority, frequency, weight, size FROM Rank ORDER BY priority LIMIT 1").fetchone()
        if found is None:
            return None
        key, priority, frequency, weight, size = found
        self._sql("DELETE FROM Rank WHERE key = ?", (key,))
        return Candidate(key, Rank(priority, frequency, weight), 0, size)
