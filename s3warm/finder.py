"""The way of a file: what is held and fresh, what another thread or process brings, or what S3 sends, each with a pin of its own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm.beyond import Beyond
    from s3warm.calls import Answer, Calls
    from s3warm.entries import FileEntry
    from s3warm.filing import Filing
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import Flight
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
        calls: Calls,
        revalidation: Revalidation,
        beyond: Beyond,
        counters: Counters,
    ) -> None:
        self._files = files
        self._filing = filing
        self._planting = planting
        self._calls = calls
        self._revalidation = revalidation
        self._beyond = beyond
        self._counters = counters

    def find(self, where: ObjectKey, bound: float | None) -> FileEntry:
        """A file with a pin of its own; NoRoom if there is none for it."""
        found = self._found(where, self._answer(where, bound, join=bound != 0), bound)
        while found is None:
            found = self._found(where, self._answer(where, bound, join=False), bound)
        return found

    def _answer(self, where: ObjectKey, bound: float | None, *, join: bool) -> Answer:
        return self._calls.answer(
            where,
            bound,
            lambda flight: self._load(flight, where, bound),
            terms=("file", bound),
            join=join,
            copy=lambda: self._files.file(where),
            let_go=lambda held: held.pin.release(),
        )

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
        return self._beyond.ask(flight, where, held, bound, want=want, turn=turn)

    def _found(self, where: ObjectKey, answer: Answer, bound: float | None) -> FileEntry | None:
        """What the call was given; of what another thread's flight has brought, with a pin of one's own; None if that is gone again."""
        entry: FileEntry = answer.entry
        if answer.own:
            return entry
        found = self._files.file(where)
        if found is None:
            return None
        if found.etag == entry.etag or self._revalidation.is_fresh(found, bound):
            self._counters.coalesced += 1
            return found._replace(stale=entry.stale)
        found.pin.release()
        return None
