"""The part of the fsspec file system that describes and lists."""

from __future__ import annotations

import errno
import os
import re

from fsspec.spec import AbstractFileSystem
from fsspec.utils import tokenize

from s3warm import folders
from s3warm.errors import AccessDeniedError
from s3warm.listings import nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any, BinaryIO

    from s3warm.factory import Cache
    from s3warm.folders import Info
    from s3warm.listings import Listings

__all__ = ["Browsing", "split"]


class Browsing(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """What is fresh in the cache is described as it is there, as that is what a read gives; the rest by listings."""

    _ttl: float | None
    _listings: Listings

    def _current(self) -> Cache:
        """The cache to read through."""
        raise NotImplementedError

    def _open(self, path: str) -> BinaryIO:
        raise NotImplementedError

    # -- one path ----------------------------------------------------------------------------------------------------------

    def info(self, path: str, *, refresh: bool = False, **_: object) -> Info:
        """The entry of a file or folder: `name`, `size`, `type`, and of a file `ETag` and `LastModified`.

        Raises:
            ObjectNotFoundError: there is neither.
            AccessDeniedError: the role may neither list the bucket nor read the object.
            OriginUnavailableError: S3 cannot be reached.
        """
        path = self._strip_protocol(path)
        bucket, key = split(path)
        if not bucket:
            return folders.folder(path)
        cache = self._current()
        held = self._held(cache, path)
        if held is not None:
            return held
        found = None if refresh else self._listings.entry(path)
        if found is None:
            try:
                found = folders.look_up(cache.pages, bucket, key)
            except AccessDeniedError:
                if not key:
                    raise
                return self._read(cache, path)
            if found is None:
                raise nothing(path)
            self._listings.keep(found)
        return found

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is such a file or folder. An S3 that does not answer is an error, and not a missing file."""
        return self._type(path, **kwargs) != ""

    def isdir(self, path: str) -> bool:
        """Whether there is such a folder."""
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Whether there is such a file."""
        return self._type(path) == "file"

    def ukey(self, path: str) -> str:
        """What changes when the file does: its ETag."""
        etag: str = self.info(path).get("ETag") or super().ukey(path)
        return etag

    def checksum(self, path: str) -> int:
        """The same as a number."""
        return int(tokenize(self.ukey(path)), 16)

    def modified(self, path: str) -> datetime | None:
        """When the object was written, in UTC.

        Raises:
            IsADirectoryError: a folder has no such time.
        """
        found = self.info(path)
        if found["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "it is a folder, which S3 keeps no time of", path)
        modified: datetime | None = found.get("LastModified")
        return modified

    created = modified  # an object is written at once

    def _type(self, path: str, **kwargs: Any) -> str:
        try:
            return str(self.info(path, **kwargs)["type"])
        except FileNotFoundError:
            return ""

    def _held(self, cache: Cache, path: str) -> Info | None:
        """The entry of an object that is read without asking S3."""
        bucket, key = split(path)
        if not key:
            return None
        held = cache.explain(bucket, key)
        if held.size is None or held.age is None or held.expires_in is None or held.etag is None:
            return None
        # A bound takes the place of the stored end of freshness, unless that lies before its beginning: see `freshness.is_fresh`.
        fresh = held.fresh
        if self._ttl is not None and held.expires_in + held.age >= 0:
            fresh = 0 <= held.age < self._ttl
        return folders.file(path, held.size, held.etag, held.last_modified) if fresh else None

    def _read(self, cache: Cache, path: str) -> Info:
        """The entry of an object in a bucket that may not be listed: it is read, as it will be anyway."""
        with self._open(path) as file:
            size = file.seek(0, os.SEEK_END)
        return self._held(cache, path) or folders.file(path, size, "", None)

    # -- listings ----------------------------------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, *, refresh: bool = False, **_: object) -> list[Any]:
        """What lies in a folder, in the order of names; of a file, itself. One request for each 1,000 entries.

        Raises:
            ObjectNotFoundError: there is no such folder or file.
        """
        path = self._strip_protocol(path)
        bucket, key = split(path)
        if not bucket:
            raise NotImplementedError('s3warm lists no buckets: name one, as in "s3warm://bucket/"')
        cache = self._current()
        entries = None if refresh else self._listings.folder(path)
        if entries is None:
            entries = folders.in_folder(cache.pages, bucket, f"{key}/" if key else "")
            if entries is None and key:
                entries = [self.info(path, refresh=refresh)]
            else:
                entries = entries or []
                self._listings.keep_folders({path: entries})
        return list(entries) if detail else [entry["name"] for entry in entries]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        *,
        prefix: str = "",
        refresh: bool = False,
        **_: object,
    ) -> Any:
        """All files below a path, by one listing (a request for each 1,000 of them) rather than one for each folder; `prefix`: whose names begin so."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError(f"maxdepth must be at least 1, not {maxdepth}")
        path = self._strip_protocol(path)
        found = self._found(path, maxdepth, prefix, refresh=refresh)
        if not withdirs:
            found = [entry for entry in found if entry["type"] != "directory"]
        elif found and not prefix and found[0]["name"] != path:
            found.append(folders.folder(path))
        # A file wins over a folder of its name.
        entries = {entry["name"]: entry for entry in sorted(found, key=lambda entry: (entry["name"], entry["type"] == "file"))}
        return entries if detail else list(entries)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """As fsspec has it; only what begins with the part before the first wildcard is listed."""
        fixed = re.split(r"[*?[]", self._strip_protocol(path), maxsplit=1)[0]
        return super().glob(path, maxdepth=maxdepth, **{"prefix": fixed.rpartition("/")[2], **kwargs})

    def walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **kwargs: Any
    ) -> Iterator[Any]:
        """As fsspec has it; but what is omitted are folders that are not there, and never a bucket that cannot be listed."""
        handle = _raise_unless_missing if on_error == "omit" else on_error
        walked: Iterator[Any] = super().walk(path, maxdepth=maxdepth, topdown=topdown, on_error=handle, **kwargs)
        return walked

    def du(self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any) -> Any:
        """Bytes of all files below a path, or of each, by one listing."""
        found = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: entry["size"] for name, entry in found.items()}
        return sum(sizes.values()) if total else sizes

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings: all, or those that tell of a path and what is below it. Bodies are `Cache.invalidate`'s business."""
        super().invalidate_cache(path)
        self._listings.forget(None if path is None else self._strip_protocol(path))

    def _found(self, path: str, maxdepth: int | None, prefix: str, *, refresh: bool) -> list[Info]:
        """All entries below a path, down to a depth; that of a file, if it is one."""
        bucket, key = split(path)
        start = f"{key}/{prefix}" if key else prefix
        try:
            if not bucket or (maxdepth == 1 and not prefix):
                return list(self.ls(path, refresh=refresh))
            pages = self._current().pages
            if maxdepth == 1:
                return folders.in_folder(pages, bucket, start) or []
            listed = None if prefix or refresh else self._listings.tree(path)
            if listed is None:
                listed = folders.by_folder(path, folders.files_below(pages, bucket, start))
                if not prefix and key and not listed[path]:
                    return [self.info(path, refresh=refresh)]
                if not prefix:
                    self._listings.keep_folders(listed)
        except FileNotFoundError:
            return []
        entries = [entry for each in listed.values() for entry in each]
        depth = len(path) + 1
        return [entry for entry in entries if maxdepth is None or entry["name"].count("/", depth) < maxdepth]


def split(path: str) -> tuple[str, str]:
    """Bucket and key.

    Example:
        >>> split("models/bert/config.json"), split("models")
        (('models', 'bert/config.json'), ('models', ''))
    """
    bucket, _, key = path.partition("/")
    return bucket, key


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
