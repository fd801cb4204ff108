"""Files of objects: `path`, `release`, `as_file`, `open`."""

from __future__ import annotations

import contextlib
import io
import threading

from s3warm.errors import DiskUnavailableError, ObjectTooLargeError
from s3warm.filing import Filing, PinnedFile, Streaming
from s3warm.finder import Finder
from s3warm.front import asked
from s3warm.keys import MISSING, locate, locate_tree
from s3warm.origin.base import NoRoom
from s3warm.tiers.base import Turn
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from pathlib import Path
    from typing import Any, BinaryIO

    from s3warm.beyond import Beyond
    from s3warm.calls import Calls
    from s3warm.entries import FileEntry
    from s3warm.front import Request
    from s3warm.keys import Missing, ObjectKey
    from s3warm.metrics import Counters
    from s3warm.origin.base import Origin
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import SingleFlight
    from s3warm.tiers.base import Account, FileTier, HotTier
    from s3warm.trees import Planting

__all__ = ["Paths"]

_BUFFER = 256 * 1024  # bytes that a stream reads ahead


class Paths:
    """The part of the cache that hands out files. Each has a pin, which keeps the file as it is for as long as it is used."""

    _clock: Callable[[], float]
    _look: Callable[[float], object]
    _memory: HotTier
    _counters: Counters
    _calls: Calls
    _give_back: Callable[[], None]  # see `Making.give_back`: a file whose value is gone takes nobody's room
    _flights: SingleFlight[Any]
    _revalidation: Revalidation
    _beyond: Beyond

    def __init__(self, origin: Origin, files: FileTier | None, account: Account) -> None:
        self._origin = origin
        self._files = files
        self._account = account
        self._finder = None if files is None else self._finding(files)
        self._pin_lock = threading.Lock()
        self._pinned: dict[ObjectKey, FileEntry] = {}  # by `path`; guarded by _pin_lock

    def path(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> Path:
        """An object as a file in /tmp, for what wants a path: `onnxruntime`, `sqlite3`, `numpy.load(mmap_mode="r")`.

        The file is whole before it can be seen, read-only (0400), has the suffix of the key and is never changed. Nothing evicts it before
        `release`, however often `path` is called. When the object has changed a call gives another path; the older file is as it was, and
        its name goes only when room is needed. Files in use count in the disk budget, which must hold both versions for a change. A large
        object comes by parallel ranged requests.

        Args:
            bucket: name of the bucket, or one `"s3://bucket/key"`, taken literally, as the only positional argument.
            key: key of the object.
            version_id: one version of it; a pinned version never expires.
            ttl: the age in seconds (or a `timedelta`) that this call accepts, in place of the cache's own TTL. 0 asks S3 now.
            request: what the request says besides; see `get`.

        Raises:
            ObjectNotFoundError: there is no such object (404).
            AccessDeniedError: S3 denied access (403).
            OriginUnavailableError: S3 cannot be reached, and no copy may stand in.
            ObjectTooLargeError: it does not fit into the disk budget beside the files that are in use.
            DiskUnavailableError: there is no directory to put it, or it cannot be written.
            IntegrityError: the body arrived damaged, repeatedly.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object, or the TTL is negative.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/net.onnx": b"weights"}):
            ...     path = s3warm.path("models", "net.onnx")
            ...     path.suffix, path.read_bytes()
            ('.onnx', b'weights')
        """
        return self._pin(self._file(*asked(bucket, key, version_id, ttl, request)))

    def tree(self, bucket: str, prefix: str | Missing = MISSING, *, ttl: float | timedelta | None = None) -> Path:
        """All objects below a prefix as one directory with their original names: weights in shards, a tokenizer's files, ONNX external data.

        Made, kept and released as one: `release` takes the same arguments. When the TTL is over one listing tells whether anything has
        changed; what has not is taken over from the directory that is held. At most 10,000 objects. The role needs `s3:ListBucket`.

        Args:
            bucket: name of the bucket, or one `"s3://bucket/prefix/"` as the only positional argument.
            prefix: what the keys begin with; a slash ends it, written or not.
            ttl: as `path` has it.

        Raises:
            ObjectNotFoundError: there is nothing below the prefix.
            S3WarmError: a key cannot be the name of a file; beside the errors of `path`.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name a prefix, or the TTL is negative.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/bert/config.json": b"{}", "s3://models/bert/shards/1.bin": b"1"}):
            ...     folder = s3warm.tree("s3://models/bert/")
            ...     sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
            ['config.json', 'shards/1.bin']
        """
        where = locate_tree(bucket, prefix)
        return self._pin(self._file(where, None if ttl is None else seconds(ttl, f"ttl of {where}")))

    def _pin(self, entry: FileEntry) -> Path:
        """Hand out a file with one pin for each object, whatever the number of calls."""
        from pathlib import Path

        with self._pin_lock:
            held = self._pinned.get(entry.object)
            if held is not None and held.path == entry.path:
                entry.pin.release()  # one pin an object
                return Path(held.path)
            self._pinned[entry.object] = entry
        if held is not None:
            held.pin.release()
        return Path(entry.path)

    def release(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        request: Request | None = None,
    ) -> None:
        """The file that `path` gave, or the directory that `tree` gave, is not used any more; it stays in the cache as long as there is room. Once too often does no harm.

        Takes what `path` takes.

        Raises:
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/net.onnx": b"weights"}):
            ...     path = s3warm.path("models", "net.onnx")
            ...     s3warm.release("models", "net.onnx")
            ...     path.exists()
            True
        """
        where = locate(bucket, key, version_id, request)
        with self._pin_lock:
            held = self._pinned.pop(where, None)
            if held is None and version_id is None and request is None:
                held = self._pinned.pop(locate_tree(bucket, key), None)
        if held is not None:
            held.pin.release()

    def renew_pins(self) -> None:
        """This is a forked child: it uses the files that its parent uses."""
        self._pin_lock = threading.Lock()

    def release_all(self) -> None:
        """`release` for everything that `path` gave."""
        with self._pin_lock:
            held, self._pinned = self._pinned, {}
        for entry in held.values():
            entry.pin.release()

    def as_file(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> AbstractContextManager[Path]:
        """Like `path`, for a file that is needed for the length of a block. Takes and raises what `path` does.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://reports/day.csv": b"a,b"}):
            ...     with s3warm.as_file("reports", "day.csv") as path:
            ...         path.read_text()
            'a,b'
        """
        return self._as_file(*asked(bucket, key, version_id, ttl, request))

    def open(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> BinaryIO:
        """An object as a binary file, seekable and read-only, for what wants to read: `zipfile`, `pyarrow`, `PIL`, `tarfile`.

        It is the file that `as_file` would give, in use until it is closed. An object that does not fit into /tmp opens all the same: it is
        read from S3 by ranged requests for one version of it, past the cache and in bounded memory. It takes no mode: it reads bytes. Takes
        and raises what `get` does.

        Raises:
            OriginUnavailableError: also while reading, when the object does not fit into /tmp and was overwritten since.
            TypeError: a mode was given.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://reports/day.csv": b"a,b"}):
            ...     with s3warm.open("reports", "day.csv") as file:
            ...         file.seek(2), file.read()
            (2, b'b')
        """
        if isinstance(key, str) and str(bucket).startswith("s3://") and set(key) <= set("rwaxbt+U"):
            raise TypeError(f"s3warm.open takes no mode ({key!r}): it always reads bytes; write open({bucket!r})")
        where, bound = asked(bucket, key, version_id, ttl, request)
        if self._finder is not None:
            with contextlib.suppress(NoRoom):
                self._look(float(self._clock()))
                with self._calls.counted:
                    self._calls.begin(where, bound)
                    self._give_back()
                    entry = self._finder.find(where, bound)
                try:
                    return io.BufferedReader(PinnedFile(entry.path, entry.pin))
                except OSError:  # the disk's own, as no descriptor was left: S3 has it all the same
                    self._counters.disk_errors += 1
        return self._stream(where, bound)

    # -- the ways through the house ----------------------------------------------------------------------------------------

    def _finding(self, files: FileTier) -> Finder:
        def planting() -> Planting:
            from s3warm.trees import Planting

            return Planting(self._origin, files, self._account)

        return Finder(
            files,
            Filing(self._origin, self._memory, files, self._account),
            planting,
            calls=self._calls,
            revalidation=self._revalidation,
            beyond=self._beyond,
            counters=self._counters,
        )

    @contextlib.contextmanager
    def _as_file(self, where: ObjectKey, bound: float | None) -> Iterator[Path]:
        from pathlib import Path

        entry = self._file(where, bound)
        try:
            yield Path(entry.path)
        finally:
            entry.pin.release()

    def _file(self, where: ObjectKey, bound: float | None) -> FileEntry:
        """A file with a pin of its own, or an error for people."""
        self._look(float(self._clock()))
        with self._calls.counted:
            self._calls.begin(where, bound)
            return self._found(where, bound)

    def _found(self, where: ObjectKey, bound: float | None) -> FileEntry:
        """`_file` for a call that has begun."""
        if self._finder is None:
            message = (
                f"{where}: there is no disk to put a file (disk_budget is 0, or this is Windows); open() and get() need none"
            )
            raise DiskUnavailableError(message, bucket=where.bucket, key=where.key)
        self._give_back()
        try:
            return self._finder.find(where, bound)
        except NoRoom as error:
            if not error.budget:
                message = f"{where} cannot be kept as a file: {error}; open() and get() need none"
                raise DiskUnavailableError(message, bucket=where.bucket, key=where.key) from error
            raise ObjectTooLargeError.beside(where, error.size, error.budget, error.pinned) from error

    def _stream(self, where: ObjectKey, bound: float | None) -> BinaryIO:
        streaming = Streaming(self._origin, self._account)
        with self._calls.counted:
            self._revalidation.check(where, bound)
            self._flights.run(
                where,
                lambda flight: self._revalidation.ask(flight, where, None, bound, want=streaming, turn=Turn()),
                terms=streaming,
                join=False,
            )
        assert streaming.opened is not None
        return io.BufferedReader(streaming.opened, _BUFFER)
