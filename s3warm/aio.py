"""The functions of `s3warm` for asyncio: `await s3warm.aio.get("my-config", "flags.json")`.

What is fresh in memory is given at once, in the loop; everything else is done in threads of s3warm's own, 32 at most, which end with their work.
Tasks of a loop that ask for one object at the same time share one of them. A task that is cancelled, or whose `asyncio.timeout` comes, ends at
once: its thread ends what it has begun, for others and for the cache, and a file that nobody got is given back. `with s3warm.deadline(context)`
holds across `await` and in tasks that are made within it. Several loops, in several threads, may use one cache.

- bytes and values: `get`, `entry`, `get_many`, `load`;
- files: `path`, `tree`, `release`, `as_file` for one `async with` block, and `open`;
- init, or what a web framework calls its lifespan: `preload` and `glob`;
- freshness: `invalidate` and `clear`, `put`;
- a cache of your own: `AsyncCache`.

What asks nobody is not here, as it need not wait: `s3warm.stats()`, `explain`, `budgets`, `configure`.
"""

from __future__ import annotations

import inspect
from functools import partial

from s3warm import awaiting, crew, pool
from s3warm.asyncfiles import AsyncFiles
from s3warm.bulk import AT_ONCE
from s3warm.default import default_cache
from s3warm.factory import Cache
from s3warm.front import Front
from s3warm.keys import MISSING
from s3warm.near import Elsewhere, Near, Wanted
from s3warm.sources import several
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from typing import Any, Literal, TypeVar, overload

    from s3warm.entries import Entry
    from s3warm.front import Request
    from s3warm.keys import Missing, ObjectKey
    from s3warm.report import PreloadReport

    S = TypeVar("S", bound=str | tuple[str, str])
    T = TypeVar("T")

__all__ = [
    "AsyncCache",
    "as_file",
    "clear",
    "entry",
    "get",
    "get_many",
    "glob",
    "invalidate",
    "load",
    "open",
    "path",
    "preload",
    "put",
    "release",
    "tree",
]


