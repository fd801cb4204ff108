"""The way of a file: what is held and fresh, what another thread or process brings, or what S3 sends, each with a pin of its own."""

from __future__ import annotations

from s3warm.errors import S3WarmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.entries import FileEntry
    from s3warm.filing import Filing
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import Flight, SingleFlight
    from s3warm.tiers.base import FileTier, Turn
    from s3warm.trees import Planting

__all__ = ["Finder"]


class Finder:
    """Finds files in a tier, and fetches what is not there or not fresh."""

    def __init__(
        self,
        files: FileTier,
        filing: Filing,
        planting: Callable[[], Planting],
        *,
        flights: SingleFlight[Any],
        revalidation: Revalidation,
        counters: Counters,
        announcer: Announcer,
    ) -> None:
        self._files = files
        self._filing = filing
        self._planting = planting
        self._flights = flights
        self._revalidation = revalidation
        self._counters = counters
        self._announcer = announcer

    def find(self, where: ObjectKey, bound: float | None) -> FileEntry:
        """A file with a pin of its own; NoRoom if there is none for it."""
        mine: FileEntry | None = None

        def load(flight: Flight[FileEntry]) -> FileEntry:
            nonlocal mine
            mine = self._load(flight, where, bound)
            return mine

        def stale(answer: Callable[[FileEntry | None], FileEntry | None]) -> FileEntry | None:
            """The copy that is held, if `answer` lets it stand in."""
            nonlocal mine
            held = self._files.file(where)
            try:
                mine = answer(held)
                return mine
            finally:
                if held is not None and mine is None:
                    held.pin.release()

        def late() -> FileEntry:
            given = stale(lambda held: self._revalidation.too_late(where, held, bound))
            assert given is not None
            return given

        def meanwhile() -> FileEntry | None:
            return stale(lambda held: self._revalidation.meanwhile(held, bound))

        try:
            self._revalidation.check(where, bound)
            if bound == 0:
                self._flights.forget(where)
            join, serves_meanwhile = bound != 0, self._revalidation.serves_meanwhile
            while True:
                entry: FileEntry = self._flights.run(
                    where, load, terms=("file", bound), join=join, late=late, meanwhile=meanwhile if serves_meanwhile else None
                )
                found = mine or self._found(where, entry, bound)
                if found is not None:
                    return found
                join = False
        except S3WarmError:
            self._counters.errors += 1
            raise
        finally:
            self._announcer.announce()

    def _load(self, flight: Flight[FileEntry], where: ObjectKey, bound: float | None) -> FileEntry:
        held = self._files.file(where)
        if held is not None and not self._revalidation.is_fresh(held, bound):
            held.pin.release()  # whoever has the turn now may need its room
        elif held is not None:
            self._counters.disk_hits += 1
            return held
        with self._revalidation.turn(self._files, where, held, bound) as turn:
            held = self._files.file(where)
            if held is not None and self._revalidation.is_fresh(held, bound):  # another process has brought it
                self._counters.disk_hits += 1
                return held
            given: FileEntry | None = None
            try:
                given = self._ask(flight, where, held, bound, turn)
                return given
            finally:
                # It was held on to while S3 was asked, so that a 304 could be answered.
                if held is not None and (given is None or given.pin is not held.pin):
                    held.pin.release()

    def _ask(
        self, flight: Flight[FileEntry], where: ObjectKey, held: FileEntry | None, bound: float | None, turn: Turn
    ) -> FileEntry:
        want: Filing | Planting = self._planting() if where.tree else self._filing
        return self._revalidation.ask(flight, where, held, bound, want=want, turn=turn)

    def _found(self, where: ObjectKey, entry: FileEntry, bound: float | None) -> FileEntry | None:
        """What another thread's flight has brought, with a pin of one's own; None if it is gone again."""
        found = self._files.file(where)
        if found is None:
            return None
        if found.etag == entry.etag or self._revalidation.is_fresh(found, bound):
            self._counters.coalesced += 1
            return found._replace(stale=entry.stale)
        found.pin.release()
        return None
