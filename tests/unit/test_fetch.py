"""The conditional fetch over a scripted supplier: what is asked again, what is gone on with, what is verified, what is never read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.entries import Metadata
from s3warm.errors import (
    AccessDeniedError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
)
from s3warm.origin.base import Damaged, Fetched, NoRoom, NotModified, Request, StartOver, TransportError
from s3warm.origin.fetch import strong
from tests.support.supplier import (
    KEY,
    Answer,
    Keeper,
    World,
    broken,
    etag_of,
    full_jitter,
    part,
    shrink,
    whole,
    without_length,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm.origin.fetch import Arriving


@pytest.fixture(autouse=True)
def _full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    full_jitter(monkeypatch)


def arriving(world: World) -> Arriving:
    answer = world.origin.fetch(KEY, if_none_match=None)
    assert not isinstance(answer, NotModified)
    return answer


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
        x_amz_server_side_encryption="AES256",
    )
    assert World([answer]).fetch() == Fetched(
        Metadata(
            etag_of(b"body"), 4, "v1", 1_445_412_480.0, "text/plain", "gzip", "max-age=60", {"owner": "ops", "x-y": "z"}, "md5"
        ),
        b"body",
    )


@pytest.mark.parametrize("kind", ["aws:kms", "aws:kms:dsse"])
def test_the_encryption_with_other_keys_than_s3s_is_known(kind: str) -> None:
    answer = whole(b"body", x_amz_server_side_encryption=kind)
    fetched = World([answer]).fetch()
    assert isinstance(fetched, Fetched)
    assert fetched.info.encryption == kind


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


def test_an_empty_object_is_an_empty_body_whose_end_is_read_for_the_connections_sake() -> None:
    answer = whole(b"")
    assert World([answer]).body() == b""
    assert answer.reads == [1]


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


@pytest.mark.parametrize("declared", ["", "four", "-1", "4.0", "9" * 19, "9" * 5000])
def test_a_length_that_is_none_counts_as_unknown(declared: str) -> None:
    answer = Answer(200, b"body", headers={"content-length": declared, "etag": etag_of(b"body")})
    assert World([answer]).body() == b"body"


@pytest.mark.parametrize("etag", ['"é"', '"a\tb"', '"a\x01"'])
def test_an_etag_that_no_request_can_carry_counts_as_none(etag: str) -> None:
    fetched = World([whole(b"body", etag=etag)]).fetch()
    assert isinstance(fetched, Fetched)
    assert (fetched.body, fetched.info.etag) == (b"body", "")


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

FAILING = [
    pytest.param(lambda: Answer(500, code="InternalError"), id="500"),
    pytest.param(lambda: Answer(503, code="SlowDown"), id="503"),
    pytest.param(lambda: TransportError("no route"), id="no answer"),
]
USELESS = [
    pytest.param(lambda: whole(b"bodY", etag=etag_of(b"body")), id="damaged"),
    pytest.param(lambda: broken(Damaged("crc32c"), declared=4), id="damaged, says the supplier"),
    pytest.param(lambda: broken(b"bo", TransportError("reset"), declared=4, etag=""), id="broken, without an ETag"),
    pytest.param(lambda: broken(b"bo", TransportError("reset"), declared=4, etag='W/"e"'), id="broken, with a weak ETag"),
    pytest.param(lambda: without_length(b"bo", TransportError("reset")), id="broken, of unknown length"),
]


@pytest.mark.parametrize("fail", FAILING + USELESS)
def test_what_may_pass_is_asked_again_with_a_doubled_back_off(fail: Any) -> None:
    world = World([fail(), fail(), whole(b"body")])
    assert world.body() == b"body"
    assert world.slept == [0.1, 0.2]


@pytest.mark.parametrize("fail", FAILING + USELESS)
def test_three_attempts_are_all(fail: Any) -> None:
    world = World([fail() for _ in range(5)])
    with pytest.raises((OriginUnavailableError, IntegrityError)):
        world.fetch()
    assert (len(world.requests), world.slept) == (3, [0.1, 0.2])


@pytest.mark.parametrize("fail", FAILING)
def test_two_attempts_at_once_are_all_where_a_copy_can_be_served(fail: Any) -> None:
    world = World([fail() for _ in range(5)])
    with pytest.raises(OriginUnavailableError):
        world.fetch(etag='"held"')
    assert (len(world.requests), world.slept) == (2, [])


def test_jitter_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    full_jitter(monkeypatch, 0.0)
    world = World([Answer(500), Answer(500), whole(b"body")])
    world.fetch()
    assert world.slept == [0.0, 0.0]


@pytest.mark.parametrize("fail", FAILING)
def test_a_supplier_that_asks_again_itself_is_believed(fail: Any) -> None:
    world = World([fail(), whole(b"body")], retries=True)
    with pytest.raises(OriginUnavailableError):
        world.fetch()
    assert (len(world.requests), world.slept) == (1, [])


@pytest.mark.parametrize("fail", USELESS)
def test_a_body_that_is_no_good_is_asked_for_again_even_so(fail: Any) -> None:
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


@pytest.mark.parametrize(
    ("piece", "rest"),
    [
        pytest.param([b"bo"], (2, 3), id="cut off"),
        pytest.param([b"bo", TransportError("reset")], (2, 3), id="reset"),
        pytest.param([TransportError("reset")], (0, 3), id="reset before the first byte"),
    ],
)
@pytest.mark.parametrize("retries", [False, True])
def test_a_body_that_breaks_is_gone_on_with_where_it_broke(
    piece: list[bytes | BaseException], rest: tuple[int, int], retries: bool
) -> None:
    etag = etag_of(b"body")
    world = World([broken(*piece, declared=4, etag=etag), part(b"body"[rest[0] :], etag=etag)], retries=retries)
    assert world.body() == b"body"
    assert world.requests == [Request(KEY), Request(KEY, if_match=etag, span=rest)]
    assert (world.slept, world.counters.origin_bytes) == ([0.1], 4)


def test_a_copy_at_hand_changes_nothing_for_a_body_on_its_way() -> None:
    world = World([broken(b"bo", declared=4), part(b"dy")])
    assert world.body(etag='"held"') == b"body"
    assert world.requests == [Request(KEY, '"held"'), Request(KEY, if_match='"e"', span=(2, 3))]


def test_a_short_body_says_how_short() -> None:
    world = World([broken(b"bo", declared=4), part(), part()])
    with pytest.raises(OriginUnavailableError, match="the body ended at byte 2, 4 were to come"):
        world.fetch()


def test_a_body_that_was_overwritten_is_asked_for_anew_once() -> None:
    world = World([broken(b"bo", declared=4), Answer(412), whole(b"another")])
    assert world.body() == b"another"
    assert world.requests == [Request(KEY), Request(KEY, if_match='"e"', span=(2, 3)), Request(KEY)]
    again = World([broken(b"bo", declared=4), Answer(412), broken(b"an", declared=7), Answer(412), whole(b"third")])
    with pytest.raises(OriginUnavailableError, match="overwritten while it was on its way") as caught:
        again.fetch()
    assert not caught.value.outage
    assert len(again.requests) == 4


def test_what_is_asked_for_anew_may_have_been_deleted() -> None:
    world = World([broken(b"bo", declared=4), Answer(412), Answer(404, code="NoSuchKey")])
    with pytest.raises(ObjectNotFoundError):
        world.fetch()


def test_what_is_asked_for_anew_may_have_become_too_large() -> None:
    large = whole(b"x" * 1001)
    with pytest.raises(ObjectTooLargeError):
        World([broken(b"bo", declared=4), Answer(412), large]).fetch(largest=1000)
    assert large.reads == []


def test_each_body_is_summed_from_its_beginning() -> None:
    world = World([broken(b"bo", declared=4, etag=etag_of(b"body")), Answer(412), whole(b"another")])
    fetched = world.fetch()
    assert isinstance(fetched, Fetched)
    assert (fetched.info.verified_by, fetched.info.size) == ("md5", 7)


def test_damaged_and_broken_and_overwritten_are_counted_each_for_itself() -> None:
    damaged = [whole(b"bodY", etag=etag_of(b"body")) for _ in range(2)]
    lost = [broken(b"b", declared=4, etag="") for _ in range(2)]
    world = World([damaged[0], lost[0], broken(b"b", declared=4), Answer(412), damaged[1], lost[1], whole(b"body")])
    assert world.body() == b"body"
    assert world.slept == [0.1, 0.1, 0.1, 0.2, 0.2]


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
        steps.append(broken(error, declared=4, etag="") if broken_body else error)
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


def test_all_that_is_received_counts_as_bytes() -> None:
    world = World([broken(b"bo", declared=4, etag=""), Answer(500), whole(b"body")])
    world.fetch()
    assert (world.counters.origin_requests, world.counters.origin_bytes) == (3, 6)
    world = World([without_length(b"bo", TransportError("reset")), without_length(b"body")])
    world.fetch()
    assert world.counters.origin_bytes == 6


# -- ways to take it ------------------------------------------------------------------------------------------------------------


def test_what_arrives_says_what_it_is_before_it_is_read() -> None:
    answer = whole(b"body", content_type="text/plain")
    world = World([answer])
    incoming = arriving(world)
    assert (incoming.size, incoming.info) == (4, Metadata(etag_of(b"body"), 4, content_type="text/plain", verified_by="md5"))
    incoming.close()
    incoming.close()
    assert (answer.reads, answer.closed) == ([], 1)


def test_a_body_is_handed_out_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Noted(io.BytesIO):
        def __init__(self, initial: bytes = b"") -> None:
            super().__init__(initial)
            if initial:
                made.append(id(initial))

    monkeypatch.setattr("s3warm.origin.buffer.BytesIO", Noted)
    assert [id(World([whole(b"body")]).body())] == made


def test_a_sink_gets_each_byte_in_order_and_each_part_is_finished_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=4, chunk=3)
    sink, world = Keeper(4), World([whole(b"0123456789")])
    assert world.save(sink, memory=0) == Metadata(etag_of(b"0123456789"), 10, verified_by="md5")
    assert sink.written == [(0, b"012"), (3, b"3"), (4, b"456"), (7, b"7"), (8, b"89")]
    assert sink.order == [0, 1, 2]
    assert world.progress == [(4, 10), (8, 10), (10, 10)]
    assert sink.begun == [Metadata(etag_of(b"0123456789"), 10, verified_by="md5")]


def test_of_a_body_of_one_part_no_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=4, chunk=2)
    world = World([whole(b"body")])
    world.save(Keeper(4))
    assert world.progress == []


def test_an_empty_body_is_begun_in_the_sink_and_nothing_is_written() -> None:
    sink, world = Keeper(), World([whole(b"")])
    assert world.save(sink).verified_by == "md5"
    assert (len(sink.begun), sink.written, sink.order, world.progress) == (1, [], [], [])


def test_a_body_of_unknown_length_is_nothing_for_a_sink_and_can_still_be_read() -> None:
    sink, world = Keeper(), World([without_length(b"body")])
    incoming = arriving(world)
    with pytest.raises(NoRoom):
        incoming.save(sink, 0, world.note)
    assert sink.begun == []
    assert incoming.read(1000, world.note).body == b"body"
    incoming.close()
    world.check()


def test_a_sink_that_refuses_to_begin_leaves_the_body_to_be_read() -> None:
    world, sink = World([whole(b"body")]), Keeper()

    def refuse(_: Metadata) -> None:
        raise NoRoom("full")

    sink.on_begin = refuse
    incoming = arriving(world)
    with pytest.raises(NoRoom):
        incoming.save(sink, 0, world.note)
    assert incoming.read(1000, world.note).body == b"body"
    incoming.close()
    assert len(world.requests) == 1
    world.check()


def failing(error: Exception, times: int) -> Callable[[int], None]:
    left = [error] * times

    def fail(_: int) -> None:
        if left:
            raise left.pop()

    return fail


def test_a_sink_that_loses_its_room_on_the_way_begins_anew_without_waiting() -> None:
    world, sink = World([whole(b"body"), whole(b"body")]), Keeper()
    sink.on_write = failing(StartOver(), 1)
    world.save(sink)
    assert (bytes(sink.body), len(sink.begun), world.requests, world.slept) == (b"body", 2, [Request(KEY)] * 2, [])


def test_a_sink_that_loses_its_room_again_and_again_has_none_and_the_body_can_still_be_read() -> None:
    world, sink = World([whole(b"body") for _ in range(9)]), Keeper()
    sink.on_write = failing(StartOver(), 99)
    incoming = arriving(world)
    with pytest.raises(NoRoom):
        incoming.save(sink, 0, world.note)
    assert len(world.requests) == 4
    assert incoming.read(1000, world.note).body == b"body"
    incoming.close()
    assert len(world.requests) == 5
    world.check()


def test_a_sink_without_room_on_the_way_ends_it() -> None:
    world, sink = World([whole(b"body"), whole(b"body")]), Keeper()
    sink.on_write = failing(NoRoom("full"), 1)
    with pytest.raises(NoRoom):
        world.save(sink)
    assert len(world.requests) == 1


def test_a_sink_is_told_to_forget_a_body_that_does_not_match() -> None:
    world, sink = World([whole(b"bodY", etag=etag_of(b"body")), whole(b"body")]), Keeper()
    assert world.save(sink).verified_by == "md5"
    assert (sink.resets, bytes(sink.body)) == (1, b"body")


def test_a_sink_is_told_to_forget_a_body_that_the_supplier_finds_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=2, chunk=2)
    damaged = broken(b"bO", Damaged("crc32c"), declared=4)
    world, sink = World([damaged, broken(b"bo", b"dy")]), Keeper(2)
    world.save(sink, memory=0)
    assert (sink.resets, bytes(sink.body)) == (1, b"body")


def test_what_a_progress_callback_raises_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=2, chunk=2)
    world = World([whole(b"body")])
    incoming = arriving(world)

    def fail(done: int, size: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        incoming.read(4, fail)
    incoming.close()
    world.check()


@pytest.mark.parametrize(("etag", "sent"), [('"e"', '"e"'), ("", None), ('W/"e"', None), ("e", "e")])
def test_a_weak_etag_is_none_for_if_match(etag: str, sent: str | None) -> None:
    assert strong(etag) == sent


def test_a_fork_renews_the_supplier() -> None:
    world = World()
    world.origin.renew()
    assert world.renewed == 1


def test_closing_closes_the_supplier() -> None:
    world = World()
    world.origin.close()
    assert world.closed == 1
