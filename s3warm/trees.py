"""Directories of objects: one listing, and what lies below the prefix as files."""

from __future__ import annotations

from contextlib import closing, suppress

from s3warm import deadlines
from s3warm.entries import Metadata
from s3warm.errors import ObjectNotFoundError, OriginUnavailableError, S3WarmError
from s3warm.hashing import blake2b
from s3warm.keys import ObjectKey
from s3warm.origin.base import PART, NoRoom, NotModified, StartOver, buffers_within
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from s3warm.arrival import Arrival
    from s3warm.entries import Entry, FileEntry
    from s3warm.origin.base import Listed, Origin
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import Account, FileTier, TreeDownload

__all__ = ["Planting"]

LIMIT = 10_000  # objects in one tree
AT_ONCE = 8  # small objects that are fetched at a time
SMALL = 2  # parts
_LONGEST_NAME = 255  # bytes


class Listing(NamedTuple):
    """What lies below a prefix; see `Incoming`. `info.etag` follows from the keys and ETags of all."""

    info: Metadata
    found: Sequence[Listed]

    def close(self) -> None:
        """Nothing is open."""


class Planting:
    """See `Want`: a directory, pinned. One listing says whether anything has changed."""

    def __init__(self, origin: Origin, files: FileTier, account: Account) -> None:
        self._origin = origin
        self._files = files
        self._account = account

    def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Listing | NotModified:
        """The listing, unless it is the one with that ETag."""
        # Keys that end in a slash are what consoles show as folders.
        found = [each for each in self._origin.list(where.bucket, where.key, LIMIT) if not each.key.endswith("/") or each.size]
        if not found:
            raise ObjectNotFoundError(f"there is nothing below {where}; check the prefix", bucket=where.bucket, key=where.key)
        _check_names(where, found)
        etag = blake2b(repr([(each.key, each.etag, each.size) for each in found]).encode(), digest_size=16).hexdigest()
        return NotModified(etag) if etag == if_none_match else Listing(Metadata(etag, sum(each.size for each in found)), found)

    def confirmed(self, entry: FileEntry) -> None:
        """See `Want.confirmed`: it is where it is."""

    def adopt(self, flight: Flight[Any], entry: Entry) -> FileEntry | None:
        """See `Want.adopt`: never, as the fleet shares no trees."""

    def receive(self, listing: Listing, arrival: Arrival) -> FileEntry:
        """See `Want.receive`.

        Raises:
            NoRoom: whatever is evicted, it does not fit.
        """
        with closing(self._files.download_tree(arrival.where)) as download:
            try:
                listing = self._settled(download, listing, arrival)
            except NoRoom:
                # The older directory has to go for it, if nobody else uses it.
                if not arrival.give_up_held():
                    raise
                listing = self._settled(download, listing, arrival)
            times = arrival.times(listing.info)
            with arrival.flight.storing:
                current = not arrival.flight.forgotten
                if current and arrival.supersedes:
                    self._files.evict(arrival.where)
                return download.publish(listing.info, times.validated_at, times.expires_at, current=current)

    def _settled(self, download: TreeDownload, listing: Listing, arrival: Arrival) -> Listing:
        """All of the listing is downloaded; the listing is made anew, once, if an object is another one by now."""
        where = arrival.where
        try:
            self._fill(download, listing, arrival)
        except (_Moved, StartOver):
            anew = self.fetch(where, if_none_match=None)
            assert isinstance(anew, Listing)
            try:
                self._fill(download, anew, arrival)
            except (_Moved, StartOver) as error:
                message = f"{where} changed while it was fetched, and again when it was listed anew ({error})"
                unsettled = OriginUnavailableError(message, bucket=where.bucket, key=where.key)
                unsettled.outage = False
                raise unsettled from error
            return anew
        return listing

    def _fill(self, download: TreeDownload, listing: Listing, arrival: Arrival) -> None:
        """Bring what is missing: small objects several at a time, large ones one after the other, each by many connections."""
        from concurrent.futures import ThreadPoolExecutor

        found, size, prefix = listing.found, listing.info.size, len(arrival.where.key)
        ready = download.begin(listing.info, [(each.key[prefix:], each.etag, each.size) for each in found])
        missing = [number for number in range(len(found)) if number not in ready and not download.take_over(number)]
        so_far = size - sum(found[number].size for number in missing)
        small = [number for number in missing if found[number].size <= SMALL * PART]
        brought: set[int] = set()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="s3warm") as pool:
            try:
                # Without threads (RuntimeError) they are brought below, one after the other.
                with suppress(RuntimeError):
                    bringing = {
                        number: pool.submit(deadlines.carried(self._bring), download, listing, number, arrival)
                        for number in small
                    }
                    for number, done in bringing.items():
                        done.result()
                        brought.add(number)
                        so_far += found[number].size
                        arrival.progress(so_far, size)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for number in sorted(set(missing) - brought):
            self._bring(download, listing, number, arrival)
            so_far += found[number].size
            arrival.progress(so_far, size)

    def _bring(self, download: TreeDownload, listing: Listing, number: int, arrival: Arrival) -> None:
        wanted = listing.found[number]
        key = ObjectKey(arrival.where.bucket, wanted.key)
        try:
            incoming = self._origin.fetch(key, if_none_match=None)
        except ObjectNotFoundError as error:
            raise _Moved(str(error)) from error
        assert not isinstance(incoming, NotModified)
        with closing(incoming), download.member(number) as member:
            if incoming.info.etag == wanted.etag:
                buffers = buffers_within(self._account.largest(), wanted.size)
                # Divided among those that may be under way.
                with self._account.buffers(buffers if wanted.size > SMALL * PART else buffers // AT_ONCE) as memory:
                    info = incoming.save(member, memory, _untold)
                if info.etag == wanted.etag:
                    member.complete()
                    download.finished(number)
                    return
        raise _Moved(f"{key} has another ETag than in the listing")


class _Moved(Exception):
    """An object is not what the listing says."""


def _check_names(where: ObjectKey, found: Sequence[Listed]) -> None:
    """Every key must be the name of a file below the directory, and none the directory of another."""
    names = {each.key[len(where.key) :] for each in found}
    for name in names:
        parts = name.split("/")
        bad = any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > _LONGEST_NAME for part in parts)
        clash = any("/".join(parts[:depth]) in names for depth in range(1, len(parts)))
        if bad or clash:
            why = "cannot be the name of a file" if bad else "would lie in a directory that is the file of another key"
            message = f"s3://{where.bucket}/{where.key}{name} {why}, so {where} cannot be a tree; fetch its objects by path()"
            raise S3WarmError(message, bucket=where.bucket, key=where.key + name)


def _untold(so_far: int, size: int) -> None:
    """The progress of a member is told when it is complete."""
