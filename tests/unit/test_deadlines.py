"""The deadline of a call: who knows it, and that nothing outlives it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta

import pytest

from s3warm import deadlines
from s3warm.deadlines import carried, deadline
from s3warm.origin.base import Late
from s3warm.origin.intime import in_time


class Context:
    """What Lambda passes to the handler."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def unwanted(answer: object) -> None:
    pytest.fail(f"{answer!r} was dropped")


def unsent() -> int:
    pytest.fail("it was sent")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    return 1000.0


@pytest.mark.parametrize(
    ("context", "reserve", "seconds"),
    [
        (Context(3000), 0.2, 2.8),
        (Context(3000), 0, 3.0),
        (Context(3000), timedelta(seconds=1), 2.0),
        (2.5, 0.5, 2.0),
        (timedelta(minutes=1), 0, 60.0),
        (Context(100), 0.2, -0.1),
        (Context(-5), 0, -0.005),
        (float("inf"), 0, 1e9),
        (5.0, float("inf"), 5 - 1e9),
    ],
)
def test_it_is_what_is_left_less_the_reserve(now: float, context: object, reserve: float, seconds: float) -> None:
    with deadline(context, reserve):
        assert deadlines.until() == pytest.approx(now + seconds)
        assert deadlines.left() == pytest.approx(seconds)
    assert deadlines.until() is None
    assert deadlines.left() is None


def test_the_earliest_of_nested_ones_counts(now: float) -> None:
    with deadline(5, 0):
        with deadline(9, 0):
            assert deadlines.until() == now + 5
        with deadline(2, 0):
            assert deadlines.until() == now + 2
        assert deadlines.until() == now + 5


def test_the_context_of_a_test_has_no_deadline(now: float) -> None:
    with deadline(None):
        assert deadlines.until() is None
    with deadline(5, 0), deadline(None):
        assert deadlines.until() == now + 5


def test_it_ends_with_its_block_also_by_an_error() -> None:
    with pytest.raises(KeyError), deadline(5):
        raise KeyError
    assert deadlines.until() is None


@pytest.mark.parametrize(
    ("context", "reserve", "error", "words"),
    [
        ({}, 0.2, TypeError, "context must be what Lambda passes to the handler, or seconds, not dict"),
        ("3", 0.2, TypeError, "not str"),
        (True, 0.2, TypeError, "the time that is left must be seconds"),
        (-1, 0.2, ValueError, "the time that is left must be seconds or a timedelta, 0 or more"),
        (float("nan"), 0.2, ValueError, "0 or more"),
        (3, -0.1, ValueError, "reserve must be seconds"),
        (3, "0.2", TypeError, "reserve must be seconds"),
    ],
)
def test_what_is_no_time_is_refused(context: object, reserve: float, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words), deadline(context, reserve):
        pass
    assert deadlines.until() is None


def test_other_threads_have_their_own_unless_it_is_carried_to_them() -> None:
    with ThreadPoolExecutor(1) as pool, deadline(5):
        assert pool.submit(deadlines.until).result() is None
        assert pool.submit(carried(deadlines.until)).result() == deadlines.until()
        assert pool.submit(copy_context().run, deadlines.until).result() == deadlines.until()


def test_what_is_sent_in_time_arrives() -> None:
    assert in_time(lambda: 42, time.monotonic() + 60, drop=unwanted) == 42


def test_what_is_raised_in_time_is_raised_here() -> None:
    def send() -> int:
        raise TimeoutError("the client's own")

    with pytest.raises(TimeoutError, match="the client's own"):
        in_time(send, time.monotonic() + 60, drop=unwanted)


@pytest.mark.parametrize("ago", [0.0, 1.0])
def test_nothing_is_sent_when_the_time_is_over(ago: float) -> None:
    with pytest.raises(Late, match="no time left to ask S3"):
        in_time(unsent, time.monotonic() - ago, drop=unwanted)


def test_what_comes_too_late_is_dropped() -> None:
    gate, dropped = threading.Event(), threading.Event()
    answers: list[int] = []

    def send() -> int:
        assert gate.wait(30)
        return 42

    def drop(answer: int) -> None:
        answers.append(answer)
        dropped.set()

    with pytest.raises(Late, match=r"no answer in the 0\.01 s that were left") as caught:
        in_time(send, time.monotonic() + 0.01, drop)
    assert not caught.value.outage
    assert 0 < caught.value.waited <= 0.01
    gate.set()
    assert dropped.wait(30)
    assert answers == [42]


def test_what_fails_too_late_is_nobodys_business() -> None:
    gate = threading.Event()

    def send() -> int:
        assert gate.wait(30)
        raise ConnectionError

    before = set(threading.enumerate())
    with pytest.raises(Late):
        in_time(send, time.monotonic() + 0.01, drop=unwanted)
    (sender,) = set(threading.enumerate()) - before
    gate.set()
    sender.join(30)
    assert not sender.is_alive()


def test_without_threads_it_is_sent_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    assert in_time(lambda: 42, time.monotonic() + 60, drop=unwanted) == 42
