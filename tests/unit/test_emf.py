"""Lines in CloudWatch's Embedded Metric Format, held to the schema that AWS has published."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import s3warm
from s3warm.emf import metrics
from s3warm.measures import NAMES
from s3warm.metrics import Event
from s3warm.testing import fake_s3

SCHEMA = json.loads(Path(__file__).with_name("data").joinpath("emf.json").read_text())
OBJECTS = {"s3://b/one": b"1"}


def without_ids(node: Any) -> Any:
    """The schema without its `$id`s, which are fragments: no validator can resolve these."""
    if isinstance(node, dict):
        return {name: without_ids(value) for name, value in node.items() if name != "$id" or not isinstance(value, str)}
    return [without_ids(value) for value in node] if isinstance(node, list) else node


VALIDATOR = Draft202012Validator(without_ids(SCHEMA))


def validated(line: str) -> dict[str, Any]:
    """A line as a document, after all that the schema and the words around it demand."""
    document: dict[str, Any] = json.loads(line)
    VALIDATOR.validate(document)
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    targets = [metric["Name"] for metric in directive["Metrics"]]
    assert 0 < len(targets) == len(set(targets)) <= 100
    for name in targets:
        values = document[name] if isinstance(document[name], list) else [document[name]]
        assert 0 < len(values) <= 100
        assert all(type(value) in (int, float) for value in values)
    (dimensions,) = directive["Dimensions"]
    assert all(type(document[name]) is str for name in dimensions)
    assert set(document) == {"_aws", *targets, *dimensions}
    return document


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert err == ""
    assert not out or out.endswith("\n")
    return [validated(line) for line in out.splitlines()]


@pytest.fixture(autouse=True)
def not_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    monkeypatch.setattr("s3warm.emf.time.time", lambda: 1_700_000_000.1239)


def test_the_schema_is_one_and_tells_a_wrong_unit() -> None:
    Draft202012Validator.check_schema(without_ids(SCHEMA))
    directive = {"Namespace": "n", "Dimensions": [[]], "Metrics": [{"Name": "m", "Unit": "count"}]}
    assert not VALIDATOR.is_valid({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}})


def test_a_line_is_what_cloudwatch_wants(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "resize")

    @metrics()
    def handler(event: object, context: object) -> bytes:
        return s3warm.get("b", "one")

    with fake_s3(OBJECTS):
        handler({}, None)
    assert printed(capsys) == [
        {
            "_aws": {
                "Timestamp": 1_700_000_000_123,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "s3warm",
                        "Dimensions": [["FunctionName"]],
                        "Metrics": [
                            {"Name": "Misses", "Unit": "Count"},
                            {"Name": "OriginRequests", "Unit": "Count"},
                            {"Name": "OriginBytes", "Unit": "Bytes"},
                        ],
                    }
                ],
            },
            "FunctionName": "resize",
            "Misses": 1,
            "OriginRequests": 1,
            "OriginBytes": 1,
        }
    ]


def test_each_invocation_has_its_line_and_an_idle_one_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    @metrics("shop", only=("memory_hits", "misses", "memory_entries"))
    def handler(times: int) -> None:
        for _ in range(times):
            s3warm.get("b", "one")

    with fake_s3(OBJECTS):
        for times in (1, 0, 3):
            handler(times)
    first, second = printed(capsys)
    assert (first["Misses"], first["MemoryEntries"], "MemoryHits" in first) == (1, 1, False)
    assert (second["MemoryHits"], second["MemoryEntries"], "Misses" in second) == (3, 1, False)


def test_a_handler_that_raises_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_s3(), pytest.raises(s3warm.ObjectNotFoundError), metrics():
        s3warm.get("b", "one")
    (document,) = printed(capsys)
    assert (document["Errors"], document["OriginRequests"]) == (1, 1)


def test_dimensions_are_those_that_are_given(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "resize")
    with fake_s3(OBJECTS), metrics(dimensions={"service": "orders", "stage": "prod"}):
        s3warm.get("b", "one")
    (document,) = printed(capsys)
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service", "stage"]]
    assert (document["service"], document["stage"]) == ("orders", "prod")


@pytest.mark.parametrize("dimensions", [None, {}], ids=["outside Lambda", "none"])
def test_there_may_be_no_dimensions(capsys: pytest.CaptureFixture[str], dimensions: dict[str, str] | None) -> None:
    with fake_s3(OBJECTS), metrics(dimensions=dimensions):
        s3warm.get("b", "one")
    (document,) = printed(capsys)
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]


def test_dimensions_are_copied(capsys: pytest.CaptureFixture[str]) -> None:
    dimensions = {"service": "orders"}
    report = metrics(dimensions=dimensions)
    dimensions["service"] = "é"
    with fake_s3(OBJECTS), report:
        s3warm.get("b", "one")
    assert printed(capsys)[0]["service"] == "orders"


def test_over_a_hundred_latencies_are_further_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report = metrics(only=NAMES)
    with fake_s3(OBJECTS), report:
        s3warm.get("b", "one")
        for number in range(201):
            report.on_event(Event("fetched", seconds=number))
    first, second, third = printed(capsys)
    assert first["OriginLatency"] + second["OriginLatency"] + [third["OriginLatency"]] == [n * 1000 for n in range(201)]
    assert (first["Misses"], "Misses" in second, "Misses" in third) == (1, False, False)


def test_the_longest_that_is_allowed_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    dimensions = {f"{number:0250}": "v" * 1024 for number in range(30)}
    with fake_s3(OBJECTS), metrics("n" * 255, dimensions=dimensions, only=NAMES):
        s3warm.get("b", "one")
    (document,) = printed(capsys)
    assert dimensions.items() <= document.items()
    assert len(json.dumps(document)) < 256 * 1024


@pytest.mark.parametrize(
    ("namespace", "error", "said"),
    [
        ("", ValueError, "namespace is ''"),
        (" \t", ValueError, "at least one character that is not a space"),
        ("n" * 256, ValueError, "of 256 characters; CloudWatch takes 255"),
        ("caché", ValueError, "'caché' has characters that CloudWatch does not take"),
        ("a\nb", ValueError, "without control characters"),
        ("AWS/Lambda", ValueError, "begins with a colon or with AWS/"),
        (":mine", ValueError, "begins with a colon"),
        (None, TypeError, "namespace must be a string, not NoneType: None"),
        (len, TypeError, "write @metrics\\(\\) rather than @metrics"),
    ],
)
def test_a_namespace_that_cloudwatch_would_not_take_is_refused(namespace: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        metrics(namespace)


@pytest.mark.parametrize(
    ("dimensions", "error", "said"),
    [
        ({f"d{number}": "v" for number in range(31)}, ValueError, "31 names; CloudWatch takes 30"),
        ({"d" * 251: "v"}, ValueError, "dimension is of 251 characters; CloudWatch takes 250"),
        ({"d": "v" * 1025}, ValueError, "the value of dimension 'd' is of 1025 characters; CloudWatch takes 1024"),
        ({"": "v"}, ValueError, "dimension is ''"),
        ({"d": " "}, ValueError, "the value of dimension 'd' is ' '"),
        ({":d": "v"}, ValueError, "begins with a colon or is _aws"),
        ({"_aws": "v"}, ValueError, "begins with a colon or is _aws"),
        ({"d": "ü"}, ValueError, "ASCII only"),
        ({"d": "a\x7f"}, ValueError, "without control characters"),
        ({"d": 1}, TypeError, "the value of dimension 'd' must be a string, not int: 1"),
        ({1: "v"}, TypeError, "dimension must be a string, not int"),
        (["service"], TypeError, "must be a mapping of names to values, not list"),
        ({"Misses": "v"}, ValueError, "'Misses' has the name of a metric"),
    ],
)
def test_dimensions_that_cloudwatch_would_not_take_are_refused(dimensions: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        metrics(dimensions=dimensions)


def test_a_dimension_may_be_called_like_a_metric_that_was_not_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_s3(OBJECTS), metrics(dimensions={"Misses": "x"}, only=("origin_requests",)):
        s3warm.get("b", "one")
    assert printed(capsys)[0]["Misses"] == "x"


def test_a_wrong_choice_and_a_wrong_cache_are_refused() -> None:
    with pytest.raises(ValueError, match="no metric of s3warm"):
        metrics(only=("hits",))
    with pytest.raises(TypeError, match=r"must be an s3warm\.Cache"):
        metrics(cache=print)  # type: ignore[arg-type]


LOADED = """
import sys
import s3warm
from s3warm.testing import fake_s3
with fake_s3({"s3://b/one": b"1"}):
    s3warm.get("b", "one")
mine = ("s3warm.emf", "s3warm.measured", "s3warm.measures", "s3warm.otel", "s3warm.powertools")
loaded = [name for name in mine if type(sys.modules.get(name)) is type(sys)]
assert not loaded, loaded
%s
print(s3warm.emf.metrics.__module__, s3warm.emf is sys.modules["s3warm.emf"])
assert "__getattr__" not in vars(s3warm)
assert not {"opentelemetry", "aws_lambda_powertools", "inspect"} & set(sys.modules) - before
"""


@pytest.mark.parametrize(
    "used",
    ["s3warm.emf.metrics", "import s3warm.emf", "from s3warm import emf; emf.metrics"],
)
def test_it_is_loaded_when_it_is_used(used: str) -> None:
    script = LOADED % f"before = set(sys.modules); {used}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "s3warm.emf True\n"), done.stderr


@pytest.mark.parametrize("used", ["s3warm.emf", "import s3warm.emf", "from s3warm import emf"])
def test_it_may_be_the_first_that_is_used(used: str) -> None:
    script = f"import s3warm; {used}; print(s3warm.emf.__name__, 'emf' in dir(s3warm), 'get' in vars(s3warm)); s3warm.get"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "s3warm.emf True False\n"), done.stderr
