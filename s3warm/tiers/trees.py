"""All that lies below a prefix, as one directory with the original names: made, pinned and evicted as one."""

from __future__ import annotations

import contextlib
import json
import os
import stat

from s3warm import codec
from s3warm.entries import FileEntry
from s3warm.origin.base import NoRoom, StartOver
from s3warm.rules.eviction import GOES_FIRST
from s3warm.tiers import row as rows
from s3warm.tiers.files import no_room, pinned_entry
from s3warm.tiers.landing import FULL, Landing
from s3warm.tiers.scattered import ScatteredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any, Self

    from s3warm.entries import Metadata
    from s3warm.keys import ObjectKey
    from s3warm.tiers.row import Row
    from s3warm.tiers.shelf import Shelf

__all__ = ["Member", "TreeDownload", "check_tree", "is_whole", "manifest", "open_tree"]

_TRIES = 50  # to pin a tree that others evict or replace


def open_tree(shelf: Shelf, key: ObjectKey) -> FileEntry | None:
    """The tree, pinned; None if none is held. It is dropped if a file in it is not as it was written."""
    for _ in range(_TRIES):
        seen, inline = shelf.look_up(key)
        if seen is None:
            return None
        row_key, row = seen.row_key, seen.row
        name = rows.file_name(row, row_key)
        if not shelf.pins.hold(name):
            continue
        try:
            check_tree(shelf.directory.body(name), inline, row.info.size)
        except FileNotFoundError:
            # A crash came while it was removed, or its files were by somebody else.
            shelf.pins.drop(name)
            shelf.drop_if_still(row_key, rows.pack(row))
            continue
        except (OSError, ValueError, TypeError) as error:
            shelf.pins.drop(name)
            shelf.drop_corrupt(row_key, key, codec.CorruptFrame(f"a file of it is not as it was: {error}"), rows.pack(row))
            continue
        if shelf.store.text(row_key) == rows.pack(row):
            shelf.room.hit(row_key)
            return pinned_entry(shelf, row, name)
        shelf.pins.drop(name)
    return None


class TreeDownload(Landing):
    """A tree on its way: its members are written one by one, or taken over from the tree that is held."""

    _members: Sequence[tuple[str, str, int]] = ()

    def begin(self, info: Metadata, members: Sequence[tuple[str, str, int]]) -> frozenset[int]:
        """Make room for all of it.

        Args:
            info: of the tree: its size is that of all members.
            members: relative name, ETag and size in bytes of each.

        Returns:
            The numbers of the members that an earlier download of the same tree has finished.
        """
        before, self._members = self._members, members
        if self._finished:
            with self._guarded("download"):
                return self._go_on(info, before)
        self._held: dict[tuple[str, str], str] = {}
        with self._guarded("download"):
            seen, inline = self._shelf.look_up(self._key)
            if seen is not None and inline is not None:
                tree = rows.file_name(seen.row, seen.row_key)
                # One that is not in use may be evicted for the room that this one needs.
                for name, etag, *_ in manifest(inline) if self._shelf.pins.holds(tree) else ():
                    self._held[name, etag] = os.path.join(self._shelf.directory.body(tree), name)
        return self.start(info)

    def _go_on(self, info: Metadata, before: Sequence[tuple[str, str, int]]) -> frozenset[int]:
        """Keep what is finished and still the same, in a tree that was listed anew."""
        assert self._row is not None
        finished = {before[part][:2] for part in range(len(before)) if self._finished >> part & 1}
        ready = frozenset(number for number, member in enumerate(self._members) if member[:2] in finished)
        shelf, bits = self._shelf, sum(1 << number for number in ready)
        row = self._row._replace(info=info, stored_size=info.size, finished=f"{bits:x}" if bits else "")
        with shelf.room.transaction():
            more = info.size - self._row.stored_size
            if not shelf.room.make(shelf.room.needed(more), None):
                raise no_room(shelf, self._key, info.size)
            shelf.room.write(self._slot, row, GOES_FIRST)
        self._row, self._finished = row, bits
        names = {self._members[number][0] for number in ready}
        folder = shelf.directory.partial(self._name)
        for name, *_ in before:
            if name not in names:
                _unlink(os.path.join(folder, name))
                while (name := os.path.dirname(name)) != "":
                    with contextlib.suppress(OSError):  # not empty
                        os.rmdir(os.path.join(folder, name))
        return ready

    def take_over(self, number: int) -> bool:
        """Link a member that the tree which is held has already; False if it has not."""
        name, etag, _ = self._members[number]
        held = self._held.get((name, etag))
        if held is None:
            return False
        try:
            place = self._place(name)
            _unlink(place)
            os.link(held, place)
        except OSError:
            return False
        self.finished(number)
        return True

    def member(self, number: int) -> Member:
        """A sink for one member."""
        try:
            return Member(self, self._place(self._members[number][0]))
        except OSError as error:
            raise self.fail(error, again=True) from error

    def fail(self, error: OSError, *, again: bool) -> Exception:
        """What an error of a member's file comes to. When the disk is full room is made, once, and each member may begin anew, once."""
        with self._lock:
            if error.errno in FULL and not again:
                self.is_first_time_full(error)
                assert self._row is not None
                with self._guarded("download"):
                    self._make_space(self._row.info.size)
                return StartOver(str(error))
        self._trouble("download", error)
        return NoRoom(f"{self._key} could not be written: {error}")

    def _place(self, name: str) -> str:
        path = self._shelf.directory.partial(self._name)
        for part in name.split("/")[:-1]:
            path = os.path.join(path, part)
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                _check_folder(path)
        return os.path.join(path, name.rpartition("/")[2])

    def _to_write(self, size: int) -> int:
        return size - sum(member[2] for member in self._members if member[:2] in self._held)

    def _create(self, size: int) -> None:
        os.mkdir(self._shelf.directory.partial(self._name), 0o700)

    def _reopen(self, size: int) -> None:
        _check_folder(self._shelf.directory.partial(self._name))

    def _let_go(self) -> None:
        """Nothing is open."""

    def _sealed(self, row: Row) -> tuple[Row, bytes | None]:
        folder = self._shelf.directory.body(rows.file_name(row))
        try:
            found = [[name, etag, *_seal(os.path.join(folder, name))] for name, etag, _ in self._members]
        except OSError:
            self._finished = 0  # a member is gone: the next try must not go on with what is left
            raise
        return row, json.dumps(found).encode()

    def _parts(self, size: int) -> int:
        return len(self._members)

    def _still_good(self, finished: int) -> int:
        """The members are looked at again, and those summed whose ETag may be an MD5: they have lain about since they were written."""
        folder = self._shelf.directory.partial(self._name)
        for number, (name, etag, size) in enumerate(self._members):
            if finished >> number & 1 and not is_whole(os.path.join(folder, name), etag, size):
                finished &= ~(1 << number)
        return finished


