"""One request until it is answered, and one body until its span is there: what is sent again, what goes on, and when it is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from s3warm.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError, OriginUnavailableError, S3WarmError
from s3warm.keys import ObjectKey
from s3warm.origin.base import Damaged, Request, TransportError
from s3warm.origin.exchange import ATTEMPTS, BREAKS, Broken, Changed, Stream, Wrong
from tests.support.supplier import KEY, Answer, Shop, World, broken, etag_of, filled, full_jitter, part, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = Request(KEY)
HELD = Request(KEY, '"held"')
PINNED = Request(KEY, if_match='"e"')
SPAN = PINNED._replace(span=(2, 5))


@pytest.fixture(autouse=True)
def _full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    full_jitter(monkeypatch)


def opened(world: World, request: Request = WHOLE) -> Answer:
    """The answer to a request, still open; all others that were given out are closed."""
    answer = None
    try:
        answer = world.exchange.open(request)
    finally:
        for given in world.answers:
            assert given.closed == (given is not answer and given not in world.script)
        assert world.counters.origin_requests == len(world.requests)
    assert isinstance(answer, Answer)
    return answer


# -- open: which answers are answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (Request(KEY), whole(b"body")),
        (Request(ObjectKey("bucket", "key", "v1")), whole(b"body")),
        (HELD, whole(b"body")),
        (HELD, Answer(304)),
        (PINNED, whole(b"body", etag='"e"')),
        (SPAN, part(b"dy")),
        (SPAN, part(b"dy", etag=None)),
        (Request(KEY, span=(0, 1)), part(b"bo")),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_what_was_asked_for_is_handed_out_open_and_unread(request_: Request, answer: Answer) -> None:
    world = World([answer])
    assert opened(world, request_) is answer
    assert (answer.reads, world.requests, world.slept) == ([], [request_], [])


@pytest.mark.parametrize("answer", [Answer(412, code="PreconditionFailed"), Answer(416, code="InvalidRange"), Answer(412)])
@pytest.mark.parametrize("request_", [PINNED, SPAN], ids=["whole", "span"])
def test_another_etag_or_too_few_bytes_are_another_object(request_: Request, answer: Answer) -> None:
    answer.closed, answer.cause = 0, RuntimeError("ClientError")
    world = World([answer])
    with pytest.raises(Changed) as caught:
        opened(world, request_)
    assert caught.value.__cause__ is answer.cause
    assert isinstance(caught.value.error, OriginUnavailableError)
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    ("request_", "answer"),
    [(PINNED, whole(b"body", etag='"other"')), (SPAN, part(b"dy", etag='"other"')), (SPAN, whole(b"body", etag='"other"'))],
    ids=["whole", "span", "span, answered by the whole"],
)
def test_a_server_that_ignores_if_match_is_seen_through(request_: Request, answer: Answer) -> None:
    with pytest.raises(Changed):
        opened(World([answer]), request_)


@pytest.mark.parametrize("request_", [SPAN, Request(KEY, span=(0, 3))], ids=["pinned", "not pinned"])
def test_a_server_that_ignores_ranges_says_so_at_once(request_: Request) -> None:
    world = World([whole(b"body", etag='"e"'), part(b"body")])
    with pytest.raises(OriginUnavailableError, match="something else than the range of it that was asked for") as caught:
        opened(world, request_)
    assert not caught.value.outage
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Request(KEY), 206),
        (Request(KEY), 304),
        (PINNED, 304),
        (Request(KEY), 412),
        (Request(KEY, span=(9, 9)), 416),
        (HELD, 412),
    ],
    ids=str,
)
def test_an_answer_to_another_question_is_none(request_: Request, status: int) -> None:
    world = World([Answer(status), whole(b"body")])
    with pytest.raises(OriginUnavailableError, match=f"S3 answered {status}"):
        opened(world, request_)
    assert len(world.requests) == 1


def test_a_refusal_without_an_etag_is_no_other_object() -> None:
    with pytest.raises(AccessDeniedError):
        opened(World([Answer(403, code="AccessDenied")]), SPAN)
    with pytest.raises(ObjectNotFoundError):
        opened(World([Answer(404, code="NoSuchKey")]), SPAN)


# -- ask: how often --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail", [lambda: Answer(503), lambda: TransportError("no route")], ids=["503", "no answer"])
@pytest.mark.parametrize(
    ("request_", "attempts", "slept"),
    [(Request(KEY), 3, [0.1, 0.2]), (SPAN, 3, [0.1, 0.2]), (HELD, 2, [])],
    ids=["whole", "span", "with a copy at hand"],
)
def test_what_may_pass_is_sent_again_and_then_no_more(fail: Any, request_: Request, attempts: int, slept: list[float]) -> None:
    world = World([fail() for _ in range(9)])
    with pytest.raises(OriginUnavailableError):
        opened(world, request_)
    assert (world.requests, world.slept) == ([request_] * attempts, slept)
    last = part(b"dy") if request_.span else whole(b"body")
    world = World([*(fail() for _ in range(attempts - 1)), last])
    assert opened(world, request_) is last


@pytest.mark.parametrize("fail", [lambda: Answer(503), lambda: TransportError("no route")], ids=["503", "no answer"])
@pytest.mark.parametrize("request_", [Request(KEY), SPAN, HELD], ids=str)
def test_a_supplier_that_sends_again_itself_is_believed(fail: Any, request_: Request) -> None:
    world = World([fail(), fail()], retries=True)
    with pytest.raises(OriginUnavailableError):
        opened(world, request_)
    assert (len(world.requests), world.slept) == (1, [])


def test_credentials_are_refreshed_once_and_cost_no_attempt() -> None:
    denied = [Answer(400, code="ExpiredToken") for _ in range(2)]
    last = whole(b"body")
    world = World([Answer(503), denied[0], Answer(503), last], refreshes=True)
    assert opened(world) is last
    assert (world.refreshed, world.slept) == (1, [0.1, 0.2])
    world = World([denied[1], Answer(400, code="ExpiredToken")], refreshes=True)
    with pytest.raises(OriginUnavailableError, match="ExpiredToken"):
        opened(world)
    assert world.refreshed == 1


def test_the_time_that_was_left_is_not_asked_for_twice() -> None:
    """A deadline that has passed: suppliers raise it as a failure that will not pass."""
    world = World([TransportError("there was no time left to ask S3", transient=False), whole(b"body")])
    with pytest.raises(OriginUnavailableError, match="no time left"):
        opened(world, Request(KEY, deadline=1.0))
    assert (world.requests, world.slept) == ([Request(KEY, deadline=1.0)], [])


# -- Stream ----------------------------------------------------------------------------------------------------------------------


def streamed(
    script: Sequence[Answer | BaseException],
    *,
    first: Answer | None = None,
    span: tuple[int, int] = (0, 3),
    request: Request = PINNED,
    buffer: int = 100,
    **world: bool,
) -> tuple[World, list[bytes] | BaseException]:
    """What a stream brings until it is at its end, or raises; every answer that was given out is closed once."""
    made = World(script, **world)
    stream = Stream(made.exchange, request, span, first)
    pieces: list[bytes] = []
    ended: list[bytes] | BaseException = pieces
    try:
        while piece := filled_by(stream, buffer):
            pieces.append(piece)
        assert stream.position == span[1] + 1
    except (S3WarmError, Broken, Changed, Wrong) as error:
        ended = error
    stream.close()
    stream.close()
    made.check()
    assert first is None or first.closed == 1
    return made, ended


def filled_by(stream: Stream, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: stream.readinto(memoryview(buffer))])


def test_a_span_is_asked_for_when_it_is_read_and_not_before() -> None:
    world = World([part(b"dy")])
    stream = Stream(world.exchange, PINNED, (2, 3))
    assert world.requests == []
    assert filled_by(stream, 100) == b"dy"
    assert world.requests == [PINNED._replace(span=(2, 3))]
    stream.close()


@pytest.mark.parametrize("buffer", [1, 2, 3, 4, 5])
def test_a_span_comes_in_order_and_no_further(buffer: int) -> None:
    answer = part(b"bo", b"dy", b" and more")
    world, pieces = streamed([answer], buffer=buffer)
    assert isinstance(pieces, list)
    assert b"".join(pieces) == b"body"
    assert sum(answer.reads) >= 4
    assert max(answer.reads) <= min(buffer, 4)
    assert world.counters.origin_bytes == 4


def test_an_answer_at_hand_is_read_before_anything_is_asked_for() -> None:
    first = whole(b"body", etag='"e"')
    world, pieces = streamed([], first=first)
    assert (pieces, world.requests) == ([b"body"], [])


def test_nothing_is_asked_for_where_there_is_no_room_for_a_byte() -> None:
    world = World([])
    assert Stream(world.exchange, PINNED, (0, 3)).readinto(memoryview(bytearray())) == 0
    assert Stream(world.exchange, PINNED, (4, 3)).readinto(memoryview(bytearray(9))) == 0
    assert world.requests == []


@pytest.mark.parametrize("end", [[], [TransportError("reset")]], ids=["cut off", "reset"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_what_breaks_goes_on_from_the_byte_where_it_broke(at: int, end: list[BaseException]) -> None:
    body = b"0123456789"
    first = part(body[2 : 2 + at], *end)
    world, pieces = streamed([first, part(body[2 + at : 6])], span=(2, 5))
    assert isinstance(pieces, list)
    assert b"".join(pieces) == body[2:6]
    assert world.requests == [SPAN, PINNED._replace(span=(2 + at, 5))]
    assert (world.slept, world.counters.origin_bytes) == ([0.1], 4)


def test_a_break_of_the_answer_at_hand_is_mended_by_a_span_of_the_rest() -> None:
    first = broken(b"bo", TransportError("reset"), declared=4)
    world, pieces = streamed([part(b"dy")], first=first)
    assert (pieces, world.requests) == ([b"bo", b"dy"], [PINNED._replace(span=(2, 3))])


def test_the_request_of_the_rest_has_version_and_deadline_of_the_whole() -> None:
    request = Request(ObjectKey("bucket", "key", "v1"), if_match='"e"', deadline=5.0)
    world, _ = streamed([part(b"b"), part(b"ody")], request=request)
    assert world.requests == [request._replace(span=(0, 3)), request._replace(span=(1, 3))]


def test_breaks_without_progress_are_soon_enough() -> None:
    world, error = streamed([part(b"bo"), *(part(TransportError(f"reset {number}")) for number in range(9))])
    assert isinstance(error, OriginUnavailableError)
    assert "reset 1" in str(error)
    assert isinstance(error.__cause__, TransportError)
    assert [request.span for request in world.requests] == [(0, 3), (2, 3), (2, 3)]
    assert len(world.requests) == ATTEMPTS
    assert world.slept == [0.1, 0.2]


def test_progress_earns_new_attempts_and_short_waits() -> None:
    world, pieces = streamed([part(), part(), part(b"b"), part(), part(b"o"), part(b"d"), part(), part(b"y")])
    assert pieces == [b"b", b"o", b"d", b"y"]
    assert world.slept == [0.1, 0.2, 0.1, 0.2, 0.1, 0.1, 0.2]


def test_but_not_for_ever() -> None:
    world, error = streamed([part(b"x") for _ in range(99)], span=(0, 98))
    assert isinstance(error, OriginUnavailableError)
    assert len(world.requests) == BREAKS


def test_breaks_and_refusals_have_attempts_each() -> None:
    script: list[Answer | BaseException] = [
        part(b"b"),
        Answer(503),
        TransportError("no route"),
        part(b"o"),
        Answer(503),
        Answer(503),
        part(b"dy"),
    ]
    world, pieces = streamed(script)
    assert pieces == [b"b", b"o", b"dy"]
    assert world.slept == [0.1, 0.1, 0.2, 0.1, 0.1, 0.2]


@pytest.mark.parametrize("retries", [False, True])
def test_a_supplier_that_sends_again_itself_does_not_go_on_with_bodies(retries: bool) -> None:
    _, pieces = streamed([part(b"bo"), part(b"dy")], retries=retries)
    assert pieces == [b"bo", b"dy"]


@pytest.mark.parametrize("answer", [Answer(412), part(b"DY", etag='"other"')], ids=["412", "If-Match ignored"])
def test_the_rest_of_another_body_is_none(answer: Answer) -> None:
    _, error = streamed([part(b"bo"), answer])
    assert isinstance(error, Changed)


def test_the_rest_may_be_refused() -> None:
    _, error = streamed([part(b"bo"), Answer(404, code="NoSuchKey")])
    assert isinstance(error, ObjectNotFoundError)


def test_a_body_that_the_supplier_finds_damaged_is_wrong_as_a_whole() -> None:
    world, error = streamed([part(b"bo", Damaged("its crc32 is another")), part(b"dy")])
    assert isinstance(error, Wrong)
    assert isinstance(error.error, IntegrityError)
    assert "s3://bucket/key arrived damaged" in str(error.error)
    assert "its crc32 is another" in str(error.error)
    assert (len(world.requests), world.slept) == (1, [])


def test_without_an_etag_a_break_is_for_good() -> None:
    first = broken(b"bo", TransportError("reset"), declared=4, etag="")
    world, error = streamed([part(b"dy")], first=first, request=Request(KEY))
    assert isinstance(error, Broken)
    assert isinstance(error.error, OriginUnavailableError)
    assert "reset" in str(error.error)
    assert (world.requests, world.slept) == ([], [])


@pytest.mark.parametrize("if_match", ['"e"', None])
def test_what_will_not_pass_ends_it_at_once(if_match: str | None) -> None:
    inner = TimeoutError("read")
    timed_out = TransportError("there was no time left for the rest of the body", transient=False)
    timed_out.__cause__ = inner
    world, error = streamed([part(b"bo", timed_out), part(b"dy")], request=Request(KEY, if_match=if_match))
    assert isinstance(error, OriginUnavailableError)
    assert error.__cause__ is inner
    assert (len(world.requests), world.slept) == (1, [])


def test_a_deadline_that_passes_before_the_rest_is_asked_for_ends_it() -> None:
    world, error = streamed([part(b"bo"), TransportError("there was no time left to ask S3", transient=False), part(b"dy")])
    assert isinstance(error, OriginUnavailableError)
    assert len(world.requests) == 2


def test_an_error_of_another_kind_is_not_touched_and_the_answer_can_be_closed() -> None:
    answer = part(ZeroDivisionError())
    stream = Stream(World([answer]).exchange, PINNED, (0, 3))
    with pytest.raises(ZeroDivisionError):
        filled_by(stream, 9)
    stream.close()
    assert answer.closed == 1


def test_an_error_keeps_no_view_of_the_buffer() -> None:
    buffer = bytearray(4)
    with memoryview(buffer) as view, pytest.raises(OriginUnavailableError) as caught:
        Stream(World([part(TransportError("gone", transient=False))]).exchange, PINNED, (0, 3)).readinto(view)
    buffer.clear()  # BufferError, if anything had a view of it
    assert caught.tb is not None


# -- the supplier of these tests -------------------------------------------------------------------------------------------------


def test_the_shop_answers_as_s3_does() -> None:
    shop = Shop(b"body")
    etag = etag_of(b"body")
    asked = [
        (Request(KEY), 200, b"body"),
        (Request(KEY, span=(1, 2)), 206, b"od"),
        (Request(KEY, span=(1, 99)), 206, b"ody"),
        (Request(KEY, span=(4, 5)), 416, b""),
        (Request(KEY, if_match=etag), 200, b"body"),
        (Request(KEY, if_match='"other"'), 412, b""),
    ]
    for request, status, body in asked:
        answer = shop.get(request)
        assert (answer.status, filled(answer, 9)) == (status, body)
