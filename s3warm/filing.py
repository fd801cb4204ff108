"""Files: how a body that arrives becomes a file that stays while it is used, or a stream where there is no room for one."""

from __future__ import annotations

import os
from contextlib import closing
from io import BytesIO, FileIO

from s3warm import unmeasured
from s3warm.entries import FileEntry
from s3warm.origin.base import NoRoom, StartOver, buffers_within
from s3warm.rules.freshness import may_keep, parse_cache_control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import RawIOBase
    from typing import Any

    from s3warm.arrival import Arrival
    from s3warm.entries import Entry, Metadata, Pin
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Fetched, Incoming, NotModified, Origin
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import Account, Download, FileTier, HotTier

__all__ = ["Filing", "PinnedFile", "Streaming"]


class Filing:
    """See `Want`: a file, pinned."""

    def __init__(self, origin: Origin, memory: HotTier, files: FileTier, account: Account) -> None:
        self._origin = origin
        self._memory = memory
        self._files = files
        self._account = account

    def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Incoming | NotModified:
        """See `Want.fetch`."""
        return self._origin.fetch(where, if_none_match=if_none_match)

    def confirmed(self, entry: FileEntry) -> None:
        """See `Want.confirmed`: what memory holds is the same, or older."""
        self._outdate(entry)

    def adopt(self, flight: Flight[Any], entry: Entry) -> FileEntry | None:
        """See `Want.adopt`. One that may not be kept is left to S3, as is one for which there is no room."""
        if not may_keep(entry.etag, parse_cache_control(entry.info.cache_control)) or not flight.store(
            lambda: self._files.put(entry)
        ):
            return None
        try:
            file = self._files.file(entry.object)
        except NoRoom:
            return None
        if file is not None:
            self._outdate(file)
        return file

    def receive(self, incoming: Incoming, arrival: Arrival) -> FileEntry:
        """See `Want.receive`.

        Raises:
            NoRoom: whatever is evicted, it does not fit.
        """
        with closing(self._files.download(arrival.where, at_any_cost=True)) as download:
            try:
                info = self._fill(download, incoming, arrival)
            except NoRoom:
                # The older file has to go for it, if nobody else uses it.
                if not arrival.give_up_held():
                    raise
                info = self._fill(download, incoming, arrival)
            arrival.complete(info.size)
            times = arrival.times(info)
            with arrival.flight.storing:
                forgotten = arrival.flight.forgotten
                if not forgotten and (arrival.supersedes or not times.keep):
                    self._files.evict(arrival.where)
                    self._memory.evict(arrival.where)
                current = times.keep and not forgotten
                entry = download.publish(info, times.validated_at, times.expires_at, current=current)
                if current:
                    self._outdate(entry)
            return entry

    def _outdate(self, entry: FileEntry) -> None:
        """Let memory hold the body of the file, or none."""
        self._memory.refresh(entry.object, entry.etag, entry.validated_at, entry.expires_at)
        self._memory.outdate(entry.object, entry.etag, entry.validated_at)

    def _fill(self, download: Download, incoming: Incoming, arrival: Arrival) -> Metadata:
        if incoming.size is not None:
            with self._account.buffers(buffers_within(self._account.largest(), incoming.size)) as memory:
                return incoming.save(download, memory, arrival.progress)
        fetched = unmeasured.read(self._account, incoming, arrival.progress)
        try:
            _pour(fetched, download)
        except StartOver:
            _pour(fetched, download)
        return fetched.info


def _pour(fetched: Fetched, download: Download) -> None:
    """Write a body that is in memory."""
    download.begin(fetched.info)
    with memoryview(fetched.body) as body:
        download.write(body, 0)


class Streaming:
    """See `Want`: the body past the cache. `opened` is the stream; its entry is only what the flight needs to know."""

    def __init__(self, origin: Origin, account: Account) -> None:
        self._origin = origin
        self._account = account
        self.opened: RawIOBase | BytesIO | None = None

    def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Incoming | NotModified:
        """See `Want.fetch`."""
        return self._origin.fetch(where, if_none_match=if_none_match)

    def confirmed(self, entry: FileEntry) -> None:
        """See `Want.confirmed`: never, as nothing is held."""

    def adopt(self, flight: Flight[Any], entry: Entry) -> FileEntry | None:
        """See `Want.adopt`: never, as the fleet is not asked for streams."""

    def receive(self, incoming: Incoming, arrival: Arrival) -> FileEntry:
        """See `Want.receive`."""
        times = arrival.times(incoming.info)
        if incoming.size is None:  # it cannot be read in ranges
            self.opened = BytesIO(unmeasured.read(self._account, incoming, arrival.progress).body)
        else:
            self.opened = incoming.stream()
        return FileEntry(arrival.where, incoming.info, times.validated_at, times.expires_at, "", _NoPin())


class _NoPin:
    """Of nothing."""

    def release(self) -> None:
        """See `Pin.release`."""


class PinnedFile(FileIO):
    """A file that is in use until it is closed."""

    def __init__(self, path: str, pin: Pin) -> None:
        self._pin = pin
        try:
            super().__init__(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")
        except BaseException:
            pin.release()
            raise

    def close(self) -> None:
        """Close it, and give it back."""
        super().close()
        self._pin.release()
