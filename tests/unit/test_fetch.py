"""The conditional fetch over a scripted supplier: what is asked again, what is verified, what is never read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from s3warm.entry import Metadata
from s3warm.errors import (
    AccessDeniedError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
)
from s3warm.keys import ObjectKey
from s3warm.metrics import Counters
from s3warm.origin import fetch as fetching
from s3warm.origin.base import Fetched, NotModified, Request, TransportError
from s3warm.origin.fetch import ConditionalFetch

KEY = ObjectKey("bucket", "key")
MIB = 2**20


def etag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


class Answer:
    """One scripted answer. The body is a list of chunks; an exception among them is raised in its place."""

    def __init__(
        self,
        status: int = 200,
        *chunks: bytes | Exception,
        headers: Mapping[str, str] | None = None,
        code: str = "",
        cause: BaseException | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.code = code
        self.cause = cause
        self.chunks = list(chunks)
        self.reads: list[int] = []
        self.closed = 0

    def readinto(self, buffer: memoryview) -> int:
        assert not self.closed
        self.reads.append(len(buffer))
        if not self.chunks:
            return 0
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        part, rest = chunk[: len(buffer)], chunk[len(buffer) :]
        if rest:
            self.chunks.insert(0, rest)
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.closed += 1


def whole(body: bytes, *, declared: int | None = None, etag: str | None = None, **headers: str) -> Answer:
    """200 with a body and, unless others are given, its true length and ETag."""
    length = len(body) if declared is None else declared
    described = {"content-length": str(length), "etag": etag_of(body) if etag is None else etag}
    return Answer(200, body, headers={**described, **{name.replace("_", "-"): value for name, value in headers.items()}})


def without_length(*chunks: bytes | Exception, etag: str = '"opaque"') -> Answer:
    return Answer(200, *chunks, headers={"etag": etag})


class World:
    """A scripted supplier, the fetch over it, and what it slept."""

    def __init__(self, script: list[Answer | Exception], *, retries: bool = False, refreshes: bool = False) -> None:
        self.script = script
        self.answers = [answer for answer in script if isinstance(answer, Answer)]
        self.retries = retries
        self.refreshes = refreshes
        self.requests: list[Request] = []
        self.refreshed = 0
        self.closed = 0
        self.slept: list[float] = []
        self.counters = Counters()
        self.origin = ConditionalFetch(self, self.counters, sleep=self.slept.append)

    def get(self, request: Request) -> Answer:
        self.requests.append(request)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def refresh_credentials(self) -> bool:
        self.refreshed += 1
        return self.refreshes

    def renew(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed += 1

    def fetch(self, *, etag: str | None = None, largest: int = MIB) -> Fetched | NotModified:
        """Fetch; every answer that was given out must have been closed once, whatever happened."""
        try:
            return self.origin.fetch(KEY, if_none_match=etag, largest=largest)
        finally:
            given = [answer for answer in self.answers if answer not in self.script]
            assert [answer.closed for answer in given] == [1] * len(given)
            assert self.counters.origin_requests == len(self.requests)

    def body(self, **arguments: Any) -> bytes:
        answer = self.fetch(**arguments)
        assert isinstance(answer, Fetched)
        return answer.body


@pytest.fixture(autouse=True)
def _full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest back-off that there can be."""
    monkeypatch.setattr(fetching, "random", lambda: 1.0)


# -- one answer -----------------------------------------------------------------------------------------------------------------


def test_an_object_comes_with_all_that_s3_said_of_it() -> None:
    answer = whole(
        b"body",
        last_modified="Wed, 21 Oct 2015 07:28:00 GMT",
        content_type="text/plain",
        content_encoding="gzip",
        cache_control="max-age=60",
        x_amz_version_id="v1",
        x_amz_meta_owner="ops",
        x_amz_meta_x_y="z",
    )
    assert World([answer]).fetch() == Fetched(
        Metadata(
            etag_of(b"body"), 4, "v1", 1_445_412_480.0, "text/plain", "gzip", "max-age=60", {"owner": "ops", "x-y": "z"}, "md5"
        ),
        b"body",
    )


