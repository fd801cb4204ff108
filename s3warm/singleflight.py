"""Single flight: of all the threads that want the same thing at the same time, one does the work.

The leader runs the work, the followers wait for its result or its error. A leader that is interrupted (`KeyboardInterrupt`,
`SystemExit`) strands nobody: a follower takes over.
"""

from __future__ import annotations

import threading

from s3warm import deadlines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Generic, TypeVar

    T = TypeVar("T")
else:

    class Generic:
        def __class_getitem__(cls, _parameters: object) -> type:
            return cls

    T = None

__all__ = ["Flight", "SingleFlight", "copied"]


class Flight(Generic[T]):
    """One piece of work under way.

    `storing` guards the step in which the leader publishes what it found: `SingleFlight.forget` takes it too, so that whoever
    invalidates an object knows that no flight begun earlier stores anything after it.
    """

    __slots__ = ("alone", "done", "error", "forgotten", "leader", "result", "storing", "terms")

    result: T

    def __init__(self, terms: object) -> None:
        self.terms = terms
        self.leader = threading.get_ident()
        self.done: threading.Event | None = None  # made by the first who waits: most flights have nobody beside their leader
        self.storing = threading.RLock()
        self.forgotten = False
        self.alone = False  # the result, or the error, is the leader's alone: it says nothing to those who wait
        self.error: Exception | None = None

    def store(self, publish: Callable[[], object]) -> bool:
        """Publish what the leader found, unless the flight was forgotten since it began; whether it was done."""
        with self.storing:
            if not self.forgotten:
                publish()
            return not self.forgotten


class SingleFlight(Generic[T]):
    """Flights by key.

    Example:
        >>> flights = SingleFlight()
        >>> flights.run("a", lambda flight: 42)
        42
    """

    __slots__ = ("_flights", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # All that are under way, the one to join last. Guarded by _lock.
        self._flights: dict[Hashable, list[Flight[T]]] = {}

    def run(
        self,
        key: Hashable,
        work: Callable[[Flight[T]], T],
        *,
        terms: object = None,
        join: bool = True,
        late: Callable[[], T] | None = None,
        meanwhile: Callable[[], T | None] | None = None,
    ) -> T:
        """The result of `work`, done here or by the flight that is under way for `key`.

        Args:
            key: what is wanted.
            work: called with its flight, in this thread, if nobody else is at it.
            terms: on which it is wanted; only a flight on the same terms is joined, as another's result may not do.
            join: False begins a flight of one's own, which those that come later join.
            late: what to do when the deadline of this thread comes before the end of another's flight.
            meanwhile: what those get who would have to wait for another's flight, and need not; None: they wait.
        """
        while True:
            with self._lock:
                same = [flight for flight in self._flights.get(key, ()) if flight.terms == terms] if join else []
                flight = same[-1] if same else None
                # A leader that asks for its own key (a decode function that calls get) would wait for itself.
                leads = flight is None or flight.leader == threading.get_ident()
                if leads:
                    flight = Flight(terms)
                    self._flights.setdefault(key, []).append(flight)
                elif flight is not None and flight.done is None:
                    flight.done = threading.Event()
            assert flight is not None
            if leads:
                return self._lead(key, flight, work)
            assert flight.done is not None
            if meanwhile is not None and (given := meanwhile()) is not None:
                return given
            if not flight.done.wait(deadlines.left() if late is not None else None):
                assert late is not None
                return late()
            if flight.alone:
                continue  # it was interrupted, or its own deadline passed: one of its followers goes on
            if flight.error is not None:
                raise copied(flight.error)
            return flight.result

    def forget(self, key: Hashable) -> None:
        """Nobody joins the flights that are under way for `key` any more, and they store nothing from now on."""
        with self._lock:
            under_way = self._flights.pop(key, [])
        for flight in under_way:
            with flight.storing:
                flight.forgotten = True

    def forget_all(self) -> None:
        """`forget` for every key."""
        for key in list(self._flights):
            self.forget(key)

    def renew(self) -> None:
        """This is a forked child: the flights are its parent's."""
        self._lock = threading.Lock()
        self._flights = {}

    def _lead(self, key: Hashable, flight: Flight[T], work: Callable[[Flight[T]], T]) -> T:
        try:
            flight.result = work(flight)
        except BaseException as error:
            # A copy without traceback: its frames hold the flight, and bodies that would then wait for the collector of cycles.
            flight.error = copied(error) if isinstance(error, Exception) else None
            flight.alone = flight.error is None or getattr(error, "late", False)
            raise
        else:
            return flight.result
        finally:
            with self._lock:
                under_way = self._flights.get(key)
                if under_way and flight in under_way:
                    under_way.remove(flight)
                    if not under_way:
                        del self._flights[key]
                done = flight.done  # from here on nobody finds the flight, to wait for it
            if done is not None:
                done.set()


def copied(error: Exception) -> Exception:
    """The error for one more thread: raising one instance in many would tangle their tracebacks."""
    from copy import copy

    try:
        twin = copy(error)
    except Exception:  # noqa: BLE001  # an exception of the user's that cannot be made anew is raised as it is
        return error
    twin.__cause__ = error.__cause__
    return twin
