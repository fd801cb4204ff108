"""What is being written now, so that what a dead writer leaves is found without listing every file at each start.

A writer takes a slot of one file, says there what it is about to write, and clears it when the row is committed. Its lock on the slot ends with
it, however it dies: a slot that speaks and is not locked is a dead writer's. (A file for each writer would do as well, but ext4
without a journal does not use an inode again for some seconds, and looks for another one for 0.25 ms.)
"""

from __future__ import annotations

import os

from s3warm.tiers.locks import EXCLUSIVE, FREE, is_locked, try_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Intent", "declare", "left_behind", "standing"]

_SLOT = 256  # bytes
_SLOTS = 1024  # writers at a time; Lambda has as many threads


class Intent:
    """A slot that is locked, and what it says."""

    def __init__(self, descriptor: int, offset: int, text: str) -> None:
        self.text = text
        self._descriptor, self._offset = descriptor, offset
        self._pid = os.getpid()

    def withdraw(self) -> None:
        """Nothing is left to look after."""
        try:
            os.pwrite(self._descriptor, bytes(_SLOT), self._offset)
        finally:
            self.leave()

    def leave(self) -> None:
        """Let go of the slot, which still says what it said: the next one who opens the directory looks after it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if self._pid == os.getpid():  # closing would not do where a child was forked meanwhile
                try_lock(descriptor, self._offset, FREE)
            os.close(descriptor)


def declare(path: str, text: str) -> Intent:
    """Say what will be written, in a slot that nobody has.

    Raises:
        OSError: all slots are taken, or there is trouble with the file.
    """
    descriptor = _open(path)
    try:
        for offset in range(0, _SLOTS * _SLOT, _SLOT):
            if try_lock(descriptor, offset, EXCLUSIVE):
                if not _said(descriptor, offset):
                    os.pwrite(descriptor, text.encode().ljust(_SLOT, b"\0"), offset)
                    return Intent(descriptor, offset, text)
                try_lock(descriptor, offset, FREE)  # a dead writer's, and for those who open the directory
        raise OSError(f"{path} has no slot left for one more writer")
    except BaseException:
        os.close(descriptor)
        raise


def left_behind(path: str) -> Iterator[Intent]:
    """What dead writers had said; each is to be withdrawn, or left."""
    if not os.path.exists(path):
        return
    for offset in range(0, min(os.path.getsize(path), _SLOTS * _SLOT), _SLOT):
        descriptor = _open(path)
        said = b""
        try:
            # Said before the lock, it may be another's by now.
            if _said(descriptor, offset) and try_lock(descriptor, offset, EXCLUSIVE):
                said = _said(descriptor, offset)
        finally:
            if not said:
                os.close(descriptor)
        if said:
            yield Intent(descriptor, offset, said.decode(errors="replace"))


def standing(descriptor: int) -> list[str]:
    """What writers that are alive (or may be, where that cannot be told) say now, by the file of the intents, open for reading."""
    said = (
        (offset, _said(descriptor, offset)) for offset in range(0, min(os.fstat(descriptor).st_size, _SLOTS * _SLOT), _SLOT)
    )
    return [text.decode(errors="replace") for offset, text in said if text and is_locked(descriptor, offset) is not False]


def _said(descriptor: int, offset: int) -> bytes:
    return os.pread(descriptor, _SLOT, offset).strip(b"\0")


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
