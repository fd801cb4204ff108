"""A lock between processes that ends with its holder: an open-file-description lock on a byte range of one file.

Never `multiprocessing` locks: Lambda has no /dev/shm. Waiting is bounded, always.
"""

from __future__ import annotations

import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["EXCLUSIVE", "FREE", "SHARED", "RangeLock", "is_locked", "try_lock"]

EXCLUSIVE, SHARED, FREE = "exclusive", "shared", "free"

_POLL = 0.002  # seconds; the kernel's own waiting cannot be bounded


class RangeLock:
    """An exclusive lock on one byte of a file. Each instance opens the file anew, so that threads exclude each other too.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     first, second = RangeLock(file.name, 0), RangeLock(file.name, 0)
        ...     first.acquire(timeout=0), second.acquire(timeout=0)
        (True, False)
    """

    _descriptor = -1

    def __init__(
        self, path: str, offset: int, *, flags: int = os.O_CREAT, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
        self._offset = offset
        self._sleep = sleep
        self._pid = os.getpid()

    def acquire(self, *, timeout: float) -> bool:
        """Take the lock, waiting for at most `timeout` seconds."""
        waited = 0.0
        while not self._try():
            if waited >= timeout:
                return False
            self._sleep(_POLL)
            waited += _POLL
        return True

    def release(self) -> None:
        """Let go. Closing would not do where a child was forked meanwhile: it has the same open file description."""
        if self._descriptor >= 0:
            if self._pid == os.getpid():
                try_lock(self._descriptor, self._offset, FREE)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def _try(self) -> bool:
        return try_lock(self._descriptor, self._offset, EXCLUSIVE)


def try_lock(descriptor: int, offset: int, kind: str) -> bool:
    """Take, or with `FREE` give up, the lock on one byte; False if somebody else's is in the way."""
    import fcntl

    try:
        if sys.platform == "linux":
            number = {EXCLUSIVE: fcntl.F_WRLCK, SHARED: fcntl.F_RDLCK, FREE: fcntl.F_UNLCK}[kind]
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", number, os.SEEK_SET, offset, 1, 0))
        else:  # macOS, whose struct is another: a process's own locks never exclude it, which is all right for development
            operation = {EXCLUSIVE: fcntl.LOCK_EX | fcntl.LOCK_NB, SHARED: fcntl.LOCK_SH | fcntl.LOCK_NB, FREE: fcntl.LOCK_UN}
            fcntl.lockf(descriptor, operation[kind], 1, offset)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(descriptor: int, offset: int) -> bool | None:
    """Whether anybody holds a lock on one byte, of whatever kind: asked without taking one, so that reading is enough. None where that cannot be told."""
    import fcntl

    if sys.platform != "linux":  # macOS, whose struct is another
        return None
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    (kind,) = struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    return bool(kind != fcntl.F_UNLCK)
