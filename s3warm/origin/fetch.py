"""The conditional fetch: one GET, its answer read, verified and translated; asked again where that is worth it."""

from __future__ import annotations

import time
from io import BytesIO
from random import random

from s3warm.entry import Metadata
from s3warm.errors import IntegrityError, ObjectTooLargeError
from s3warm.origin import failures, integrity
from s3warm.origin.base import Fetched, NotModified, Request, TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.origin.base import Requests, Response

__all__ = ["ConditionalFetch"]

ATTEMPTS = 3
ATTEMPTS_WITH_COPY = 2  # a stale copy at hand can be served instead: one repeat mends a connection that died while frozen
BACKOFF = 0.1  # seconds before the second attempt, doubled for each further one, with full jitter
_CHUNK = 256 * 1024  # urllib3's readinto reads into a buffer of its own first, as large as the one it is given


class ConditionalFetch:
    """The `Origin` over any supplier of requests."""

    def __init__(self, requests: Requests, counters: Counters, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._requests = requests
        self._counters = counters
        self._sleep = sleep

    def fetch(self, key: ObjectKey, *, if_none_match: str | None, largest: int) -> Fetched | NotModified:
        """See `Origin.fetch`."""
        request = Request(key, if_none_match)
        attempts = ATTEMPTS_WITH_COPY if if_none_match else ATTEMPTS
        refreshed = False
        attempt = 1
        while True:
            try:
                return self._attempt(request, largest)
            except _Failed as failed:
                failure, broken_body = failed.failure, failed.broken_body
                cause = failed.__cause__
            if failure.credentials and not refreshed and self._requests.refresh_credentials():
                refreshed = True  # new credentials deserve a try of their own
                continue
            # A supplier that repeats requests does not do so for bodies that break while they are read (botocore's documented limit).
            ours_to_repeat = failure.transient and (broken_body or not self._requests.retries)
            if attempt >= attempts or not ours_to_repeat:
                raise failure.error from cause
            if not if_none_match:  # with a copy at hand nobody should wait: the repeat is for a connection that died
                self._sleep(random() * BACKOFF * 2 ** (attempt - 1))
            attempt += 1

    def renew(self) -> None:
        """See `Origin.renew`."""
        self._requests.renew()

    def close(self) -> None:
        """Drop connections."""
        self._requests.close()

    def _attempt(self, request: Request, largest: int) -> Fetched | NotModified:
        key = request.object
        self._counters.origin_requests += 1
        try:
            response = self._requests.get(request)
        except TransportError as error:
            raise _Failed(failures.of_transport(key, error)) from (error.__cause__ or error)
        try:
            if response.status == 304 and request.if_none_match:
                return NotModified(request.if_none_match)
            if response.status != 200:
                raise _Failed(failures.of_response(key, response)) from response.cause
            return self._receive(key, response, largest)
        finally:
            response.close()

    def _receive(self, key: ObjectKey, response: Response, largest: int) -> Fetched:
        headers = response.headers
        declared = headers.get("content-length")
        size = int(declared) if declared and declared.isascii() and declared.isdigit() else None
        if size is not None and size > largest:
            raise ObjectTooLargeError.of(key, bucket=key.bucket, key=key.key, size=size, largest=largest)
        try:
            digest = integrity.Digest(key, headers)
            body = _read_all(key, response, digest, largest) if size is None else _read_exactly(response, digest, size)
            self._counters.origin_bytes += len(body)
            verified_by = digest.verify()
        except TransportError as error:
            raise _Failed(failures.of_transport(key, error), broken_body=True) from (error.__cause__ or error)
        except integrity.Mismatch as error:
            damaged = IntegrityError(
                f"{key} arrived damaged, again when it was asked for anew: {error}", bucket=key.bucket, key=key.key
            )
            raise _Failed(failures.Failure(damaged, transient=True), broken_body=True) from error
        return Fetched(_metadata(headers, len(body), verified_by), body)


class _Failed(Exception):
    """One attempt failed."""

    def __init__(self, failure: failures.Failure, *, broken_body: bool = False) -> None:
        super().__init__(failure)
        self.failure = failure
        self.broken_body = broken_body


def _read_exactly(response: Response, digest: integrity.Digest, size: int) -> bytes:
    """A body of known length, read into the one allocation that is then returned, and summed while the network brings the next piece.

    `BytesIO` owns a bytes object that nobody else knows, may be written through its buffer, and is handed out by
    `getvalue()` without a copy. `bytes(bytearray)` would need the body twice.
    """
    buffer = BytesIO(bytes(size))
    with buffer.getbuffer() as view:
        position = 0
        while position < size:
            # Each piece is released by hand: an error's traceback would keep it, and with it a buffer that cannot be freed.
            with view[position : position + _CHUNK] as piece:
                count = response.readinto(piece)
                if not count:
                    raise TransportError(f"the body ended after {position} of {size} bytes")
                with piece[:count] as received:
                    digest.update(received)
            position += count
    return buffer.getvalue()


def _read_all(key: ObjectKey, response: Response, digest: integrity.Digest, largest: int) -> bytes:
    """A body of unknown length (chunked: no S3 does that for objects, some gateways do)."""
    body = bytearray()
    chunk = memoryview(bytearray(_CHUNK))
    while count := response.readinto(chunk):
        body += chunk[:count]
        digest.update(chunk[:count])
        if len(body) > largest:
            raise ObjectTooLargeError.of(key, bucket=key.bucket, key=key.key, size=len(body), largest=largest)
    return bytes(body)


def _metadata(headers: Mapping[str, str], size: int, verified_by: str) -> Metadata:
    user = {name[11:]: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    version = headers.get("x-amz-version-id")
    return Metadata(
        etag=headers.get("etag", ""),
        size=size,
        version_id=version if version != "null" else None,
        last_modified=_timestamp(headers.get("last-modified")),
        content_type=headers.get("content-type"),
        content_encoding=headers.get("content-encoding"),
        cache_control=headers.get("cache-control"),
        user=user or None,
        verified_by=verified_by,
    )


def _timestamp(header: str | None) -> float | None:
    """Seconds since the epoch of an HTTP date (`Wed, 21 Oct 2015 07:28:00 GMT`)."""
    if not header:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
