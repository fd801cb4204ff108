"""What was counted while a block or a handler ran: each thing once, whatever overlaps, raises, forks or takes another's place."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm.measured import Measured, Totals
from s3warm.measures import COUNTERS, GAUGES, NAMES, USUAL, Measure, checked, measures, taken
from s3warm.metrics import Event, Stats
from s3warm.testing import FakeCache, FakeS3, fake_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS = {"s3://b/one": b"1", "s3://b/two": b"22"}


class Sent:
    """Whoever gets the metrics: the counts of each report, by name."""

    def __init__(self) -> None:
        self.reports: list[dict[str, list[float]]] = []

    def __call__(self, found: list[Measure]) -> None:
        self.reports.append({measure.name: list(measure.values) for measure in found})


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3(OBJECTS, ttl=60) as s3:
        yield s3


@pytest.fixture
def sent() -> Sent:
    return Sent()


def measured(sent: Sent, *only: str, cache: s3warm.Cache | None = None) -> Measured:
    return Measured(sent, only=only or ("memory_hits", "misses", "errors"), cache=cache)


# -- the metrics -----------------------------------------------------------------------------------------------------------


def test_every_field_of_stats_is_a_counter_or_a_gauge() -> None:
    assert set(GAUGES) == {"memory_bytes", "memory_budget", "memory_entries", "disk_bytes", "disk_budget"}
    assert set(COUNTERS) | set(GAUGES) == set(Stats._fields)
    assert set(USUAL) <= set(NAMES) == {*Stats._fields, "origin_latency"}


def test_each_has_a_unit_of_cloudwatchs() -> None:
    found = measures(Stats(*range(1, len(Stats._fields) + 1)), [0.5], NAMES)
    units = {measure.name: measure.unit for measure in found}
    assert len(units) == len(NAMES)
    assert {name for name, unit in units.items() if unit == "Bytes"} == {
        *("OriginBytes", "MemoryBytes", "MemoryBudget", "DiskBytes", "DiskBudget"),
    }
    assert units.pop("OriginLatency") == "Milliseconds"
    assert set(units.values()) == {"Bytes", "Count"}
    assert {measure.name: list(measure.values) for measure in found}["Corrupt"] == [Stats._fields.index("corrupt") + 1]


def test_a_counter_that_is_nought_is_left_out_and_a_gauge_is_not() -> None:
    found = measures(Stats(misses=2), [], ("misses", "errors", "memory_bytes"))
    assert [tuple(measure) for measure in found] == [("Misses", "Count", [2]), ("MemoryBytes", "Bytes", [0])]


def test_where_nothing_happened_a_gauge_is_left_out_too() -> None:
    assert measures(Stats(memory_bytes=7), [], ("misses", "memory_bytes")) == []
    assert len(measures(Stats(memory_bytes=7, evictions=1), [], ("memory_bytes",))) == 1


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        (Event("fetched", seconds=0.25), 0.25),
        (Event("revalidated", seconds=0.0), 0.0),
        (Event("replaced", seconds=2), 2),
        (Event("fetched", seconds=-1), None),
        (Event("stale_served"), None),
        (Event("progress", bytes=5, total=9), None),
    ],
)
def test_the_time_that_s3_took_is_that_of_its_answers(event: Event, seconds: float | None) -> None:
    assert taken(event) == seconds


def test_names_are_kept_in_their_order_and_once() -> None:
    assert checked(["misses", "errors", "misses"]) == ("misses", "errors")


@pytest.mark.parametrize(
    ("only", "error", "said"),
    [
        ("misses", TypeError, r"only=\('misses',\)"),
        ([], ValueError, "only is empty"),
        (["misses", "Eros"], ValueError, "'Eros', which is no metric of s3warm; there are memory_hits, .*origin_latency"),
    ],
)
def test_a_choice_that_is_none_says_what_there_is(only: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        checked(only)


# -- totals ----------------------------------------------------------------------------------------------------------------


def test_totals_go_on_where_another_cache_becomes_the_default(s3: FakeS3) -> None:
    totals = Totals()
    s3warm.get("b", "one")
    s3warm.get("b", "one")
    assert totals.read()[:4] == (1, 0, 0, 1)
    s3warm.get("b", "one")
    with pytest.warns(RuntimeWarning, match="had been used"):
        s3warm.configure(memory_budget="1MiB")
    s3warm.get("b", "two")
    found = totals.read()
    assert (found.memory_hits, found.misses, found.memory_budget) == (2, 2, 2**20)
    assert totals.read() == found


def test_totals_of_a_default_that_comes_back_count_nothing_twice(s3: FakeS3) -> None:
    totals = Totals()
    s3warm.get("b", "one")
    assert totals.read().misses == 1
    with fake_s3(OBJECTS):
        s3warm.get("b", "two")
        assert totals.read().misses == 2
    s3warm.get("b", "two")
    assert totals.read().misses == 3


def test_totals_of_ones_own_cache_are_not_the_defaults(s3: FakeS3) -> None:
    with FakeCache(s3) as cache:
        totals = Totals(cache)
        s3warm.get("b", "one")
        assert totals.read().misses == 0
        cache.get("b", "one")
        assert totals.read().misses == 1


def test_what_is_no_cache_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"cache must be an s3warm\.Cache, or None for the default one, not str: 'mine'"):
        Totals("mine")  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is missing")
@pytest.mark.parametrize("hits", [0, 1, 5])
def test_a_forked_child_reports_what_it_did_itself(s3: FakeS3, sent: Sent, hits: int) -> None:
    report = measured(sent)
    for _ in range(3):
        s3warm.get("b", "one")
    read, write = os.pipe()
    with report:
        s3warm.get("b", "one")
        pid = os.fork()
        if not pid:
            try:
                with report:
                    s3warm.get("b", "two")
                    for _ in range(hits):
                        s3warm.get("b", "one")
                os.write(write, repr(sent.reports).encode())
            finally:
                os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    assert said == repr([{**({"MemoryHits": [hits]} if hits else {}), "Misses": [1]}])
    assert sent.reports == [{"MemoryHits": [1]}]


# -- blocks and handlers ---------------------------------------------------------------------------------------------------


def test_a_block_reports_what_happened_in_it_and_not_before_or_between(s3: FakeS3, sent: Sent) -> None:
    report = measured(sent)
    s3warm.get("b", "one")
    with report:
        s3warm.get("b", "one")
    s3warm.get("b", "two")
    with report:
        s3warm.get("b", "one")
        s3warm.get("b", "two")
    assert sent.reports == [{"MemoryHits": [1]}, {"MemoryHits": [2]}]


def test_nothing_is_reported_if_nothing_happened(s3: FakeS3, sent: Sent) -> None:
    with measured(sent, "memory_bytes", "misses"):
        pass
    assert sent.reports == []


def test_what_was_not_chosen_is_not_reported_though_it_happened(s3: FakeS3, sent: Sent) -> None:
    with measured(sent, "errors"):
        s3warm.get("b", "one")
    assert sent.reports == []


def test_a_handler_keeps_its_name_its_answer_and_its_arguments(s3: FakeS3, sent: Sent) -> None:
    @measured(sent)
    def handler(event: dict[str, str], context: object = None) -> bytes:
        """Says what it is."""
        return s3warm.get("b", event["key"])

    assert (handler.__name__, handler.__doc__) == ("handler", "Says what it is.")
    assert handler({"key": "one"}) == b"1"
    assert handler({"key": "two"}, context=None) == b"22"
    assert sent.reports == [{"Misses": [1]}] * 2


def test_a_handler_that_raises_reports(s3: FakeS3, sent: Sent) -> None:
    @measured(sent)
    def handler() -> None:
        s3warm.get("b", "nowhere")

    for _ in range(2):
        with pytest.raises(s3warm.ObjectNotFoundError):
            handler()
    assert sent.reports == [{"Errors": [1]}] * 2


class Asynchronous:
    async def __call__(self, key: str) -> bytes:
        await asyncio.sleep(0)
        return s3warm.get("b", key)

    async def method(self, key: str) -> bytes:
        return await self(key)


@pytest.mark.parametrize(
    "handler",
    [Asynchronous(), Asynchronous().method, partial(Asynchronous().method)],
    ids=["callable", "method", "partial"],
)
def test_an_async_handler_is_reported_when_it_is_over(s3: FakeS3, sent: Sent, handler: Any) -> None:
    decorated = measured(sent)(handler)
    assert inspect.iscoroutinefunction(decorated)
    assert asyncio.run(decorated("one")) == b"1"
    assert sent.reports == [{"Misses": [1]}]


def test_an_async_handler_that_raises_reports(s3: FakeS3, sent: Sent) -> None:
    @measured(sent)
    async def handler() -> bytes:
        await asyncio.sleep(0)
        return s3warm.get("b", "nowhere")

    with pytest.raises(s3warm.ObjectNotFoundError):
        asyncio.run(handler())
    assert sent.reports == [{"Errors": [1]}]


def test_what_is_no_handler_is_refused(sent: Sent) -> None:
    with pytest.raises(TypeError, match="decorates a handler, which 3 is not"):
        measured(sent)(3)  # type: ignore[arg-type]


def test_blocks_that_overlap_report_each_thing_once(s3: FakeS3, sent: Sent) -> None:
    report = measured(sent)
    with report:
        s3warm.get("b", "one")
        with report:
            s3warm.get("b", "two")
        s3warm.get("b", "two")
    assert sent.reports == [{"Misses": [2]}, {"MemoryHits": [1]}]


def test_threads_report_each_thing_once(s3: FakeS3, sent: Sent) -> None:
    report = measured(sent)
    s3warm.get("b", "one")
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(50):
            with report:
                s3warm.get("b", "one")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A hit is in the report of its own thread, or in one that another has made meanwhile.
    assert sum(values[0] for found in sent.reports for values in found.values()) == 8 * 50
    assert {name for found in sent.reports for name in found} == {"MemoryHits"}


def test_latencies_are_those_of_the_block(sent: Sent) -> None:
    report = measured(sent, "misses", "origin_latency")
    with fake_s3(OBJECTS, ttl=60, on_event=report.on_event) as s3:
        s3.before_answer = lambda _: s3.advance(0.25)
        s3warm.get("b", "one")
        with report:
            s3warm.get("b", "two")
            s3.advance(61)
            s3warm.get("b", "two")
        with report:
            s3warm.get("b", "two")
    assert sent.reports == [{"Misses": [1], "OriginLatency": [250.0, 250.0]}]


def test_nothing_is_kept_of_events_between_blocks(s3: FakeS3, sent: Sent) -> None:
    report = measured(sent, "misses", "origin_latency")
    report.on_event(Event("fetched", seconds=1.0))
    assert not report._latencies
    report._latencies.append(9.0)  # by a thread that looked just before the last block ended
    with report:
        s3warm.get("b", "one")
    assert sent.reports == [{"Misses": [1]}]


def test_a_hook_of_ones_own_may_pass_events_on(sent: Sent) -> None:
    report, seen = measured(sent, "origin_latency"), []

    def hook(event: Event) -> None:
        seen.append(event.name)
        report.on_event(event)

    with fake_s3(OBJECTS, on_event=hook) as s3, report:
        s3.before_answer = lambda _: s3.advance(0.5)
        s3warm.get("b", "one")
    assert (seen, sent.reports) == (["fetched"], [{"OriginLatency": [500.0]}])


def test_a_cache_of_ones_own_is_measured_and_not_the_default(s3: FakeS3, sent: Sent) -> None:
    with FakeCache(s3) as cache, measured(sent, cache=cache):
        s3warm.get("b", "one")
        cache.get("b", "one")
        cache.get("b", "one")
    assert sent.reports == [{"MemoryHits": [1], "Misses": [1]}]


def test_a_default_that_is_replaced_in_a_block_is_counted_with_the_one_before(s3: FakeS3, sent: Sent) -> None:
    with measured(sent):
        s3warm.get("b", "one")
        s3warm.get("b", "one")
        with pytest.warns(RuntimeWarning, match="had been used"):
            s3warm.configure(ttl=5)
        s3warm.get("b", "two")
    assert sent.reports == [{"MemoryHits": [1], "Misses": [2]}]


def test_a_metric_may_be_named_as_cloudwatch_shows_it() -> None:
    assert checked(["SharedHits", "misses", "shared_hits"]) == ("shared_hits", "misses")
