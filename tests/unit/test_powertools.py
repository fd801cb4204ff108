"""s3warm's metrics beside a handler's own, in the `Metrics` of Powertools itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

import s3warm
from s3warm.measures import NAMES, measures
from s3warm.metrics import Event, Stats
from s3warm.powertools import add_metrics
from s3warm.testing import fake_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS = {"s3://b/one": b"1"}


class Context:
    function_name = "resize"


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics(namespace="shop", service="orders")
    yield metrics
    metrics.clear_metrics()


def test_they_are_in_the_line_of_the_handlers_own(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    @metrics.log_metrics
    @add_metrics(metrics)
    def handler(event: dict[str, Any], context: Context) -> bytes:
        metrics.add_metric(name="Orders", unit=MetricUnit.Count, value=1)
        return s3warm.get("b", "one")

    with fake_s3(OBJECTS):
        handler({}, Context())
        handler({}, Context())
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["service"], first["Orders"], first["S3WarmMisses"], first["S3WarmOriginBytes"]) == ("orders", [1], [1], [1])
    (directive,) = first["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "shop"
    assert {"Name": "S3WarmOriginBytes", "Unit": "Bytes"} in directive["Metrics"]
    assert (second["S3WarmMemoryHits"], "S3WarmMisses" in second) == ([1], False)


def test_they_are_there_if_the_handler_raises(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    @metrics.log_metrics
    @add_metrics(metrics)
    def handler(event: dict[str, Any], context: Context) -> bytes:
        return s3warm.get("b", "one")

    with fake_s3(), pytest.raises(s3warm.ObjectNotFoundError):
        handler({}, Context())
    assert json.loads(capsys.readouterr().out)["S3WarmErrors"] == [1]


def test_latencies_are_values_of_one_metric(metrics: Metrics) -> None:
    report = add_metrics(metrics, prefix="", only=("origin_latency",))
    with fake_s3(OBJECTS, on_event=report.on_event), report:
        s3warm.get("b", "one")
        report.on_event(Event("fetched", seconds=0.5))
    document = metrics.serialize_metric_set()
    assert document["OriginLatency"] == [0, 500]  # type: ignore[typeddict-item]


def test_it_takes_every_unit_of_ours() -> None:
    units = {measure.unit for measure in measures(Stats(*[1] * len(Stats._fields)), [1], NAMES)}
    assert units <= {unit.value for unit in MetricUnit}
    assert len(units) == 3


def test_ephemeral_metrics_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    ephemeral = EphemeralMetrics(namespace="shop", service="orders")
    with fake_s3(OBJECTS), add_metrics(ephemeral, only=("misses",)):
        s3warm.get("b", "one")
    ephemeral.flush_metrics()
    assert json.loads(capsys.readouterr().out)["S3WarmMisses"] == [1]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((len,), TypeError, "metrics must be Powertools' Metrics, not builtin"),
        ((Metrics(namespace="n"), 3), TypeError, "prefix must be a string, not int: 3"),
        ((Metrics(namespace="n"), ":s3"), ValueError, "the first no colon or space, not ':s3'"),
        ((Metrics(namespace="n"), "é"), ValueError, "printable ASCII"),
        ((Metrics(namespace="n"), "p" * 201), ValueError, "at most 200"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(arguments: tuple[Any, ...], error: type[Exception], said: str) -> None:
    options = dict(zip(["prefix"], arguments[1:], strict=False))
    with pytest.raises(error, match=said):
        add_metrics(arguments[0], **options)


def test_a_choice_that_there_is_not_is_refused(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="no metric of s3warm"):
        add_metrics(metrics, only=("Mises",))
