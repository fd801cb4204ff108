"""The conditional fetch: one GET, and its body on the way to memory or to a sink, verified as it arrives."""

from __future__ import annotations

import time

from s3warm import deadlines
from s3warm.entries import Metadata
from s3warm.errors import ObjectTooLargeError
from s3warm.origin import integrity
from s3warm.origin.base import (
    BUFFERS,
    CHUNK,
    PART,
    PER_CONNECTION,
    Fetched,
    NoRoom,
    NotModified,
    Request,
    StartOver,
    TransportError,
    buffers_within,
    part_length,
)
from s3warm.origin.buffer import Buffer
from s3warm.origin.dates import timestamp
from s3warm.origin.exchange import ATTEMPTS, Again, Broken, Exchange, Stream, Wrong, damaged
from s3warm.origin.failures import of_transport, unverifiable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import RawIOBase
    from typing import TypeVar

    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.origin.base import Listed, Page, Progress, Requests, Response, Sink, Upload

    T = TypeVar("T")

__all__ = ["ConditionalFetch"]


class ConditionalFetch:
    """The `Origin` over any supplier of requests."""

    def __init__(
        self,
        requests: Requests,
        counters: Counters,
        *,
        must_verify: bool = False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._exchange = Exchange(requests, counters, sleep=sleep)
        self._must_verify = must_verify

    def fetch(self, key: ObjectKey, *, if_none_match: str | None) -> Arriving | NotModified:
        """See `Origin.fetch`."""
        response = self._exchange.open(Request(key, if_none_match))
        if response.status == 304 and if_none_match:
            response.close()
            return NotModified(if_none_match)
        return Arriving(self._exchange, key, response, must_verify=self._must_verify)

    def list(self, bucket: str, prefix: str, limit: int) -> list[Listed]:
        """See `Origin.list`."""
        from s3warm.origin.listing import list_prefix

        return list_prefix(self._exchange, bucket, prefix, limit)

    def pages(self, bucket: str, prefix: str, delimiter: str) -> Iterator[Page]:
        """See `Origin.pages`."""
        from s3warm.origin.listing import pages

        return pages(self._exchange, bucket, prefix, delimiter)

    def write(self, upload: Upload) -> Metadata:
        """See `Origin.write`."""
        from s3warm.origin.writing import write

        headers, verified_by = write(self._exchange, upload)
        return _metadata(headers, len(upload.body))._replace(verified_by=verified_by)

    def renew(self) -> None:
        """See `Origin.renew`."""
        self._exchange.requests.renew()

    def close(self) -> None:
        """Drop connections."""
        self._exchange.requests.close()


class Arriving:
    """See `Incoming`."""

    def __init__(self, exchange: Exchange, key: ObjectKey, response: Response, *, must_verify: bool) -> None:
        self._exchange = exchange
        self._key = key
        self._must_verify = must_verify
        self._response: Response | None = None
        self._adopt(response)

    def read(self, largest: int, progress: Progress) -> Fetched:
        """See `Incoming.read`."""

        def bring(digest: integrity.Digest) -> Fetched:
            if self.size is None:
                return self._read_all(digest, largest)
            with Buffer(self._key, largest) as buffer:
                info = self._save(digest, buffer, buffers_within(largest - self.size, self.size), progress)
                return Fetched(info, buffer.body())

        return self._until_whole(bring)

    def save(self, sink: Sink, memory: int, progress: Progress) -> Metadata:
        """See `Incoming.save`."""
        return self._until_whole(lambda digest: self._save(digest, sink, memory, progress))

    def stream(self) -> RawIOBase:
        """See `Incoming.stream`."""
        from s3warm.origin.stream import RangedFile

        if self.size is None:
            raise NoRoom(f"S3 does not say how long {self._key} is")
        if self._must_verify:
            raise unverifiable(self._key)
        request = Request(self._key, if_match=strong(self.info.etag))
        return RangedFile(self._exchange, request, self.size, self._taken())

    def close(self) -> None:
        """See `Incoming.close`."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _adopt(self, response: Response) -> None:
        self._response = response
        self.size = _declared(response.headers)
        self._digest = integrity.Digest(self._key, response.headers)
        self.info = _metadata(response.headers, self.size or 0)._replace(verified_by=self._digest.name)
        if self._must_verify and not self._digest.wanted:
            self.close()
            raise unverifiable(self._key)

    def _taken(self) -> Response:
        """The response, whose body whoever takes it reads and closes."""
        response, self._response = self._response, None
        assert response is not None
        return response

    def _until_whole(self, bring: Callable[[integrity.Digest], T]) -> T:
        """What `bring` makes of the body; asked for anew if the object changes under it, breaks for good, or arrives damaged."""
        tries: dict[type[Exception], int] = {}
        while True:
            if self._response is None:
                self._adopt(self._exchange.open(Request(self._key)))
            try:
                return bring(self._digest)
            except (Again, StartOver) as again:
                self.close()
                tries[type(again)] = count = tries.get(type(again), 0) + 1
                if isinstance(again, Again) and count > again.times:
                    raise again.error from (again.__cause__ or again)
                if count > ATTEMPTS:
                    raise NoRoom(str(again)) from again
                if isinstance(again, (Broken, Wrong)):
                    self._exchange.back_off(count)

    def _save(self, digest: integrity.Digest, sink: Sink, memory: int, progress: Progress) -> Metadata:
        if self.size is None:
            raise NoRoom(f"S3 does not say how long {self._key} is")
        ready = sink.begin(self.info)  # if it raises, the response is as good as new
        try:
            self._bring(digest, sink, ready, memory, progress)
            return self.info._replace(verified_by=digest.verify())
        except integrity.Mismatch as error:
            sink.reset()
            raise Wrong(damaged(self._key, error)) from error
        except Wrong:
            sink.reset()
            raise

    def _bring(self, digest: integrity.Digest, sink: Sink, ready: frozenset[int], memory: int, progress: Progress) -> None:
        """The body by as many connections as it is worth, and as there is memory for."""
        assert self.size is not None
        request = Request(self._key, if_match=strong(self.info.etag))
        connections = min(min(memory, BUFFERS) // PER_CONNECTION, self._exchange.requests.connections)
        if self.size > PART and request.if_match and (connections > 1 or ready):
            from s3warm.origin.transfer import Transfer

            transfer = Transfer(self._exchange, request, self.size, sink=sink, digest=digest, progress=progress)
            transfer.run(self._taken(), ready, max(1, connections), at_once=PART if memory >= 2 * PART else CHUNK)
        else:
            self._save_in_order(Stream(self._exchange, request, (0, self.size - 1), self._taken()), digest, sink, progress)

    def _save_in_order(self, stream: Stream, digest: integrity.Digest, sink: Sink, progress: Progress) -> None:
        """All of it over one connection, summed while the network brings the next piece."""
        size, length = self.info.size, part_length(self.info.size)
        try:
            if not size:
                stream.drain()
            while (start := stream.position) < size:
                end_of_part = min((start // length + 1) * length, size)
                # Released by hand: an error's traceback would keep it, and with it memory that cannot be freed.
                with sink.buffer(start, min(CHUNK, end_of_part - start)) as buffer:
                    count = stream.readinto(buffer)
                    with buffer[:count] as piece:
                        digest.update(piece)
                        sink.write(piece, start)
                if start + count == end_of_part:
                    sink.finished(start // length)
                    if size > PART:
                        progress(end_of_part, size)
        finally:
            stream.close()

    def _read_all(self, digest: integrity.Digest, largest: int) -> Fetched:
        """A body of unknown length (chunked: no S3 does that for objects, some gateways do)."""
        key, body, chunk = self._key, bytearray(), memoryview(bytearray(CHUNK))
        response = self._taken()
        try:
            response.deadline = deadlines.until()
            while count := response.readinto(chunk):
                self._exchange.counters.origin_bytes += count
                body += chunk[:count]
                digest.update(chunk[:count])
                if len(body) > largest:
                    raise ObjectTooLargeError.of(key, len(body), largest)
            return Fetched(self.info._replace(size=len(body), verified_by=digest.verify()), bytes(body))
        except TransportError as error:
            raise Broken(of_transport(key, error).error) from (error.__cause__ or error)
        except integrity.Mismatch as error:
            raise Wrong(damaged(key, error)) from error
        finally:
            response.close()


def strong(etag: str) -> str | None:
    """The ETag, where `If-Match` may be sent with it: a weak one never matches (RFC 9110, section 13.1.1)."""
    return etag if etag and not etag.startswith("W/") else None


def _declared(headers: Mapping[str, str]) -> int | None:
    """The length that the headers declare, if they do."""
    declared = headers.get("content-length")
    return int(declared) if declared and declared.isascii() and declared.isdigit() and len(declared) <= 18 else None


def _metadata(headers: Mapping[str, str], size: int) -> Metadata:
    user = {name[11:]: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    version = headers.get("x-amz-version-id")
    etag = headers.get("etag", "")
    encryption = headers.get("x-amz-server-side-encryption")
    return Metadata(
        # What no request can carry cannot be asked about: it is as good as none.
        etag=etag if etag.isascii() and etag.isprintable() else "",
        size=size,
        version_id=version if version != "null" else None,
        last_modified=timestamp(headers.get("last-modified")),
        content_type=headers.get("content-type"),
        content_encoding=headers.get("content-encoding"),
        cache_control=headers.get("cache-control"),
        user=user or None,
        encryption=encryption if encryption != "AES256" else None,
    )
