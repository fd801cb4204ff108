"""`s3warm://bucket/key` for whatever opens files by fsspec: pandas, pyarrow, polars, xarray, zarr, dask.

fsspec finds the file system by its entry point; nothing has to be imported. Reads go through the cache, listings to S3.

Example:
    >>> import fsspec
    >>> from s3warm.testing import fake_s3
    >>> with fake_s3({"s3://data/2026/day.csv": b"a,b"}) as s3:
    ...     for _ in range(2):
    ...         with fsspec.open("s3warm://data/2026/day.csv") as file:
    ...             body = file.read()
    ...     body, len(s3.requests), fsspec.filesystem("s3warm").ls("data/2026", detail=False)
    (b'a,b', 1, ['data/2026/day.csv'])
"""

from __future__ import annotations

import errno
import io
import os
from contextlib import suppress

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.dircache import DirCache
from fsspec.utils import isfilelike

from s3warm.browsing import Browsing, split
from s3warm.default import default_cache
from s3warm.errors import ObjectTooLargeError
from s3warm.factory import Cache
from s3warm.listings import Listings
from s3warm.origin.base import PART
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Any, NoReturn

__all__ = ["S3WarmFileSystem"]

LISTINGS_EXPIRY_TIME = 5.0  # seconds
SMALL = PART  # bytes: what is no larger comes in one piece, and is read from memory
_READ_AHEAD = 256 * 1024  # bytes
_READ_ONLY = "s3warm:// only reads; write s3:// with boto3 or s3fs"


