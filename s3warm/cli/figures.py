"""From samples to figures: percentiles, and a histogram that fits into a cell of a table."""

from __future__ import annotations

from math import ceil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["histogram", "percentile"]

_BARS = " ▁▂▃▄▅▆▇█"


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least so many percent of them do not exceed (nearest rank): always one that was measured.

    Example:
        >>> percentile([30, 10, 20, 40], 50), percentile([30, 10, 20, 40], 99)
        (20, 40)
    """
    return sorted(samples)[max(1, ceil(len(samples) * percent / 100)) - 1]


def histogram(samples: Sequence[float], width: int = 20) -> str:
    """How many samples lie in each of `width` equal steps from the least to the greatest, as bars; none is too few to be seen.

    Example:
        >>> histogram([1, 1, 1, 2, 5], width=5)
        '█▃  ▃'
    """
    least, greatest = min(samples), max(samples)
    counts = [0] * width
    for sample in samples:
        share = (sample - least) / (greatest - least) if greatest > least else 0.0
        counts[min(width - 1, int(share * width))] += 1
    most = max(counts)
    return "".join(_BARS[ceil(count / most * (len(_BARS) - 1))] for count in counts)
