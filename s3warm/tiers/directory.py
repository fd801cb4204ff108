"""The directory of the disk tier: private, flat, and crash-safe publication of files in it.

A body is written to a staging file and renamed into place inside the transaction that adds its row. Until that is committed, and what it
replaced is gone, the writer's intent stands in a file of intents: by it is found what a dead writer left.
"""

from __future__ import annotations

import contextlib
import os
import stat
from itertools import count

from s3warm.tiers import intents
from s3warm.tiers.locks import RangeLock
from s3warm.tiers.own import is_own, remove, remove_foreign
from s3warm.tiers.row import PARTIAL_SUFFIX as PARTIAL
from s3warm.tiers.row import Seal, key_of_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s3warm.tiers.intents import Intent
    from s3warm.tiers.pins import Pins

__all__ = ["Directory", "Refused", "Staged", "open_body", "read_all"]

_STAGED = ".staged"
_LONGEST_STEM = 200  # characters; file systems take 255
READ_ONLY = 0o400  # of published files: a body never changes
# Non-blocking: a FIFO that somebody planted would wait for a writer for ever.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_AT_ONCE = 2**30  # bytes; the kernel returns at most 2 GiB - 4 KiB
_numbers = count()


class Refused(OSError):
    """The directory is not ours alone; nothing is read from it or written to it."""


class Directory:
    """A directory that only this user can enter."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bodies = os.path.join(path, "bodies")
        self.staging = os.path.join(path, "staging")
        self.pins = os.path.join(path, "pins")
        self.intents = os.path.join(path, "intents")
        self._unswept = os.path.join(path, "unswept")
        self._lock = os.path.join(path, "lock")

    def prepare(self) -> None:
        """Make it, or check that it is ours.

        Raises:
            Refused: it is a link, belongs to somebody else, or others may enter it.
        """
        for path in (self.path, self.bodies, self.staging):
            with contextlib.suppress(FileExistsError):
                os.makedirs(path, 0o700)
            _check_private(path)
        for path in (self._lock, self.pins, self.intents, self._unswept):
            remove_foreign(path)

    def check(self) -> None:
        """See that it is there and ours, changing nothing.

        Raises:
            FileNotFoundError: it, or a part of it, is not there.
            Refused: it is a link, belongs to somebody else, or others may enter it.
        """
        for path in (self.path, self.bodies, self.staging):
            _check_private(path)

    def lock(self, offset: int) -> RangeLock:
        """A lock between the processes on this directory."""
        return RangeLock(self._lock, offset)

    def body(self, name: str) -> str:
        """Path of a published file."""
        return os.path.join(self.bodies, name)

    def partial(self, name: str) -> str:
        """Path of a file that a download fills."""
        return os.path.join(self.staging, name)

    def publish_partial(self, name: str, published: str) -> None:
        """A download is complete: give its file, or its tree, the name under which it is found."""
        os.rename(self.partial(name), self.body(published))

    def take_back(self, name: str, published: str, is_current: Callable[[str], bool]) -> None:
        """Undo `publish_partial`, where a crash came before the row's commit."""
        if not os.path.lexists(self.partial(name)) and not is_current(published):
            body = self.body(published)
            status = os.lstat(body)
            if not stat.S_ISDIR(status.st_mode):
                if not is_own(status):
                    raise OSError(f"{body} is a link")
                os.chmod(body, 0o600)
            os.rename(body, self.partial(name))

    def remove_partial(self, name: str) -> None:
        """Remove what a download has written."""
        remove(self.partial(name))

    def seal(self, descriptor: int) -> Seal:
        """Make a file read-only, whatever somebody has made of it, and seal it as it is now."""
        os.fchmod(descriptor, READ_ONLY)
        return _seal(os.fstat(descriptor))

    def stage(self, name: str) -> Staged:
        """Begin to write the file that will be published as `name`."""
        intent = intents.declare(self.intents, f"{name}-{os.getpid()}-{next(_numbers)}")
        return Staged(self, name, intent)

    def remove(self, name: str) -> None:
        """Remove a published file; whoever has it open keeps it."""
        remove(self.body(name))

    @property
    def unswept(self) -> bool:
        """Whether files without a row were left because somebody was using them."""
        return os.path.exists(self._unswept)

    @unswept.setter
    def unswept(self, left: bool) -> None:
        if left:
            os.close(os.open(self._unswept, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._unswept)

    def remove_unnamed(self, is_current: Callable[[str], bool], pins: Pins) -> bool:
        """Remove every file that no row names; False if some are left, as somebody uses them."""
        all_gone = True
        for folder, remove_one in ((self.bodies, self.remove), (self.staging, self.remove_partial)):
            for name in os.listdir(folder):
                if (folder == self.bodies or name.endswith(PARTIAL)) and not is_current(name):
                    with pins.alone(name) as free:
                        all_gone = all_gone and free
                        if free:
                            remove_one(name)
        return all_gone

    def sweep(self, is_current: Callable[[str], bool], pins: Pins) -> int:
        """Remove what writers that died left behind: staging files, and published files without a row.

        `is_current` tells whether a row names the published file. Returns the number of dead writers found.
        """
        dead = 0
        for intent in intents.left_behind(self.intents):
            dead += 1
            try:
                if _is_stem(intent.text):
                    self._sweep_one(intent.text, is_current, pins)
            except BaseException:
                intent.leave()
                raise
            intent.withdraw()
        return dead

    def _sweep_one(self, stem: str, is_current: Callable[[str], bool], pins: Pins) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.staging, stem + _STAGED))
        for name in os.listdir(self.bodies):
            if key_of_name(name) == key_of_name(stem) and not is_current(name):
                with pins.alone(name) as free:
                    if free:
                        self.remove(name)


