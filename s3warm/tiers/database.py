"""The database file: is it ours, is it sound, and away with it if not."""

from __future__ import annotations

import os
import sqlite3

from s3warm.tiers.own import remove, remove_foreign

__all__ = [
    "BUSY_TIMEOUT",
    "DATABASE",
    "LONGEST",
    "USER_VERSION",
    "database_files",
    "discard_foreign",
    "has_our_form",
    "identity",
    "text",
]

DATABASE = "cache.db"  # diskcache's own name for it
USER_VERSION = 0x5357_0003  # "SW", format 3
BUSY_TIMEOUT = 2.0  # seconds that a statement waits for another process's transaction
# Bytes of a row: the manifest of 10,000 members whose keys have 1,024 bytes, each escaped threefold. A longer one is refused unread.
LONGEST = 40 * 2**20


# diskcache's own, which count rows and bytes.
_TRIGGERS = frozenset(
    f"Settings_{what}" for what in ("count_insert", "count_delete", "size_insert", "size_update", "size_delete")
)


def database_files(directory: str) -> list[str]:
    """The paths of the database and of the files that SQLite keeps beside it."""
    return [os.path.join(directory, DATABASE + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def identity(directory: str) -> int:
    """The inode of the database; OSError if it is gone. A process whose database was replaced would go on writing into nowhere."""
    return os.stat(os.path.join(directory, DATABASE), follow_symlinks=False).st_ino


def text(data: bytes) -> str | bytes:
    """Text as it is; what is none stays bytes, which `row.unpack` refuses."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def discard_foreign(directory: str, known: frozenset[str]) -> None:
    """Remove a database that is a link, of another format, or holds what this version does not put there.

    Raises:
        DatabaseError, ValueError: it is damaged.
    """
    paths = database_files(directory)
    removed = [path for path in paths if remove_foreign(path)]
    if not removed and _is_empty(paths[0]) and os.listdir(os.path.join(directory, "bodies")):
        raise sqlite3.DatabaseError("it is empty, beside bodies that it should know")
    if removed or not _is_ours(paths[0], known):
        for path in paths:
            remove(path)


def has_our_form(connection: sqlite3.Connection) -> bool:
    """Whether an open database is of this format, and runs nothing of its own."""
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    # A view may have no end, and a trigger do anything to the rows.
    programs = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')")}
    return bool(version == USER_VERSION and programs <= _TRIGGERS)


def _is_empty(path: str) -> bool:
    return os.path.exists(path) and os.path.getsize(path) == 0


def _is_ours(path: str, known: frozenset[str]) -> bool:
    if not os.path.exists(path) or _is_empty(path):
        return True
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = 0")
        names = {row[0] for row in connection.execute("SELECT key FROM Settings")}
        return names <= known and has_our_form(connection)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # another's, or its maker died
            return False
        raise  # damaged; or busy, no descriptors, a full disk: nothing that speaks against the database
    finally:
        connection.close()
