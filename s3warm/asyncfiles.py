"""Files of objects for asyncio: `path`, `tree`, `release`, `as_file`, `open`."""

from __future__ import annotations

import contextlib
from functools import partial

from s3warm import awaiting
from s3warm.front import asked
from s3warm.keys import MISSING, locate_tree
from s3warm.near import Wanted
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta
    from pathlib import Path
    from typing import BinaryIO

    from s3warm.factory import Cache
    from s3warm.front import Request
    from s3warm.keys import Missing, ObjectKey

__all__ = ["AsyncFiles"]


class AsyncFiles:
    """The part of an `AsyncCache` that hands out files."""

    @property
    def cache(self) -> Cache:
        """The cache that is asked."""
        raise NotImplementedError

    async def path(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> Path:
        """An object as a file in /tmp, in use until `release`. Takes and raises what `path` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/net.onnx": b"weights"}):
            ...     asyncio.run(s3warm.aio.path("models", "net.onnx")).read_bytes()
            b'weights'
        """
        return await awaiting.pinned(self.cache, *asked(bucket, key, version_id, ttl, request))

    async def tree(self, bucket: str, prefix: str | Missing = MISSING, *, ttl: float | timedelta | None = None) -> Path:
        """All objects below a prefix as one directory, in use until `release`. Takes and raises what `tree` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/bert/config.json": b"{}"}):
            ...     folder = asyncio.run(s3warm.aio.tree("s3://models/bert/"))
            ...     (folder / "config.json").read_bytes()
            b'{}'
        """
        where = locate_tree(bucket, prefix)
        return await awaiting.pinned(self.cache, where, None if ttl is None else seconds(ttl, f"ttl of {where}"))

    async def release(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        request: Request | None = None,
    ) -> None:
        """The file that `path` gave, or the directory that `tree` gave, is not used any more. Takes and raises what `release` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> async def main():
            ...     path = await s3warm.aio.path("models", "net.onnx")
            ...     await s3warm.aio.release("models", "net.onnx")
            ...     return path.exists()
            >>> with fake_s3({"s3://models/net.onnx": b"weights"}):
            ...     asyncio.run(main())
            True
        """
        self.cache.release(
            bucket, key, version_id=version_id, request=request
        )  # it is done in microseconds, and must not be cancelled

    def as_file(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> AbstractAsyncContextManager[Path]:
        """Like `path`, for the length of an `async with` block. Takes and raises what `path` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> async def main():
            ...     async with s3warm.aio.as_file("reports", "day.csv") as path:
            ...         return path.read_text()
            >>> with fake_s3({"s3://reports/day.csv": b"a,b"}):
            ...     asyncio.run(main())
            'a,b'
        """
        return self._as_file(*asked(bucket, key, version_id, ttl, request))

    async def open(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> BinaryIO:
        """An object as a binary file, seekable and read-only: a plain one, whose `read` is not to be awaited.

        Where /tmp has no room for the object, `read` asks S3, and belongs into a thread: `await asyncio.to_thread(file.read)`. Takes and
        raises what `open` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> async def main():
            ...     with await s3warm.aio.open("reports", "day.csv") as file:
            ...         return await asyncio.to_thread(file.read)
            >>> with fake_s3({"s3://reports/day.csv": b"a,b"}):
            ...     asyncio.run(main())
            b'a,b'
        """
        cache = self.cache
        try:
            where, bound = asked(bucket, key, version_id, ttl, request)
        except ValueError:
            return cache.open(
                bucket, key, version_id=version_id, ttl=ttl, request=request
            )  # it refuses as well, and knows of modes
        bring = partial(cache.open, bucket, key, version_id=version_id, ttl=ttl, request=request)
        wanted = Wanted(where, bound, ("open",), bring, bring)
        file: BinaryIO = await awaiting.of_ones_own(cache, wanted, lambda late: late.close())
        return file

    @contextlib.asynccontextmanager
    async def _as_file(self, where: ObjectKey, bound: float | None) -> AsyncIterator[Path]:
        from pathlib import Path

        cache = self.cache
        entry = await awaiting.of_ones_own(cache, awaiting.wanted_file(cache, where, bound, "file"), awaiting.released)
        try:
            yield Path(entry.path)
        finally:
            entry.pin.release()
