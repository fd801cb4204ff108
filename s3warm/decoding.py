"""Decoded values: made once of each body, found as long as the object is the same, and made anew when it has changed."""

from __future__ import annotations

from s3warm.entries import Entry
from s3warm.errors import TransformError, late
from s3warm.rules import freshness
from s3warm.singleflight import SingleFlight
from s3warm.transforms import loading, transforming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.calls import Calls
    from s3warm.entries import FileEntry, Known
    from s3warm.keys import ObjectKey
    from s3warm.making import Making, Measure
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import HotTier
    from s3warm.tiers.slot import ValueSlot
    from s3warm.transforms import Decoder

__all__ = ["Decoding"]


class Decoding:
    """See the module.

    Args:
        memory: where values are kept.
        making: makes them.
        flights: of the objects: whoever invalidates one ends those that are under way.
        find: gives what S3 has: an entry or, for a value that is at hand, that it is still what that was made of.
        open_file: gives a file with a pin of its own.
        calls: how calls begin and end.
        revalidation: tells what is fresh.
        look: at the process's memory, and at what the fleet says.
        largest: the largest body that may be allocated now.
        clock: the wall clock.
    """

    def __init__(
        self,
        memory: HotTier,
        making: Making,
        flights: SingleFlight[Any],
        *,
        find: Callable[[ObjectKey, float | None, ValueSlot | None], Entry | Known],
        open_file: Callable[[ObjectKey, float | None], FileEntry],
        calls: Calls,
        revalidation: Revalidation,
        look: Callable[[float], object],
        largest: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._making = making
        self._flights = flights
        self._find = find
        self._open_file = open_file
        self._calls = calls
        self._revalidation = revalidation
        self._look = look
        self._largest = largest
        self._clock = clock
        self._under_way: SingleFlight[Any] = SingleFlight()  # what is being made, by object, decoder and ETag

    def renew(self) -> None:
        """This is a forked child: what is under way is its parent's."""
        self._under_way.renew()

    def value(self, where: ObjectKey, bound: float | None, transform: object, measure: Measure | None) -> Any:
        """See `Cache.get` with a `transform`."""
        decoder = transforming(transform, self._largest)
        return self._given(where, bound, decoder, lambda flight: self._of_bytes(flight, where, bound, decoder, measure))

    def loaded(self, where: ObjectKey, bound: float | None, loader: object, measure: Measure | None) -> Any:
        """See `Cache.load`."""
        decoder = loading(loader)
        return self._given(where, bound, decoder, lambda flight: self._of_file(flight, where, bound, decoder, measure))

    def fresh(self, where: ObjectKey, bound: float | None, key: object) -> ValueSlot | None:
        """The value of a decoder, by its key, that may be used without asking, and is counted as a hit."""
        slot = self._memory.value(where, key)
        if slot is None or not self._revalidation.is_fresh(slot.known(), bound):
            return None
        slot.hits += 1
        self._memory.prolong(slot)
        return slot

    def _given(self, where: ObjectKey, bound: float | None, decoder: Decoder, work: Callable[[Flight[Any]], Any]) -> Any:
        """The value that is fresh, or what `work` makes: in a flight that nobody joins, but that whoever invalidates the object ends."""
        self._look(float(self._clock()))
        slot = self.fresh(where, bound, decoder.key)
        if slot is not None:
            return slot.value
        with self._calls.counted:
            self._calls.begin(where, bound)
            return self._flights.run(where, work, terms=object(), join=False)

    def _of_bytes(
        self, flight: Flight[Any], where: ObjectKey, bound: float | None, decoder: Decoder, measure: Measure | None
    ) -> Any:
        old = self._memory.value(where, decoder.key)
        entry = self._find(where, bound, old)
        if old is not None and old.info.etag == entry.etag:
            return old.value
        if not isinstance(
            entry, Entry
        ):  # what somebody else holds is the current body, and this call's value is gone, or of another
            entry = self._find(where, bound, None)
            assert isinstance(entry, Entry)
        body = entry
        return self._value(flight, body, old, decoder, lambda: self._making.of_bytes(body, decoder, measure))

    def _of_file(
        self, flight: Flight[Any], where: ObjectKey, bound: float | None, decoder: Decoder, measure: Measure | None
    ) -> Any:
        old = self._memory.value(where, decoder.key)
        entry = self._open_file(where, bound)
        pinned = True

        def make() -> ValueSlot:
            nonlocal pinned
            slot = self._making.of_file(entry, decoder, measure)
            pinned = False  # it is the value's now
            return slot

        try:
            if old is None or old.info.etag != entry.etag:
                return self._value(flight, entry, old, decoder, make)
            if not entry.stale:
                self._restate(flight, old, entry)
            return old.value
        finally:
            if pinned:
                entry.pin.release()

    def _value(
        self,
        flight: Flight[Any],
        entry: Entry | FileEntry,
        old: ValueSlot | None,
        decoder: Decoder,
        make: Callable[[], ValueSlot],
    ) -> Any:
        """The value of a body, made by whoever is at it first; the one of before, if this body cannot be decoded."""
        where = entry.object

        def work(_flight: Flight[Any]) -> Any:
            made = self._memory.value(where, decoder.key)
            if made is not None and made is not old and made.info.etag == entry.etag:
                return made.value
            slot = make()
            if freshness.may_keep(entry.etag, freshness.parse_cache_control(entry.info.cache_control)):
                flight.store(lambda: self._making.keep(slot, decoder))
            return slot.value

        def too_late() -> Any:
            if old is None:
                raise late(where, f"{where} was being decoded by another thread, with {decoder.name}, when the deadline came")
            return old.value

        try:
            # Without an ETag nobody can tell whether it is the same body.
            return self._under_way.run((where, decoder.key, entry.etag), work, join=bool(entry.etag), late=too_late)
        except TransformError:
            if old is None:
                raise
            self._restate(flight, old, entry)
            return old.value

    def _restate(self, flight: Flight[Any], slot: ValueSlot, entry: Entry | FileEntry) -> None:
        known = slot.known()._replace(info=entry.info, validated_at=entry.validated_at, expires_at=entry.expires_at)
        flight.store(lambda: self._memory.restate(slot, known))
