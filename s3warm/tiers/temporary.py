"""Temporary directories of processes: theirs alone, removed when they end, and by the next one if they were killed."""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.tiers.locks import RangeLock

__all__ = ["occupy", "sweep", "temporary_directory"]

_OCCUPIED = 1  # the byte of a directory's lock file that its process holds; 0 is held while it is opened
_YOUNG = 60.0  # seconds: such a directory may not be occupied yet


def temporary_directory() -> str:
    """A name that nobody can guess; the directory is made when it is first needed. `tempfile` would cost 5 ms of imports."""
    return os.path.join(_parent(), f"s3warm-{os.getpid()}-{os.urandom(8).hex()}")


def occupy(path: str) -> RangeLock | None:
    """The lock that keeps a directory from being swept, for as long as this process lives, or a child that it has forked."""
    from s3warm.tiers.locks import RangeLock

    lock = RangeLock(os.path.join(path, "lock"), _OCCUPIED)
    return lock if lock.acquire(timeout=0) else None


def sweep() -> None:
    """Remove what killed processes of this user have left. The kernel ends a lock with its holder, so that no id of a process is guessed at."""
    now = time.time()
    for name in os.listdir(_parent()):
        path = os.path.join(_parent(), name)
        prefix, _, rest = name.partition("-")
        process, _, number = rest.partition("-")
        if (prefix, process.isdigit(), len(number)) != ("s3warm", True, 16):
            continue
        try:
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mtime < now - _YOUNG:
                _sweep(path)
        except OSError:  # somebody else is sweeping
            continue


def _sweep(path: str) -> None:
    from shutil import rmtree

    from s3warm.tiers.locks import RangeLock

    with RangeLock(os.path.join(path, "lock"), _OCCUPIED, flags=0) as lock:
        if lock.acquire(timeout=0):
            rmtree(path, ignore_errors=True)


def _parent() -> str:
    return os.environ.get("TMPDIR", "/tmp")  # noqa: S108  # the folder in it is private, and its name cannot be guessed
