"""Suppliers of requests without a network: one that follows a script, one that holds an object, and a sink for what they bring."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from s3warm.keys import ObjectKey
from s3warm.metrics import Counters
from s3warm.origin import exchange, fetch, transfer
from s3warm.origin.base import Fetched, Listed, NotModified, Request
from s3warm.origin.exchange import Exchange
from s3warm.origin.fetch import ConditionalFetch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pytest

    from s3warm.entries import Metadata
    from s3warm.origin.base import Response, Upload

KEY = ObjectKey("bucket", "key")
MIB = 2**20
PATIENCE = 30.0  # seconds that a test waits for a thread before it fails


def etag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


class Answer:
    """One scripted answer. The body is a list of chunks; an exception among them is raised in its place."""

    def __init__(
        self,
        status: int = 200,
        *chunks: bytes | BaseException,
        headers: Mapping[str, str] | None = None,
        code: str = "",
        cause: BaseException | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.code = code
        self.cause = cause
        self.deadline: float | None = None
        self.chunks = list(chunks)
        self.reads: list[int] = []
        self.closed = 0
        self.before_read: Callable[[int], None] | None = None  # called with the number of bytes so far
        self._given = 0

    def readinto(self, buffer: memoryview) -> int:
        assert not self.closed
        self.reads.append(len(buffer))
        if self.before_read is not None:
            self.before_read(self._given)
        if not self.chunks:
            return 0
        chunk = self.chunks.pop(0)
        if isinstance(chunk, BaseException):
            raise chunk
        part, rest = chunk[: len(buffer)], chunk[len(buffer) :]
        if rest:
            self.chunks.insert(0, rest)
        buffer[: len(part)] = part
        self._given += len(part)
        return len(part)

    def close(self) -> None:
        self.closed += 1


class Listing:
    """One scripted page of a listing."""

    def __init__(
        self, status: int = 200, *keys: str, token: str = "", code: str = "", cause: BaseException | None = None
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self.code = code
        self.cause = cause
        self.objects = [Listed(key, '"e"', len(key)) for key in keys]
        self.prefixes: list[str] = []
        self.token = token


def whole(body: bytes, *, declared: int | None = None, etag: str | None = None, **headers: str) -> Answer:
    """200 with a body and, unless others are given, its true length and ETag."""
    return broken(body, declared=declared, etag=etag_of(body) if etag is None else etag, **headers)


def broken(*chunks: bytes | BaseException, declared: int | None = None, etag: str = '"e"', **headers: str) -> Answer:
    """200 whose body is what there is of these chunks."""
    length = sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes)) if declared is None else declared
    described = {"content-length": str(length), "etag": etag}
    return Answer(200, *chunks, headers={**described, **{name.replace("_", "-"): value for name, value in headers.items()}})


def part(*chunks: bytes | BaseException, etag: str | None = '"e"') -> Answer:
    """206 with some bytes."""
    return Answer(206, *chunks, headers={} if etag is None else {"etag": etag})


def without_length(*chunks: bytes | BaseException, etag: str = '"opaque"') -> Answer:
    return Answer(200, *chunks, headers={"etag": etag})


class World:
    """A scripted supplier, the fetch over it, and what it slept."""

    def __init__(
        self, script: Sequence[Answer | Listing | BaseException] = (), *, retries: bool = False, refreshes: bool = False
    ) -> None:
        self.script = [*script]
        self.answers = [answer for answer in script if isinstance(answer, Answer)]
        self.retries = retries
        self.connections = 64
        self.refreshes = refreshes
        self.requests: list[Request] = []
        self.listed: list[tuple[str, str, str]] = []
        self.delimiters: list[str] = []  # of those
        self.refreshed = 0
        self.renewed = 0
        self.closed = 0
        self.slept: list[float] = []
        self.progress: list[tuple[int, int]] = []
        self.counters = Counters()
        self.exchange = Exchange(self, self.counters, sleep=self.slept.append)
        self.origin = ConditionalFetch(self, self.counters, sleep=self.slept.append)

    def get(self, request: Request) -> Answer:
        self.requests.append(request)
        step = self._step()
        assert isinstance(step, Answer)
        return step

    def refresh_credentials(self) -> bool:
        self.refreshed += 1
        return self.refreshes

    def renew(self) -> None:
        self.renewed += 1

    def close(self) -> None:
        self.closed += 1

    def note(self, done: int, size: int) -> None:
        """A progress callback."""
        self.progress.append((done, size))

    def fetch(self, *, etag: str | None = None, largest: int = MIB) -> Fetched | NotModified:
        """Fetch and read; every answer that was given out must have been closed once, whatever happened."""
        try:
            answer = self.origin.fetch(KEY, if_none_match=etag)
            if isinstance(answer, NotModified):
                return answer
            with contextlib.closing(answer):
                return answer.read(largest, self.note)
        finally:
            self.check()

    def save(self, sink: Keeper, *, memory: int = MIB) -> Metadata:
        """Fetch into a sink."""
        try:
            answer = self.origin.fetch(KEY, if_none_match=None)
            assert not isinstance(answer, NotModified)
            with contextlib.closing(answer):
                return answer.save(sink, memory, self.note)
        finally:
            self.check()

    def body(self, **arguments: Any) -> bytes:
        answer = self.fetch(**arguments)
        assert isinstance(answer, Fetched)
        return answer.body

    def check(self) -> None:
        """What holds after each fetch."""
        given = [answer for answer in self.answers if answer not in self.script]
        assert [answer.closed for answer in given] == [1] * len(given)
        assert self.counters.origin_requests == len(self.requests) + len(self.listed)

    def _step(self) -> Answer | Listing:
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    def write(self, upload: Upload) -> Response:
        raise AssertionError("nothing is written here")

    def list(
        self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = ""
    ) -> Listing:  # the last one: it hides the type of its name
        self.listed.append((bucket, prefix, token))
        self.delimiters.append(delimiter)
        step = self._step()
        assert isinstance(step, Listing)
        return step


class Shop:
    """A supplier that holds one object and answers ranges and conditions as S3 does, to many threads at once.

    Attributes:
        requests: all of them, in the order in which they came.
        threads: names of those that read bodies.
        on_request: may answer in the shop's place, or raise.
        on_read: called before each read, with the request and the position in the object that is read from.
        cut: gives the body of an answer in pieces, exceptions among them.
    """

    def __init__(self, body: bytes = b"", *, etag: str | None = None, retries: bool = False, **headers: str) -> None:
        self.retries = retries
        self.connections = 64
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.threads: set[str] = set()
        self.slept: list[float] = []
        self.progress: list[tuple[int, int]] = []
        self.on_request: Callable[[Request], Answer | None] = lambda _: None
        self.on_read: Callable[[Request, int], None] = lambda *_: None
        self.cut: Callable[[Request, bytes], Sequence[bytes | BaseException]] = lambda _, body: [body]
        self.counters = Counters()
        self.exchange = Exchange(self, self.counters, sleep=self.slept.append)
        self.origin = ConditionalFetch(self, self.counters, sleep=self.slept.append)
        self._lock = threading.Lock()
        self.put(body, etag=etag, **headers)

    def put(self, body: bytes, *, etag: str | None = None, **headers: str) -> None:
        """Overwrite the object."""
        self.body_now = body
        self.etag = etag_of(body) if etag is None else etag
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def get(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
        answer = self.on_request(request)
        if answer is None:
            with self._lock:
                answer = self._answer(request)
        with self._lock:
            self.answers.append(answer)
        first = request.span[0] if request.span else 0

        def before_read(given: int) -> None:
            with self._lock:
                self.threads.add(threading.current_thread().name)
            self.on_read(request, first + given)

        answer.before_read = before_read
        return answer

    def refresh_credentials(self) -> bool:
        return False

    def renew(self) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError

    @property
    def spans(self) -> Collection[tuple[int, int] | None]:
        """What was asked for, in the order of positions; None for the whole."""
        return sorted((request.span for request in self.requests), key=lambda span: span or (-1, -1))

    def note(self, done: int, size: int) -> None:
        """A progress callback."""
        self.progress.append((done, size))

    def save(self, sink: Keeper, *, memory: int = MIB) -> Metadata:
        """Fetch into a sink; all answers are closed once and no thread is left, whatever happened."""
        try:
            answer = self.origin.fetch(KEY, if_none_match=None)
            assert not isinstance(answer, NotModified)
            with contextlib.closing(answer):
                return answer.save(sink, memory, self.note)
        finally:
            self.check()

    def fetch(self, *, largest: int = MIB) -> Fetched:
        """Fetch into memory, with the same promises."""
        try:
            answer = self.origin.fetch(KEY, if_none_match=None)
            assert not isinstance(answer, NotModified)
            with contextlib.closing(answer):
                return answer.read(largest, self.note)
        finally:
            self.check()

    def check(self) -> None:
        """What holds after each fetch."""
        assert [answer.closed for answer in self.answers] == [1] * len(self.answers)
        assert self.counters.origin_requests == len(self.requests)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("s3warm")]

    def _answer(self, request: Request) -> Answer:
        body, headers = self.body_now, {"etag": self.etag, **self.headers}
        if request.if_match not in (None, self.etag):
            return Answer(412, code="PreconditionFailed")
        if request.span is None:
            return Answer(200, *self.cut(request, body), headers={**headers, "content-length": str(len(body))})
        first, last = request.span
        if first >= len(body):
            return Answer(416, code="InvalidRange")
        piece = body[first : last + 1]
        return Answer(206, *self.cut(request, piece), headers={**headers, "content-length": str(len(piece))})

    def write(self, upload: Upload) -> Response:
        raise AssertionError("nothing is written here")

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Listing:
        raise AssertionError


class Keeper:
    """A sink in memory that notes what is done with it, and keeps the finished parts of a body for the next transfer of it."""

    def __init__(self, part: int = 1, ready: Mapping[int, bytes] | None = None) -> None:
        self.part = part
        self.body = bytearray()
        self.parts: set[int] = set()
        self.begun: list[Metadata] = []
        self.written: list[tuple[int, bytes]] = []
        self.order: list[int] = []  # in which the parts were finished
        self.resets = 0
        self.on_begin: Callable[[Metadata], None] = lambda _: None
        self.on_write: Callable[[int], None] = lambda _: None
        self.on_finished: Callable[[int], None] = lambda _: None
        self._earlier = dict(ready or {})
        self._now: set[int] = set()  # what has been finished since the last begin
        self._lock = threading.Lock()

    def begin(self, info: Metadata) -> frozenset[int]:
        before = self.begun[-1:]
        self.begun.append(info)
        self.on_begin(info)
        self._now = set()
        if [(one.etag, one.size) for one in before] != [(info.etag, info.size)]:
            self.body = bytearray(info.size)
            self.parts = set()
            self.written = []
            for number, body in self._earlier.items():
                self.body[number * self.part : number * self.part + len(body)] = body
                self.parts.add(number)
            self._earlier = {}
        return frozenset(self.parts)

    def buffer(self, offset: int, length: int) -> memoryview:
        return memoryview(bytearray(length))

    def write(self, piece: memoryview, offset: int) -> None:
        self.on_write(offset)
        with self._lock:
            self.written.append((offset, bytes(piece)))
            self.body[offset : offset + len(piece)] = piece

    def finished(self, part: int) -> None:
        self.on_finished(part)
        with self._lock:
            assert part not in self._now
            self._now.add(part)
            self.parts.add(part)
            self.order.append(part)

    def read(self, offset: int, length: int) -> memoryview:
        assert offset // self.part in self.parts, "what is summed is complete"
        return memoryview(bytes(self.body[offset : offset + length]))

    def reset(self) -> None:
        self.resets += 1
        self.parts = set()


def shrink(monkeypatch: pytest.MonkeyPatch, *, part: int, chunk: int) -> None:
    """Parts and chunks of so many bytes wherever they are known, and no more memory for a connection than a chunk."""
    assert transfer.__name__ in sys.modules, "what is imported later would know other ones"
    for name, module in list(sys.modules.items()):
        if name.startswith("s3warm."):
            for constant, value in (("PART", part), ("CHUNK", chunk)):
                if hasattr(module, constant):
                    monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr(fetch, "PER_CONNECTION", chunk)


def full_jitter(monkeypatch: pytest.MonkeyPatch, share: float = 1.0) -> None:
    """The longest back-off that there can be, or another share of it."""
    monkeypatch.setattr(exchange, "draw", lambda: share)


def filled(response: Response, size: int) -> bytes:
    """Some bytes of a body."""
    buffer = bytearray(size)
    return bytes(buffer[: response.readinto(memoryview(buffer))])
