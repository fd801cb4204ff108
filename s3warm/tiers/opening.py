"""Opening the database of a directory, one process at a time, and removing one that is damaged."""

from __future__ import annotations

import contextlib
import os

from s3warm.tiers.database import database_files, identity
from s3warm.tiers.directory import Directory
from s3warm.tiers.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.tiers.pins import Pins

__all__ = ["OPEN_TIMEOUT", "open_store", "remove_database"]

OPEN_TIMEOUT = 2.0  # seconds to wait for another process that is opening the directory
_OPENING = 0  # the byte of the lock file that is held while the database is opened


def open_store(directory: Directory, pins: Pins) -> Store:
    """The database, with whatever dead writers left behind swept away."""
    with directory.lock(_OPENING) as lock:
        if not lock.acquire(timeout=OPEN_TIMEOUT):
            raise OSError(f"another process has been opening it for more than {OPEN_TIMEOUT:.0f} s")
        store = Store(directory.path)
        try:
            with store.writing():
                if not store.entries() or directory.unswept:
                    # A database made anew knows none of them. What is in use then is looked at again by the next who opens it.
                    directory.unswept = not directory.remove_unnamed(store.names, pins)
                directory.sweep(store.names, pins)
        except BaseException:
            store.close()
            raise
        return store


def remove_database(path: str, opened: int | None) -> None:
    """Remove a damaged database, unless somebody has replaced the one with this inode already (None: whichever lies there)."""
    with contextlib.suppress(OSError), Directory(path).lock(_OPENING) as lock:
        if lock.acquire(timeout=OPEN_TIMEOUT) and opened in (None, identity(path)):
            # The database first: if that stays its log has to stay too, or rows that were replaced and removed come back.
            for file in database_files(path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)
