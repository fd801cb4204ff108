"""What `Stats` and events say, as metrics: a name, a unit and values."""

from __future__ import annotations

from s3warm.metrics import Stats
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s3warm.metrics import Event

__all__ = ["COUNTERS", "GAUGES", "LATENCY", "NAMES", "USUAL", "Measure", "checked", "measures", "taken", "title"]

_ONES = Stats(*[1] * len(Stats._fields))

COUNTERS = tuple(name for name, left in (_ONES - _ONES)._asdict().items() if not left)
GAUGES = tuple(name for name in Stats._fields if name not in COUNTERS)  # what a difference keeps

LATENCY = "origin_latency"
NAMES = (*Stats._fields, LATENCY)

# Each custom metric costs some $0.30 a month for each function (https://aws.amazon.com/cloudwatch/pricing/): these tell whether the cache
# does its work, whether S3 does, and what goes wrong.
USUAL = (
    "memory_hits",
    "disk_hits",
    "shared_hits",
    "misses",
    "stale_served",
    "errors",
    "decode_errors",
    "shared_errors",
    "shared_refused",
    "origin_requests",
    "origin_bytes",
    LATENCY,
)

_TIMED = frozenset(("fetched", "replaced", "revalidated"))


class Measure(NamedTuple):
    """One metric: its `name` in CloudWatch's style, one of CloudWatch's units, and its values, of which a latency has many.

    The units are those of https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
    """

    name: str
    unit: str
    values: Sequence[float]


def measures(happened: Stats, latencies: Sequence[float], names: Iterable[str]) -> list[Measure]:
    """The metrics of these names; none at all where nothing happened.

    Counters that are 0 are left out: a metric that is not sent costs nothing. Gauges are what they are.

    Example:
        >>> [tuple(measure) for measure in measures(Stats(misses=1, origin_bytes=7), [20.5], USUAL)]
        [('Misses', 'Count', [1]), ('OriginBytes', 'Bytes', [7]), ('OriginLatency', 'Milliseconds', [20.5])]
    """
    if not latencies and not any(getattr(happened, name) for name in COUNTERS):
        return []
    found = []
    for name in names:
        values = latencies if name == LATENCY else [getattr(happened, name)]
        if name in GAUGES or any(values):
            found.append(Measure(title(name), _unit(name), values))
    return found


def taken(event: Event) -> float | None:
    """The seconds that S3 took, if the event is about that; None where a clock was set back meanwhile."""
    return event.seconds if event.name in _TIMED and event.seconds >= 0 else None


def title(name: str) -> str:
    """The name of a metric in CloudWatch's style: `memory_hits` is `MemoryHits`."""
    return "".join(word.capitalize() for word in name.split("_"))


def checked(only: Iterable[str]) -> tuple[str, ...]:
    """The names of metrics that a user has chosen, each once.

    Raises:
        TypeError: a single string.
        ValueError: none at all, or a name that there is not.
    """
    if isinstance(only, str):
        raise TypeError(f"only must be several names, not one string; for this one write only=({only!r},)")
    titles = {title(name): name for name in NAMES}
    chosen = tuple(dict.fromkeys(titles.get(name, name) for name in only))
    if not chosen:
        raise ValueError("only is empty: there would be nothing to report")
    for name in chosen:
        if name not in NAMES:
            raise ValueError(f"only names {name!r}, which is no metric of s3warm; there are {', '.join(NAMES)}")
    return chosen


def _unit(name: str) -> str:
    if name == LATENCY:
        return "Milliseconds"
    return "Bytes" if name.endswith(("_bytes", "_budget")) else "Count"
