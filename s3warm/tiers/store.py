"""diskcache without its traps: rows of bytes in SQLite, two connections, no pickle. The only module that imports diskcache.

What is closed here, each held by a test in `tests/tiers/test_diskcache_traps.py`:

- a row flipped to pickle mode would be executed when it is read (CVE-2025-69872): keys and values are bytes or refused;
- a row's file name was joined to the directory and unlinked (`../victim`): no row names a file;
- settings stored in the database overrode the defaults, pragmas included: they are passed, all of them, and others refused;
- culling on insert, expiry that hides rows, LRU that writes at each read: all off;
- a connection with 32 MiB of cache for each thread: there are two, small ones, whatever the number of threads;
- connections carried over a fork, and closed by the child: the child leaves them alone and opens its own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading

import diskcache

from s3warm.record import NamedTuple
from s3warm.tiers import database
from s3warm.tiers import row as rows
from s3warm.tiers.database import DATABASE, discard_foreign
from s3warm.tiers.order import EvictionOrder, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["LOG_SIZE", "Store", "StoreError", "Unreadable", "is_busy", "is_malformed", "is_read_only"]

MODE_RAW = 1


# What a damaged database makes of values on their way through diskcache and this package.
_OddValues = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
StoreError = (sqlite3.Error, diskcache.Timeout, OSError, *_OddValues)

_SETTINGS: dict[str, Any] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 2**62,
    "cull_limit": 0,
    "sqlite_auto_vacuum": 1,  # FULL: the file shrinks with its rows, as it counts in the budget
    "sqlite_cache_size": -256,  # KiB; reads of one row gain nothing from more
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 0,  # a killed process loses nothing by it, and /tmp does not outlive the machine
    "disk_min_file_size": 0,
    "disk_pickle_protocol": 0,
}
_KNOWN_SETTINGS = frozenset((*_SETTINGS, "count", "size", "hits", "misses"))
LOG_SIZE = 256 * 1024  # bytes at which SQLite folds its log into the database by itself


class Unreadable(ValueError):
    """A row in a form that is never written here."""


class Value(NamedTuple):
    """What goes into a row: an inline body, or None and the length of the file that holds it."""

    inline: bytes | None
    file_size: int


class _BytesOnly(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Serialisation that serialises nothing."""

    def __init__(self, directory: str, **_stored_settings: object) -> None:
        super().__init__(directory)

    def put(self, key: object) -> tuple[object, bool]:
        if type(key) is not bytes:
            raise TypeError(f"keys are bytes, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> bytes:
        if type(key) is not bytes or not raw:
            raise Unreadable("a key that is not plain bytes")
        return key

    def store(self, value: object, read: bool, key: object = None) -> tuple[int, int, None, bytes | None]:
        if not isinstance(value, Value) or read:
            raise TypeError(f"values are Value, not {type(value).__name__}")
        return value.file_size, MODE_RAW, None, value.inline

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> bytes | None:
        if mode != MODE_RAW or filename is not None or not (value is None or type(value) is bytes):
            raise Unreadable(f"a row in mode {mode!r} with file {filename!r}")
        return value

    def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
        raise TypeError("no row names a file")

    def remove(self, file_path: str) -> None:
        """Nothing: diskcache unlinks the files that rows name, and here no row names one."""


class Store(diskcache.Cache, EvictionOrder):  # type: ignore[misc]  # diskcache has no types
    """Rows by 16-byte keys, each with a text (the tag), an inline body or none, and a rank in the order of eviction.

    Reads share one connection under a short lock; writes share another under a lock that is held for a transaction.
    """

    def __init__(self, directory: str) -> None:
        self._pid = os.getpid()
        self.closed = False
        self.changes = 0  # that this process has made: it grows after each write, and so tells whether a row may have changed since it was read
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._writing = threading.RLock()
        self._writing_thread = 0
        self._floor = 0.0
        discard_foreign(directory, _KNOWN_SETTINGS)
        self.inode = 0
        with contextlib.ExitStack() as unless_opened:
            # At once: SQLite keeps for all connections to a file what the first one found, as that it cannot be written.
            unless_opened.callback(self.close)
            with self._as_writer():
                super().__init__(directory, timeout=database.BUSY_TIMEOUT, disk=_BytesOnly, **_SETTINGS)
                self._create_order()
            self.closed = False  # diskcache closes it at the end of its own beginning
            self.inode = database.identity(directory)
            unless_opened.pop_all()

    # -- connections ------------------------------------------------------------------------------------------------------

    @property
    def _con(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self.leave_to_parent()
        if self._writing_thread == threading.get_ident():
            if self._writer is None:
                self._writer = self._connect()
            return self._writer
        if self._reader is None:
            self._reader = self._connect()
        return self._reader

    @property
    def _sql_retry(self) -> Any:
        # diskcache retries for up to 60 s; here the connection's own time-out bounds the wait.
        return self._sql

    def _connect(self) -> sqlite3.Connection:
        path = os.path.join(self._directory, DATABASE)
        # Made here so that it, and the files beside it, which inherit its mode, are nobody else's to read.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with contextlib.ExitStack() as unless_opened:
            connection = sqlite3.connect(path, timeout=database.BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            unless_opened.callback(connection.close)
            # A row with bytes that are no text must be a row that can be dropped, not an error of each statement that meets it.
            connection.text_factory = database.text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, database.LONGEST)
            connection.execute("PRAGMA trusted_schema = 0")
            connection.execute(f"PRAGMA cache_size = {_SETTINGS['sqlite_cache_size']}")
            connection.execute("PRAGMA mmap_size = 0")
            connection.execute("PRAGMA synchronous = 0")
            connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_SIZE // 4096}")
            connection.execute("PRAGMA journal_size_limit = 0")
            unless_opened.pop_all()
        return connection

    def before_fork(self) -> bool:
        """Wait, for a while, until nothing is under way, and close the connections: a child would inherit SQLite's record of their locks.

        True, if that was possible; then `after_fork` has to follow.
        """
        if not self._writing.acquire(timeout=database.BUSY_TIMEOUT):
            return False
        if not self._reading.acquire(timeout=database.BUSY_TIMEOUT):
            self._writing.release()
            return False
        if not self._txn_id:
            self._close_connections()
        return True

    def after_fork(self) -> None:
        """This is the parent, which goes on."""
        self._reading.release()
        self._writing.release()

    def leave_to_parent(self) -> None:
        """This is a forked child: the parent's connections are leaked on purpose, since closing them would release its locks."""
        _left_to_parents.extend(connection for connection in (self._reader, self._writer) if connection is not None)
        self._reader = self._writer = None
        self._reading, self._writing = threading.Lock(), threading.RLock()
        self._writing_thread, self._txn_id = 0, None
        self._pid = os.getpid()

    def close(self) -> None:
        """Close both connections, whichever thread asks (diskcache closes the calling thread's only)."""
        self.closed = True
        if self._pid != os.getpid():
            self.leave_to_parent()
        with self._writing, self._reading:
            self._close_connections()

    def _close_connections(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def __del__(self) -> None:
        # A cache that is dropped without `close` (Python 3.13 warns of connections that nobody closed).
        if getattr(self, "_pid", None) == os.getpid():
            self.close()

    def _as_writer(self) -> Writer:
        return Writer(self)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction, exclusive among all threads and processes on the directory.

        Raises:
            FileNotFoundError: the database was removed or replaced since it was opened.
        """
        self.check()
        with self._as_writer():
            try:
                with self.transact():
                    yield
            finally:
                self.changes += 1

    def check(self) -> None:
        """Raises FileNotFoundError if the database was removed or replaced since it was opened: what is written to it is lost."""
        if database.identity(self._directory) != self.inode:
            raise FileNotFoundError(f"{self._directory} has another database now")

    # -- rows -------------------------------------------------------------------------------------------------------------

    def read(self, key: bytes) -> tuple[str | None, bytes | None] | None:
        """The text and the inline body of a row: one statement. None if there is no such row.

        Raises:
            Unreadable: the row is not one of ours.
        """
        if self._writing_thread == threading.get_ident():
            return self._row(key)
        with self._reading:
            return self._row(key)

    def _row(self, key: bytes) -> tuple[str | None, bytes | None] | None:
        inline, text = self.get(key, default=_NOTHING, tag=True)
        return None if inline is _NOTHING else (text, inline)

    def text(self, key: bytes) -> str | None:
        """The text of a row without its body."""
        with self._as_writer():
            row = self._sql("SELECT tag FROM Cache WHERE key = ? AND raw = 1", (key,)).fetchone()
        return None if row is None else row[0]

    def write(self, key: bytes, text: str, inline: bytes | None, file_size: int) -> None:
        """Add or replace a row; inside `writing`."""
        self.set(key, Value(inline, file_size), tag=text)

    def replace_text(self, key: bytes, old: str, new: str) -> bool:
        """Compare and swap the text of a row, in one statement."""
        with self._as_writer():
            changed = self._sql("UPDATE Cache SET tag = ? WHERE key = ? AND raw = 1 AND tag = ?", (new, key, old))
            self.changes += 1
            return bool(changed.rowcount)

    def remove(self, key: bytes) -> None:
        """Remove a row and its rank; inside `writing`. Not by `delete`, which reads the row and so may refuse it."""
        self._sql("DELETE FROM Cache WHERE key = ?", (key,))
        self._sql("DELETE FROM Rank WHERE key = ?", (key,))

    def texts(self) -> Iterator[tuple[bytes, object]]:
        """Keys and texts of all rows."""
        with self._as_writer():
            yield from self._sql("SELECT key, tag FROM Cache").fetchall()

    def entries(self) -> int:
        """Number of rows, kept by diskcache's triggers."""
        with self._as_writer():
            return int(self.reset("count"))

    def held(self) -> int:
        """Bytes of the database, its log and the files that rows stand for."""
        with self._as_writer():
            total = int(self.volume())
        if total < 0:
            raise ValueError("the database says that it holds less than nothing")
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(self._directory, DATABASE + suffix)).st_size
        return total

    def names(self, file_name: str) -> bool:
        """Whether a row names a file: its object's, one of its own, or that of its download."""
        return rows.is_named(file_name, self.text)

    def fold(self) -> None:
        """Fold the log into the database, so that what was freed becomes free on the disk; outside `writing`."""
        with self._as_writer():
            self._sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def is_busy(error: BaseException) -> bool:
    """Whether an error says that another process has the database locked for longer than anybody should wait."""
    return isinstance(error, diskcache.Timeout) or (isinstance(error, sqlite3.OperationalError) and "locked" in str(error))


def is_read_only(error: BaseException) -> bool:
    """Whether a connection says that it cannot write, which it goes on saying whatever has become of the cause: it takes a new one."""
    return isinstance(error, sqlite3.OperationalError) and "readonly" in str(error)


def is_malformed(error: BaseException) -> bool:
    """Whether an error says that the database is damaged, rather than busy, full, closed or out of reach."""
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in ("malformed", "no such", "has no column"))
    if isinstance(error, (sqlite3.InterfaceError, sqlite3.ProgrammingError, OSError, diskcache.Timeout)):
        return False
    return isinstance(error, (sqlite3.DatabaseError, *_OddValues))


_NOTHING = b"no such row"
_left_to_parents: list[sqlite3.Connection] = []
