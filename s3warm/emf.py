"""Metrics in CloudWatch, without a request to it: one line in the Embedded Metric Format for each invocation.

Lambda sends what a handler prints to CloudWatch Logs, which turns lines of this format into metrics
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from s3warm.measured import Measured
from s3warm.measures import USUAL, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from s3warm.factory import Cache
    from s3warm.measures import Measure

__all__ = ["metrics"]

# The format's limits, and CloudWatch's (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html).
_DIMENSIONS = 30
_NAMESPACE = 255
_NAME = 250
_VALUE = 1024
_VALUES = 100


def metrics(
    namespace: str = "s3warm",
    *,
    dimensions: Mapping[str, str] | None = None,
    only: Iterable[str] = USUAL,
    cache: Cache | None = None,
) -> Measured:
    """Print the metrics of each call of a handler, or of a block, on standard output, as one line that CloudWatch understands.

    A decorator and a context manager in one; it counts what the process does with the cache meanwhile. A line has those of the chosen metrics that
    are not 0: what is not sent costs nothing, so let alarms take missing data for good. Latencies beyond a hundred come in further lines, as
    the format demands.

    Args:
        namespace: where CloudWatch shows the metrics.
        dimensions: names and values; None: `FunctionName`, in Lambda. Values that vary with each invocation would make metrics, and costs,
            without end.
        only: the metrics, by their names in `Stats` or in CloudWatch, and `"origin_latency"`: milliseconds that S3 took, as told by `Measured.on_event`
            (`MemoryHits` and `OriginLatency` in CloudWatch). Unless given: memory_hits, disk_hits, shared_hits, misses, stale_served,
            errors, decode_errors, shared_errors, shared_refused, origin_requests, origin_bytes, origin_latency.
        cache: a cache of your own; None: the default cache, also where `configure` replaces it.

    Raises:
        TypeError: an argument is of another type.
        ValueError: CloudWatch would not take the namespace or a dimension, or there is no such metric.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> @s3warm.emf.metrics("shop", dimensions={"service": "orders"})
        ... def handler(event, context):
        ...     return s3warm.get("cfg", "flags.json")
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
        ...     body = handler({}, None)  # doctest: +ELLIPSIS
        {"_aws":{"Timestamp":...,"service":"orders","Misses":1,"OriginRequests":1,"OriginBytes":2}
    """
    chosen = _named(namespace)
    dimensions = _function() if dimensions is None else _checked(dimensions)

    def send(found: list[Measure]) -> None:
        # A handler does not fail for want of a standard output: it may be closed, or None.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            for document in _documents(found, chosen, dimensions, int(time.time() * 1000)):
                # In one piece: lines of several threads shall not mix.
                sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
            sys.stdout.flush()

    measured = Measured(send, only=only, cache=cache)
    for name in measured.names:
        if title(name) in dimensions:
            raise ValueError(f"dimension {title(name)!r} has the name of a metric; give it another one")
    return measured


def _documents(found: list[Measure], namespace: str, dimensions: Mapping[str, str], now: int) -> Iterator[dict[str, object]]:
    """The metrics as documents, each with the first values that are left; `now` is in milliseconds."""
    while found:
        yield {
            "_aws": {
                "Timestamp": now,
                "CloudWatchMetrics": [
                    {
                        "Namespace": namespace,
                        "Dimensions": [list(dimensions)],
                        "Metrics": [{"Name": measure.name, "Unit": measure.unit} for measure in found],
                    }
                ],
            },
            **dimensions,
            **{measure.name: measure.values[0] if len(measure.values) == 1 else measure.values[:_VALUES] for measure in found},
        }
        found = [measure._replace(values=measure.values[_VALUES:]) for measure in found if len(measure.values) > _VALUES]


def _function() -> dict[str, str]:
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    return {"FunctionName": name} if name else {}


def _named(namespace: str) -> str:
    if not isinstance(namespace, str):
        hint = ": write @metrics() rather than @metrics" if callable(namespace) else f": {namespace!r}"
        raise TypeError(f"namespace must be a string, not {type(namespace).__name__}{hint}")
    _check("namespace", namespace, _NAMESPACE)
    if namespace.startswith((":", "AWS/")):
        raise ValueError(f"namespace {namespace!r} begins with a colon or with AWS/, which CloudWatch keeps for itself")
    return namespace


def _checked(dimensions: Mapping[str, str]) -> dict[str, str]:
    if not hasattr(dimensions, "items"):
        raise TypeError(f"dimensions must be a mapping of names to values, not {type(dimensions).__name__}: {dimensions!r}")
    if len(dimensions) > _DIMENSIONS:
        raise ValueError(f"dimensions has {len(dimensions)} names; CloudWatch takes {_DIMENSIONS}")
    for name, value in dimensions.items():
        _check("dimension", name, _NAME)
        _check(f"the value of dimension {name!r}", value, _VALUE)
        if name == "_aws" or name.startswith(":"):
            raise ValueError(f"dimension {name!r} begins with a colon or is _aws, which CloudWatch keeps for itself")
    return dict(dimensions)


def _check(what: str, text: str, longest: int) -> None:
    """What CloudWatch wants of each name and value."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string, not {type(text).__name__}: {text!r}")
    if not text.strip():
        raise ValueError(f"{what} is {text!r}; it must have at least one character that is not a space")
    if len(text) > longest:
        raise ValueError(f"{what} is of {len(text)} characters; CloudWatch takes {longest}: {text[:50]!r}...")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(
            f"{what} {text!r} has characters that CloudWatch does not take: ASCII only, without control characters"
        )