def test_what_s3_did_not_say_stays_empty() -> None:
    answer = Answer(200, b"body", headers={"content-length": "4"})
    assert World([answer]).fetch() == Fetched(Metadata("", 4), b"body")


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("x-amz-version-id", "null", "version_id"),
        ("last-modified", "yesterday", "last_modified"),
        ("last-modified", "", "last_modified"),
        ("last-modified", "Wed, 99 Oct 2015 07:28:00 GMT", "last_modified"),
    ],
)
def test_a_header_that_says_nothing_is_none(name: str, value: str, field: str) -> None:
    answer = World([Answer(200, headers={"content-length": "0", name: value})]).fetch()
    assert isinstance(answer, Fetched)
    assert getattr(answer.info, field) is None


@pytest.mark.parametrize("etag", [None, '"e"'])
def test_the_request_is_for_the_object_and_conditional_if_a_body_is_held(etag: str | None) -> None:
    world = World([whole(b"body")])
    world.fetch(etag=etag)
    assert world.requests == [Request(KEY, etag)]


def test_304_is_the_body_that_is_held_and_nothing_is_read_of_the_answer() -> None:
    answer = Answer(304, b"garbage", headers={"etag": '"another"'})
    world = World([answer])
    assert world.fetch(etag='"held"') == NotModified('"held"')
    assert (answer.reads, world.counters.origin_bytes) == ([], 0)


def test_304_to_a_request_that_was_not_conditional_is_no_answer() -> None:
    with pytest.raises(OriginUnavailableError, match="S3 answered 304"):
        World([Answer(304)]).fetch()


def test_an_empty_object_is_an_empty_body_and_needs_no_read() -> None:
    answer = whole(b"")
    assert World([answer]).body() == b""
    assert answer.reads == []


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, 700_000])
def test_a_body_is_put_together_from_whatever_pieces_arrive(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    pieces = [body[start : start + 9973] for start in range(0, size, 9973)]
    answer = Answer(200, *pieces, headers={"content-length": str(size), "etag": etag_of(body)})
    world = World([answer])
    assert world.body() == body
    assert max(answer.reads) <= 256 * 1024
    assert world.counters.origin_bytes == size


@pytest.mark.parametrize("chunks", [(), (b"",), (b"body",), (b"bo", b"dy"), (b"x" * 300_000, b"y" * 300_000)])
def test_a_body_of_unknown_length_is_read_to_its_end(chunks: tuple[bytes, ...]) -> None:
    assert World([without_length(*chunks)]).body() == b"".join(chunks)


@pytest.mark.parametrize("declared", ["", "four", "-1", "4.0"])
def test_a_length_that_is_none_counts_as_unknown(declared: str) -> None:
    answer = Answer(200, b"body", headers={"content-length": declared, "etag": etag_of(b"body")})
    assert World([answer]).body() == b"body"


def test_a_length_in_digits_of_another_script_counts_as_unknown() -> None:
    answer = Answer(200, b"body", headers={"content-length": "²", "etag": etag_of(b"body")})
    assert World([answer]).body() == b"body"


def test_more_than_the_declared_length_is_not_read() -> None:
    answer = Answer(200, b"body and more", headers={"content-length": "4", "etag": etag_of(b"body")})
    assert World([answer]).body() == b"body"
    assert sum(answer.reads) == 4


# -- too large ------------------------------------------------------------------------------------------------------------------


def test_too_large_is_refused_before_a_byte_is_read_and_not_asked_again() -> None:
    answer = whole(b"x" * 1001)
    world = World([answer])
    with pytest.raises(ObjectTooLargeError) as caught:
        world.fetch(largest=1000)
    assert (answer.reads, len(world.requests), world.slept) == ([], 1, [])
    assert (caught.value.bucket, caught.value.key) == ("bucket", "key")
    assert "s3://bucket/key has 1,001 bytes" in str(caught.value)
    assert "1,000" in str(caught.value)


def test_a_body_that_just_fits_is_taken() -> None:
    assert World([whole(b"x" * 1000)]).body(largest=1000) == b"x" * 1000


def test_too_large_without_a_declared_length_stops_where_it_is_known() -> None:
    answer = without_length(*[b"x" * 100] * 50)
    with pytest.raises(ObjectTooLargeError):
        World([answer]).fetch(largest=1000)
    assert len(answer.reads) == 11


# -- asked again ----------------------------------------------------------------------------------------------------------------

BROKEN = [
    pytest.param(lambda: whole(b"bo", declared=4), id="cut off"),
    pytest.param(
        lambda: Answer(200, b"bo", TransportError("reset"), headers={"content-length": "4", "etag": '"e"'}),
        id="reset while read",
    ),
    pytest.param(lambda: whole(b"bodY", etag=etag_of(b"body")), id="damaged"),
    pytest.param(lambda: without_length(b"bo", TransportError("reset")), id="reset, unknown length"),
]
FAILING = [
    pytest.param(lambda: Answer(500, code="InternalError"), id="500"),
    pytest.param(lambda: Answer(503, code="SlowDown"), id="503"),
    pytest.param(lambda: TransportError("no route"), id="no answer"),
]


@pytest.mark.parametrize("fail", FAILING + BROKEN)
def test_what_may_pass_is_asked_again_with_a_doubled_back_off(fail: Any) -> None:
    world = World([fail(), fail(), whole(b"body")])
    assert world.body() == b"body"
    assert world.slept == [0.1, 0.2]


@pytest.mark.parametrize("fail", FAILING + BROKEN)
def test_three_attempts_are_all(fail: Any) -> None:
    world = World([fail() for _ in range(5)])
    with pytest.raises((OriginUnavailableError, IntegrityError)):
        world.fetch()
    assert (len(world.requests), world.slept) == (3, [0.1, 0.2])


@pytest.mark.parametrize("fail", FAILING + BROKEN)
def test_two_attempts_at_once_are_all_where_a_copy_can_be_served(fail: Any) -> None:
    world = World([fail() for _ in range(5)])
    with pytest.raises((OriginUnavailableError, IntegrityError)):
        world.fetch(etag='"held"')
    assert (len(world.requests), world.slept) == (2, [])


def test_jitter_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "random", lambda: 0.0)
    world = World([Answer(500), Answer(500), whole(b"body")])
    world.fetch()
    assert world.slept == [0.0, 0.0]


