"""The instruments, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Metric, Sum

import s3warm
from s3warm.metrics import Event, Stats
from s3warm.otel import _COUNTERS, _GAUGES, _OUTCOMES, instrument
from s3warm.testing import FakeCache, fake_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS = {"s3://b/one": b"1", "s3://b/two": b"22"}


class Collector:
    """A provider, and what it collects."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def metrics(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        (scope,) = data.resource_metrics[0].scope_metrics
        assert scope.scope.name == "s3warm"
        return {metric.name: metric for metric in scope.metrics}

    def values(self) -> dict[str, int]:
        """The value of each sum; of `s3warm.requests` by outcome."""
        found = {}
        for name, metric in self.metrics().items():
            for point in metric.data.data_points:
                outcome = (point.attributes or {}).get("s3warm.outcome")
                if isinstance(metric.data, Sum):
                    found[name if outcome is None else str(outcome)] = point.value  # type: ignore[union-attr]
        return found  # type: ignore[return-value]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.provider.shutdown()


def test_every_field_of_stats_is_shown_once() -> None:
    shown = [*_OUTCOMES.values(), *(each.field for each in [*_COUNTERS.values(), *_GAUGES.values()])]
    assert sorted(shown) == sorted(Stats._fields)


def test_what_happened_is_collected(collector: Collector) -> None:
    with fake_s3(OBJECTS, ttl=60, memory_budget="1MiB", disk_budget=0) as s3:
        instrument(collector.provider)
        for key in ("one", "one", "one", "two"):
            s3warm.get("b", key)
        s3.advance(61)
        s3warm.get("b", "one")
        with pytest.raises(s3warm.ObjectNotFoundError):
            s3warm.get("b", "nowhere")
        values = collector.values()
        stats = s3warm.stats()
    assert {name: values[name] for name in ("memory_hit", "miss", "revalidated", "error", "stale")} == {
        "memory_hit": 2,
        "miss": 2,
        "revalidated": 1,
        "error": 1,
        "stale": 0,
    }
    assert (values["s3warm.origin.requests"], values["s3warm.origin.io"]) == (4, 3)
    assert (values["s3warm.memory.limit"], values["s3warm.memory.entries"]) == (2**20, 2)
    assert values["s3warm.memory.usage"] == stats.memory_bytes > 0


def test_counters_are_monotonic_and_gauges_are_not(collector: Collector) -> None:
    with fake_s3():
        instrument(collector.provider)
        found = collector.metrics()
    monotonic = {name: metric.data.is_monotonic for name, metric in found.items() if isinstance(metric.data, Sum)}
    assert monotonic == {"s3warm.requests": True, **dict.fromkeys(_COUNTERS, True), **dict.fromkeys(_GAUGES, False)}


def test_units_and_descriptions_are_there(collector: Collector) -> None:
    with fake_s3():
        instrument(collector.provider)
        found = collector.metrics()
    units = {name: metric.unit for name, metric in found.items()}
    assert (units["s3warm.requests"], units["s3warm.origin.io"], units["s3warm.disk.usage"]) == ("{request}", "By", "By")
    assert set(units.values()) == {"By", "{request}", "{object}", "{error}", "{value}"}
    assert all(metric.description for metric in found.values())


def test_counters_grow_on_where_the_default_cache_is_replaced(collector: Collector) -> None:
    with fake_s3(OBJECTS):
        instrument(collector.provider)
        s3warm.get("b", "one")
        assert collector.values()["miss"] == 1
        with pytest.warns(RuntimeWarning, match="had been used"):
            s3warm.configure(ttl=5)
        s3warm.get("b", "two")
        assert collector.values()["miss"] == 2


def test_a_cache_of_ones_own_is_shown(collector: Collector) -> None:
    with fake_s3(OBJECTS) as s3, FakeCache(s3) as cache:
        instrument(collector.provider, cache=cache)
        s3warm.get("b", "one")
        cache.get("b", "one")
        assert collector.values()["miss"] == 1


def test_durations_come_by_the_hook(collector: Collector) -> None:
    hook = instrument(collector.provider)
    with fake_s3(OBJECTS, ttl=60, on_event=hook) as s3:
        s3.before_answer = lambda _: s3.advance(0.25)
        s3warm.get("b", "one")
        s3.advance(61)
        s3warm.get("b", "one")
        hook(Event("evicted", "b", "one", 1))
        metric = collector.metrics()["s3warm.origin.duration"]
    assert (metric.unit, isinstance(metric.data, Histogram)) == ("s", True)
    points: Any = {point.attributes["s3warm.event"]: point for point in metric.data.data_points if point.attributes}
    assert {name: (point.sum, point.count) for name, point in points.items()} == {
        "fetched": (0.25, 1),
        "revalidated": (0.25, 1),
    }
    assert points["fetched"].attributes["aws.s3.bucket"] == "b"
    assert points["fetched"].explicit_bounds[0] == 0.005


GLOBAL = """
import s3warm
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from s3warm.testing import fake_s3
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
with fake_s3():
    s3warm.otel.instrument()
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
print(scope.scope.name)
"""


def test_the_provider_is_the_global_one_unless_another_is_given() -> None:
    done = subprocess.run([sys.executable, "-c", GLOBAL], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "s3warm\n"), done.stderr


def test_what_is_no_cache_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be an s3warm\.Cache"):
        instrument(cache="mine")  # type: ignore[arg-type]


def test_without_opentelemetry_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import s3warm\n"
        "try:\n    s3warm.otel.instrument()\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "s3warm.otel needs OpenTelemetry's API: pip install 's3warm[otel]'\n", done.stderr
