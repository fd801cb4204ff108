"""Bytes: how a body that arrives comes into memory and onto the disk, or past memory, for those who only make a value of it."""

from __future__ import annotations

from contextlib import closing

from s3warm import unmeasured
from s3warm.entries import Entry
from s3warm.origin.base import PART, Fetched, NoRoom, buffers_within
from s3warm.rules.freshness import may_keep, parse_cache_control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3warm.arrival import Arrival
    from s3warm.entries import Known
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Incoming, NotModified, Origin
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import Account, Download, FileTier, HotTier
    from s3warm.tiers.slot import ValueSlot

__all__ = ["Bodies", "Passing"]


class Bodies:
    """See `Want`: on disk and in memory before the flight ends."""

    def __init__(self, origin: Origin, memory: HotTier, disk: FileTier | None, account: Account) -> None:
        self._origin = origin
        self._memory = memory
        self._disk = disk
        self._account = account

    def passing(self, slot: ValueSlot | None) -> Passing:
        """The same for a value, of which memory may hold one."""
        return Passing(self._origin, self._memory, self._disk, self._account, slot)

    def terms(self, bound: float | None) -> object:
        """On which terms the object is wanted; see `SingleFlight.run`."""
        return bound

    def held(self, where: ObjectKey) -> Entry | Known | None:
        """What memory holds, fresh or not."""
        return self._memory.get(where)

    def hit(self, where: ObjectKey) -> None:
        """It is fresh."""
        self._memory.hit(where)

    def promote(self, flight: Flight[Any], stored: Entry | Known) -> None:
        """It was found on the disk: it is in memory from now on."""
        flight.store(lambda: self._into_memory(stored))

    def adopt(self, flight: Flight[Any], entry: Entry) -> Entry:
        """See `Want.adopt`."""

        def store() -> None:
            if self._disk is not None:
                self._disk.put(entry)
            self._into_memory(entry)

        if may_keep(entry.etag, parse_cache_control(entry.info.cache_control)):
            flight.store(store)
        return entry

    def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Incoming | NotModified:
        """See `Want.fetch`."""
        return self._origin.fetch(where, if_none_match=if_none_match)

    def confirmed(self, entry: Entry | Known) -> None:
        """See `Want.confirmed`: it may have come from the disk."""
        held = self._memory.get(entry.object)
        if held is None or held.etag != entry.etag:
            self._into_memory(entry)

    def _into_memory(self, entry: Entry | Known) -> None:
        if isinstance(entry, Entry):
            self._memory.put(entry)

    def receive(self, incoming: Incoming, arrival: Arrival) -> Entry | Known:
        """See `Want.receive`. A body that would not fit into memory is refused before anything of it is downloaded."""
        size = incoming.size
        if size is None:
            return self._kept(unmeasured.read(self._account, incoming, arrival.progress), arrival, None)
        with self._account.hold(arrival.where, size) as spare:
            if size > PART and self._disk is not None and arrival.times(incoming.info).keep:
                by_disk = self._by_way_of_disk(self._disk, incoming, arrival, size + spare)
                if by_disk is not None:
                    return by_disk
            # A larger object may take its place on the way, also that of one too small to be asked about.
            largest = max(size + spare, self._account.largest())
            return self._kept(incoming.read(largest, arrival.progress), arrival, None)

    def _by_way_of_disk(self, disk: FileTier, incoming: Incoming, arrival: Arrival, largest: int) -> Entry | None:
        """A large body is written while it arrives, so that it is not lost if the transfer is cut off; None if the disk has no room."""
        from s3warm.origin.tee import Tee

        assert incoming.size is not None
        try:
            with (
                closing(disk.download(arrival.where, at_any_cost=False)) as download,
                Tee(arrival.where, largest, download) as tee,
            ):
                info = incoming.save(tee, buffers_within(largest - incoming.size, incoming.size), arrival.progress)
                return self._kept(Fetched(info, tee.body()), arrival, download)
        except NoRoom:
            return None

    def _kept(self, fetched: Fetched, arrival: Arrival, download: Download | None) -> Entry:
        """The entry, in every tier that takes it. What has been downloaded to the disk already need not be written once more."""
        arrival.complete(len(fetched.body))
        times = arrival.times(fetched.info)
        entry = Entry(arrival.where, fetched.info, times.validated_at, times.expires_at, fetched.body)

        def store() -> None:
            for tier in (self._disk, self._memory):
                if tier is not None and (arrival.supersedes or not times.keep):
                    tier.evict(entry.object)
            if not times.keep:
                return
            if download is not None and self._disk is not None:
                if not download.admit(entry):
                    self._disk.evict(entry.object)
            elif self._disk is not None:
                self._disk.put(entry)
            self._into_memory(entry)

        stored = arrival.flight.store(store)
        if download is not None and not (stored and times.keep):
            download.reset()
        return entry


class Passing(Bodies):
    """See `Want`: for a value, of which memory may hold one in `slot`. The body is not kept in memory: the disk has it."""

    def __init__(
        self, origin: Origin, memory: HotTier, disk: FileTier | None, account: Account, slot: ValueSlot | None
    ) -> None:
        super().__init__(origin, memory, disk, account)
        self._slot = slot

    def terms(self, bound: float | None) -> object:
        """See `Bodies.terms`: who has no value yet needs the body, as others do."""
        return bound if self._slot is None else ("known", self._slot.info.etag, bound)

    def held(self, where: ObjectKey) -> Entry | Known | None:
        """The value, or a body that is in memory all the same."""
        slot, body = self._slot, self._memory.get(where)
        if slot is None or (body is not None and body.etag != slot.info.etag and body.validated_at >= slot.validated_at):
            return body
        return slot.known()

    def hit(self, where: ObjectKey) -> None:
        """It is fresh."""
        if self._slot is None:
            super().hit(where)
        else:
            self._slot.hits += 1

    def _into_memory(self, entry: Entry | Known) -> None:
        self._memory.refresh(entry.object, entry.etag, entry.validated_at, entry.expires_at)
        self._memory.outdate(entry.object, entry.etag, entry.validated_at)
