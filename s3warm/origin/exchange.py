"""Requests that are asked again where that is worth it, and bodies that go on where a connection broke.

botocore repeats requests, but not bodies that break while they are read
(https://botocore.amazonaws.com/v1/documentation/api/latest/reference/response.html): here the rest of such a body is asked for by a ranged
GET that is pinned to the ETag of the first answer.
"""

from __future__ import annotations

import contextlib
import time

from s3warm import deadlines
from s3warm.chance import draw
from s3warm.errors import IntegrityError
from s3warm.origin import failures
from s3warm.origin.base import Damaged, Late, Request, TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Counters
    from s3warm.origin.base import Page, Requests, Response
    from s3warm.origin.failures import Failure

    A = TypeVar("A", Response, Page)

__all__ = ["ATTEMPTS", "Again", "Broken", "Changed", "Exchange", "Stream", "Wrong"]

ATTEMPTS = 3
ATTEMPTS_WITH_COPY = 2  # a stale copy at hand can be served instead: one repeat mends a connection that died while frozen
BACKOFF = 0.1  # seconds before the second attempt, doubled for each further one, with full jitter
BREAKS = 10  # of one stream, however far it got in between


class Again(Exception):
    """The whole object has to be asked for anew; `error` is what it comes to if that is no help either, after `times`."""

    times = ATTEMPTS - 1

    def __init__(self, error: S3WarmError) -> None:
        super().__init__(error)
        self.error = error


class Broken(Again):
    """A body broke off that cannot be gone on with, as nothing tells its version from another."""


class Changed(Again):
    """The object is another one by now."""

    times = 1


class Wrong(Again):
    """The bytes that arrived are not those that S3 described."""