class S3WarmFileSystem(Browsing):
    """Objects of S3 as files that are read through the cache. Paths are `"bucket/key"`, literally: nothing in them is decoded.

    `ls`, `find`, `glob`, `walk` and `info` need `s3:ListBucket`; without it `info` of a file reads the file. What is fresh in the cache is
    described as it is there, since that is what a read gives, and costs no request.

    Args:
        ttl: the age in seconds (or a `timedelta`) that reads accept, in place of the cache's own TTL.
        cache: the cache to read through; without it the default one. A file system with a cache of one's own cannot be pickled.
        use_listings_cache: whether listings are remembered.
        listings_expiry_time: for how many seconds (or None: until `invalidate_cache`). `refresh=True` lists anew.
        max_paths: how many listings; all without it.

    Raises:
        TypeError: an option is none of these, or is no `Cache`. Budgets, a directory and the like are the cache's own:
            `s3warm.configure`, `S3WARM_*` variables, or `cache=Cache(...)`.
        ValueError: the TTL is negative.
    """

    protocol = "s3warm"

    def __init__(
        self,
        *,
        ttl: float | timedelta | None = None,
        cache: Cache | None = None,
        use_listings_cache: bool = True,
        listings_expiry_time: float | None = LISTINGS_EXPIRY_TIME,
        max_paths: int | None = None,
        asynchronous: bool = False,
        loop: object = None,
    ) -> None:
        if cache is not None and not isinstance(cache, Cache):
            raise TypeError(f"cache must be an s3warm.Cache or None, not {type(cache).__name__}: {cache!r}")
        remembering = {
            "use_listings_cache": use_listings_cache,
            "listings_expiry_time": listings_expiry_time,
            "max_paths": max_paths,
        }
        super().__init__(**remembering)
        self._ttl = None if ttl is None else seconds(ttl, "ttl")
        self._given = cache
        self._listings = Listings(self.dircache, DirCache(**remembering))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._given is not None:
            raise TypeError(
                "a file system with a Cache of its own cannot be pickled; leave cache= out, and configure the default cache in each process"
            )
        reduced: tuple[Any, ...] = super().__reduce__()
        return reduced

    # -- reading -----------------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        """The bytes of a file, or of a slice of it: `start` and `end` are as in `body[start:end]`.

        Raises what `Cache.get` raises, and ObjectTooLargeError only where all of it is asked for.
        """
        bucket, key = self._object(path)
        if start is None and end is None:
            return self._current().get(bucket, key, ttl=self._ttl)
        with self._open(path) as file:
            first, last, _step = slice(start, end).indices(file.size)
            file.seek(first)
            return file.read(max(0, last - first))

    def get_file(
        self, rpath: str, lpath: Any = None, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: object
    ) -> None:
        """Copy a file to a path or an open file of this machine; of a folder the folder is made."""
        path = self._strip_protocol(rpath)
        into = lpath if outfile is None and isfilelike(lpath) else outfile
        try:
            known = self._listings.entry(path)
            source = None if known is not None and known["type"] == "directory" else self._open(path)
        except FileNotFoundError:
            if not self.isdir(path):
                raise
            source = None
        if source is None:
            if into is None:
                os.makedirs(lpath, exist_ok=True)
            return
        with source:
            if into is not None:
                _copy(source, into, callback)
                return
            os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
            with open(lpath, "wb") as target:
                _copy(source, target, callback)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: object = None,
        autocommit: bool = True,
        cache_options: object = None,
        **_: object,
    ) -> _File:
        """A seekable file: of the bytes in memory, of the file in /tmp, or, where neither has room for it, of ranges."""
        if mode != "rb":
            raise OSError(errno.EROFS, _READ_ONLY, path)
        bucket, key = self._object(path)
        cache = self._current()
        if self._is_for_memory(cache, bucket, key):
            with suppress(ObjectTooLargeError):
                return _File(io.BytesIO(cache.get(bucket, key, ttl=self._ttl)))
        opened = cache.open(bucket, key, ttl=self._ttl)
        assert isinstance(opened, io.BufferedReader)
        return _File(opened.detach(), _READ_AHEAD)

    def _is_for_memory(self, cache: Cache, bucket: str, key: str) -> bool:
        """Whether an object is better read by `get` than by `open`, as far as can be known without a request."""
        held = cache.explain(bucket, key)
        if "memory" in held.tiers:
            return True
        size = held.size
        if size is None:
            with suppress(FileNotFoundError):
                size = (self._listings.entry(f"{bucket}/{key}") or {}).get("size")
        budgets = cache.budgets()
        if budgets.disk is None:  # open() would keep nothing
            return size is None or size <= budgets.largest_in_memory
        return size is not None and size <= SMALL

    # -- the cache and its paths -------------------------------------------------------------------------------------------

    def _current(self) -> Cache:
        """The cache to read through."""
        cache = default_cache() if self._given is None else self._given
        self._listings.come_from(cache)
        return cache

    def _object(self, path: str) -> tuple[str, str]:
        """Bucket and key of a file's path.

        Raises:
            IsADirectoryError: it is a bucket.
        """
        path = self._strip_protocol(path)
        bucket, key = split(path)
        if bucket and not key:
            raise IsADirectoryError(errno.EISDIR, 'it is a bucket; a file is named "s3warm://bucket/key"', path)
        return bucket, key

    # -- what this is not for ----------------------------------------------------------------------------------------------

    def _refuse(self, path: object = None, *_: object, **__: object) -> NoReturn:
        """Raises OSError (EROFS): the file system only reads."""
        raise OSError(errno.EROFS, _READ_ONLY, path if isinstance(path, str) else None)

    mkdir = makedirs = rmdir = touch = pipe = pipe_file = put = put_file = _refuse
    copy = cp_file = mv = rm = rm_file = _rm = start_transaction = _refuse


class _File(io.BufferedReader):
    """A file that closes itself when it is let go of: fsspec's decompressors do not close what they read from."""

    def __del__(self) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Length of the file in bytes, which fsspec and its users ask for."""
        position = self.tell()
        try:
            return self.seek(0, os.SEEK_END)
        finally:
            self.seek(position)


def _copy(source: _File, target: Any, callback: Any) -> None:
    callback.set_size(source.size)
    while piece := source.read(SMALL):
        target.write(piece)
        callback.relative_update(len(piece))
