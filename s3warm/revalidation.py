"""One request to S3, and what its answer leads to: for bytes, files and streams alike."""

from __future__ import annotations

import contextlib
import time
from contextlib import closing

from s3warm import deadlines
from s3warm.chance import draw
from s3warm.errors import (
    AccessDeniedError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    late,
)
from s3warm.metrics import Event
from s3warm.origin.base import NoRoom, NotModified
from s3warm.record import NamedTuple
from s3warm.rules import freshness
from s3warm.settings import DEFAULT_TTL
from s3warm.watch import OriginWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol, TypeVar

    from s3warm.entries import Entry, FileEntry, Metadata
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters, Troubles
    from s3warm.settings import Settings
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import FileTier, Term, Tier

    Held = Entry | FileEntry  # a body that may be confirmed, or stand in
    H = TypeVar("H", Entry, FileEntry)

    class Want(Protocol[H]):
        """What a caller wants of an object: its bytes, a file, a stream."""

        def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Any:
            """What S3 has now: `NotModified`, or what `receive` takes and `close` ends."""
            ...

        def receive(self, incoming: Any, arrival: Arrival, /) -> H:
            """Take the body that is on its way, and keep it if it may be kept."""
            ...

        def confirmed(self, entry: H) -> None:
            """The body is the current one; every tier that holds it knows."""
            ...


__all__ = ["Arrival", "Revalidation", "Times"]

PATIENCE = 30.0  # seconds to wait for another process that is bringing the object: 2.5 GB over one connection
PATIENCE_WITH_COPY = 2.0  # seconds, where a copy could stand in


class Times(NamedTuple):
    """For how long a body that has just come is fresh, and whether it may be kept at all."""

    validated_at: float
    expires_at: float
    keep: bool


class Arrival:
    """200: a body is on its way, asked for at `asked_at` by the leader of `flight`."""

    def __init__(self, parent: Revalidation, flight: Flight[Any], where: ObjectKey, held: Held | None, asked_at: float) -> None:
        self._parent = parent
        self.flight = flight
        self.where = where
        self.asked_at = asked_at
        self._began = time.monotonic()
        self.held = held
        # A clock that was set back: what was validated "later" would outrank this, and come back when the clock gets there.
        self.supersedes = held is not None and held.validated_at > asked_at

    def give_up_held(self) -> bool:
        """Let go of the file that is held, since its room is needed, so that it cannot stand in any more; False if there is none."""
        held, self.held = self.held, None
        pin = getattr(held, "pin", None)
        if pin is not None:
            pin.release()
        return pin is not None

    def times(self, info: Metadata) -> Times:
        """See `Times`."""
        control = freshness.parse_cache_control(info.cache_control)
        # Without an ETag nothing could ever be revalidated.
        keep = bool(info.etag) and not control.no_store
        return Times(self.asked_at, self._parent.expiry(self.where, self.asked_at, control), keep)

    def complete(self, size: int) -> None:
        """The whole body is here: S3 takes that long for one of `size` bytes."""
        self._parent.learn(size, time.monotonic() - self._began)

    def progress(self, so_far: int, size: int) -> None:
        """Tell whoever listens how far the transfer is."""
        self._parent.announcer.tell(Event("progress", self.where.bucket, self.where.key, so_far, total=size))