class Exchange:
    """Sends requests, again where that is worth it."""

    def __init__(self, requests: Requests, counters: Counters, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self.requests = requests
        self.counters = counters
        self._sleep = sleep

    def open(self, request: Request) -> Response:
        """The answer to a request: 200, 206 to a span, or 304 to a condition; no later than the deadline of the call.

        Raises:
            Changed: the object has another ETag, or too few bytes for the span.
            S3WarmError: S3 refuses, or cannot be reached.
        """
        key = request.object
        if request.deadline is None:
            request = request._replace(deadline=deadlines.until())

        def refused(response: Response) -> Failure | None:
            wanted = 200 if request.span is None else 206
            if response.status == 304 and request.if_none_match:
                return None
            # Some servers ignore If-Match.
            same = not request.if_match or response.headers.get("etag", request.if_match) == request.if_match
            if response.status == wanted and same and _is_asked_for(request.span, response):
                return None
            response.close()
            if request.if_match and (not same or response.status in (412, 416)):
                raise Changed(failures.changed(key)) from response.cause
            if request.span is not None and response.status in (200, 206):
                return failures.another_range(key)
            return failures.of_response(key, response)

        # With a copy at hand nobody should wait: the repeat is for a connection that died.
        return self.ask(key, lambda: self.requests.get(request), refused, patient=not request.if_none_match)

    def ask(
        self,
        key: ObjectKey,
        send: Callable[[], A],
        refused: Callable[[A], Failure | None],
        *,
        patient: bool = True,
        doing: str = "fetched",
    ) -> A:
        """What `send` brings, unless it is `refused`; sent again where that is worth it, after a wait if one is `patient`."""
        refreshed = False
        attempt = 1
        while True:
            if (left := deadlines.left()) is not None and left <= 0:
                raise failures.of_transport(key, Late(), doing=doing).error
            self.counters.origin_requests += 1
            cause: BaseException | None
            try:
                answer = send()
            except TransportError as error:
                failure, cause = failures.of_transport(key, error, doing=doing), error.__cause__ or error
            else:
                refusal = refused(answer)
                if refusal is None:
                    return answer
                failure, cause = refusal, answer.cause
                del refusal
            if failure.credentials and not refreshed and self.requests.refresh_credentials():
                refreshed = True  # new credentials deserve a try of their own
                continue
            if attempt >= (ATTEMPTS if patient else ATTEMPTS_WITH_COPY) or not failure.transient or self.requests.retries:
                try:
                    raise failure.error from cause
                finally:
                    # An error that a frame of its own traceback holds waits for the collector of cycles, and bodies with it.
                    del failure, cause
            if patient:
                self.back_off(attempt)
            attempt += 1

    def back_off(self, attempt: int) -> None:
        """Wait before the next attempt, for a random time below a bound that doubles; not longer than the deadline allows."""
        wait, left = draw() * BACKOFF * 2 ** (attempt - 1), deadlines.left()
        self._sleep(wait if left is None else max(0.0, min(wait, left)))


def _is_asked_for(span: tuple[int, int] | None, response: Response) -> bool:
    """Whether the range that an answer says it is begins where it should."""
    said = response.headers.get("content-range")
    return span is None or said is None or said.startswith(f"bytes {span[0]}-")


class Stream:
    """The bytes of a span of one body, in order. What breaks is asked for again, on a new connection, from the byte where it broke.

    Args:
        exchange: what sends the requests.
        request: for the body, with `if_match` on its ETag; without it a body that breaks cannot be gone on with.
        span: the first and the last byte that are wanted.
        response: an answer, if there is one, whose body begins with the first byte.
    """

    def __init__(self, exchange: Exchange, request: Request, span: tuple[int, int], response: Response | None = None) -> None:
        self._exchange = exchange
        self._request = request
        self._response = response
        self._begun = response is not None
        self.position, self._last = span
        self._fruitless = self._breaks = 0

    def readinto(self, buffer: memoryview) -> int:
        """Read some of the span into the buffer, and at least one byte of it, unless it is at its end: then 0.

        Raises:
            Broken, Changed, Wrong: the whole has to be asked for anew.
            S3WarmError: S3 refuses, or cannot be reached.
        """
        wanted = min(len(buffer), self._last + 1 - self.position)
        while wanted > 0:
            response = self._response
            if response is None and self._begun and self._request.if_match is None:
                raise Broken(failures.unpinned(self._request.object))  # the rest might be another body's
            self._begun = True
            if response is None:
                response = self._response = self._exchange.open(self._request._replace(span=(self.position, self._last)))
            try:
                # Released by hand: an error's traceback would keep it, and with it a buffer that cannot be freed.
                with buffer[:wanted] as piece:
                    response.deadline = deadlines.until()  # a stream may be read in another invocation than it was opened in
                    count = response.readinto(piece)
                if not count:
                    raise TransportError(f"the body ended at byte {self.position:,}, {self._last + 1:,} were to come")
            except TransportError as error:
                self.close()
                self._broke(error)
                continue
            self.position += count
            self._exchange.counters.origin_bytes += count
            self._fruitless = 0
            return count
        return 0

    def drain(self) -> None:
        """Let an empty body be read to its end, so that its connection is of use again."""
        if self._response is not None:
            with contextlib.suppress(TransportError), memoryview(bytearray(1)) as nothing:
                self._response.readinto(nothing)

    def close(self) -> None:
        """Give the connection back, or drop it."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _broke(self, error: TransportError) -> None:
        """Wait before the rest is asked for, or give up."""
        key = self._request.object
        cause = error.__cause__ or error
        if isinstance(error, Damaged):
            raise Wrong(damaged(key, error)) from cause
        failure: Failure = failures.of_transport(key, error)
        if not failure.transient:
            raise failure.error from cause
        if self._request.if_match is None:
            raise Broken(failure.error) from cause
        self._fruitless += 1
        self._breaks += 1
        if self._fruitless >= ATTEMPTS or self._breaks >= BREAKS:
            raise failure.error from cause
        self._exchange.back_off(self._fruitless)


def damaged(key: ObjectKey, error: Exception) -> IntegrityError:
    """The error for an object that arrived damaged each time."""
    advice = "look for what changes it on its way (a proxy, a gateway), or upload it again"
    message = f"{key} arrived damaged, again when it was asked for anew: {error}; {advice}"
    return IntegrityError(message, bucket=key.bucket, key=key.key)
