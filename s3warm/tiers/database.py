"""The database file: is it ours, is it sound, and away with it if not."""

from __future__ import annotations

import contextlib
import os
import sqlite3

__all__ = ["BUSY_TIMEOUT", "DATABASE", "USER_VERSION", "database_files", "discard_foreign", "identity", "text"]

DATABASE = "cache.db"  # diskcache's own name for it
USER_VERSION = 0x5357_0003  # "SW", format 3
BUSY_TIMEOUT = 2.0  # seconds that a statement waits for another process's transaction


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
    """Remove a database that is a link, of another format, or holds settings that this version does not write.

    Raises:
        DatabaseError, ValueError: it is damaged.
    """
    paths = database_files(directory)
    links = [path for path in paths if os.path.islink(path)]
    for path in links:
        os.unlink(path)
    if (
        not links
        and os.path.exists(paths[0])
        and os.path.getsize(paths[0]) == 0
        and os.listdir(os.path.join(directory, "bodies"))
    ):
        raise sqlite3.DatabaseError("it is empty, beside bodies that it should know")
    if links or not _is_ours(paths[0], known):
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _is_ours(path: str, known: frozenset[str]) -> bool:
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return True
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = 0")
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        names = {row[0] for row in connection.execute("SELECT key FROM Settings")}
        return bool(version == USER_VERSION and names <= known)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # another's, or its maker died
            return False
        raise  # damaged; or busy, no descriptors, a full disk: nothing that speaks against the database
    finally:
        connection.close()
