"""What is counted and told: snapshots, events, and a log that is silent while all is well."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from s3warm.metrics import Announcer, Counters, Event, Stats, Troubles

GAUGES = ["memory_bytes", "memory_budget", "memory_entries", "disk_bytes", "disk_budget"]


def tell(hook: Callable[[Event], None] | None, event: Event, troubles: Troubles) -> None:
    announcer = Announcer(hook, troubles)
    announcer.note(event)
    announcer.announce()


def test_the_contract_fields_are_there() -> None:
    promised = (
        "memory_hits disk_hits misses revalidated replaced stale_served origin_requests origin_bytes evictions"
        " memory_bytes memory_budget disk_bytes disk_budget"
    )
    assert set(promised.split()) <= set(Stats._fields)


@pytest.mark.parametrize("name", Stats._fields)
def test_a_difference_subtracts_counters_and_keeps_gauges_as_they_are_after(name: str) -> None:
    before, after = Stats(**{name: 3}), Stats(**{name: 10})
    assert getattr(after - before, name) == (10 if name in GAUGES else 7)
    assert sum(after - before) == getattr(after - before, name)


def test_a_difference_is_stats_and_nothing_happened_between_a_snapshot_and_itself() -> None:
    stats = Stats(memory_hits=5, origin_bytes=7, memory_budget=9)
    assert type(stats - stats) is Stats
    assert stats - stats == Stats(memory_budget=9)


def test_stats_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Stats().misses = 1  # type: ignore[misc]


def test_stats_print_as_an_aligned_table_of_every_field() -> None:
    lines = str(Stats(memory_hits=1_234_567, disk_budget=5)).splitlines()
    assert [line.split()[0] for line in lines] == list(Stats._fields)
    assert lines[0] == "memory_hits           1,234,567"
    assert len({len(line) for line in lines}) == 1


def test_counters_make_a_snapshot_with_what_is_counted_elsewhere() -> None:
    counters = Counters()
    counters.misses += 2
    assert counters.snapshot(memory_hits=5, disk_bytes=7) == Stats(memory_hits=5, misses=2, disk_bytes=7)
    counters.misses += 1
    assert counters.snapshot() == Stats(misses=3)


def test_a_counter_that_there_is_not_cannot_be_counted() -> None:
    with pytest.raises(AttributeError):
        Counters().mises = 1


def test_an_event_needs_a_name_only() -> None:
    assert Event("evicted") == ("evicted", None, None, 0, 0.0, "", 0)


def test_one_warning_when_a_kind_begins_and_one_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    for attempt in range(3):
        troubles.report("disk", f"disk is full ({attempt})", directory="/tmp/x", name="n")
    troubles.report("origin b", "S3 is down", bucket="b")
    for _ in range(2):
        troubles.over("disk", "disk works again", directory="/tmp/x")
    assert [(record.name, record.levelno, record.getMessage()) for record in caplog.records] == [
        ("s3warm", logging.WARNING, "disk is full (0)"),
        ("s3warm", logging.WARNING, "S3 is down"),
        ("s3warm", logging.WARNING, "disk works again"),
    ]
    fields = [{name: value for name, value in vars(record).items() if name.startswith("s3warm")} for record in caplog.records]
    assert fields == [
        {"s3warm_trouble": "disk", "s3warm_directory": "/tmp/x", "s3warm_name": "n"},
        {"s3warm_trouble": "origin b", "s3warm_bucket": "b"},
        {"s3warm_trouble": "disk", "s3warm_directory": "/tmp/x", "s3warm_count": 3},
    ]


def test_what_was_never_reported_is_never_over(caplog: pytest.LogCaptureFixture) -> None:
    Troubles().over("disk", "works again")
    assert caplog.records == []


def test_a_trouble_that_comes_back_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    for _ in range(2):
        troubles.report("disk", "full")
        troubles.over("disk", "works")
    assert [record.getMessage() for record in caplog.records] == ["full", "works"] * 2


def test_a_percent_sign_in_a_message_stays_one(caplog: pytest.LogCaptureFixture) -> None:
    Troubles().report("origin", "s3://b/100%s %d is gone")
    assert caplog.records[0].getMessage() == "s3://b/100%s %d is gone"


def test_what_a_hook_raises_is_reported_once_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    def hook(event: Event) -> None:
        raise RuntimeError(event.name)

    troubles = Troubles()
    tell(hook, Event("fetched"), troubles)
    tell(hook, Event("evicted"), troubles)
    (record,) = caplog.records
    assert record.getMessage() == "the on_event hook raised RuntimeError('fetched'); its errors are ignored"
    assert (vars(record)["s3warm_trouble"], vars(record)["s3warm_event"]) == ("on_event", "fetched")


def test_an_interruption_in_a_hook_is_not_swallowed() -> None:
    def hook(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell(hook, Event("fetched"), Troubles())


def test_a_hook_gets_the_event_and_none_is_none(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []
    event = Event("fetched", "b", "k", 3)
    tell(seen.append, event, Troubles())
    tell(None, event, Troubles())
    assert seen == [event]
    assert caplog.records == []


TROUBLE = """
    import sys
    from s3warm.metrics import Troubles
    Troubles().report("disk", "the disk is full")
    import logging
    assert [type(handler).__name__ for handler in logging.getLogger("s3warm").handlers] == ["NullHandler"]
    Troubles().report("disk", "once more: a second handler would be one too many")
    assert len(logging.getLogger("s3warm").handlers) == 1
"""


@pytest.mark.parametrize(
    ("before", "printed"),
    [("", ""), ("import logging; logging.basicConfig(format='%(name)s %(message)s')", "s3warm the disk is full")],
    ids=["no logging configured", "logging configured"],
)
def test_trouble_prints_nothing_unless_the_user_has_set_up_logging(before: str, printed: str) -> None:
    script = before + textwrap.dedent(TROUBLE)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(printed) if printed else done.stderr == ""