@pytest.mark.parametrize("fail", FAILING)
def test_a_supplier_that_asks_again_itself_is_believed(fail: Any) -> None:
    world = World([fail(), whole(b"body")], retries=True)
    with pytest.raises(OriginUnavailableError):
        world.fetch()
    assert (len(world.requests), world.slept) == (1, [])


@pytest.mark.parametrize("fail", BROKEN)
def test_a_broken_body_is_asked_for_again_even_so(fail: Any) -> None:
    world = World([fail(), whole(b"body")], retries=True)
    assert world.body() == b"body"
    assert len(world.requests) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, code="NoSuchKey"), ObjectNotFoundError),
        (Answer(403, code="AccessDenied"), AccessDeniedError),
        (Answer(403, code="InvalidObjectState"), OriginUnavailableError),
        (Answer(301, code="PermanentRedirect"), OriginUnavailableError),
        (Answer(400, code="InvalidArgument"), OriginUnavailableError),
        (TransportError("timed out", transient=False), OriginUnavailableError),
    ],
)
def test_what_will_not_pass_is_not_asked_again(answer: Answer | Exception, error: type[Exception]) -> None:
    world = World([answer, whole(b"body")])
    with pytest.raises(error):
        world.fetch()
    assert (len(world.requests), world.slept) == (1, [])


def test_damaged_three_times_is_an_integrity_error_that_names_object_and_checksum() -> None:
    world = World([whole(b"bodY", etag=etag_of(b"body")) for _ in range(3)])
    with pytest.raises(IntegrityError, match=r"s3://bucket/key arrived damaged.* md5 is") as caught:
        world.fetch()
    assert (caught.value.bucket, caught.value.key) == ("bucket", "key")
    assert caught.value.__cause__ is not None


