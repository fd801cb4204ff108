"""Large bodies by parallel parts: each byte arrives once, whatever order it comes in and whatever breaks, and nothing runs on behind it."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.errors import IntegrityError, ObjectTooLargeError, OriginUnavailableError
from s3warm.origin import transfer
from s3warm.origin.base import (
    PER_CONNECTION,
    Damaged,
    NoRoom,
    NotModified,
    Request,
    StartOver,
    TransportError,
    buffers_within,
    part_length,
)
from tests.support.supplier import KEY, PATIENCE, Answer, Keeper, Shop, etag_of, full_jitter, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PART, CHUNK = 10, 4  # bytes
BODY = bytes(range(35))  # four parts, of which the last is short
ETAG = etag_of(BODY)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=PART, chunk=CHUNK)
    full_jitter(monkeypatch)


def span(number: int, body: bytes = BODY) -> tuple[int, int]:
    """The span of a part."""
    return number * PART, min((number + 1) * PART, len(body)) - 1


def memory_for(connections: int) -> int:
    return connections * CHUNK


class Meeting:
    """Holds threads up until so many have come."""

    def __init__(self, number: int) -> None:
        self._barrier = threading.Barrier(number)
        self._met: set[str] = set()

    def __call__(self, *_: object) -> None:
        name = threading.current_thread().name
        if name not in self._met:
            self._met.add(name)
            self._barrier.wait(PATIENCE)


class Turns:
    """Lets parts be finished in this order."""

    def __init__(self, order: Sequence[int]) -> None:
        self._left = list(order)
        self._changed = threading.Condition()

    def __call__(self, part: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._left[0] == part, PATIENCE)
            self._left.pop(0)
            self._changed.notify_all()


# -- what is asked for -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [2, 3, 4, 8])
def test_each_part_is_asked_for_once_and_pinned_to_the_etag_of_the_first_answer(connections: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    info = shop.save(sink, memory=memory_for(connections))
    assert (info.verified_by, info.size, bytes(sink.body)) == ("md5", 35, BODY)
    assert shop.requests[0] == Request(KEY)
    assert shop.spans == [None, span(1), span(2), span(3)]
    assert {request.if_match for request in shop.requests[1:]} == {ETAG}
    assert sorted(sink.order) == [0, 1, 2, 3]
    assert sorted(offset for offset, _ in sink.written) == [0, 4, 8, 10, 14, 18, 20, 24, 28, 30, 34]
    assert shop.counters.origin_bytes == 35


def test_a_part_is_a_part_of_the_version_that_was_asked_for() -> None:
    shop = Shop(BODY)
    key = KEY._replace(version_id="v1")
    answer = shop.origin.fetch(key, if_none_match=None)
    assert not isinstance(answer, NotModified)
    answer.save(Keeper(PART), memory_for(4), shop.note)
    assert {request.object for request in shop.requests} == {key}


def test_the_first_answer_brings_the_first_part_and_no_more() -> None:
    shop = Shop(BODY)
    shop.save(Keeper(PART), memory=memory_for(4))
    first = shop.answers[0]
    assert (sum(first.reads), first.closed) == (PART, 1)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART])
def test_what_is_no_longer_than_a_part_takes_one_request_and_no_thread(size: int) -> None:
    shop, sink = Shop(BODY[:size]), Keeper(PART)
    shop.save(sink)
    assert (bytes(sink.body), shop.spans) == (BODY[:size], [None])
    assert shop.threads <= {threading.current_thread().name}


@pytest.mark.parametrize("size", [PART + 1, 2 * PART, 3 * PART, 3 * PART + 1])
def test_sizes_around_the_border_of_a_part_come_whole(size: int) -> None:
    shop, sink = Shop(BODY[:size]), Keeper(PART)
    shop.save(sink)
    assert bytes(sink.body) == BODY[:size]
    assert shop.spans == [None, *(span(number, BODY[:size]) for number in range(1, -(-size // PART)))]
    assert shop.progress[-1] == (size, size)


@pytest.mark.parametrize(
    ("memory", "connections"), [(memory_for(2), 2), (memory_for(3) + CHUNK - 1, 3), (memory_for(8), 8), (memory_for(1000), 8)]
)
def test_memory_is_the_number_of_connections_and_eight_are_all(memory: int, connections: int) -> None:
    shop = Shop(bytes(12 * PART))
    shop.on_read = Meeting(connections)  # without so many nobody gets on
    shop.save(Keeper(PART), memory=memory)
    assert shop.threads == {f"s3warm-{number}" for number in range(connections)}


@pytest.mark.parametrize("memory", [-1, 0, CHUNK - 1, memory_for(2) - 1])
def test_without_memory_for_two_one_connection_brings_all_in_this_thread(memory: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.save(sink, memory=memory)
    assert (bytes(sink.body), shop.spans) == (BODY, [None])
    assert shop.threads == {threading.current_thread().name}
    assert sink.order == [0, 1, 2, 3]


@pytest.mark.parametrize("etag", ["", 'W/"e"'])
def test_what_cannot_be_pinned_comes_over_one_connection(etag: str) -> None:
    shop, sink = Shop(BODY, etag=etag), Keeper(PART)
    shop.save(sink)
    assert (bytes(sink.body), shop.spans) == (BODY, [None])
    sink = Keeper(PART, {1: b"x" * PART})
    shop.save(sink)
    assert (bytes(sink.body), shop.spans) == (BODY, [None, None]), "and parts that are there may be another body's"


def test_a_body_for_memory_is_put_together_in_one_place() -> None:
    shop = Shop(BODY)
    assert shop.fetch().body == BODY
    assert shop.spans == [None, span(1), span(2), span(3)]


def test_what_is_left_beside_the_body_is_the_memory_for_connections() -> None:
    shop = Shop(BODY)
    assert shop.fetch(largest=len(BODY) + memory_for(2) - 1).body == BODY
    assert shop.spans == [None]
    shop = Shop(BODY)
    shop.on_read = Meeting(3)
    assert shop.fetch(largest=len(BODY) + memory_for(3)).body == BODY
    assert shop.threads == {"s3warm-0", "s3warm-1", "s3warm-2"}


# -- parts that are there --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [{0}, {1}, {3}, {0, 1}, {1, 3}, {0, 2, 3}], ids=str)
@pytest.mark.parametrize("connections", [1, 3])
def test_parts_that_are_there_are_not_asked_for_but_summed(ready: set[int], connections: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART, {number: BODY[number * PART : number * PART + PART] for number in ready})
    assert shop.save(sink, memory=memory_for(connections)).verified_by == "md5"
    assert bytes(sink.body) == BODY
    assert shop.spans == [None, *(span(number) for number in range(1, 4) if number not in ready)]
    assert set(sink.order) == {0, 1, 2, 3} - ready
    assert shop.progress[-1] == (35, 35)


def test_if_all_are_there_nothing_is_read_but_the_sum() -> None:
    shop = Shop(BODY)
    sink = Keeper(PART, {number: BODY[number * PART : number * PART + PART] for number in range(4)})
    assert shop.save(sink).verified_by == "md5"
    assert (shop.spans, shop.answers[0].reads, shop.threads) == ([None], [], set())


def test_a_part_that_was_not_what_it_should_be_makes_all_of_it_come_anew() -> None:
    shop, sink = Shop(BODY), Keeper(PART, {1: b"x" * PART})
    assert shop.save(sink).verified_by == "md5"
    assert (sink.resets, bytes(sink.body), shop.slept) == (1, BODY, [0.1])
    assert shop.spans == [None, None, span(1), span(2), span(2), span(3), span(3)]


# -- the order of things ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
def test_the_sum_is_right_whatever_order_parts_are_finished_in(order: tuple[int, ...]) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    sink.on_finished = Turns(order)
    assert shop.save(sink, memory=memory_for(4)).verified_by == "md5"
    assert sink.order == list(order)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_progress_grows_and_ends_at_the_size(order: tuple[int, ...]) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    sink.on_finished = Turns(order)
    shop.save(sink, memory=memory_for(4))
    counts = [done for done, _ in shop.progress]
    assert counts == sorted(counts)
    assert counts[-1] == 35
    assert {size for _, size in shop.progress} == {35}


def test_a_thread_that_is_done_takes_the_next_part_while_others_wait() -> None:
    """One connection that stalls does not hold up the parts that it has not begun."""
    shop, sink, others = Shop(BODY), Keeper(PART), threading.Event()

    def stall(part: int) -> None:
        if part == 0:
            assert others.wait(PATIENCE)
        elif len(sink.order) == 2:  # and this is the third
            others.set()

    sink.on_finished = stall
    shop.save(sink, memory=memory_for(2))
    assert sink.order == [1, 2, 3, 0] or sink.order[:2] == [1, 2]


# -- breaks ----------------------------------------------------------------------------------------------------------------------


def test_a_part_that_breaks_goes_on_where_it_broke() -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.cut = lambda request, body: [body[:6], TransportError("reset")] if request.span == span(2) else [body]
    shop.save(sink)
    assert bytes(sink.body) == BODY
    assert shop.spans == [None, span(1), span(2), (26, 29), span(3)]


def test_the_first_part_goes_on_with_a_span_of_its_own() -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.cut = lambda request, body: [body[:6], TransportError("reset")] if request.span is None else [body]
    shop.save(sink)
    assert bytes(sink.body) == BODY
    assert shop.spans == [None, (6, 9), span(1), span(2), span(3)]


def failing_part(shop: Shop, number: int, error: BaseException) -> None:
    """Let the body of a part fail, and others wait for that, so that they are under way when it happens."""
    failed = threading.Event()

    def on_read(request: Request, position: int) -> None:
        if position // PART == number:
            failed.set()
            raise error
        assert failed.wait(PATIENCE)

    shop.on_read = on_read


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("connections", [4, 8])
def test_one_connection_that_gives_up_ends_all(number: int, connections: int) -> None:
    body = bytes(60 * PART)
    shop, sink = Shop(body), Keeper(PART)
    failing_part(shop, number, TransportError("there was no time left", transient=False))
    with pytest.raises(OriginUnavailableError, match="no time left"):
        shop.save(sink, memory=memory_for(connections))
    assert len(shop.requests) < 60, "the others have stopped"


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_thread_raises_is_raised_to_the_caller(error: BaseException) -> None:
    shop = Shop(BODY)
    failing_part(shop, 1, error)
    with pytest.raises(type(error)) as caught:
        shop.save(Keeper(PART))
    assert caught.value is error


def test_a_refusal_of_a_part_is_the_callers_to_see() -> None:
    shop = Shop(BODY)
    shop.on_request = lambda request: Answer(503) if request.span == span(2) else None
    with pytest.raises(OriginUnavailableError, match="503"):
        shop.save(Keeper(PART))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_an_interrupt_of_the_caller_ends_the_threads(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    shop, given_up = Shop(bytes(60 * PART)), threading.Event()
    give_up = transfer.Transfer._give_up

    def noted(self: transfer.Transfer, error: BaseException) -> None:
        give_up(self, error)
        given_up.set()

    def on_read(_: Request, position: int) -> None:
        if position >= 10 * PART:
            assert given_up.wait(PATIENCE)

    def interrupt(done: int, size: int) -> None:
        raise error

    monkeypatch.setattr(transfer.Transfer, "_give_up", noted)
    shop.on_read = on_read
    answer = shop.origin.fetch(KEY, if_none_match=None)
    assert not isinstance(answer, NotModified)
    with pytest.raises(type(error)):
        answer.save(Keeper(PART), memory_for(4), interrupt)
    answer.close()
    shop.check()
    assert len(shop.requests) <= 10 + 4, "no other part was begun"
    assert shop.counters.origin_bytes <= 10 * PART + 4 * CHUNK, "and none brought to its end"


def test_an_interrupt_while_the_caller_waits_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, sink = Shop(bytes(60 * PART)), Keeper(PART)
    waiting = threading.Event()
    shop.on_read = lambda *_: waiting.wait(PATIENCE)  # type: ignore[assignment]

    class Interrupted(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.set()
            raise KeyboardInterrupt

    real = threading.Condition
    made: list[threading.Condition] = []

    def condition(lock: Any = None) -> threading.Condition:
        made.append(Interrupted(lock) if not made else real(lock))  # the transfer's own is the first
        return made[-1]

    monkeypatch.setattr(threading, "Condition", condition)
    with pytest.raises(KeyboardInterrupt):
        shop.save(sink, memory=memory_for(4))


def starting(monkeypatch: pytest.MonkeyPatch, limit: int, failing: Callable[[list[threading.Thread]], object]) -> None:
    """No more than so many threads can be started."""
    real = threading.Thread.start
    started: list[threading.Thread] = []

    def start(self: threading.Thread) -> None:
        if len(started) >= limit:
            failing(started)
            raise RuntimeError("can't start new thread")
        started.append(self)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)


def test_an_interrupt_while_threads_are_started_leaves_no_answer_open(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(BODY)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    starting(monkeypatch, 0, interrupt)
    with pytest.raises(KeyboardInterrupt):
        shop.save(Keeper(PART))


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_where_no_more_threads_can_be_started_the_caller_takes_a_share(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.on_read = Meeting(limit + 1)
    starting(monkeypatch, limit, lambda _: None)
    assert shop.save(sink, memory=memory_for(4)).verified_by == "md5"
    assert (bytes(sink.body), shop.spans) == (BODY, [None, span(1), span(2), span(3)])
    assert shop.threads == {threading.current_thread().name, *(f"s3warm-{number}" for number in range(limit))}


def test_where_no_thread_can_be_started_an_error_closes_the_first_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(BODY)
    shop.cut = lambda *_: [TransportError("there was no time left", transient=False)]
    starting(monkeypatch, 0, lambda _: None)
    with pytest.raises(OriginUnavailableError, match="no time left"):
        shop.save(Keeper(PART))


def test_threads_that_are_done_before_the_next_one_fails_to_start_leave_its_part_to_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, sink = Shop(BODY[: 2 * PART]), Keeper(PART)
    claimed = threading.Event()
    shop.on_read = lambda *_: claimed.wait(PATIENCE)  # type: ignore[assignment]

    def let_them_end(started: list[threading.Thread]) -> None:
        claimed.set()
        for thread in started:
            thread.join(PATIENCE)

    starting(monkeypatch, 1, let_them_end)
    assert shop.save(sink, memory=memory_for(2)).verified_by == "md5"
    assert shop.spans == [None, span(1)]


# -- another body than was described ---------------------------------------------------------------------------------------------


def overwriting(shop: Shop, bodies: list[bytes], times: int) -> None:
    """Write another body whenever a part from the middle is asked for, so many times."""
    left = bodies[:times]

    def on_request(request: Request) -> None:
        if request.span is not None and request.span[0] >= 2 * PART and left:
            shop.put(left.pop(0))

    shop.on_request = on_request


OTHERS = [bytes(reversed(BODY)), BODY + b"more than that", b"short"]


@pytest.mark.parametrize("other", OTHERS, ids=["as long", "longer", "shorter"])
def test_an_object_that_changes_comes_anew_and_whole(other: bytes) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    overwriting(shop, [other], 1)
    info = shop.save(sink, memory=memory_for(2))
    assert (info.etag, info.size, info.verified_by) == (etag_of(other), len(other), "md5")
    assert bytes(sink.body) == other
    assert [request for request in shop.requests if request.span is None] == [Request(KEY)] * 2
    assert [begun.etag for begun in sink.begun] == [ETAG, etag_of(other)]
    assert shop.slept == []
    assert len(other) <= PART or shop.progress[-1] == (len(other), len(other))


def test_an_object_that_changes_again_is_given_up() -> None:
    shop = Shop(BODY)
    overwriting(shop, OTHERS, 2)
    with pytest.raises(OriginUnavailableError, match="overwritten while it was on its way, and again") as caught:
        shop.save(Keeper(PART), memory=memory_for(2))
    assert not caught.value.outage
    assert [request for request in shop.requests if request.span is None] == [Request(KEY)] * 2


def test_an_object_that_becomes_too_large_is_refused() -> None:
    shop = Shop(BODY)
    overwriting(shop, [bytes(1000)], 1)
    with pytest.raises(ObjectTooLargeError):
        shop.fetch(largest=900)


def test_what_comes_anew_without_a_length_can_be_read_all_the_same() -> None:
    shop = Shop(BODY)
    overwriting(shop, OTHERS, 1)
    put = shop.on_request

    def on_request(request: Request) -> Answer | None:
        put(request)
        whole = request.span is None and len(shop.requests) > 1
        return Answer(200, shop.body_now, headers={"etag": shop.etag}) if whole else None

    shop.on_request = on_request
    assert shop.fetch().body == OTHERS[0]


@pytest.mark.parametrize("connections", [1, 4])
def test_a_body_that_does_not_match_comes_anew_after_a_wait(connections: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    damaged: list[tuple[int, int] | None] = [span(1) if connections > 1 else None]

    def cut(request: Request, body: bytes) -> list[bytes | BaseException]:
        if request.span in damaged:
            damaged.remove(request.span)
            return [b"\xff" * len(body)]
        return [body]

    shop.cut = cut
    assert shop.save(sink, memory=memory_for(connections)).verified_by == "md5"
    assert (sink.resets, bytes(sink.body), shop.slept) == (1, BODY, [0.1])


def test_three_times_is_an_integrity_error() -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    shop.cut = lambda request, body: [b"\xff" * len(body)] if request.span == span(3) else [body]
    with pytest.raises(IntegrityError, match=r"s3://bucket/key arrived damaged.* md5 is"):
        shop.save(sink)
    assert (sink.resets, shop.slept, len(shop.requests)) == (3, [0.1, 0.2], 12)


@pytest.mark.parametrize("connections", [1, 4])
def test_what_the_supplier_finds_damaged_makes_all_of_it_come_anew(connections: int) -> None:
    """Parts that were finished before may be what is damaged, and nothing else might tell."""
    shop, sink = Shop(BODY, etag='"opaque"'), Keeper(PART)
    damaged: list[bytes | BaseException] = [b"\xff" * 33 if connections == 1 else b"\xff" * 4, Damaged("crc32c")]

    def cut(request: Request, body: bytes) -> Sequence[bytes | BaseException]:
        nonlocal damaged
        wanted, found = (None if connections == 1 else span(2)), damaged
        if request.span != wanted or not damaged:
            return [body]
        damaged = []
        return found

    shop.cut = cut
    shop.save(sink, memory=memory_for(connections))
    assert (sink.resets, bytes(sink.body), shop.slept) == (1, BODY, [0.1])


# -- sinks -----------------------------------------------------------------------------------------------------------------------


def failing(error: Exception, offset: int, times: int = 1) -> Callable[[int], None]:
    left = [error] * times

    def fail(at: int) -> None:
        if at >= offset and left:
            raise left.pop()

    return fail


@pytest.mark.parametrize("offset", [0, 10, 30])
def test_a_sink_that_loses_its_room_begins_anew_and_keeps_what_it_says_is_there(offset: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    sink.on_write = failing(StartOver(), offset)
    assert shop.save(sink).verified_by == "md5"
    assert (bytes(sink.body), len(sink.begun), sink.resets, shop.slept) == (BODY, 2, 0, [])


@pytest.mark.parametrize("offset", [0, 10, 30])
def test_a_sink_without_room_ends_it(offset: int) -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    sink.on_write = failing(NoRoom("full"), offset)
    with pytest.raises(NoRoom):
        shop.save(sink)
    assert len(sink.begun) == 1


def test_a_sink_that_loses_its_room_again_and_again_has_none() -> None:
    shop, sink = Shop(BODY), Keeper(PART)
    sink.on_write = failing(StartOver(), 0, 999)
    with pytest.raises(NoRoom):
        shop.save(sink)
    assert len(sink.begun) == 4


def test_a_body_without_a_sum_is_not_read_back() -> None:
    class Unread(Keeper):
        def read(self, offset: int, length: int) -> memoryview:
            raise AssertionError

    shop, sink = Shop(BODY, etag='"opaque-4"'), Unread(PART)
    assert shop.save(sink).verified_by == "length"
    assert bytes(sink.body) == BODY


# -- all of it together ----------------------------------------------------------------------------------------------------------


@given(st.data())
def test_whatever_breaks_the_bytes_are_right(data: st.DataObject) -> None:
    part = data.draw(st.integers(1, 16), "part")
    chunk = data.draw(st.integers(1, 20), "chunk")
    size = data.draw(st.integers(0, 12 * part), "size")
    connections = data.draw(st.integers(1, 8), "connections")
    seed = data.draw(st.integers(0, 2**32), "seed")
    into_memory = data.draw(st.booleans(), "into memory")
    chance = random.Random(seed)
    body = chance.randbytes(size)
    parts = -(-size // part)
    ready = {
        number: body[number * part : (number + 1) * part]
        for number in range(parts)
        if parts > 1 and not into_memory and data.draw(st.booleans(), f"{number} is ready")
    }
    lock = threading.Lock()
    breaks = data.draw(st.integers(0, 8), "breaks")

    def cut(request: Request, piece: bytes) -> list[bytes | BaseException]:
        """Some pieces, and a break somewhere, but not twice without a byte between."""
        nonlocal breaks
        pieces: list[bytes | BaseException] = []
        with lock:
            at = 0
            while at < len(piece):
                step = chance.randint(1, part)
                pieces.append(piece[at : at + step])
                at += step
            if breaks and pieces and chance.random() < 0.5:
                breaks -= 1
                keep = chance.randint(1, len(pieces))
                pieces[keep:] = [TransportError("reset")] if chance.random() < 0.5 else []
        return pieces

    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, part=part, chunk=chunk)
        shop, sink = Shop(body), Keeper(part, ready)
        shop.cut = cut
        if parts > 1 and connections >= parts:  # then each part has a thread, and any order is possible
            order = [number for number in range(parts) if number not in ready]
            chance.shuffle(order)
            sink.on_finished = Turns(order)
        if into_memory:
            fetched = shop.fetch(largest=size + connections * chunk)
            assert (fetched.body, fetched.info.verified_by) == (body, "md5")
        else:
            info = shop.save(sink, memory=connections * chunk)
            assert (bytes(sink.body), info.verified_by) == (body, "md5")
            seen = sorted(offset + at for offset, piece in sink.written for at in range(len(piece)))
            skipped = {at for number in ready for at in range(number * part, (number + 1) * part)}
            assert seen == [at for at in range(size) if at not in skipped]
            assert sink.parts == set(range(parts))
        counts = [done for done, _ in shop.progress]
        assert counts == sorted(counts)
        assert counts[-1:] == ([size] if parts > 1 else [])


@pytest.mark.parametrize(
    ("free", "connections"), [(-1, 0), (0, 0), (1, 1), (3, 3), (8, 8), (30, 8), (127, 8), (128, 16), (10_000, 16)]
)
@pytest.mark.parametrize("parts", [64, 65])
def test_sixteen_connections_are_for_those_who_have_plenty_and_bodies_that_are_soon_over(
    free: int, connections: int, parts: int
) -> None:
    few = connections if parts == 64 else min(connections, 8)
    assert buffers_within(free * PER_CONNECTION, parts * PART) == few * PER_CONNECTION


def test_the_parts_of_a_larger_body_are_longer_and_not_many() -> None:
    chance = random.Random(1)
    before = PART
    for size in sorted(
        [*(factor * PART + more for factor in (64, 256) for more in (0, 1)), *(chance.randrange(2000) for _ in range(100))]
    ):
        length = part_length(size)
        assert length in (PART, 2 * PART, 4 * PART)
        assert length >= before
        assert size > 256 * PART or -(-size // length) <= 128
        before = length


@pytest.mark.parametrize(("parts", "length"), [(64, 1), (65, 2), (256, 2), (257, 4)])
@pytest.mark.parametrize("memory", [memory_for(1), memory_for(4)])
def test_a_larger_body_comes_in_parts_of_its_own_length(parts: int, length: int, memory: int) -> None:
    body = random.Random(parts).randbytes(parts * PART)
    length *= PART
    shop, sink = Shop(body), Keeper(length, {3: body[3 * length : 4 * length]})
    shop.save(sink, memory=memory)
    assert bytes(sink.body) == body
    count = -(-len(body) // length)
    assert sorted(sink.order) == [number for number in range(count) if number != 3]
    assert list(shop.spans)[1:] == [
        (number * length, min((number + 1) * length, len(body)) - 1) for number in range(1, count) if number != 3
    ]


@pytest.mark.parametrize("connections", [1, 3, 16])
def test_a_supplier_that_keeps_few_connections_is_asked_by_no_more(connections: int) -> None:
    shop, sink = Shop(bytes(40 * PART)), Keeper(PART)
    shop.connections = connections
    shop.save(sink, memory=memory_for(20))
    names = {f"s3warm-{number}" for number in range(connections)}
    assert shop.threads <= (names if connections > 1 else {threading.current_thread().name})
