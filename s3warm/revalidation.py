"""One request to S3, and what its answer leads to: for bytes, files and streams alike."""

from __future__ import annotations

import contextlib
from contextlib import closing

from s3warm import deadlines
from s3warm.absence import Absences
from s3warm.arrival import Arrival
from s3warm.chance import draw
from s3warm.declared import DEFAULT_TTL
from s3warm.errors import (
    AccessDeniedError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    late,
    twin,
)
from s3warm.metrics import Event
from s3warm.origin.base import NoRoom, NotModified
from s3warm.rules import freshness
from s3warm.tiers.base import Turn
from s3warm.watch import OriginWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from s3warm.arrival import H, Held, Want
    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters, Troubles
    from s3warm.rules.prefixes import Rules
    from s3warm.settings import Settings
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import FileTier, Term, Tier

__all__ = ["Revalidation"]

PATIENCE = 30.0  # seconds to wait for another process that is bringing the object: 2.5 GB over one connection
PATIENCE_WITH_COPY = 2.0  # seconds, where a copy could stand in


class Revalidation:
    """Asks S3 for what is not fresh, and draws the consequences in every tier."""

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
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
        self._rules = rules
        self._tiers = tiers
        self._clock = clock
        self._counters = counters
        self._learn = learn
        self._forget = forget
        self._announcer = announcer
        self._watch = OriginWatch(troubles)
        self._absences = Absences()
        self.serves_meanwhile = settings.stale_while_revalidate > 0

    def is_fresh(self, held: Held, bound: float | None) -> bool:
        """Whether a body may be used without asking, by a call that accepts an age of `bound` seconds."""
        return freshness.is_fresh(held.validated_at, held.expires_at, self._clock(), bound)

    def is_found(self, tier: Tier, where: ObjectKey, bound: float | None) -> bool:
        """Whether a tier holds a body that may be used without asking."""
        held = tier.describe(where)
        return held is not None and freshness.is_fresh(held.validated_at, held.expires_at, self._clock(), bound)

    def check(self, where: ObjectKey, bound: float | None) -> None:
        """Raises ObjectNotFoundError if S3 has said so, recently enough for a call that accepts an age of `bound` seconds."""
        error = self._absences.known(where, float(self._clock()), bound)
        if error is not None:
            self._counters.negative_hits += 1
            raise error

    def refusal(self, where: ObjectKey) -> S3WarmError | None:
        """What the next call for an object that is not held would raise without asking S3; None if it would ask."""
        now = float(self._clock())
        return self._absences.known(where, now, None) or self._watch.refusal(where, now)

    def pause(self, where: ObjectKey) -> float:
        """Seconds for which S3 is not asked for what a stale copy stands in for; 0 if it is."""
        return self._watch.pause(where, float(self._clock()))

    def meanwhile(self, held: H | None, bound: float | None) -> H | None:
        """A stale copy for a caller who would have to wait for another who is asking S3; None if it has to wait."""
        if held is None or not self._may_serve_meanwhile(held, bound):
            return None
        return self._serve_stale(held, "another is asking S3")

    @contextlib.contextmanager
    def turn(self, tier: FileTier | None, where: ObjectKey, held: Held | None, bound: float | None) -> Iterator[Turn]:
        """Let other processes on the directory bring the object first, if they are at it."""
        patience = self.patience(where, held, bound)
        if tier is None or patience is None:
            yield Turn()
            return

        def found(times: Term | None) -> bool:
            if times is None:
                return self.is_found(tier, where, bound)
            return freshness.is_fresh(*times, self._clock(), bound)

        with tier.turn(where, found, patience) as turn:
            yield turn

    def patience(self, where: ObjectKey, held: Held | None, bound: float | None) -> float | None:
        """Seconds to wait for another who is bringing the object; None: whoever else is at it, this call asks S3, or nobody does."""
        # With ttl=0 it is for this call to ask, as it is for each where nothing stays fresh; in an outage nobody waits for others to find
        # that out as well.
        never = held is not None and held.expires_at < held.validated_at
        if self.asks_now(where, bound) or (bound is None and never) or not self._watch.may_ask(where, float(self._clock())):
            return None
        patience = PATIENCE if held is None else PATIENCE_WITH_COPY
        if held is not None and self._may_serve_meanwhile(held, bound):
            patience = 0.0
        left = deadlines.left()
        return patience if left is None else min(patience, left)

    def ask(
        self,
        flight: Flight[Any],
        where: ObjectKey,
        held: H | None,
        bound: float | None,
        *,
        want: Want[H],
        turn: Turn,
    ) -> H:
        """The object as S3 has it now, or what may stand in for it.

        Args:
            flight: whose leader this is.
            where: the object.
            held: a body that is not fresh enough, if there is one.
            bound: the age in seconds that the call accepts.
            want: takes what S3 sends.
            turn: what other processes have to do with it.
        """
        asked_at = float(self._clock())  # a clock of the user's may count whole seconds
        stand_in = held if held is not None and self._may_stand_in(held, bound, self._patience(where)) else None
        instead = self._unasked(where, held, stand_in, bound, turn)
        if instead is not None:
            return instead
        arrival = Arrival(flight, where, held, asked_at, expiry=self.expiry, learn=self._learn, announcer=self._announcer)
        try:
            if turn.told is not None:
                raise turn.told
            answer = want.fetch(where, if_none_match=held.etag if held is not None else None)
            if isinstance(answer, NotModified):
                assert held is not None  # only asked conditionally for what is held, and held on to
                entry = self._confirmed(flight, held, asked_at, want)
            else:
                with closing(answer):
                    entry = want.receive(answer, arrival)
                self._arrived(where, held, entry, asked_at)
        except (ObjectNotFoundError, AccessDeniedError) as error:
            turn.failure = twin(error)
            self._refused(flight, where, held, error, asked_at)
            raise
        except (ObjectTooLargeError, NoRoom):
            self._watch.answered(where)
            raise
        except (OriginUnavailableError, IntegrityError) as error:
            if not getattr(error, "late", False):
                turn.failure = twin(error)
            # From now on, not from when it was asked: a time-out lasts longer than the first pauses.
            self._watch.failed(where, error, float(self._clock()))
            if stand_in is None or arrival.held is None:
                raise
            flight.alone = getattr(error, "late", False)
            return self._serve_stale(stand_in, str(error))
        self._watch.fetched(where)
        flight.store(lambda: self._absences.forget(where))  # unless S3 has said since that it is gone
        return entry

    def _unasked(self, where: ObjectKey, held: H | None, stand_in: H | None, bound: float | None, turn: Turn) -> H | None:
        """What is answered without asking S3, as another process is at it, or S3 failed a moment ago; None if it is to be asked.

        Raises:
            S3WarmError: the object failed a moment ago, and nothing may stand in.
        """
        if turn.taken and (stale := self.meanwhile(held, bound)) is not None:
            return stale
        now = float(self._clock())
        if stand_in is not None:
            return None if self._watch.may_ask(where, now) else self._serve_stale(stand_in, "S3 failed a moment ago")
        refusal = None if self.asks_now(where, bound) else self._watch.refusal(where, now)
        if refusal is not None:
            raise refusal
        return None

    def asks_now(self, where: ObjectKey, bound: float | None) -> bool:
        """Whether a call is to get what S3 says from now on: with ttl=0, its own or the cache's."""
        return bound == 0 or (bound is None and self._ttl(where) == 0)

    def _ttl(self, where: ObjectKey) -> float:
        """For how many seconds the object is fresh, if it says nothing itself."""
        ttl = self._rules.find("ttl", where)
        if ttl is None:
            ttl = self._settings.ttl
        return DEFAULT_TTL if ttl is None else float(ttl)

    def _patience(self, where: ObjectKey) -> float:
        """For how many seconds after its expiry a copy may stand in while S3 is out of reach."""
        seconds = self._rules.find("stale_if_error", where)
        return self._settings.stale_if_error if seconds is None else float(seconds)

    def too_late(self, where: ObjectKey, held: H | None, bound: float | None) -> H:
        """What the caller gets whose deadline has come while another was asking for it.

        Raises:
            OriginUnavailableError: nothing may stand in.
        """
        if held is not None and self._may_stand_in(held, bound, self._patience(where)):
            return self._serve_stale(held, "the deadline came before S3's answer")
        message = f"{where} could not be fetched: another thread or process was at it until the deadline"
        raise late(where, message)

    def forget(self, where: ObjectKey) -> None:
        """Whatever went wrong with the object before, ask S3 for it the next time."""
        self._watch.forget(where)
        self._absences.forget(where)

    def forget_all(self) -> None:
        """`forget` for each."""
        self._watch.forget_all()
        self._absences.forget_all()

    def _refused(
        self,
        flight: Flight[Any],
        where: ObjectKey,
        held: Held | None,
        error: ObjectNotFoundError | AccessDeniedError,
        asked_at: float,
    ) -> None:
        """S3 says that there is no such object, or that it is not for us: it goes from every tier."""
        self._watch.answered(where)
        if self._settings.negative_ttl and isinstance(error, ObjectNotFoundError):
            self._note_absence(flight, where, error, asked_at)
        # Flights that began earlier may still bring what is gone: they store nothing any more. Twice: see `ReadThrough.invalidate`.
        for _ in range(2):
            self._forget(where)
            for tier in self._tiers:
                tier.evict(where)
        if held is not None:
            self._counters.removed += 1
            self._tell("removed", where, detail=type(error).__name__)

    def expiry(self, where: ObjectKey, validated_at: float, control: freshness.CacheControl) -> float:
        """Until when a body that was validated then is fresh."""
        return self._expiry(where, validated_at, control, draw())

    def latest_expiry(self, where: ObjectKey, validated_at: float, control: freshness.CacheControl) -> float:
        """Until when it could be at most."""
        return self._expiry(where, validated_at, control, 0.0)

    def _expiry(self, where: ObjectKey, validated_at: float, control: freshness.CacheControl, drawn: float) -> float:
        if where.pinned and not control.mocked:
            return float("inf")
        settings, ttl = self._settings, self._ttl(where)
        return freshness.expires_at(validated_at, ttl, control, settings.cache_control, jitter=settings.ttl_jitter, draw=drawn)

    def _confirmed(self, flight: Flight[Any], held: H, asked_at: float, want: Want[H]) -> H:
        """304: every tier that holds this body is told so."""
        control = freshness.parse_cache_control(held.info.cache_control)
        entry = self.renewed(flight, held, (asked_at, self.expiry(held.object, asked_at, control)), want)
        self._counters.revalidated += 1
        self._tell("revalidated", entry.object, size=entry.size, since=asked_at)
        return entry

    def renewed(self, flight: Flight[Any], held: H, times: Term, want: Want[H]) -> H:
        """What is held is the current body, as of these times: every tier that holds it is told so."""
        entry = held._replace(validated_at=times[0], expires_at=times[1], stale=False)
        supersede = held.validated_at > times[0]

        def refresh() -> None:
            for tier in self._tiers:
                tier.refresh(entry.object, entry.etag, *times, supersede=supersede)
            want.confirmed(entry)

        flight.store(refresh)
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

    def _may_stand_in(self, held: Held, bound: float | None, seconds: float) -> bool:
        """Whether a copy may be served for so many seconds after its expiry; never to a call with ttl=0."""
        if bound == 0 or not seconds:
            return False
        control = freshness.parse_cache_control(held.info.cache_control)
        return freshness.may_serve_stale(held.expires_at, float(self._clock()), seconds, control, self._settings.cache_control)

    def _may_serve_meanwhile(self, held: Held, bound: float | None) -> bool:
        """Whether a copy may be served while another is asking; never one that was invalidated, which S3 has to confirm first."""
        if held.expires_at < held.validated_at:
            return False
        seconds = self._settings.stale_while_revalidate
        if bound is not None:  # the call's own age is its TTL
            seconds -= max(0.0, held.expires_at - (held.validated_at + bound))
        return seconds > 0 and self._may_stand_in(held, bound, seconds)

    def _note_absence(self, flight: Flight[Any], where: ObjectKey, error: ObjectNotFoundError, asked_at: float) -> None:
        from s3warm.origin.mocked import is_mocked

        if is_mocked() or any(
            found is not None and found.validated_at > asked_at for found in (tier.describe(where) for tier in self._tiers)
        ):
            return  # the next test has a world of its own; and who asked later has found it
        settings = self._settings
        until = freshness.expires_at(
            asked_at,
            settings.negative_ttl,
            freshness.CacheControl(),
            settings.cache_control,
            jitter=settings.ttl_jitter,
            draw=draw(),
        )
        flight.store(lambda: self._absences.note(where, error, asked_at, until))

    def _tell(self, name: str, where: ObjectKey, *, size: int = 0, since: float | None = None, detail: str = "") -> None:
        passed = 0.0 if since is None else self._clock() - since
        self._announcer.note(Event(name, where.bucket, where.key, size, passed, detail))
