"""How a call gets its answer: by a flight of its own, by another thread's, or by a copy that may stand in while others are asking."""

from __future__ import annotations

from s3warm.errors import S3WarmError
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from s3warm.arrival import H
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import Flight, SingleFlight

__all__ = ["Answer", "Calls"]


class Answer(NamedTuple):
    """What a call is given, and whether that is of its own making: a file then has the call's own pin."""

    entry: Any
    own: bool


class Calls:
    """The calls for objects of one cache, of whatever kind."""

    def __init__(
        self, flights: SingleFlight[Any], revalidation: Revalidation, counters: Counters, announcer: Announcer
    ) -> None:
        self._flights = flights
        self._revalidation = revalidation
        self.counted = _Counted(counters, announcer)

    def begin(self, where: ObjectKey, bound: float | None) -> None:
        """A call that accepts an age of `bound` seconds begins.

        Raises:
            ObjectNotFoundError: S3 has said so, recently enough for it.
        """
        self._revalidation.check(where, bound)
        # ttl=0 asks for what S3 says from now on: a flight begun earlier may have been answered already, and must not be kept in place
        # of this one's answer.
        if bound == 0:
            self._flights.forget(where)

    def answer(
        self,
        where: ObjectKey,
        bound: float | None,
        load: Callable[[Flight[Any]], H],
        *,
        terms: object,
        join: bool,
        copy: Callable[[], H | None],
        let_go: Callable[[H], object] = lambda _held: None,
    ) -> Answer:
        """What the call is given.

        Args:
            where: the object.
            bound: the age in seconds that the call accepts.
            load: what to do if nobody else is at it.
            terms: see `SingleFlight.run`.
            join: whether another's flight will do.
            copy: finds what might stand in.
            let_go: of a copy that does not.
        """
        own = False

        def loaded(flight: Flight[Any]) -> H:
            nonlocal own
            own = True
            return load(flight)

        def instead(choose: Callable[[H | None], H | None]) -> H | None:
            nonlocal own
            held = copy()
            try:
                given = choose(held)
                own = given is not None
                return given
            finally:
                if held is not None and not own:
                    let_go(held)

        def late() -> H:
            given = instead(lambda held: self._revalidation.too_late(where, held, bound))
            assert given is not None  # or it would have raised
            return given

        def meanwhile() -> H | None:
            return instead(lambda held: self._revalidation.meanwhile(held, bound))

        waits = not self._revalidation.serves_meanwhile
        entry = self._flights.run(where, loaded, terms=terms, join=join, late=late, meanwhile=None if waits else meanwhile)
        return Answer(entry, own)


class _Counted:
    """A block in which one call is answered: its error is counted, and events are told once nothing is locked any more."""

    __slots__ = ("_announcer", "_counters")

    def __init__(self, counters: Counters, announcer: Announcer) -> None:
        self._counters = counters
        self._announcer = announcer

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, S3WarmError):
            self._counters.errors += 1
        self._announcer.announce()