class Revalidation:
    """Asks S3 for what is not fresh, and draws the consequences in every tier."""

    def __init__(
        self,
        settings: Settings,
        *,
        tiers: tuple[Tier, ...],
        clock: Callable[[], float],
        counters: Counters,
        troubles: Troubles,
        announcer: Announcer,
        learn: Callable[[int, float], None],
        forget: Callable[[ObjectKey], object],
    ) -> None:
        self._settings = settings
        self._tiers = tiers
        self._clock = clock
        self._counters = counters
        self.learn = learn
        self._forget = forget
        self.announcer = announcer
        self._watch = OriginWatch(troubles)

    def is_fresh(self, held: Held, bound: float | None) -> bool:
        """Whether a body may be used without asking, by a call that accepts an age of `bound` seconds."""
        return freshness.is_fresh(held.validated_at, held.expires_at, self._clock(), bound)

    def is_found(self, tier: Tier, where: ObjectKey, bound: float | None) -> bool:
        """Whether a tier holds a body that may be used without asking."""
        held = tier.describe(where)
        return held is not None and freshness.is_fresh(held.validated_at, held.expires_at, self._clock(), bound)

    @contextlib.contextmanager
    def turn(self, tier: FileTier | None, where: ObjectKey, held: Held | None, bound: float | None) -> Iterator[bool]:
        """Let other processes on the directory bring the object first, if they are at it; whether it is there now."""
        # With ttl=0 it is for this call to ask, as it is for each where nothing stays fresh; in an outage nobody waits for others to find
        # that out as well.
        never = held is not None and held.expires_at < held.validated_at
        asks = bound == 0 or (bound is None and (never or self._settings.ttl == 0))
        if tier is None or asks or not self._watch.may_ask(where, float(self._clock())):
            yield False
            return
        left = deadlines.left()
        patience = PATIENCE if held is None else PATIENCE_WITH_COPY

        def found(times: Term | None) -> bool:
            if times is None:
                return self.is_found(tier, where, bound)
            return freshness.is_fresh(*times, self._clock(), bound)

        with tier.turn(where, found, patience if left is None else min(patience, left)) as there:
            yield there

    def ask(
        self,
        flight: Flight[Any],
        where: ObjectKey,
        held: H | None,
        bound: float | None,
        want: Want[H],
    ) -> H:
        """The object as S3 has it now, or what may stand in for it.

        Args:
            flight: whose leader this is.
            where: the object.
            held: a body that is not fresh enough, if there is one.
            bound: the age in seconds that the call accepts.
            want: takes what S3 sends.
        """
        asked_at = float(self._clock())  # a clock of the user's may count whole seconds
        stand_in = held if held is not None and bound != 0 and self._may_stand_in(held, asked_at) else None
        if stand_in is not None and not self._watch.may_ask(where, asked_at):
            return self._serve_stale(stand_in, "S3 failed a moment ago")
        arrival = Arrival(self, flight, where, held, asked_at)
        try:
            answer = want.fetch(where, if_none_match=held.etag if held is not None else None)
            if isinstance(answer, NotModified):
                assert held is not None  # only asked conditionally for what is held, and held on to
                entry = self._confirmed(flight, held, asked_at, want)
            else:
                with closing(answer):
                    entry = want.receive(answer, arrival)
                self._arrived(where, held, entry, asked_at)
        except (ObjectNotFoundError, AccessDeniedError) as error:
            self._watch.answered(where)
            self.evict(where, error if held is not None else None)
            raise
        except (ObjectTooLargeError, NoRoom):
            self._watch.answered(where)
            raise
        except (OriginUnavailableError, IntegrityError) as error:
            # From now on, not from when it was asked: a time-out lasts longer than the first pauses.
            self._watch.failed(where, error, float(self._clock()))
            if stand_in is None or arrival.held is None:
                raise
            flight.alone = getattr(error, "late", False)
            return self._serve_stale(stand_in, str(error))
        self._watch.fetched(where)
        return entry

    def too_late(self, where: ObjectKey, held: H | None, bound: float | None) -> H:
        """What the caller gets whose deadline has come while another was asking for it.

        Raises:
            OriginUnavailableError: nothing may stand in.
        """
        if held is not None and bound != 0 and self._may_stand_in(held, float(self._clock())):
            return self._serve_stale(held, "the deadline came before S3's answer")
        message = f"{where} could not be fetched: another thread or process was at it until the deadline"
        raise late(where, message)

    def evict(self, where: ObjectKey, why: Exception | None) -> None:
        """S3 says that there is no such object, or that it is not for us."""
        # Flights that began earlier may still bring what is gone: they store nothing any more.
        self._forget(where)
        for tier in self._tiers:
            tier.evict(where)
        if why is not None:
            self._counters.removed += 1
            self._tell("removed", where, detail=type(why).__name__)

    def expiry(self, where: ObjectKey, validated_at: float, control: freshness.CacheControl) -> float:
        """Until when a body that was validated then is fresh."""
        if where.pinned and not control.mocked:
            return float("inf")
        settings = self._settings
        ttl = DEFAULT_TTL if settings.ttl is None else settings.ttl
        return freshness.expires_at(validated_at, ttl, control, settings.cache_control, jitter=settings.ttl_jitter, draw=draw())

    def _confirmed(self, flight: Flight[Any], held: H, asked_at: float, want: Want[H]) -> H:
        """304: every tier that holds this body is told so."""
        control = freshness.parse_cache_control(held.info.cache_control)
        entry = held._replace(validated_at=asked_at, expires_at=self.expiry(held.object, asked_at, control), stale=False)
        supersede = held.validated_at > asked_at

        def refresh() -> None:
            times = entry.validated_at, entry.expires_at
            for tier in self._tiers:
                tier.refresh(entry.object, entry.etag, *times, supersede=supersede)
            want.confirmed(entry)

        flight.store(refresh)
        self._counters.revalidated += 1
        self._tell("revalidated", entry.object, size=entry.size, since=asked_at)
        return entry

    def _arrived(self, where: ObjectKey, held: Held | None, entry: Held, asked_at: float) -> None:
        """200: the new body is there."""
        if held is None:
            self._counters.misses += 1
        else:
            self._counters.replaced += 1
        self._tell("fetched" if held is None else "replaced", where, size=entry.size, since=asked_at)

    def _serve_stale(self, held: H, why: str) -> H:
        self._counters.stale_served += 1
        self._tell("stale_served", held.object, size=held.size, detail=why)
        return held._replace(stale=True)

    def _may_stand_in(self, held: Held, now: float) -> bool:
        settings = self._settings
        control = freshness.parse_cache_control(held.info.cache_control)
        return freshness.may_serve_stale(held.expires_at, now, settings.stale_if_error, control, settings.cache_control)

    def _tell(self, name: str, where: ObjectKey, *, size: int = 0, since: float | None = None, detail: str = "") -> None:
        passed = 0.0 if since is None else self._clock() - since
        self.announcer.note(Event(name, where.bucket, where.key, size, passed, detail))
