"""Many objects at a time: `preload`, `get_many`, `glob`."""

from __future__ import annotations

from s3warm import pool
from s3warm.cache import ReadThrough
from s3warm.errors import ObjectTooLargeError, S3WarmError
from s3warm.rules import freshness
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta
    from typing import TypeVar

    from s3warm.entries import Entry, FileEntry
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Page
    from s3warm.report import PreloadReport
    from s3warm.tiers.base import Held

    S = TypeVar("S", bound=str | tuple[str, str])

__all__ = ["Bulk"]

AT_ONCE = 8  # objects of `get_many`
LISTED = 10_000  # keys that one pattern may look at: ten requests


class Bulk(ReadThrough):
    """The part of the cache that works on many objects at a time."""

    def preload(
        self,
        *sources: str | tuple[str, str] | Callable[[], object],
        timeout: float | timedelta | None = None,
        concurrency: int | None = None,
        strict: bool = False,
    ) -> PreloadReport:
        """Bring what the first invocation needs, in init: call it outside of the handler. It never makes init fail.

        What fails, or is not done in time, is in the report and in one WARNING, and is loaded when it is asked for. A URI or pair goes to
        memory and /tmp as by `entry`; what is too large for memory goes to /tmp. When the time is over transfers end and keep their
        finished parts, and nothing more is begun; a callable that is under way is waited for.

        Args:
            *sources: `"s3://bucket/key"`, `(bucket, key)`, or callables without arguments, such as `lambda: s3warm.path(...)`. Begun in
                this order.
            timeout: seconds (or a `timedelta`) from this call. Without it, within a `deadline`: until that; else in Lambda: until the
                process is 8 s old, as init has 10 s (120 s unless `AWS_LAMBDA_INITIALIZATION_TYPE` is `on-demand`); else any time.
            concurrency: sources that are under way at a time; 4 without it.
            strict: raise if anything is not there.

        Returns:
            What became of each source; see `PreloadReport`.

        Raises:
            PreloadError: with `strict`, if a source failed or is unfinished.
            TypeError: a source is none.
            ValueError: a source cannot name an object, or a number is out of range.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}", "s3://models/net.onnx": b"weights"}):
            ...     report = s3warm.preload("s3://cfg/flags.json", lambda: s3warm.path("models", "net.onnx"))
            ...     [(each.outcome, each.tier, each.bytes) for each in report.sources]
            [('fetched', 'memory', 2), ('called', '', 7)]
        """
        from s3warm.preloading import preload

        return preload(self._bring, self._tier_of, sources, timeout=timeout, concurrency=concurrency, strict=strict)

    def get_many(
        self, sources: Iterable[S], *, ttl: float | timedelta | None = None, concurrency: int | None = None
    ) -> dict[S, bytes]:
        """The bodies of many objects, those that are missing several at a time, within the `deadline` in force.

        Args:
            sources: `"s3://bucket/key"` or tuples `(bucket, key)`.
            ttl: as `get` has it.
            concurrency: objects that are fetched at a time; 8 without it.

        Returns:
            The bodies by source as it was given, in the given order, duplicates once.

        Raises:
            S3WarmError: what `get` raises; the first one in the order of the sources. What was under way by then is in the cache.
            TypeError: a source is none, or `sources` is a single one.
            ValueError: a source cannot name an object.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/a.json": b"1", "s3://cfg/b.json": b"2"}):
            ...     s3warm.get_many(["s3://cfg/b.json", "s3://cfg/a.json"])
            {'s3://cfg/b.json': b'2', 's3://cfg/a.json': b'1'}
        """
        from s3warm.sources import several

        objects = several(sources)
        at_once = pool.at_most(concurrency, AT_ONCE)
        self._look(float(self._clock()))
        bound = None if ttl is None else seconds(ttl, "ttl of get_many")
        held = {where: self._fresh_in_memory(where, bound) for where in objects.values()}
        bodies = {where: entry.body for where, entry in held.items() if entry is not None}
        missing = [where for where, entry in held.items() if entry is None]

        def fetch(number: int) -> None:
            where = missing[number]
            bodies[where] = self.get(where.bucket, where.key, ttl=ttl)

        pool.run(fetch, len(missing), at_once)
        return {source: bodies[where] for source, where in objects.items()}  # type: ignore[misc]

    def glob(self, pattern: str, *, limit: int = 1000) -> list[str]:
        """The URIs of the objects that match a pattern, in the order of their keys; one listing each time, which needs `s3:ListBucket`.

        `*` and `?` stand for anything but a `/`, `**` also for that (and `/**/` for a single `/`), `[...]` for one of the characters, as in
        `fnmatch`; `[*]` for a star itself. The part before the first wildcard is what is listed: the longer, the better. Folders of
        consoles, keys that end in a slash, are left out.

        Args:
            pattern: such as `"s3://models/bert/**/*.json"`; there is no wildcard in the bucket.
            limit: URIs at most.

        Raises:
            AccessDeniedError: the role may not list the bucket.
            ObjectNotFoundError: there is no such bucket.
            OriginUnavailableError: S3 cannot be reached.
            ValueError: no pattern; or more than `limit` objects match, or more than 10,000 (or `limit`) keys have to be looked at.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/eu/a.json": b"1", "s3://cfg/eu/b.yaml": b"2", "s3://cfg/us/a.json": b"3"}):
            ...     s3warm.glob("s3://cfg/*/*.json")
            ...     s3warm.preload(*s3warm.glob("s3://cfg/eu/*")).ok
            ['s3://cfg/eu/a.json', 's3://cfg/us/a.json']
            True
        """
        from s3warm.globbing import checked_limit, parse

        parsed, bound = parse(pattern), max(LISTED, checked_limit(limit))
        try:
            listed = self._origin.list(parsed.bucket, parsed.prefix, bound)
        except ObjectTooLargeError:
            self._counters.errors += 1
            raise ValueError(
                f"pattern {pattern!r}: more than {bound:,} keys begin with {parsed.prefix!r}, the part before the first wildcard; "
                "make that part longer, or raise limit above that"
            ) from None
        except S3WarmError:
            self._counters.errors += 1
            raise
        finally:
            self._announcer.announce()
        found = parsed.uris(each.key for each in listed)
        if len(found) > limit:
            raise ValueError(
                f"pattern {pattern!r} matches {len(found):,} objects, more than the limit of {limit:,}; narrow it, or raise limit"
            )
        return found

    def pages(self, bucket: str, prefix: str, delimiter: str = "") -> Iterator[Page]:
        """See `Origin.pages`: what `glob` is too small for, and `s3warm.fsspec` made of."""
        with self._calls.counted:
            yield from self._origin.pages(bucket, prefix, delimiter)

    def _bring(self, where: ObjectKey) -> tuple[str, int]:
        """Bring an object into the cache: what came of it, its size in bytes."""
        before, now = self._held(where), float(self._clock())
        entry: Entry | FileEntry
        try:
            entry = self.entry(where.bucket, where.key)
        except ObjectTooLargeError:
            if self._files is None:
                raise
            entry = self._file(where, None)
            entry.pin.release()
        return _outcome(entry, before, now), entry.size

    def _tier_of(self, where: ObjectKey) -> str:
        """The nearest tier that holds an object; "" if none does."""
        held = self._held(where)
        return held[0].tier if held else ""

    def _held(self, where: ObjectKey) -> list[Held]:
        return [found for found in (tier.describe(where) for tier in self._tiers) if found is not None]


def _outcome(entry: Entry | FileEntry, before: list[Held], now: float) -> str:
    """What came of an object of which that was held before. Counters would not tell, as other threads move them too."""
    if entry.stale:
        return "stale"
    same = [held for held in before if held.etag == entry.etag]
    times = entry.validated_at, entry.expires_at
    for held in same:
        # A clock that stands still, or counts whole seconds, may show the same times after a revalidation.
        if (held.validated_at, held.expires_at) == times and freshness.is_fresh(*times, now, None):
            return "fresh"
    return "revalidated" if same else "fetched"
