"""s3warm's metrics beside your own, in the `Metrics` of Powertools for AWS Lambda.

https://docs.powertools.aws.dev/lambda/python/latest/core/metrics/
"""

from __future__ import annotations

from s3warm.measured import Measured
from s3warm.measures import USUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from s3warm.factory import Cache
    from s3warm.measures import Measure

    class Metrics(Protocol):
        """What is used of `aws_lambda_powertools.Metrics`: its ephemeral and EMF variants have it, too."""

        def add_metric(self, name: str, unit: str, value: float) -> None:
            """Add a value to a metric."""


__all__ = ["add_metrics"]

_PREFIX = 200  # characters; CloudWatch takes 255 for the whole name


def add_metrics(
    metrics: Metrics,
    *,
    prefix: str = "S3Warm",
    only: Iterable[str] = USUAL,
    cache: Cache | None = None,
) -> Measured:
    """Add to Powertools' metrics what each call of a handler, or a block, does with the cache.

    A decorator and a context manager in one; it counts what the process does with the cache meanwhile. It belongs below Powertools' `log_metrics`,
    which prints when the handler is over. Namespace and dimensions are Powertools'.

    Args:
        metrics: `aws_lambda_powertools.Metrics`, or whatever has its `add_metric`.
        prefix: what names begin with, as they share a namespace with yours: `S3WarmMisses`.
        only: the metrics, by their names in `Stats`, and `"origin_latency"`; see `s3warm.emf.metrics`.
        cache: a cache of your own; None: the default cache, also where `configure` replaces it.

    Raises:
        TypeError: an argument is of another type.
        ValueError: CloudWatch would not take the prefix, or there is no such metric.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> class Metrics:  # of aws_lambda_powertools
        ...     def add_metric(self, name, unit, value):
        ...         print(name, unit, value)
        >>> @s3warm.powertools.add_metrics(Metrics())
        ... def handler(event, context):
        ...     return s3warm.get("cfg", "flags.json")
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
        ...     body = handler({}, None)
        S3WarmMisses Count 1
        S3WarmOriginRequests Count 1
        S3WarmOriginBytes Bytes 2
    """
    if not callable(getattr(metrics, "add_metric", None)):
        raise TypeError(f"metrics must be Powertools' Metrics, not {type(metrics).__name__}: {metrics!r}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, not {type(prefix).__name__}: {prefix!r}")
    if len(prefix) > _PREFIX or not (prefix.isascii() and prefix.isprintable()) or prefix[:1] in (":", " "):
        raise ValueError(
            f"prefix must be at most {_PREFIX} printable ASCII characters, the first no colon or space, not {prefix!r}"
        )

    def send(found: list[Measure]) -> None:
        for measure in found:
            for value in measure.values:
                metrics.add_metric(name=prefix + measure.name, unit=measure.unit, value=value)

    return Measured(send, only=only, cache=cache)
