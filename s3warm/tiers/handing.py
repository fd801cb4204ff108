"""The part of the disk tier that hands out files, and takes what is downloaded."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext

from s3warm.origin.base import NoRoom
from s3warm.tiers.base import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from s3warm.entries import FileEntry
    from s3warm.keys import ObjectKey
    from s3warm.tiers.base import Found
    from s3warm.tiers.complaints import Complaints
    from s3warm.tiers.download import Download
    from s3warm.tiers.shelf import Shelf
    from s3warm.tiers.trees import TreeDownload
    from s3warm.tiers.turns import Turns

__all__ = ["HandsOutFiles"]


class HandsOutFiles:
    """See `FileTier`; mixed into the tier, whose guard everything passes."""

    path: str
    _shelf: Shelf | None
    _turns: Turns | None
    _read_only_until: float
    _why: str
    _admits: Callable[[ObjectKey], bool]
    _in_doubt: Any
    _opened: Any
    _complaints: Complaints
    _trouble: Any
    _use: Any
    _may_hold: Callable[[ObjectKey], bool]
    evict: Callable[[ObjectKey], object]

    def file(self, key: ObjectKey) -> FileEntry | None:
        """See `FileTier.file`."""
        self._check(key)
        if self._in_doubt(key):
            return None

        def opened(shelf: Shelf) -> FileEntry | None:
            # Imported in here, for there may be no descriptor left to read a module with.
            if key.tree:
                from s3warm.tiers.trees import open_tree

                return open_tree(shelf, key)
            from s3warm.tiers.files import open_file

            return open_file(shelf, key)

        file: FileEntry | None = self._use("file", None, opened)
        return file

    def turn(self, key: ObjectKey, found: Found, patience: float) -> AbstractContextManager[Turn]:
        """See `FileTier.turn`."""
        shelf, turns = self._shelf, self._turns
        if shelf is None or turns is None:
            return nullcontext(Turn())
        return turns.take(key, shelf.row_key(key).hex(), found, patience)

    def download(self, key: ObjectKey, *, at_any_cost: bool) -> Download:
        """See `FileTier.download`."""
        shelf = self._writable(key)
        with self._importing(key):
            from s3warm.tiers.download import Download
        return Download(shelf, key, at_any_cost=at_any_cost, trouble=self._trouble, over=self._complaints.over)

    def download_tree(self, key: ObjectKey) -> TreeDownload:
        """See `FileTier.download_tree`."""
        shelf = self._writable(key)
        with self._importing(key):
            from s3warm.tiers.trees import TreeDownload
        return TreeDownload(shelf, key, at_any_cost=True, trouble=self._trouble, over=self._complaints.over)

    @contextmanager
    def _importing(self, key: ObjectKey) -> Iterator[None]:
        """There may be no descriptor left to read a module with."""
        try:
            yield
        except OSError as error:
            self._trouble("download", error)
            raise NoRoom(f"{key} could not be written: {error}") from error

    def _check(self, key: ObjectKey) -> None:
        if not self._admits(key):
            if self._may_hold(key):  # from before it was forbidden
                self.evict(key)
            encrypted = key.request is not None and key.request.encrypted
            why = (
                "it is encrypted with a key of yours (SSE-C)"
                if encrypted
                else f"a rule of the settings says disk=False{' of it, or of a part of it' if key.tree else ''}"
            )
            raise NoRoom(f"{why}, so that its body may not lie on disk")

    def _writable(self, key: ObjectKey) -> Shelf:
        self._check(key)
        if not self._in_doubt(key) and time.monotonic() >= self._read_only_until:
            # A directory that was removed under us is made anew before anything is downloaded.
            self._use("check", None, lambda shelf: shelf.store.check())
            shelf = self._shelf or self._opened()
            if shelf is not None:
                return shelf
        raise NoRoom(f"the cache directory {self.path} cannot be used now{self._why}")