def _check_private(path: str) -> None:
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise Refused(f"{path} is not a directory")
    if status.st_uid != os.geteuid():
        raise Refused(f"{path} belongs to user {status.st_uid}, this process is user {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise Refused(f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o}); make it 0700 or name another")


def _is_stem(text: str) -> bool:
    """Whether an intent is one of ours: a name of a file, a process and a number, and no way out of the directory."""
    plain = text.isascii() and text.isprintable() and "/" not in text and len(text) <= _LONGEST_STEM
    return plain and key_of_name(text) is not None


def open_body(path: str) -> tuple[int, Seal]:
    """A descriptor of a published file, and its seal.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read, or is a link.
    """
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(f"{path} is no file")
        return descriptor, _seal(status)
    except BaseException:
        os.close(descriptor)
        raise


def read_all(descriptor: int, size: int) -> bytes:
    """`size` bytes from the begin of a file, or fewer if there are no more, in one allocation."""
    if size <= _AT_ONCE:
        return os.pread(descriptor, size, 0)
    from io import BytesIO

    body = BytesIO(bytes(size))
    position = 0
    with body.getbuffer() as view:
        while position < size and (count := os.preadv(descriptor, [view[position : position + _AT_ONCE]], position)):
            position += count
    return body.getvalue() if position == size else body.getvalue()[:position]


class Staged:
    """A file under construction. `publish` inside the transaction, `finish` after it; `finish` alone discards it."""

    def __init__(self, directory: Directory, name: str, intent: Intent) -> None:
        self._directory, self._name, self._intent = directory, name, intent
        self._path = directory.partial(intent.text + _STAGED)
        self._target = directory.body(name)
        self._published = self._committed = self._cleaned = False
        self._descriptor = -1

    def write(self, chunks: Iterable[bytes | memoryview]) -> int:
        """Write the body and return its length in bytes."""
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, READ_ONLY)
        size = 0
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                written = os.write(self._descriptor, rest)
                size += written
                rest = rest[written:]
        return size

    def publish(self) -> Seal:
        """Rename the file into place. The seal is taken afterwards, as renaming changes `ctime`."""
        os.rename(self._path, self._target)
        self._published = True
        return _seal(os.fstat(self._descriptor))

    def committed(self, *, cleaned: bool) -> None:
        """Its row is there; `cleaned`: and nothing is left of what it replaced."""
        self._committed, self._cleaned = True, cleaned

    def finish(self, is_current: Callable[[str], bool]) -> None:
        """Nothing is left to clean up; what was not published is discarded.

        Published, but its row was rolled back: the file goes, unless a row names it all the same (`is_current`). If that cannot be
        known, or what it replaced could not be removed, the intent stays, so that the next one who opens the directory looks after it.
        """
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        try:
            if not self._published:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)
            elif not self._committed and not is_current(self._name):
                self._directory.remove(self._name)
        except BaseException:
            self._intent.leave()
            raise
        if self._committed and not self._cleaned:
            self._intent.leave()
        else:
            self._intent.withdraw()


def _seal(status: os.stat_result) -> Seal:
    return Seal(status.st_ino, status.st_size, status.st_ctime_ns)