def test_a_short_body_says_how_short() -> None:
    world = World([whole(b"bo", declared=4) for _ in range(3)])
    with pytest.raises(OriginUnavailableError, match="the body ended after 2 of 4 bytes"):
        world.fetch()


def test_an_answer_other_than_the_failure_before_decides() -> None:
    world = World([Answer(503), Answer(404, code="NoSuchKey")])
    with pytest.raises(ObjectNotFoundError):
        world.fetch()
    world = World([Answer(503), Answer(304)])
    assert world.fetch(etag='"held"') == NotModified('"held"')


# -- credentials ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [False, True])
@pytest.mark.parametrize(
    "fail",
    [
        lambda: Answer(400, code="ExpiredToken"),
        lambda: Answer(403, code="RequestTimeTooSkewed"),
        lambda: TransportError("no credentials", transient=False, credentials=True),
    ],
)
def test_credentials_are_refreshed_once_and_tried_without_waiting(fail: Any, retries: bool) -> None:
    world = World([fail(), whole(b"body")], refreshes=True, retries=retries)
    assert world.body() == b"body"
    assert (world.refreshed, world.slept) == (1, [])
    world = World([fail(), fail(), whole(b"body")], refreshes=True, retries=retries)
    with pytest.raises(OriginUnavailableError):
        world.fetch()
    assert (world.refreshed, len(world.requests)) == (1, 2)


def test_credentials_that_cannot_be_refreshed_are_not_tried_again() -> None:
    world = World([Answer(400, code="ExpiredToken"), whole(b"body")], refreshes=False)
    with pytest.raises(OriginUnavailableError, match="ExpiredToken"):
        world.fetch()
    assert (world.refreshed, len(world.requests)) == (1, 1)


def test_after_a_refresh_all_attempts_are_still_there() -> None:
    world = World([Answer(400, code="ExpiredToken"), Answer(500), Answer(500), whole(b"body")], refreshes=True)
    assert world.body() == b"body"
    assert world.slept == [0.1, 0.2]


@pytest.mark.parametrize("answer", [Answer(403, code="AccessDenied"), Answer(404), Answer(500)])
def test_other_failures_refresh_nothing(answer: Answer) -> None:
    world = World([answer, Answer(500), Answer(500)], refreshes=True)
    with pytest.raises((AccessDeniedError, ObjectNotFoundError, OriginUnavailableError)):
        world.fetch()
    assert world.refreshed == 0


# -- causes ---------------------------------------------------------------------------------------------------------------------


def test_the_origins_own_error_is_the_cause() -> None:
    cause = RuntimeError("ClientError")
    with pytest.raises(ObjectNotFoundError) as caught:
        World([Answer(404, cause=cause)]).fetch()
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("broken_body", [False, True])
def test_the_suppliers_own_error_is_the_cause_of_no_answer(broken_body: bool) -> None:
    inner = OSError("reset by peer")
    steps: list[Answer | Exception] = []
    for _ in range(3):
        error = TransportError("no answer", transient=broken_body)
        error.__cause__ = inner
        steps.append(Answer(200, error, headers={"content-length": "4"}) if broken_body else error)
    with pytest.raises(OriginUnavailableError) as caught:
        World(steps).fetch()
    assert caught.value.__cause__ is inner


def test_a_transport_error_without_a_cause_is_the_cause_itself() -> None:
    error = TransportError("no answer", transient=False)
    with pytest.raises(OriginUnavailableError) as caught:
        World([error]).fetch()
    assert caught.value.__cause__ is error


def test_an_error_of_the_suppliers_that_is_no_transport_error_is_the_users_to_see() -> None:
    answer = Answer(200, ZeroDivisionError(), headers={"content-length": "4"})
    with pytest.raises(ZeroDivisionError):
        World([answer]).fetch()


def test_only_received_bodies_count_as_bytes() -> None:
    world = World([whole(b"bo", declared=4), Answer(500), whole(b"body")])
    world.fetch()
    assert (world.counters.origin_requests, world.counters.origin_bytes) == (3, 4)


def test_closing_closes_the_supplier() -> None:
    world = World([])
    world.origin.close()
    assert world.closed == 1
