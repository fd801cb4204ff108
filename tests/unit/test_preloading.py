"""How preload spends its time, what it reports, and the pool that it and get_many work with."""

from __future__ import annotations

import copy
import functools
import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from s3warm import PreloadError, PreloadReport, deadlines, machine, pool, preloading
from s3warm.deadlines import deadline
from s3warm.errors import OriginUnavailableError
from s3warm.keys import ObjectKey
from s3warm.report import Preloaded

WAIT = 30  # seconds until a test that hangs fails


@pytest.fixture(autouse=True)
def _outside_of_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_INITIALIZATION_TYPE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)


def unasked(where: ObjectKey) -> tuple[str, int]:
    """Brings nothing."""
    pytest.fail(f"{where} was asked for")


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("s3warm-pool")]


# -- the pool ------------------------------------------------------------------------------------------------------------------


def test_all_numbers_are_worked_on_once() -> None:
    done: list[int] = []
    pool.run(done.append, 100, 8)
    assert sorted(done) == list(range(100))
    assert ours() == []


def test_alone_they_are_begun_in_order_in_the_calling_thread() -> None:
    done: list[tuple[int, int]] = []
    pool.run(lambda number: done.append((number, threading.get_ident())), 5, 1)
    assert done == [(number, threading.get_ident()) for number in range(5)]


def test_as_many_as_wanted_are_under_way_and_no_more() -> None:
    barrier = threading.Barrier(3)
    lock, under_way, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        barrier.wait(WAIT)  # passes only if three are in here at once
        with lock:
            under_way -= 1

    pool.run(work, 9, 3)
    assert most == 3


def test_no_more_threads_than_there_is_work() -> None:
    threads: set[int] = set()
    barrier = threading.Barrier(2)

    def work(_: int) -> None:
        threads.add(threading.get_ident())
        barrier.wait(WAIT)
        assert len(ours()) == 1

    pool.run(work, 2, 8)
    assert threading.get_ident() in threads
    assert len(threads) == 2


def test_nothing_is_nothing() -> None:
    pool.run(lambda number: pytest.fail(str(number)), 0, 8)


@pytest.mark.usefixtures("no_threads")
def test_without_threads_one_comes_after_the_other() -> None:
    done: list[int] = []
    pool.run(done.append, 5, 4)
    assert done == [0, 1, 2, 3, 4]


def test_the_deadline_is_carried_to_every_thread() -> None:
    seen: list[float | None] = []
    barrier = threading.Barrier(4)

    def work(_: int) -> None:
        barrier.wait(WAIT)
        seen.append(deadlines.until())

    with deadline(60):
        pool.run(work, 4, 4)
        assert seen == [deadlines.until()] * 4


def test_an_error_stops_what_is_not_begun_and_the_first_in_order_is_raised() -> None:
    begun: list[int] = []
    raised: list[int] = []
    barrier = threading.Barrier(3)
    others = threading.Semaphore(0)

    def work(number: int) -> None:
        begun.append(number)
        barrier.wait(WAIT)
        if number == 0:  # it ends last, and is let end
            assert others.acquire(timeout=WAIT)
            assert others.acquire(timeout=WAIT)
        raised.append(number)
        others.release()
        raise KeyError(number)

    with pytest.raises(KeyError) as caught:
        pool.run(work, 50, 3)
    assert caught.value.args == (0,)
    assert set(begun) == {0, 1, 2}
    assert raised[-1] == 0
    assert ours() == []


def test_when_another_thread_has_failed_nothing_more_is_begun() -> None:
    begun: list[int] = []
    failing: list[threading.Thread] = []
    barrier = threading.Barrier(2)
    caller = threading.current_thread()

    def work(number: int) -> None:
        begun.append(number)
        if threading.current_thread() is not caller:
            failing.append(threading.current_thread())
            barrier.wait(WAIT)
            raise KeyError(number)
        barrier.wait(WAIT)
        failing[0].join(WAIT)  # it is over, and its error known

    with pytest.raises(KeyError):
        pool.run(work, 50, 2)
    assert sorted(begun) == [0, 1]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at_once", [1, 3])
def test_an_interrupt_passes_before_any_error(interrupt: type[BaseException], at_once: int) -> None:
    barrier = threading.Barrier(at_once)
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        barrier.wait(WAIT)
        if number == at_once - 1:
            raise interrupt
        raise KeyError(number)

    with pytest.raises(interrupt):
        pool.run(work, 50, at_once)
    assert len(begun) == at_once
    assert ours() == []


