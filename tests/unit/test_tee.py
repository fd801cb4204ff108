"""A body that goes to memory and to another sink: both have all of it in the end, and what fails there is told here."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from s3warm.errors import IntegrityError, ObjectTooLargeError
from s3warm.origin import tee as module
from s3warm.origin import transfer
from s3warm.origin.base import NoRoom, NotModified, StartOver, TransportError
from s3warm.origin.tee import Tee
from tests.support.supplier import KEY, PATIENCE, Keeper, Shop, full_jitter, shrink

if TYPE_CHECKING:
    from s3warm.entries import Metadata

PART, CHUNK = 10, 4  # bytes
BODY = random.Random(1).randbytes(95)
LOADED = (module, transfer)  # what is imported later would know other parts
CONNECTIONS = pytest.mark.parametrize("connections", [1, 4])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=PART, chunk=CHUNK)
    full_jitter(monkeypatch)


def fetched(shop: Shop, sink: Keeper, connections: int, largest: int = 1000) -> tuple[Metadata, bytes]:
    """By way of a tee; no thread is left."""
    answer = shop.origin.fetch(KEY, if_none_match=None)
    assert not isinstance(answer, NotModified)
    try:
        with Tee(KEY, largest, sink) as tee:
            return answer.save(tee, connections * CHUNK, shop.note), tee.body()
    finally:
        answer.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "s3warm-writer"]


@CONNECTIONS
@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 95])
@pytest.mark.parametrize("etag", [None, '"opaque-4"'])
def test_both_have_all_of_it(size: int, connections: int, etag: str | None) -> None:
    body, sink = BODY[:size], Keeper(PART)
    info, came = fetched(Shop(body, etag=etag), sink, connections)
    assert (came, bytes(sink.body), info.size) == (body, body, size)
    assert sink.parts == set(range(-(-size // PART)))
    assert info.verified_by == ("md5" if etag is None else "length")


@CONNECTIONS
def test_what_an_earlier_transfer_has_finished_is_read_and_the_rest_fetched(connections: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART, {number: BODY[number * PART : (number + 1) * PART] for number in (2, 5, 9)})
    assert fetched(shop, sink, connections)[1] == BODY
    assert shop.counters.origin_bytes == len(BODY) - 25
    assert sorted(sink.order) == [0, 1, 3, 4, 6, 7, 8]


@CONNECTIONS
def test_nobody_who_receives_waits_for_the_other_and_a_part_is_finished_when_it_is_written(connections: int) -> None:
    shop, sink, last = Shop(BODY), Keeper(PART), threading.Event()
    written: set[int] = set()

    def read(_: object, position: int) -> None:
        if position >= 90:
            last.set()

    def write(offset: int) -> None:
        assert last.wait(PATIENCE)
        written.update(range(offset, offset + CHUNK))

    def finished(part: int) -> None:
        assert written >= set(range(part * PART, min((part + 1) * PART, len(BODY))))

    shop.on_read, sink.on_write, sink.on_finished = read, write, finished
    assert fetched(shop, sink, connections)[1] == BODY
    assert sink.parts == set(range(10))


@CONNECTIONS
@pytest.mark.parametrize("offset", [0, 48, 94])
def test_the_other_that_loses_its_room_has_all_begin_anew(connections: int, offset: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    failed: list[int] = []

    def write(position: int) -> None:
        if position <= offset < position + CHUNK and not failed:
            failed.append(position)
            sink.parts, sink._now = set(), set()
            raise StartOver("full")

    sink.on_write = write
    assert fetched(shop, sink, connections)[1] == BODY
    assert (len(sink.begun), bytes(sink.body), sink.parts) == (2, BODY, set(range(10)))


@CONNECTIONS
@pytest.mark.parametrize("step", ["begin", "write", "write the last", "finished"])
def test_the_other_that_fails_is_no_room(connections: int, step: str) -> None:
    shop, sink = Shop(BODY), Keeper(PART)

    def fail(what: object) -> None:
        if step != "write the last" or (isinstance(what, int) and what >= 90):
            raise NoRoom("broken")

    setattr(sink, "on_" + step.split(maxsplit=1)[0], fail)
    with pytest.raises(NoRoom, match="broken"):
        fetched(shop, sink, connections)


@CONNECTIONS
def test_a_body_that_arrives_damaged_leaves_nothing_in_the_other(connections: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.cut = lambda _, body: [bytes(len(body))]
    with pytest.raises(IntegrityError):
        fetched(shop, sink, connections)
    assert (sink.resets, sink.parts) == (3, set())


def test_a_transfer_that_is_cut_off_has_written_what_it_had_received() -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.cut = lambda request, body: [body[:PART], TransportError("reset", transient=False)] if not request.span else [body]
    with pytest.raises(Exception, match="reset"):
        fetched(shop, sink, 1)
    assert (sink.parts, bytes(sink.body[:PART])) == ({0}, BODY[:PART])


def test_one_that_is_too_large_is_refused_before_the_other_knows_of_it() -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    with pytest.raises(ObjectTooLargeError):
        fetched(shop, sink, 4, largest=94)
    assert sink.begun == []


@CONNECTIONS
def test_without_any_more_threads_who_receives_writes(monkeypatch: pytest.MonkeyPatch, connections: int) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "s3warm-writer":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    sink = Keeper(PART)
    assert fetched(Shop(BODY), sink, connections)[1] == BODY
    assert (bytes(sink.body), sink.parts) == (BODY, set(range(10)))


@CONNECTIONS
@pytest.mark.parametrize("held", [(0, 1), (9,), (0, 9), tuple(range(10))])
def test_where_the_etag_is_weak_all_is_brought_anew_whatever_was_held(held: tuple[int, ...], connections: int) -> None:
    """Nothing can be asked for with If-Match, so the answer to the first request brings all of it, in order."""
    sink = Keeper(PART, {number: b"x" * len(BODY[number * PART : (number + 1) * PART]) for number in held})
    assert fetched(Shop(BODY, etag='W/"weak"'), sink, connections)[1] == BODY
    assert bytes(sink.body) == BODY
