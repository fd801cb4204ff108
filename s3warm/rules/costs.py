"""What it takes to get an object back from a tier, learnt from the tier's own transfers.

Online least squares of `seconds = latency + per_byte × size`, which forgets exponentially and goes by relative errors (each transfer counts
by 1 / expected², so that large ones do not drown the latency). The prior stays in as if it were one transfer that is
never forgotten (ridge regression towards it): where all objects have one size, it tells latency from bandwidth.
"""

from __future__ import annotations

from s3warm.rules.eviction import Cost

__all__ = ["FROM_DISK", "FROM_S3", "LearntCost"]

# Fits of measurements.
FROM_S3 = Cost(0.030, 1 / 90e6)
FROM_DISK = Cost(0.0002, 1 / 1.5e9)

_KEPT = 1 - 1 / 128  # of what was learnt, at each transfer: the last 128 or so count
_OUTLIER = 3.0  # times what was expected: what takes longer counts as this
_BOUND = 100.0  # the result never leaves the prior by more than this factor


class LearntCost:
    """The cost of one tier, from its prior on.

    Any number of threads may note and ask without a lock: what is learnt is replaced as a whole, and two at once may lose a transfer.

    Example:
        >>> learnt = LearntCost(FROM_S3)
        >>> learnt.cost == FROM_S3
        True
        >>> for _ in range(500):
        ...     learnt.note(0, 0.060)
        >>> round(learnt.cost.latency, 3)
        0.06
    """

    __slots__ = ("_fit", "_prior", "_sums")

    def __init__(self, prior: Cost) -> None:
        self._prior = prior
        self._fit = (prior.latency, prior.per_byte)
        # Of weights, weights × size, weights × size², weights × seconds, weights × size × seconds.
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def cost(self) -> Cost:
        """What is known so far: never negative, and within a factor of 100 of the prior."""
        return Cost(*self._fit)

    def weight(self, size: int) -> float:
        """See `Cost.weight`."""
        return self.cost.weight(size)

    def note(self, size: int, seconds: float) -> None:
        """Learn from a transfer of `size` bytes. A duration that no clock can have measured (negative, NaN) is passed over."""
        if not (seconds >= 0.0 and size >= 0):
            return
        latency, per_byte = self._fit
        expected = latency + per_byte * size
        seconds = min(seconds, expected * _OUTLIER)  # the environment may have been frozen in between
        weight = 1.0 / (expected * expected)
        by_size = weight * size
        w, ws, wss, wt, wst = self._sums
        self._sums = sums = (
            w * _KEPT + weight,
            ws * _KEPT + by_size,
            wss * _KEPT + by_size * size,
            wt * _KEPT + weight * seconds,
            wst * _KEPT + by_size * seconds,
        )
        self._fit = _solved(sums, self._prior, latency, per_byte)


def _solved(
    sums: tuple[float, float, float, float, float], prior: Cost, latency: float, per_byte: float
) -> tuple[float, float]:
    """The line that fits best, from the sums, the prior, and the fit so far (which says by what scale the prior counts)."""
    w, ws, wss, wt, wst = sums
    at, slope = prior
    scale = max(at, latency)
    pull = 1.0 / (scale * scale)
    w += pull
    wt += pull * at
    scale = max(slope, per_byte)
    pull = 1.0 / (scale * scale)
    wss += pull
    wst += pull * slope
    latency = (wt * wss - wst * ws) / (w * wss - ws * ws)  # the prior keeps the determinant well above 0
    if not at / _BOUND <= latency <= at * _BOUND:  # the best with the latency at its limit
        latency = _within(latency, at)
        return latency, _within((wst - ws * latency) / wss, slope)
    per_byte = (wst - ws * latency) / wss
    if not slope / _BOUND <= per_byte <= slope * _BOUND:
        per_byte = _within(per_byte, slope)
        return _within((wt - ws * per_byte) / w, at), per_byte
    return latency, per_byte


def _within(value: float, prior: float) -> float:
    return min(max(value, prior / _BOUND), prior * _BOUND)