def test_an_interrupt_of_the_wait_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the calling thread has nothing left to do itself."""
    gate, begun = threading.Event(), list[int]()
    caller, both = threading.get_ident(), threading.Barrier(2)

    def work(number: int) -> None:
        begun.append(number)
        if len(begun) <= 2:
            both.wait(WAIT)
        if threading.get_ident() != caller:
            assert gate.wait(WAIT)

    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        monkeypatch.setattr(threading.Thread, "join", join)
        gate.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.run(work, 2, 2)
    assert ours() == []


def test_an_error_keeps_nothing_in_memory() -> None:
    class Body:
        """What a frame holds on to."""

    bodies: list[weakref.ref[Body]] = []

    def work(_: int) -> None:
        body = Body()
        bodies.append(weakref.ref(body))
        raise KeyError

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(KeyError):
            pool.run(work, 1, 1)
        sys.exc_info()
        assert bodies[0]() is None, "freed without the collector, once the error is gone"
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("concurrency", "error"), [(0, ValueError), (-3, ValueError), (True, TypeError), (2.0, TypeError), ("4", TypeError)]
)
def test_what_is_no_concurrency_is_refused(concurrency: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="concurrency must be"):
        pool.at_most(concurrency, 4)


# -- the age of the process ----------------------------------------------------------------------------------------------------


def test_the_age_is_that_of_the_process_not_of_the_import() -> None:
    code = """
