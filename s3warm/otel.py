"""s3warm's metrics for OpenTelemetry: instruments that look at `stats()` whenever they are collected.

Names and units follow https://opentelemetry.io/docs/specs/semconv/general/metrics/: a limit beside its usage, one counter of requests with
the outcome as an attribute.
"""

from __future__ import annotations

from s3warm.measured import Totals
from s3warm.measures import taken
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

    from s3warm.factory import Cache
    from s3warm.metrics import Event

__all__ = ["instrument"]


class _Instrument(NamedTuple):
    """An observable instrument: the field of `Stats` that it shows, its unit and what it says of itself."""

    field: str
    unit: str
    description: str


# By the value of `s3warm.outcome`: the fields of `Stats` in which a call counts once.
_OUTCOMES = {
    "memory_hit": "memory_hits",
    "disk_hit": "disk_hits",
    "shared_hit": "shared_hits",
    "miss": "misses",
    "revalidated": "revalidated",
    "replaced": "replaced",
    "stale": "stale_served",
    "coalesced": "coalesced",
    "error": "errors",
}
_COUNTERS = {
    "s3warm.origin.requests": _Instrument("origin_requests", "{request}", "Requests to S3"),
    "s3warm.origin.io": _Instrument("origin_bytes", "By", "Bodies received from S3"),
    "s3warm.removals": _Instrument("removed", "{object}", "Objects dropped as S3 has them no more, or denies them"),
    "s3warm.negative_hits": _Instrument("negative_hits", "{request}", "Calls answered by a 404 that was remembered"),
    "s3warm.evictions": _Instrument("evictions", "{object}", "Objects dropped for want of room"),
    "s3warm.disk.errors": _Instrument("disk_errors", "{error}", "Troubles with the cache directory"),
    "s3warm.writes": _Instrument("written", "{object}", "Objects written to S3"),
    "s3warm.decodings": _Instrument("decoded", "{value}", "Runs of transforms and loaders"),
    "s3warm.decode_errors": _Instrument("decode_errors", "{error}", "Of these, the ones that failed"),
    "s3warm.disk.corruptions": _Instrument("corrupt", "{object}", "Damaged bodies in the cache directory"),
    "s3warm.shared.errors": _Instrument("shared_errors", "{error}", "Troubles with the server of the shared tier"),
    "s3warm.shared.refusals": _Instrument("shared_refused", "{object}", "Entries of the shared tier that were not authentic"),
}
_GAUGES = {
    "s3warm.memory.usage": _Instrument("memory_bytes", "By", "Bytes held in memory"),
    "s3warm.memory.limit": _Instrument("memory_budget", "By", "Bytes that memory may hold"),
    "s3warm.memory.entries": _Instrument("memory_entries", "{object}", "Objects held in memory"),
    "s3warm.disk.usage": _Instrument("disk_bytes", "By", "Bytes held in the cache directory"),
    "s3warm.disk.limit": _Instrument("disk_budget", "By", "Bytes that the cache directory may hold"),
}

# Seconds; those of http.client.request.duration (https://opentelemetry.io/docs/specs/semconv/http/http-metrics/).
_BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def instrument(meter_provider: MeterProvider | None = None, *, cache: Cache | None = None) -> Callable[[Event], None]:
    """Register s3warm's instruments, once in a process, and return a hook that records how long S3 takes.

    `s3warm.requests` counts calls by `s3warm.outcome`; what the others count is in `help(s3warm.Stats)`. Counters only grow, also where
    another cache becomes the default one. The histogram `s3warm.origin.duration` (seconds, by `aws.s3.bucket` and `s3warm.event`) needs the
    hook that is returned: pass it as `on_event` to `configure` or `Cache`, or call it from your own.

    Args:
        meter_provider: None: OpenTelemetry's global one.
        cache: a cache of your own; None: the default cache.

    Raises:
        ModuleNotFoundError: `opentelemetry-api` is not installed.
        TypeError: `cache` is no `Cache`.

    Example:
        >>> import s3warm
        >>> s3warm.configure(on_event=s3warm.otel.instrument())
    """
    totals = Totals(cache)
    try:
        from opentelemetry import metrics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "s3warm.otel needs OpenTelemetry's API: pip install 's3warm[otel]'", name=error.name
        ) from error

    def requests(_: CallbackOptions) -> Iterable[Observation]:
        stats = totals.read()
        return [metrics.Observation(getattr(stats, field), {"s3warm.outcome": outcome}) for outcome, field in _OUTCOMES.items()]

    def observing(field: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [metrics.Observation(getattr(totals.read(), field))]

    meter = metrics.get_meter("s3warm", meter_provider=meter_provider)
    meter.create_observable_counter("s3warm.requests", [requests], "{request}", "Calls, by what answered them")
    for name, (field, unit, description) in _COUNTERS.items():
        meter.create_observable_counter(name, [observing(field)], unit, description)
    for name, (field, unit, description) in _GAUGES.items():
        meter.create_observable_up_down_counter(name, [observing(field)], unit, description)
    duration = meter.create_histogram(
        "s3warm.origin.duration", "s", "Time that S3 took", explicit_bucket_boundaries_advisory=_BOUNDARIES
    )

    def on_event(event: Event) -> None:
        spent = taken(event)
        if spent is not None:
            duration.record(spent, {"aws.s3.bucket": event.bucket or "", "s3warm.event": event.name})

    return on_event
