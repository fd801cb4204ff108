"""Files: how a body that arrives becomes a file that stays while it is used, or a stream where there is no room for one."""

from __future__ import annotations

from contextlib import closing

from s3warm.entry import FileEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import RawIOBase

    from s3warm.entry import Metadata
    from s3warm.origin.base import Incoming
    from s3warm.revalidation import Arrival
    from s3warm.tiers.base import Download, FileTier, HotTier

__all__ = ["Filing", "Streaming"]


class Filing:
    """See `Want`: a file, pinned."""

    def __init__(self, memory: HotTier, files: FileTier, largest: Callable[[], int]) -> None:
        self._memory = memory
        self._files = files
        self._largest = largest

    def confirmed(self, entry: FileEntry) -> None:
        """See `Want.confirmed`: it is where it is."""

    def receive(self, incoming: Incoming, arrival: Arrival) -> FileEntry:
        """See `Want.receive`.

        Raises:
            NoRoom: whatever is evicted, it does not fit.
        """
        with closing(self._files.download(arrival.where, at_any_cost=True)) as download:
            info = self._fill(download, incoming, arrival)
            times = arrival.times(info)
            with arrival.flight.storing:
                current = times.keep and not arrival.flight.forgotten
                if current and arrival.supersedes:
                    self._files.evict(arrival.where)
                entry = download.publish(info, times.validated_at, times.expires_at, current=current)
                # What memory holds is older, or the same.
                if current and not self._memory.refresh(arrival.where, info.etag, times.validated_at, times.expires_at):
                    self._memory.evict(arrival.where)
            return entry

    def _fill(self, download: Download, incoming: Incoming, arrival: Arrival) -> Metadata:
        if incoming.size is not None:
            return incoming.save(download, self._largest(), arrival.progress)
        # Of unknown length: no S3 does that, some gateways do.
        fetched = incoming.read(self._largest(), arrival.progress)
        download.begin(fetched.info)
        with memoryview(fetched.body) as body:
            download.write(body, 0)
            download.summed(body)
        return fetched.info


class Streaming:
    """See `Want`: the body past the cache. `opened` is the stream; its entry is only what the flight needs to know."""

    def __init__(self) -> None:
        self.opened: RawIOBase | None = None

    def confirmed(self, entry: FileEntry) -> None:
        """See `Want.confirmed`: never, as nothing is held."""

    def receive(self, incoming: Incoming, arrival: Arrival) -> FileEntry:
        """See `Want.receive`."""
        times = arrival.times(incoming.info)
        self.opened = incoming.stream()
        return FileEntry(arrival.where, incoming.info, times.validated_at, times.expires_at, "", _NoPin())

    def release(self) -> None:
        """Drop the stream again."""
        if self.opened is not None:
            self.opened.close()


class _NoPin:
    """Of nothing."""

    def release(self) -> None:
        """See `Pin.release`."""
