"""The read-through cache: the only place that knows the order of the tiers.

What is fresh in memory is answered by `front.py`; the rest comes here. A call goes memory, then (one thread for all that want the object) memory
once more, disk, S3. What each answer of S3 leads to is in `_ask` and below it.
"""

from __future__ import annotations

from random import random

from s3warm.entry import Entry
from s3warm.errors import (
    AccessDeniedError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    S3WarmError,
)
from s3warm.front import Front
from s3warm.keys import MISSING, locate
from s3warm.metrics import Event
from s3warm.origin.base import NotModified
from s3warm.rules import freshness
from s3warm.settings import DEFAULT_TTL
from s3warm.singleflight import SingleFlight
from s3warm.values import seconds
from s3warm.watch import OriginWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from s3warm.keys import Missing, ObjectKey
    from s3warm.metrics import Announcer, Counters, Troubles
    from s3warm.origin.base import Fetched, Origin
    from s3warm.settings import Settings
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import HotTier, Tier

__all__ = ["ReadThrough"]


class ReadThrough(Front):
    """Objects of S3 through tiers, nearest first, with revalidation, single flight and stale-if-error."""

    def __init__(
        self,
        settings: Settings,
        *,
        memory: HotTier,
        disk: Tier | None,
        origin: Origin,
        largest: Callable[[], int],
        clock: Callable[[], float],
        counters: Counters,
        troubles: Troubles,
        announcer: Announcer,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._disk = disk
        self._tiers: tuple[Tier, ...] = (memory,) if disk is None else (memory, disk)
        self._origin = origin
        self._largest = largest
        self._clock = clock
        self._counters = counters
        self._troubles = troubles
        self._announcer = announcer
        self._slots = memory.slots
        self._flights: SingleFlight[Entry] = SingleFlight()
        self._watch = OriginWatch(troubles)

    # -- what users call ---------------------------------------------------------------------------------------------------

    def invalidate(self, bucket: str, key: str | Missing = MISSING, *, version_id: str | None = None) -> None:
        """Ask S3 before the object is used again. Its body is kept, as S3 may confirm it with a 304.

        Holds for this process's memory and for the directory; other processes' memories are not reached.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"old"}) as s3:
            ...     body = s3warm.get("cfg", "flags.json")
            ...     s3["s3://cfg/flags.json"] = b"new"
            ...     s3warm.invalidate("cfg", "flags.json")
            ...     s3warm.get("cfg", "flags.json")
            b'new'
        """
        where = locate(bucket, key, version_id)
        for tier in self._tiers:
            tier.expire(where)
        self._flights.forget(where)
        # Once more: a flight that was forgotten just now may have stored, since, what it had found before.
        for tier in self._tiers:
            tier.expire(where)
        self._announcer.announce()

    def clear(self) -> None:
        """Drop everything from memory and from the directory.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     body = s3warm.get("cfg", "flags.json")
            ...     s3warm.clear()
            ...     s3warm.stats().memory_entries
            0
        """
        for tier in self._tiers:
            tier.clear()
        self._flights.forget_all()
        for tier in self._tiers:  # see `invalidate`
            tier.clear()
        self._announcer.announce()

    def renew(self) -> None:
        """This is a forked child: locks that another thread of the parent held are replaced, flights and connections are the parent's."""
        self._flights = SingleFlight()
        for tier in self._tiers:
            tier.renew()
        self._origin.renew()

    def close(self) -> None:
        """Let go of memory, database and connections. What is in a named directory stays; the cache then only reads through."""
        self._flights.forget_all()
        for tier in self._tiers:
            tier.close()
        self._origin.close()

    # -- the ways through the house ----------------------------------------------------------------------------------------

    def _read(self, bucket: str, key: str | Missing, version_id: str | None, ttl: float | timedelta | None) -> Entry:
        where = locate(bucket, key, version_id)
        bound = None if ttl is None else seconds(ttl, f"ttl of {where}")
        held = self._memory.get(where)
        if held is not None and self._is_fresh(held, bound):
            self._memory.hit(where)
            return held
        led = False

        def load(flight: Flight[Entry]) -> Entry:
            nonlocal led
            led = True
            return self._load(flight, where, bound)

        try:
            # ttl=0 asks for what S3 says from now on: a flight begun earlier may have been answered already, and must not be
            # kept in place of this one's answer.
            if bound == 0:
                self._flights.forget(where)
            entry = self._flights.run(where, load, terms=bound, join=bound != 0)
            if not led and bound is not None and not entry.stale and not self._is_fresh(entry, bound):
                entry = self._flights.run(where, load, terms=bound, join=False)
        except S3WarmError:
            self._counters.errors += 1
            raise
        finally:
            self._announcer.announce()
        if not led:
            self._counters.coalesced += 1
        return entry

    def _load(self, flight: Flight[Entry], where: ObjectKey, bound: float | None) -> Entry:
        # Memory is looked at once more: between this thread's first look and its flight, another flight may have ended.
        held = self._memory.get(where)
        if held is not None and self._is_fresh(held, bound):
            self._memory.hit(where)
            return held
        stored = self._newer_on_disk(where, held)
        if stored is not None:
            held = stored
            if self._is_fresh(held, bound):
                self._counters.disk_hits += 1
                self._store(flight, lambda: self._memory.put(stored))
                return held
        return self._ask(flight, where, held, bound)

    def _newer_on_disk(self, where: ObjectKey, held: Entry | None) -> Entry | None:
        """What the disk holds, if it was validated later than what memory holds: by another process, or before a crash."""
        if self._disk is None:
            return None
        if held is None:
            return self._disk.get(where)
        found = self._disk.describe(where)
        if found is None or found.validated_at <= held.validated_at:
            return None
        if found.etag == held.etag:
            return held._replace(validated_at=found.validated_at, expires_at=found.expires_at)
        return self._disk.get(where)

    def _ask(self, flight: Flight[Entry], where: ObjectKey, held: Entry | None, bound: float | None) -> Entry:
        """One request to S3, and what its answer leads to. `held` is a body that is not fresh enough, if there is one."""
        asked_at = float(self._clock())  # a clock of the user's may count whole seconds
        stand_in = held if held is not None and bound != 0 and self._may_stand_in(held, asked_at) else None
        if stand_in is not None and not self._watch.may_ask(where, asked_at):
            return self._serve_stale(stand_in, "S3 failed a moment ago")
        try:
            answer = self._origin.fetch(where, if_none_match=held.etag if held is not None else None, largest=self._largest())
        except (ObjectNotFoundError, AccessDeniedError) as error:
            self._watch.answered(where)
            # Flights that began earlier may still bring what is gone: they store nothing any more.
            self._flights.forget(where)
            for tier in self._tiers:
                tier.evict(where)
            if held is not None:
                self._counters.removed += 1
                self._tell("removed", where, detail=type(error).__name__)
            raise
        except ObjectTooLargeError:
            self._watch.answered(where)
            raise
        except (OriginUnavailableError, IntegrityError) as error:
            self._watch.failed(where, error, asked_at)
            if stand_in is None:
                raise
            return self._serve_stale(stand_in, str(error))
        self._watch.fetched(where)
        if isinstance(answer, NotModified):
            assert held is not None  # only asked conditionally for what is held, and held on to
            return self._confirmed(flight, held, asked_at)
        return self._arrived(flight, where, held, answer, asked_at)

    def _confirmed(self, flight: Flight[Entry], held: Entry, asked_at: float) -> Entry:
        """304: every tier that holds this body is told so."""
        control = freshness.parse_cache_control(held.info.cache_control)
        entry = held._replace(validated_at=asked_at, expires_at=self._expiry(held.object, asked_at, control), stale=False)
        from_the_future = held.validated_at > asked_at

        def refresh() -> None:
            for tier in self._tiers:
                if from_the_future:
                    tier.evict(entry.object)
                refreshed = tier.refresh(entry.object, entry.etag, entry.validated_at, entry.expires_at)
                if not refreshed and (from_the_future or tier is self._memory):
                    tier.put(entry)

        self._store(flight, refresh)
        self._counters.revalidated += 1
        self._tell("revalidated", entry.object, size=entry.size, since=asked_at)
        return entry

    def _arrived(self, flight: Flight[Entry], where: ObjectKey, held: Entry | None, fetched: Fetched, asked_at: float) -> Entry:
        """200: the new body, on disk and in memory before the flight ends."""
        control = freshness.parse_cache_control(fetched.info.cache_control)
        entry = Entry(where, fetched.info, asked_at, self._expiry(where, asked_at, control), fetched.body)
        # Without an ETag nothing could ever be revalidated.
        keep = bool(entry.etag) and not control.no_store
        # A clock that was set back: what was validated "later" would outrank this, and come back when the clock gets there.
        from_the_future = held is not None and held.validated_at > asked_at

        def store() -> None:
            for tier in reversed(self._tiers):
                if not keep or from_the_future:
                    tier.evict(where)
                if keep:
                    tier.put(entry)

        self._store(flight, store)
        if held is None:
            self._counters.misses += 1
        else:
            self._counters.replaced += 1
        self._tell("fetched" if held is None else "replaced", where, size=entry.size, since=asked_at)
        return entry

    def _serve_stale(self, held: Entry, why: str) -> Entry:
        self._counters.stale_served += 1
        self._tell("stale_served", held.object, size=held.size, detail=why)
        return held._replace(stale=True)

    # -- small decisions ---------------------------------------------------------------------------------------------------

    def _is_fresh(self, entry: Entry, bound: float | None) -> bool:
        return freshness.is_fresh(entry.validated_at, entry.expires_at, self._clock(), bound)

    def _may_stand_in(self, entry: Entry, now: float) -> bool:
        settings = self._settings
        control = freshness.parse_cache_control(entry.info.cache_control)
        return freshness.may_serve_stale(entry.expires_at, now, settings.stale_if_error, control, settings.cache_control)

    def _expiry(self, where: ObjectKey, validated_at: float, control: freshness.CacheControl) -> float:
        if where.pinned and not control.mocked:
            return float("inf")
        settings = self._settings
        ttl = DEFAULT_TTL if settings.ttl is None else settings.ttl
        return freshness.expires_at(
            validated_at, ttl, control, settings.cache_control, jitter=settings.ttl_jitter, draw=random()
        )

    def _store(self, flight: Flight[Entry], store: Callable[[], object]) -> None:
        """Change the tiers, unless the object was invalidated since the flight began."""
        with flight.storing:
            if not flight.forgotten:
                store()

    def _tell(self, name: str, where: ObjectKey, *, size: int = 0, since: float | None = None, detail: str = "") -> None:
        passed = 0.0 if since is None else self._clock() - since
        self._announcer.note(Event(name, where.bucket, where.key, size, passed, detail))
