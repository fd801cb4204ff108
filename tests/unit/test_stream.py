"""A body as a file: every read is right wherever one has moved to, and requests are as few and as small as the way of reading allows."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.errors import IntegrityError, ObjectNotFoundError, OriginUnavailableError
from s3warm.origin import stream as streaming
from s3warm.origin.base import Damaged, NoRoom, NotModified, Request, TransportError
from s3warm.origin.stream import RangedFile
from tests.support.supplier import KEY, Answer, Shop, full_jitter, whole, without_length

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW, SKIP, LARGEST = 10, 4, 80  # bytes
BODY = bytes(range(256)) * 2


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    full_jitter(monkeypatch)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST_WINDOW", WINDOW), ("LARGEST_WINDOW", LARGEST), ("SKIP", SKIP)):
        monkeypatch.setattr(streaming, name, value)


def opened(shop: Shop, at: int = 0) -> RangedFile:
    """The object as a file; `at` another position than its begin, its first answer is of no use."""
    answer = shop.origin.fetch(KEY, if_none_match=None)
    assert not isinstance(answer, NotModified)
    file = answer.stream()
    assert isinstance(file, RangedFile)
    answer.close()  # which has nothing to close any more
    file.seek(at)
    return file


def spans(shop: Shop) -> list[tuple[int, int] | None]:
    return [request.span for request in shop.requests]


# -- a file ----------------------------------------------------------------------------------------------------------------------


def test_nothing_is_received_before_something_is_read() -> None:
    shop = Shop(BODY)
    with opened(shop) as file:
        assert file.seek(0, io.SEEK_END) == file.tell() == len(BODY)
        assert (file.read(10), file.readall(), file.seek(1000), file.read(1)) == (b"", b"", 1000, b"")
        assert file.seek(3) == 3
        assert file.read(0) == b""
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    assert (shop.requests, shop.counters.origin_bytes) == ([Request(KEY)], 0)
    assert shop.answers[0].reads == []
    shop.check()


def test_every_further_request_is_pinned_to_the_body_that_was_opened() -> None:
    shop = Shop(BODY)
    key = KEY._replace(version_id="v1")
    answer = shop.origin.fetch(key, if_none_match=None)
    assert not isinstance(answer, NotModified)
    with answer.stream() as file:
        file.seek(200)
        file.read()
    assert shop.requests[0] == Request(key)
    assert {request._replace(span=None) for request in shop.requests[1:]} == {Request(key, if_match=shop.etag)}


def test_a_body_of_unknown_length_is_no_file_and_can_still_be_read() -> None:
    shop = Shop(b"body")
    shop.on_request = lambda _: without_length(b"body")
    answer = shop.origin.fetch(KEY, if_none_match=None)
    assert not isinstance(answer, NotModified)
    with pytest.raises(NoRoom):
        answer.stream()
    assert answer.read(1000, shop.note).body == b"body"
    shop.check()


@pytest.mark.parametrize("size", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 512])
def test_all_of_it_is_all_of_it(size: int) -> None:
    with opened(Shop(BODY[:size])) as file:
        assert file.read() == BODY[:size]
        assert file.read() == b""


walks = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 40)),
        st.tuples(st.just("readinto"), st.integers(0, 40)),
        st.tuples(st.just("set"), st.integers(0, 300)),
        st.tuples(st.just("cur"), st.integers(-60, 60)),
        st.tuples(st.just("end"), st.integers(-300, 20)),
    ),
    max_size=30,
)


@given(walks, st.integers(0, 250), st.booleans(), st.integers(0, 2**32))
def test_whoever_walks_about_in_it_finds_what_a_file_would_hold(
    walk: list[tuple[str, int]], size: int, buffered: bool, seed: int
) -> None:
    body, chance = random.Random(seed).randbytes(size), random.Random(seed)
    shop = Shop(body)
    shop.cut = lambda _, piece: [piece[: chance.randint(min(1, len(piece)), len(piece))]]  # every answer may break
    with pytest.MonkeyPatch.context() as monkeypatch:
        small(monkeypatch)
        monkeypatch.setattr("s3warm.origin.exchange.BREAKS", 10**9)
        raw = opened(shop)
        file: Any = io.BufferedReader(raw, 16) if buffered else raw
        model = io.BytesIO(body)
        for step, number in walk:
            if step == "read":
                expected = model.read(number)
                got = file.read(number)
                assert got == expected[: len(got)]
                assert got or not expected
                model.seek(file.tell())
            elif step == "readinto":
                buffer = bytearray(number)
                count = file.readinto(buffer)
                assert buffer[:count] == model.read(count)
                assert count or not number or model.read(1) == b""
                model.seek(file.tell())
            else:
                whence = {"set": io.SEEK_SET, "cur": io.SEEK_CUR, "end": io.SEEK_END}[step]
                base = {"set": 0, "cur": model.tell(), "end": size}[step]
                if base + number < 0:
                    with pytest.raises(OSError, match=r"Invalid argument|position"):
                        file.seek(number, whence)
                else:
                    assert file.seek(number, whence) == model.seek(number, whence)
            assert file.tell() == model.tell()
        file.close()
    shop.check()


@pytest.mark.parametrize("buffered", [False, True])
def test_a_position_before_the_first_byte_is_an_error_of_files(buffered: bool) -> None:
    """OSError, as a file has it: zipfile seeks before the begin of what is too small for an archive, and counts on it."""
    raw = opened(Shop(BODY))
    with io.BufferedReader(raw) if buffered else raw as file:
        for offset, whence in ((-1, io.SEEK_SET), (-1, io.SEEK_CUR), (-513, io.SEEK_END)):
            with pytest.raises(OSError, match=r"Invalid argument|position"):
                file.seek(offset, whence)
        assert file.read(3) == BODY[:3]


@pytest.mark.parametrize("whence", [3, -1, 99])
def test_a_whence_that_is_none_is_refused(whence: int) -> None:
    with opened(Shop(BODY)) as file, pytest.raises(ValueError, match="whence"):
        file.seek(0, whence)


def test_it_cannot_be_written_to() -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda file: file.write(b"x"),
        lambda file: file.truncate(0),
        lambda file: file.fileno(),
    ]
    with io.BufferedReader(opened(Shop(BODY))) as file:
        for call in calls:
            with pytest.raises(io.UnsupportedOperation):
                call(file)


def test_lines_and_wide_buffers_are_read_as_from_any_file() -> None:
    lines = [b"%d\n" % number for number in range(100)]
    with io.BufferedReader(opened(Shop(b"".join(lines)))) as file:
        assert list(file) == lines
    import array

    wide = array.array("I", [0, 0])
    with opened(Shop(BODY)) as raw:
        assert raw.readinto(wide) == 8
    assert wide.tobytes() == BODY[:8]


# -- archives --------------------------------------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return made.getvalue()


FILES = {f"{number}.bin": random.Random(number).randbytes(200 * number) for number in range(20)}


def test_a_zip_archive_is_read_member_by_member() -> None:
    shop = Shop(zipped(FILES))
    with io.BufferedReader(opened(shop)) as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        for name in random.Random(1).sample(list(FILES), len(FILES)):
            assert archive.read(name) == FILES[name]
    shop.check()


@pytest.mark.parametrize("body", [b"", b"PK", b"no archive" * 10], ids=["empty", "tiny", "other"])
def test_what_is_no_zip_archive_says_so(body: bytes) -> None:
    with io.BufferedReader(opened(Shop(body))) as file:
        assert not zipfile.is_zipfile(file)
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(file)


def test_an_empty_zip_archive_is_an_archive() -> None:
    with io.BufferedReader(opened(Shop(zipped({})))) as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == []


@pytest.mark.parametrize("mode", ["r:", "r:gz", "r|gz"])
def test_a_tar_archive_is_read_in_order(mode: Any) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz" if mode.endswith("gz") else "w:") as archive:
        for name, body in FILES.items():
            described = tarfile.TarInfo(name)
            described.size = len(body)
            archive.addfile(described, io.BytesIO(body))
    shop = Shop(made.getvalue())
    with io.BufferedReader(opened(shop)) as file, tarfile.open(fileobj=file, mode=mode) as archive:
        found = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    assert found == FILES
    shop.check()


# -- requests --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [7, 100, -1])
def test_who_reads_from_the_begin_in_order_needs_the_first_answer_alone(at_once: int) -> None:
    shop = Shop(BODY)
    with opened(shop) as file:
        while file.read(at_once):
            pass
    assert spans(shop) == [None]
    assert shop.counters.origin_bytes == len(BODY)


def test_who_reads_in_order_after_a_jump_is_given_windows_that_double_up_to_a_bound() -> None:
    shop = Shop(BODY)
    with opened(shop, 100) as file:
        while file.read(7):
            pass
    assert spans(shop)[1:] == [
        (100, 109),
        (110, 129),
        (130, 169),
        (170, 249),
        (250, 329),
        (330, 409),
        (410, 489),
        (490, 511),
    ]


def test_one_read_of_all_the_rest_does_the_same() -> None:
    shop = Shop(BODY[:200])
    with opened(shop, 100) as file:
        assert file.readall() == BODY[100:200]
    assert spans(shop) == [None, (100, 109), (110, 129), (130, 169), (170, 199)]


@pytest.mark.parametrize("to", [125 + SKIP + 1, 124, 0, 200, 511])
def test_a_jump_begins_anew_with_a_small_window(to: int) -> None:
    shop = Shop(BODY)
    with opened(shop, 100) as file:
        assert file.read(10) + file.read(15) == BODY[100:125]
        file.seek(to)
        assert file.read(3) == BODY[to : to + 3]
    assert spans(shop) == [None, (100, 109), (110, 129), (to, min(to + WINDOW, len(BODY)) - 1)]


def test_a_jump_back_to_the_begin_is_one_too() -> None:
    shop = Shop(BODY)
    with opened(shop) as file:
        file.read(3)
        file.seek(0)
        assert file.read(3) == BODY[:3]
    assert spans(shop) == [None, (0, 9)]


@pytest.mark.parametrize("to", [112, 113, 111 + SKIP])
def test_a_small_step_on_within_a_window_is_read_over(to: int) -> None:
    shop = Shop(BODY)
    with opened(shop, 100) as file:
        assert file.read(10) + file.read(1) == BODY[100:111]
        file.seek(to)
        assert file.read(3) == BODY[to : to + 3]
        file.seek(0)
        file.seek(to + 3)
        assert file.read(2) == BODY[to + 3 : to + 5]
    assert spans(shop) == [None, (100, 109), (110, 129)]


def test_a_small_step_on_from_the_begin_is_read_over_too() -> None:
    shop = Shop(BODY)
    with opened(shop, SKIP) as file:
        assert file.read(3) == BODY[SKIP : SKIP + 3]
    assert spans(shop) == [None]


def test_a_step_out_of_the_window_is_a_jump() -> None:
    shop = Shop(BODY)
    with opened(shop, 100) as file:
        file.read(8)
        file.seek(110)
        assert file.read(1) == BODY[110:111]
    assert spans(shop) == [None, (100, 109), (110, 119)]


def test_moving_about_and_back_costs_nothing() -> None:
    shop = Shop(BODY)
    with opened(shop) as file:
        file.read(3)
        for to in (500, 0, 3):
            file.seek(to)
        assert file.read(3) == BODY[3:6]
    assert spans(shop) == [None]


def test_no_more_is_received_than_what_is_read_and_read_over() -> None:
    shop = Shop(BODY)
    with opened(shop) as file:
        file.read(3)
        file.seek(3 + SKIP)
        file.read(1)
        file.seek(100)
        file.read(1)
    assert shop.counters.origin_bytes == 3 + SKIP + 1 + 1
    reads = [read for answer in shop.answers for read in answer.reads]
    assert max(reads) <= max(3, SKIP), "there is no buffer but the reader's, and one for what is read over"


# -- what goes wrong -------------------------------------------------------------------------------------------------------------


def test_a_break_goes_on_where_it_broke_up_to_the_end_of_what_was_asked_for() -> None:
    shop = Shop(BODY)
    shop.cut = lambda request, body: [body[:4], TransportError("reset")] if request.span in (None, (100, 109)) else [body]
    with opened(shop) as file:
        assert file.read(100) + file.read(10) == BODY[:14]
        file.seek(100)
        assert file.read(100) + file.read(100) == BODY[100:110]
        assert file.read(100) == BODY[110:130]
    assert spans(shop) == [None, (4, 511), (100, 109), (104, 109), (110, 129)]
    assert shop.slept == [0.1, 0.1]


def overwrite(shop: Shop) -> None:
    shop.put(b"x" * len(BODY))


def cut_short(shop: Shop) -> None:
    shop.put(b"x")


def if_match_ignored(shop: Shop) -> None:
    shop.on_request = lambda _: Answer(206, b"x" * 100, headers={"etag": '"other"'})


@pytest.mark.parametrize("change", [overwrite, cut_short, if_match_ignored])
def test_an_object_that_was_overwritten_is_not_read_on(change: Callable[[Shop], None]) -> None:
    shop = Shop(BODY)
    with opened(shop, 100) as file:
        assert file.read(10) == BODY[100:110]
        change(shop)
        with pytest.raises(OriginUnavailableError, match="overwritten") as caught:
            file.read(1)
        assert isinstance(caught.value, OSError)
        assert (caught.value.outage, file.tell()) == (False, 110)
        with pytest.raises(OriginUnavailableError, match="overwritten"):
            file.read(1)
    shop.check()


def test_what_was_under_way_before_is_the_old_body() -> None:
    shop = Shop(BODY)
    with opened(shop) as file:
        file.read(1)
        overwrite(shop)
        assert file.read() == BODY[1:]


@pytest.mark.parametrize("error", [TransportError("reset"), TransportError("too late", transient=False)])
def test_s3_that_cannot_be_reached_is_an_error_of_files_and_may_be_back(error: TransportError) -> None:
    shop = Shop(BODY)
    shop.cut = lambda *_: [error]
    with opened(shop) as file:
        with pytest.raises(OriginUnavailableError) as caught:
            file.read(1)
        assert isinstance(caught.value, OSError)
        shop.cut = lambda _, body: [body]
        assert file.read(3) == BODY[:3]


def test_a_deleted_object_and_a_damaged_one_are_what_they_always_are() -> None:
    shop = Shop(BODY)
    shop.on_request = lambda request: Answer(404, code="NoSuchKey") if request.span else None
    with opened(shop, 100) as file, pytest.raises(ObjectNotFoundError):
        file.read(1)
    shop = Shop(BODY)
    shop.cut = lambda *_: [Damaged("crc32")]
    with opened(shop) as file, pytest.raises(IntegrityError):
        file.read(1)


def test_a_server_without_ranges_is_no_place_for_it() -> None:
    shop = Shop(BODY)
    shop.on_request = lambda _: whole(BODY)
    with opened(shop, 100) as file, pytest.raises(OriginUnavailableError, match="the range of it"):
        file.read(1)
    shop.check()


@pytest.mark.parametrize("etag", ['W/"%d"', ""])
def test_what_cannot_be_pinned_is_not_put_together_from_two_bodies(etag: str) -> None:
    shop = Shop(b"a" * 100, etag=etag.replace("%d", "1"), last_modified="Wed, 21 Oct 2015 07:28:00 GMT")
    with opened(shop) as file:
        assert file.read(10) == b"a" * 10
        file.seek(50)
        shop.put(b"b" * 100, etag=etag.replace("%d", "2"), last_modified="Wed, 21 Oct 2015 07:28:01 GMT")
        with pytest.raises(OriginUnavailableError):
            file.read(10)


# -- the end ---------------------------------------------------------------------------------------------------------------------


def test_closed_is_closed_and_the_connection_given_back_once() -> None:
    shop = Shop(BODY)
    file = opened(shop)
    file.read(1)
    file.close()
    file.close()
    assert [answer.closed for answer in shop.answers] == [1]
    for call in (lambda: file.read(1), file.tell, lambda: file.seek(0), file.readall, lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert len(shop.requests) == 1


def test_each_window_closes_the_one_before() -> None:
    shop = Shop(BODY)
    with opened(shop, 100) as file:
        file.read(10)
        file.read(1)
        assert [answer.closed for answer in shop.answers] == [1, 1, 0]
        file.seek(200)
        file.read(1)
        assert [answer.closed for answer in shop.answers] == [1, 1, 1, 0]
    shop.check()


def test_a_reader_around_it_closes_it() -> None:
    raw = opened(Shop(BODY))
    with io.BufferedReader(raw):
        pass
    assert raw.closed


def test_one_that_is_forgotten_is_closed_all_the_same() -> None:
    shop = Shop(BODY)
    file = opened(shop)
    file.read(1)
    del file
    assert [answer.closed for answer in shop.answers] == [1]