class Member:
    """See `Sink`: one file of a tree."""

    def __init__(self, tree: TreeDownload, path: str) -> None:
        self._tree = tree
        self._path = path
        self._file: ScatteredFile | None = None
        self._begun = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.reset()

    def begin(self, info: Metadata) -> frozenset[int]:
        """See `Sink.begin`."""
        self.reset()
        self._begun += 1
        try:
            # What is there may be a link to the file of a tree that is in use.
            _unlink(self._path)
            self._file = ScatteredFile(self._path, os.O_CREAT | os.O_EXCL)
            self._file.allocate(info.size)
        except OSError as error:
            raise self._tree.fail(error, again=self._begun > 1) from error
        return frozenset()

    def buffer(self, offset: int, length: int) -> memoryview:
        """See `Sink.buffer`."""
        return self._opened.buffer(length)

    def write(self, piece: memoryview, offset: int) -> None:
        """See `Sink.write`."""
        try:
            self._opened.write(piece, offset)
        except OSError as error:
            raise self._tree.fail(error, again=self._begun > 1) from error

    def read(self, offset: int, length: int) -> memoryview:
        """See `Sink.read`."""
        try:
            return self._opened.read(offset, length)
        except OSError as error:
            raise self._tree.fail(error, again=self._begun > 1) from error

    def finished(self, part: int) -> None:
        """See `Sink.finished`: a member that was cut off is brought anew."""

    def complete(self) -> None:
        """All of it is there: read-only from now on."""
        os.fchmod(self._opened.descriptor, 0o400)

    def reset(self) -> None:
        """See `Sink.reset`."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @property
    def _opened(self) -> ScatteredFile:
        assert self._file is not None
        return self._file


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _seal(path: str) -> tuple[int, int, int]:
    """Inode, size and time of the last change. Not `ctime`, which a link from the next version of the tree renews."""
    status = os.lstat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def manifest(text: bytes) -> list[list[Any]]:
    """What lies in a tree's row: name, ETag and seal of each file; ValueError or TypeError if it is anything else."""
    try:
        members: list[list[Any]] = json.loads(text)
        for name, etag, *_ in members:
            if any(type(word) is not str for word in (name, etag)) or os.path.isabs(name) or ".." in name.split("/"):
                raise ValueError(f"{name!r} is no file of a tree")
    except RecursionError as error:
        raise ValueError("the manifest is nested") from error
    return members


def _check_folder(path: str) -> None:
    """Raises OSError if something else than a directory lies there: nothing is written through a link."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(f"{path} is no directory")


def is_whole(path: str, etag: str, size: int) -> bool:
    """Whether a member that was finished by an earlier download is what it was, as far as its ETag can tell."""
    from hashlib import md5

    try:
        if not stat.S_ISREG(os.lstat(path).st_mode) or os.lstat(path).st_size != size:
            return False
        word = etag.strip('"')
        if len(word) != 32:
            return True
        with open(path, "rb") as file:
            whole = md5(usedforsecurity=False)
            while piece := file.read(2**20):
                whole.update(piece)
        return whole.hexdigest() == word
    except OSError:
        return False


def check_tree(folder: str, text: bytes | None, size: int) -> None:
    """Compare each file with what it was when it was written; ValueError or OSError if one differs, or if they are not all of the tree."""
    members, total = manifest(text or b""), 0
    for name, _, *seal in members:
        if list(_seal(os.path.join(folder, name))) != seal:
            raise ValueError(f"{name} has changed")
        total += seal[1]
    if not members or total != size:
        raise ValueError(f"its files have {total} bytes instead of {size}")