class AsyncCache(AsyncFiles):
    """A `Cache` for asyncio: the same functions, to be awaited. It holds nothing of its own; close the cache, if it is yours.

    Args:
        cache: your own, or None for the default one, whichever that is: the functions of this module are those of such an `AsyncCache`.

    Raises:
        TypeError: `cache` is something else.

    Example:
        >>> import asyncio
        >>> from s3warm.testing import FakeCache, FakeS3
        >>> async def main(cache):
        ...     return await AsyncCache(cache).get("cfg", "flags.json")
        >>> with FakeCache(FakeS3({"s3://cfg/flags.json": b"{}"})) as cache:
        ...     asyncio.run(main(cache))
        b'{}'
    """

    def __init__(self, cache: Cache | None = None) -> None:
        if cache is not None and not isinstance(cache, Cache):
            raise TypeError(
                f"cache must be an s3warm.Cache, or None for the default one, not {type(cache).__name__}: {cache!r}"
            )
        self._own = cache
        self._latest: Near | None = None

    @property
    def cache(self) -> Cache:
        """The cache that is asked.

        Example:
            >>> import s3warm
            >>> AsyncCache().cache is s3warm.default_cache()
            True
        """
        return self._own or default_cache()

    if TYPE_CHECKING:

        @overload
        async def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: None = None,
        ) -> bytes: ...
        @overload
        async def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: Literal["text"],
            size_of: Callable[[str], int] | None = None,
        ) -> str: ...
        @overload
        async def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: Literal["json"],
            size_of: Callable[[Any], int] | None = None,
        ) -> Any: ...
        @overload
        async def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: Callable[[bytes], T],
            size_of: Callable[[T], int] | None = None,
        ) -> T: ...

    async def get(self, bucket: str, key: str | Missing = MISSING, **options: Any) -> Any:
        """The body of an object, or what a `transform` makes of it. Without a thread, and without giving way to another task, if it is fresh in memory.

        A transform runs in a thread. Takes and raises what `get` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> async def main():
            ...     async with asyncio.TaskGroup() as group:
            ...         flags = group.create_task(s3warm.aio.get("cfg", "flags.json", transform="json"))
            ...         motd = group.create_task(s3warm.aio.get("s3://cfg/motd.txt", ttl=60))
            ...     return flags.result(), motd.result()
            >>> with fake_s3({"s3://cfg/flags.json": b'{"dark": true}', "s3://cfg/motd.txt": b"hello"}):
            ...     asyncio.run(main())
            ({'dark': True}, b'hello')
        """
        near = self._near()
        try:
            return near.get(bucket, key, **options)
        except Elsewhere as elsewhere:
            wanted = elsewhere.wanted
        found = await awaiting.brought(near.cache, wanted)
        return found if options.get("transform") is not None else found.body

    get.__wrapped__ = Front._get  # type: ignore[attr-defined]  # for `inspect.signature`

    async def entry(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> Entry:
        """Like `get`, with the object's metadata and whether the answer is stale. Takes and raises what `get` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     asyncio.run(s3warm.aio.entry("cfg", "flags.json")).size
            2
        """
        near = self._near()
        try:
            return near.entry(bucket, key, version_id=version_id, ttl=ttl, request=request)
        except Elsewhere as elsewhere:
            wanted = elsewhere.wanted
        found: Entry = await awaiting.brought(near.cache, wanted)
        return found

    async def load(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        loader: Callable[[Path], T],
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
        size_of: Callable[[T], int] | None = None,
    ) -> T:
        """What `loader` makes of an object's file, once; it runs in a thread. Takes and raises what `load` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/words.txt": b"to be or not to be"}):
            ...     words = asyncio.run(s3warm.aio.load("models", "words.txt", loader=lambda path: set(path.read_text().split())))
            >>> sorted(words)
            ['be', 'not', 'or', 'to']
        """
        near = self._near()
        try:
            return near.load(bucket, key, loader=loader, version_id=version_id, ttl=ttl, request=request, size_of=size_of)
        except Elsewhere as elsewhere:
            wanted = elsewhere.wanted
        found: T = await awaiting.brought(near.cache, wanted)
        return found

    async def get_many(
        self, sources: Iterable[S], *, ttl: float | timedelta | None = None, concurrency: int | None = None
    ) -> dict[S, bytes]:
        """The bodies of many objects, those that are missing several at a time. Takes and raises what `get_many` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/a.json": b"1", "s3://cfg/b.json": b"2"}):
            ...     asyncio.run(s3warm.aio.get_many(["s3://cfg/b.json", "s3://cfg/a.json"]))
            {'s3://cfg/b.json': b'2', 's3://cfg/a.json': b'1'}
        """
        objects = several(sources)
        at_once = pool.at_most(concurrency, AT_ONCE)
        bound = None if ttl is None else seconds(ttl, "ttl of get_many")
        near = self._near()
        bodies: dict[ObjectKey, bytes] = {}
        missing: list[Wanted] = []
        for where in dict.fromkeys(objects.values()):
            try:
                bodies[where] = near.entry(where.bucket, where.key, ttl=bound).body
            except Elsewhere as elsewhere:
                missing.append(elsewhere.wanted)

        async def fetch(wanted: Wanted) -> None:
            bodies[wanted.where] = (await awaiting.brought(near.cache, wanted)).body

        if missing:
            await awaiting.several(fetch, missing, at_once)
        return {source: bodies[where] for source, where in objects.items()}  # type: ignore[misc]

    async def glob(self, pattern: str, *, limit: int = 1000) -> list[str]:
        """The URIs of the objects that match a pattern. Takes and raises what `glob` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/eu/a.json": b"1", "s3://cfg/us/a.yaml": b"2"}):
            ...     asyncio.run(s3warm.aio.glob("s3://cfg/*/*.json"))
            ['s3://cfg/eu/a.json']
        """
        return await awaiting.done(partial(self.cache.glob, pattern, limit=limit), crew.asking)

    async def preload(
        self,
        *sources: str | tuple[str, str] | Callable[[], object],
        timeout: float | timedelta | None = None,  # noqa: ASYNC109  # it is the one of `preload`, which keeps finished parts
        concurrency: int | None = None,
        strict: bool = False,
    ) -> PreloadReport:
        """Bring what will be needed, where a web framework starts up. Takes and raises what `preload` does.

        Callables among the `sources` are called in threads, so they are those of `s3warm`, as in `lambda: s3warm.path(...)`, not of
        `s3warm.aio`. It ends after its `timeout`; if it is cancelled, its threads go on until then.

        Raises:
            TypeError: also for a coroutine function.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     asyncio.run(s3warm.aio.preload("s3://cfg/flags.json", timeout=8)).ok
            True
        """
        for source in sources:
            if inspect.iscoroutinefunction(source):
                raise TypeError(
                    f"preload calls its sources in threads: give a plain function, not the coroutine function {source!r}"
                )
        work = partial(self.cache.preload, *sources, timeout=timeout, concurrency=concurrency, strict=strict)
        return await awaiting.done(work, crew.asking)

    async def put(
        self,
        bucket: str,
        key: str | bytes | bytearray | memoryview | Missing = MISSING,
        body: bytes | bytearray | memoryview | Missing = MISSING,
        *,
        content_type: str | None = None,
        content_encoding: str | None = None,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request: Request | None = None,
    ) -> Entry:
        """Write an object to S3, and keep it as if it had just been fetched. A task that is cancelled meanwhile does not undo it.

        Takes and raises what `put` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3():
            ...     asyncio.run(s3warm.aio.put("cfg", "state.json", b"{}")).size
            2
        """
        work = partial(
            self.cache.put,
            bucket,
            key,
            body,
            content_type=content_type,
            content_encoding=content_encoding,
            cache_control=cache_control,
            metadata=metadata,
            request=request,
        )
        return await awaiting.done(work, crew.asking)

    async def invalidate(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        request: Request | None = None,
        everywhere: bool = False,
    ) -> None:
        """Ask S3 before the object (or the tree) is used again. Takes and raises what `invalidate` does.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> async def main(s3):
            ...     await s3warm.aio.get("cfg", "flags.json")
            ...     s3["s3://cfg/flags.json"] = b"new"
            ...     await s3warm.aio.invalidate("cfg", "flags.json")
            ...     return await s3warm.aio.get("cfg", "flags.json")
            >>> with fake_s3({"s3://cfg/flags.json": b"old"}) as s3:
            ...     asyncio.run(main(s3))
            b'new'
        """
        await awaiting.done(
            partial(self.cache.invalidate, bucket, key, version_id=version_id, request=request, everywhere=everywhere),
            crew.quick,
        )

    async def clear(self) -> None:
        """Drop everything from memory and, of this namespace, from the directory.

        Example:
            >>> import asyncio
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> async def main():
            ...     await s3warm.aio.get("cfg", "flags.json")
            ...     await s3warm.aio.clear()
            ...     return s3warm.explain("cfg", "flags.json").tiers
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     asyncio.run(main())
            ()
        """
        await awaiting.done(self.cache.clear, crew.quick)

    def _near(self) -> Near:
        cache, near = self.cache, self._latest
        if near is None or near.cache is not cache:
            near = self._latest = Near(cache)
        return near


_default = AsyncCache()

as_file = _default.as_file
clear = _default.clear
entry = _default.entry
get = _default.get
get_many = _default.get_many
glob = _default.glob
invalidate = _default.invalidate
load = _default.load
open = _default.open  # noqa: A001  # it is what it says: s3warm.aio.open
path = _default.path
preload = _default.preload
put = _default.put
release = _default.release
tree = _default.tree
