"""Which files are in use, agreed on by all processes on the directory: locks on the bytes of one file, one byte for each name.

Whoever uses a file holds a shared lock on its byte, whoever writes one that nobody may remove meanwhile an exclusive lock. Both end with their
holder, however it dies. It takes two descriptors, whatever the number of files: Lambda has 1,024.
"""

from __future__ import annotations

import contextlib
import os
import threading

from s3warm.hashing import blake2b
from s3warm.tiers.locks import EXCLUSIVE, FREE, SHARED, is_locked, try_lock
from s3warm.tiers.told import LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Pins", "is_pinned"]

_COUNTER = 6  # bytes
_COUNTERS = 4096


class Pins:
    """The locks of this process on the files of one directory.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     mine, another = Pins(file.name), Pins(file.name)
        ...     mine.hold("model.onnx")
        ...     with another.alone("model.onnx") as free:
        ...         print(free)
        ...     mine.drop("model.onnx")
        ...     with another.alone("model.onnx") as free:
        ...         print(free)
        True
        False
        True
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        # Guarded by _lock. By byte: how often it is held; -1 for a writer's.
        self._held: dict[int, int] = {}
        self._mine = self._probe = -1

    def hold(self, name: str) -> bool:
        """Pin a file, once more if it is pinned already; False if somebody is removing it."""
        byte = _byte(name)
        with self._lock:
            count = self._held.get(byte, 0)
            if count < 0 or (not count and not try_lock(self._descriptor(), byte, SHARED)):
                return False
            self._held[byte] = count + 1
            return True

    def holds(self, name: str) -> bool:
        """Whether this process has pinned a file."""
        return self._held.get(_byte(name), 0) > 0

    def drop(self, name: str) -> None:
        """Take one pin back."""
        byte = _byte(name)
        with self._lock:
            count = self._held.get(byte, 0)
            if count > 1:
                self._held[byte] = count - 1
            elif self._held.pop(byte, None) is not None and self._mine >= 0:
                try_lock(self._mine, byte, FREE)

    def claim(self, name: str) -> bool:
        """Be the only one who writes a file; False if somebody else does. Given up by `drop`."""
        byte = _byte(name)
        with self._lock:
            if byte in self._held or not try_lock(self._descriptor(), byte, EXCLUSIVE):
                return False
            self._held[byte] = -1
            return True

    def count(self, name: str) -> int:
        """How often `count_up` was called for a name, by whatever process (or for one of the few that share its counter)."""
        with self._lock:
            return int.from_bytes(os.pread(self._descriptor(), _COUNTER, _counter(name)), "little")

    def count_up(self, name: str, said: Callable[[int], bytes] = lambda _: b"") -> None:
        """Let all processes see that something has happened, and what is `said` of it, given the new count; for the holder of a claim."""
        with self._lock:
            place = _counter(name)
            count = int.from_bytes(os.pread(self._descriptor(), _COUNTER, place), "little") + 1
            note = said(count)
            with contextlib.suppress(OSError):  # a full disk may have no room for it, where it has for the count
                os.pwrite(self._descriptor(), note, _note(name))
            os.pwrite(self._descriptor(), count.to_bytes(_COUNTER, "little"), place)

    def said(self, name: str) -> bytes:
        """What was last said of a name, or of one of the few that share its place."""
        with self._lock:
            return os.pread(self._descriptor(), LENGTH, _note(name))

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether nobody uses or writes the file, and, if so, keep it like that for the length of the block.

        For one thread at a time: whoever removes files does so in a transaction.
        """
        byte = _byte(name)
        with self._lock:
            if self._probe < 0:
                self._probe = _open(self._path)
            free = byte not in self._held and try_lock(self._probe, byte, EXCLUSIVE)
        try:
            yield free
        finally:
            if free and self._probe >= 0:
                try_lock(self._probe, byte, FREE)

    def renew(self) -> None:
        """This is a forked child: its pins are its own from now on, and its parent's writers are none of its business."""
        self._lock = threading.Lock()
        self._hold_anew({byte: count for byte, count in self._held.items() if count > 0})

    def follow(self) -> None:
        """Hold the same in the file that is there now, if the directory was removed and made anew."""
        with contextlib.suppress(FileNotFoundError):
            if self._mine < 0 or os.fstat(self._mine).st_ino == os.stat(self._path).st_ino:
                return
        self._hold_anew(dict(self._held))

    def _hold_anew(self, held: dict[int, int]) -> None:
        self.close()
        with self._lock, contextlib.suppress(OSError):  # there is no directory any more
            for byte, count in held.items():
                if try_lock(self._descriptor(), byte, SHARED if count > 0 else EXCLUSIVE):
                    self._held[byte] = count

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            for descriptor in (self._mine, self._probe):
                if descriptor >= 0:
                    os.close(descriptor)
            self._mine = self._probe = -1
            self._held.clear()

    def __del__(self) -> None:
        if getattr(self, "_mine", -1) >= 0 or getattr(self, "_probe", -1) >= 0:
            self.close()

    def _descriptor(self) -> int:
        if self._mine < 0:
            self._mine = _open(self._path)
        return self._mine


def is_pinned(descriptor: int, name: str) -> bool | None:
    """Whether any process uses or writes a file, by the file of the pins, open for reading; None where that cannot be told."""
    return is_locked(descriptor, _byte(name))


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _counter(name: str) -> int:
    """Where the counter of a name lies; locks and content of a file are nothing to each other."""
    return _byte(name) % _COUNTERS * _COUNTER


def _note(name: str) -> int:
    """Where lies what is said of a name: behind the counters, in a file that has holes where nothing ever was."""
    return _COUNTERS * _COUNTER + _byte(name) % _COUNTERS * LENGTH


def _byte(name: str) -> int:
    """The byte that stands for a name. Two names may share one, rarely, which pins a file too many."""
    return int.from_bytes(blake2b(name.encode(), digest_size=7).digest(), "big")
