"""The fleet: what one environment has fetched, or S3 has told it, serves all of them, through the tier that they share.

Between the tiers of a process and S3, for bytes, values and files alike.
"""

from __future__ import annotations

from s3warm import deadlines
from s3warm.entries import Entry, FileEntry, Known
from s3warm.errors import AccessDeniedError, FleetUnavailableError, ObjectNotFoundError
from s3warm.notices import said
from s3warm.origin.base import NotModified
from s3warm.rules.freshness import parse_cache_control
from s3warm.tiers.shared import SKEW, Seen
from s3warm.tiers.tidings import Tiding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic

    from s3warm.arrival import H, Want
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import Turn
    from s3warm.tiers.leases import Lease, Leases
    from s3warm.tiers.shared import SharedTier
    from s3warm.tiers.tidings import Tidings
else:

    class Generic:
        def __class_getitem__(cls, _parameters: object) -> type:
            return cls

    H = None

__all__ = ["Fleet"]

LISTEN_EVERY = 1.0  # seconds


class Fleet:
    """See `Beyond`: the shared tier, and then S3."""

    def __init__(
        self,
        revalidation: Revalidation,
        shared: SharedTier,
        leases: Leases,
        tidings: Tidings,
        *,
        longest: float,
        clock: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._longest = longest  # seconds that a command may take: who has less is served by S3 alone
        self.revalidation = revalidation
        self.shared = shared
        self.leases = leases
        self.counters = counters
        self._tidings = tidings
        self._clock = clock
        self._listened = float("-inf")

    @property
    def name(self) -> str | None:
        """See `Beyond`."""
        return self.shared.fleet

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
        """See `Beyond.ask`."""
        left = deadlines.left()
        if turn.told is not None or self.shared.excludes(where) or (left is not None and left < self._longest):
            return self.revalidation.ask(flight, where, held, bound, want=want, turn=turn)
        question = _Question(self, flight, where, bound, want)
        given: H | None = None
        try:
            given = question.answer(held, turn)
            return given
        finally:
            question.let_go(given)

    def expire(self, where: ObjectKey) -> None:
        """See `Beyond.expire`."""
        self.shared.expire(where)

    def tell(self, where: ObjectKey) -> None:
        """See `Beyond.tell`."""
        dropped = self.shared.withdraw(where)
        if not self._tidings.tell(Tiding(where, float(self._clock()))) or not dropped:
            why = self.shared.trouble
            because = "it is closed" if why is None else said(why)
            raise FleetUnavailableError(
                f"{where} was invalidated for this process, but the fleet could not be told, as the shared tier does not answer, or takes no writes "
                f"({because}); others may serve it until its TTL is over: call it again",
                bucket=where.bucket,
                key=where.key,
            ) from why

    def has_news(self, now: float) -> bool:
        """See `Beyond.has_news`."""
        return not self._listened <= now < self._listened + LISTEN_EVERY

    def news(self, now: float) -> list[Tiding] | None:
        """See `Beyond.news`."""
        if not self.has_news(now):
            return []
        self._listened = now
        news = self._tidings.news()
        if news.lost:  # what lies on that server may be as old as its log
            self.shared.expire_all()
        # By a clock that is a little ahead of the teller's, what was validated before may seem to have been validated after.
        return [tiding._replace(at=tiding.at + SKEW) for tiding in news.told] if news.complete else None

    def writes(self, where: ObjectKey) -> bytes | None:
        """See `Beyond.writes`."""
        seen = None if self.shared.excludes(where) else self.shared.look(where)
        return None if seen is None else seen.generation

    def written(self, entry: Entry, generation: bytes | None) -> None:
        """See `Beyond.written`. Which one of two environments' writes that overlap came last only S3 can tell."""
        if not self.shared.excludes(entry.object) and (generation is None or not self.shared.replace(entry, generation)):
            self.shared.evict(entry.object)

    def doubt(self, where: ObjectKey) -> None:
        """See `Beyond.doubt`."""
        if not self.shared.excludes(where):
            self.shared.evict(where)

    def clear(self) -> None:
        """See `Beyond.clear`: the fleet keeps what it has."""
        self.shared.clear()

    def renew(self) -> None:
        """See `Beyond.renew`."""
        self.shared.renew()

    def suspend(self) -> None:
        """See `Beyond.suspend`."""
        self._listened = float("-inf")
        self.shared.suspend()

    def close(self) -> None:
        """See `Beyond.close`."""
        self.shared.close()


class _Question(Generic[H]):
    """One call's question for an object: to the fleet, then to S3, for all that wait for this environment to ask."""

    def __init__(self, fleet: Fleet, flight: Flight[Any], where: ObjectKey, bound: float | None, want: Want[H]) -> None:
        self._revalidation = fleet.revalidation
        self._shared = fleet.shared
        self._leases = fleet.leases
        self._counters = fleet.counters
        self._flight = flight
        self._where = where
        self._bound = bound
        self._want = want
        self._is_there = True  # something may be, on the server, until it was looked for
        # As they were looked at last; without a generation nothing is told.
        self._generation: bytes | None = None
        self._head: bytes | None = None
        self._has_shared = False
        self._adopted: list[H] = []

    def answer(self, held: H | None, turn: Turn) -> H:
        """See `Beyond.ask`."""
        if self._revalidation.asks_now(self._where, self._bound):
            self._looked(self._shared.look(self._where))
            return self._asked(held, turn, self._want)
        held = self._newer(held) or held
        if held is not None and self._is_fresh(held):
            return self._served(held)
        patience = self._revalidation.patience(self._where, held, self._bound)
        if patience is None:
            return self._asked(held, turn, self._want)
        with self._leases.take(self._where, self._ends_wait, patience) as lease:
            try:
                if lease.found:
                    held = self._newer(held) or held
                    if held is not None and self._is_fresh(held):
                        lease.brought = True
                        return self._served(held)
                lease.taken = lease.taken or turn.taken
                given = self._asked(held, lease, _Watched(self._want, self._shared, lease))
                lease.brought = self._has_shared
                return given
            finally:
                turn.failure = lease.failure

    def let_go(self, given: H | None) -> None:
        """Of files that were adopted, and are not what the call is given."""
        for entry in self._adopted:
            pin = getattr(entry, "pin", None)
            if pin is not None and pin is not getattr(given, "pin", None):
                pin.release()

    def _newer(self, held: H | None) -> H | None:
        """What the fleet knows, if it was validated later than what is held here."""
        entry: Entry | None
        if held is None:
            entry = self._looked(self._shared.find(self._where)).entry
        else:
            seen = self._looked(self._shared.look(self._where))
            if seen.known is None:
                return None
            # As of the same time it is what is held, which was invalidated here if it is not fresh.
            if seen.known.validated_at <= held.validated_at:
                return None
            if seen.known.etag == held.etag:
                times = seen.known.validated_at, self._until(seen.known)
                return self._revalidation.renewed(self._flight, held, times, self._want)
            entry = self._looked(self._shared.find(self._where)).entry if seen.has_body else None
            if entry is not None and entry.validated_at <= held.validated_at:
                return None
        if entry is None:
            return None
        adopted = self._want.adopt(self._flight, entry._replace(expires_at=self._until(entry)))
        if adopted is not None:
            self._adopted.append(adopted)
        return adopted

    def _looked(self, seen: Seen | None) -> Seen:
        """What was seen, and is remembered for what is told later."""
        self._is_there = seen is None or seen.head is not None
        self._generation, self._head = (None, None) if seen is None else (seen.generation, seen.head)
        return Seen(None, has_body=False) if seen is None else seen

    def _until(self, known: Entry | Known) -> float:
        """Until when it is fresh here: whoever validated it may have a longer TTL than this environment."""
        control = parse_cache_control(known.info.cache_control)
        return min(known.expires_at, self._revalidation.latest_expiry(self._where, known.validated_at, control))

    def _is_fresh(self, held: H) -> bool:
        return self._revalidation.is_fresh(held, self._bound)

    def _served(self, held: H) -> H:
        self._counters.shared_hits += 1
        return held

    def _ends_wait(self, head: bytes) -> bool:
        """Whether a head on the server is what a wait for the lease is for; not the one that was of no use before."""
        if head == self._head:
            return False
        known = self._shared.seen(self._where, head).known
        return known is not None and self._revalidation.is_fresh(known._replace(expires_at=self._until(known)), self._bound)

    def _asked(self, held: H | None, turn: Turn, want: Want[H]) -> H:
        """What S3 says, and tell the fleet."""
        try:
            given = self._revalidation.ask(self._flight, self._where, held, self._bound, want=want, turn=turn)
        except (ObjectNotFoundError, AccessDeniedError):
            if self._is_there or held is not None:
                self._shared.evict(self._where)
            raise
        if not given.stale:
            unchanged = held is not None and held.etag == given.etag
            self._flight.store(lambda: self._share(given, unchanged=unchanged))
        return given

    def _share(self, given: H, *, unchanged: bool) -> None:
        known = _known(given)
        if not self._shared.may_know(known):
            if self._is_there:
                self._shared.evict(self._where)
        elif unchanged and self._shared.refresh(known.object, known.etag, known.validated_at, known.expires_at):
            self._has_shared = True
        elif self._generation is not None:
            body = _body(given, self._shared.largest) if self._shared.may_share(known) else None
            whole = None if body is None else Entry(known.object, known.info, known.validated_at, known.expires_at, body)
            self._has_shared = self._shared.bring(whole or known, self._generation)


class _Watched(Generic[H]):
    """What is wanted; those who wait for it are told at once if the body that S3 sends will not be shared."""

    def __init__(self, want: Want[H], shared: SharedTier, lease: Lease) -> None:
        self._want = want
        self._shared = shared
        self._lease = lease
        self.receive = want.receive
        self.confirmed = want.confirmed
        self.adopt = want.adopt

    def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Any:
        """See `Want.fetch`."""
        answer = self._want.fetch(where, if_none_match=if_none_match)
        if not isinstance(answer, NotModified) and not self._shared.may_share(Known(where, answer.info, 0.0, 1.0)):
            self._lease.end()
        return answer


def _known(given: Any) -> Known:
    """What is known of the object of an entry of any kind."""
    return Known(given.object, given.info, given.validated_at, given.expires_at)


def _body(given: Any, largest: int) -> bytes | None:
    """The body of an entry, or of a small file; None where it is not at hand."""
    if isinstance(given, Entry):
        return given.body
    if not isinstance(given, FileEntry) or given.size > largest:
        return None
    try:
        with open(given.path, "rb") as file:
            return file.read()
    except OSError:
        return None