import sys, time
time.sleep(0.3)  # what is imported before s3warm
from s3warm import machine
print(machine.process_age(), time.monotonic() - machine._IMPORTED_AT)
"""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    age, imported = map(float, done.stdout.split())
    # Ticks of 10 ms, and uptime to 10 ms.
    assert imported < 0.25
    assert 0.28 <= age <= time.monotonic() - begun + 0.02


def stat(root: Path, fields: str, uptime: str) -> str:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/stat").write_text(fields)
    (root / "proc/uptime").write_text(uptime)
    return str(root)


def test_the_name_of_the_program_may_hold_anything(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = f"7 (a) b) 1 (c) S {' '.join('0' * 18)} {1000 * ticks} 99 98"
    assert machine.process_age(stat(tmp_path, fields, "4600.25 1.0\n")) == pytest.approx(3600.25)


@pytest.mark.parametrize(
    ("fields", "uptime"),
    [
        ("", "100.0 1"),
        ("7 (python) S 1 2", "100.0 1"),
        (f"7 (python) S {' '.join('0' * 30)}", ""),
        (f"7 (p) S {' '.join('x' * 30)}", "1 1"),
    ],
)
def test_where_proc_does_not_say_it_is_the_time_since_the_import(tmp_path: Path, fields: str, uptime: str) -> None:
    before = time.monotonic() - machine._IMPORTED_AT
    age = machine.process_age(stat(tmp_path, fields, uptime))
    assert before <= age <= time.monotonic() - machine._IMPORTED_AT


def test_a_start_in_the_future_is_none(tmp_path: Path) -> None:
    assert machine.process_age(stat(tmp_path, f"7 (p) S {' '.join('9' * 30)} ", "0.01 1")) >= 0


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, ""),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, ""),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, "on-demand"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_INITIALIZATION_TYPE": ""}, "on-demand"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, "snap-start"),
    ],
)
def test_the_type_of_init_is_lambdas(environ: dict[str, str], kind: str) -> None:
    assert machine.initialization_type(environ) == kind


# -- the time that there is ----------------------------------------------------------------------------------------------------


def left_in_work(*, timeout: float | timedelta | None = None) -> float | None:
    """The time that a source finds that it has."""
    seen: list[float | None] = []
    preloading.preload(
        unasked, tier_of, [lambda: seen.append(deadlines.left())], timeout=timeout, concurrency=None, strict=True
    )
    (left,) = seen
    return left


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in Lambda, 3 s old."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setattr(machine, "process_age", lambda: 3.0)


def test_outside_of_lambda_there_is_any_time() -> None:
    assert left_in_work() is None


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("", 8),
        ("on-demand", 8),
        ("provisioned-concurrency", 120),
        ("snap-start", 120),
        ("lambda-managed-instances", 120),
        ("what comes next", 120),
    ],
)
@pytest.mark.usefixtures("age")
def test_in_lambda_it_is_what_init_has_less_the_age(monkeypatch: pytest.MonkeyPatch, kind: str, allowed: float) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    assert left_in_work() == pytest.approx(allowed - 3, abs=1)
    assert deadlines.until() is None, "it ends with the call"


@pytest.mark.usefixtures("age")
def test_in_a_handler_only_its_deadline_counts() -> None:
    with deadline(60, 0):
        assert left_in_work() == pytest.approx(60, abs=1)
        assert left_in_work(timeout=20) == pytest.approx(20, abs=1)
        assert left_in_work(timeout=90) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("timeout", [40, 40.0, timedelta(seconds=40)])
@pytest.mark.usefixtures("age")
def test_a_timeout_takes_the_place_of_the_allowance(timeout: Any) -> None:
    assert left_in_work(timeout=timeout) == pytest.approx(40, abs=1)


@pytest.mark.usefixtures("age")
def test_any_time_may_be_asked_for() -> None:
    assert left_in_work(timeout=float("inf")) is None


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("8", TypeError), (True, TypeError)]
)
def test_what_is_no_timeout_is_refused_before_anything_is_begun(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout of preload must be seconds"):
        preloading.preload(unasked, tier_of, [pytest.fail], timeout=timeout, concurrency=None, strict=False)


def test_what_is_no_source_is_refused_before_anything_is_begun() -> None:
    all_bad: list[Any] = [7, "flags.json", ["s3://cfg/a"]]
    for bad in all_bad:
        with pytest.raises((TypeError, ValueError)):
            preloading.preload(unasked, tier_of, [pytest.fail, bad], timeout=None, concurrency=None, strict=False)


def test_too_old_a_process_begins_nothing_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setattr(machine, "process_age", lambda: 300.0)
    report = preloading.preload(unasked, tier_of, ["s3://cfg/a"], timeout=None, concurrency=None, strict=False)
    assert [(each.outcome, each.error) for each in report.sources] == [("unfinished", None)]
    (record,) = caplog.records
    assert "1 unfinished, as the 8 s that init has for it were over: the process was 300.0 s old already" in record.getMessage()
    assert "s3://cfg/a: not begun: the time was over" in record.getMessage()


# -- what is reported ----------------------------------------------------------------------------------------------------------

GONE = Preloaded("s3://cfg/gone.json", "failed", seconds=0.02, error=KeyError("first\nsecond"))
LATE = Preloaded(("cfg", "late.json"), "unfinished")
REPORT = PreloadReport(
    (
        Preloaded(("cfg", "flags.json"), "fetched", "memory", 1_500_000, 0.034),
        Preloaded("load_model", "called", "", 3 * 2**30, 12.5),
        GONE,
        LATE,
        Preloaded("s3://cfg/a\nb", "stale", "disk", 0, 0.001),
    ),
    12.61,
)


def test_a_report_prints_as_a_table() -> None:
    assert str(REPORT).splitlines() == [
        "s3://cfg/flags.json  fetched     memory      1.43 MiB   0.03 s",
        "load_model           called              3,072.00 MiB  12.50 s",
        "s3://cfg/gone.json   failed                             0.02 s  KeyError: 'first\\nsecond'",
        "s3://cfg/late.json   unfinished                         0.00 s  not begun: the time was over",
        "'s3://cfg/a\\nb'      stale       disk                   0.00 s",
        "5 sources, 3,073.43 MiB in 12.61 s: 1 fetched, 1 stale, 1 called, 1 failed, 1 unfinished",
    ]


def test_columns_without_content_are_left_out() -> None:
    report = PreloadReport((Preloaded("load", "called", "", 0, 0.5),), 0.5)
    assert str(report) == "load  called  0.50 s\n1 source in 0.50 s: 1 called"
    assert str(PreloadReport((), 0.0)) == "0 sources in 0.00 s"
    small = PreloadReport((Preloaded("s3://cfg/flags.json", "fetched", "disk", 300, 0.5),), 0.5)
    assert str(small).splitlines()[1] == "1 source, 300 bytes in 0.50 s: 1 fetched"


def test_a_report_is_true_if_all_went_well() -> None:
    assert (REPORT.ok, bool(REPORT), REPORT.failed, REPORT.unfinished) == (False, False, (GONE,), (LATE,))
    assert REPORT.bytes == 1_500_000 + 3 * 2**30
    for alone in (GONE, LATE):
        assert not PreloadReport((alone,), 0.0)
    assert PreloadReport((), 0.0)
    assert PreloadReport(REPORT.sources[:2], 0.0).ok


def test_a_report_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        REPORT.seconds = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        REPORT.sources[0].outcome = "failed"  # type: ignore[misc]


def bring(where: ObjectKey) -> tuple[str, int]:
    if where.key.startswith("late"):
        late = OriginUnavailableError("no answer in time")
        late.late = True
        raise late
    if where.key.startswith("bad"):
        raise ConnectionError(where.key)
    return "fetched", 7


def tier_of(where: ObjectKey) -> str:
    return "memory"


def test_one_warning_for_all(caplog: pytest.LogCaptureFixture) -> None:
    sources = ["s3://cfg/ok", *(f"s3://cfg/bad{number}" for number in range(4)), "s3://cfg/late"]
    report = preloading.preload(bring, tier_of, sources, timeout=60, concurrency=1, strict=False)
    assert [each.outcome for each in report.sources] == ["fetched", *["failed"] * 4, "unfinished"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("s3warm", logging.WARNING)
    assert record.getMessage() == (
        "preload: 5 of 6 sources are not loaded yet (4 failed, 1 unfinished, as the timeout of 60 s was over), and will be when they are "
        "asked for. s3://cfg/bad0: ConnectionError: bad0; s3://cfg/bad1: ConnectionError: bad1; s3://cfg/bad2: ConnectionError: bad2; "
        "and 2 more"
    )
    extra = {name: value for name, value in vars(record).items() if name.startswith("s3warm_")}
    assert extra == {
        "s3warm_preload_sources": 6,
        "s3warm_preload_failed": 4,
        "s3warm_preload_unfinished": 1,
        "s3warm_preload_missing": [*(f"s3://cfg/bad{number}" for number in range(4)), "s3://cfg/late"],
    }


def test_all_is_well_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert preloading.preload(bring, tier_of, ["s3://cfg/ok"], timeout=None, concurrency=None, strict=False).ok
    assert preloading.preload(bring, tier_of, [], timeout=None, concurrency=None, strict=True).sources == ()
    assert caplog.records == []


def test_strict_names_everything_and_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    sources = ["s3://cfg/late", *(f"s3://cfg/bad{number}" for number in range(4)), "s3://cfg/ok"]
    with pytest.raises(PreloadError) as caught:
        preloading.preload(bring, tier_of, sources, timeout=None, concurrency=2, strict=True)
    error = caught.value
    assert str(error).startswith(
        "5 of 6 sources could not be preloaded: s3://cfg/late: OriginUnavailableError: no answer in time; "
    )
    assert all(f"s3://cfg/bad{number}: ConnectionError: bad{number}" in str(error) for number in range(4))
    assert "cfg/ok" not in str(error)
    assert error.__cause__ is error.report.sources[0].error
    assert len(error.report.sources) == 6
    assert (error.bucket, error.key) == (None, None)
    assert caplog.records == []


def test_strict_of_what_was_not_begun_has_no_cause() -> None:
    with pytest.raises(PreloadError, match=r"s3://cfg/ok: not begun: the time was over") as caught:
        preloading.preload(bring, tier_of, ["s3://cfg/ok"], timeout=0, concurrency=None, strict=True)
    assert caught.value.__cause__ is None


def test_the_error_can_be_copied_and_pickled() -> None:
    with pytest.raises(PreloadError) as caught:
        preloading.preload(bring, tier_of, ["s3://cfg/bad"], timeout=None, concurrency=None, strict=True)
    for twin in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert str(twin) == str(caught.value)
        assert twin.report.sources[0].source == "s3://cfg/bad"


# -- callables -----------------------------------------------------------------------------------------------------------------


def one(source: Any) -> Preloaded:
    (only,) = preloading.preload(unasked, tier_of, [source], timeout=None, concurrency=None, strict=False).sources
    return only


def test_a_callables_result_is_measured_if_it_is_a_body_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_bytes(b"12")
    (tmp_path / "tree" / "deep" / "b").write_bytes(b"345")
    assert one(lambda: b"body").bytes == 4
    assert one(lambda: memoryview(bytearray(8))[::2]).bytes == 4
    assert one(lambda: tmp_path / "tree" / "a").bytes == 2
    assert one(lambda: tmp_path / "tree").bytes == 5
    others: list[object] = [None, "text", 7, {}, tmp_path / "none"]
    for other in others:
        only = one(functools.partial(lambda result: result, other))
        assert (only.outcome, only.bytes, only.tier, only.error) == ("called", 0, "", None)


def test_what_a_callable_raises_is_in_the_report() -> None:
    empty: dict[str, object] = {}
    only = one(lambda: empty["model"])
    assert (only.outcome, str(only.error)) == ("failed", "'model'")
    assert "<lambda> (test_preloading.py:" in str(only.source)


def test_a_callable_that_was_cut_off_by_the_deadline_is_unfinished() -> None:
    assert one(lambda: bring(ObjectKey("cfg", "late"))).outcome == "unfinished"


def test_a_callable_that_needs_arguments_fails() -> None:
    only = one(lambda bucket: bucket)
    assert only.outcome == "failed"
    assert isinstance(only.error, TypeError)


def test_an_asynchronous_function_fails_and_is_not_left_hanging() -> None:
    async def load() -> None:
        """Never awaited: that would be a RuntimeWarning."""

    only = one(load)
    assert only.outcome == "failed"
    assert "load is asynchronous; preload calls functions and does not await" in str(only.error)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass_through_and_nothing_more_is_begun(
    interrupt: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def stop() -> None:
        raise interrupt

    with pytest.raises(interrupt):
        preloading.preload(unasked, tier_of, [stop, "s3://cfg/a"], timeout=None, concurrency=1, strict=False)
    assert caplog.records == []
