"""How long to leave an origin in peace after it failed: exponential, capped, kept per endpoint and bucket."""

from __future__ import annotations

__all__ = ["FIRST_RETRY_AFTER", "LONG", "MAX_RETRY_AFTER", "Outages", "retry_after"]

FIRST_RETRY_AFTER = 1.0  # seconds
LONG = 1.0  # seconds: who has not answered until then is out of reach (S3 takes 20 to 200 ms)
MAX_RETRY_AFTER = 30.0  # seconds; a function must notice soon that S3 is back


def retry_after(failures: int) -> float:
    """Seconds to wait after the given number of failures in a row (1 or more).

    Example:
        >>> [retry_after(failures) for failures in (1, 2, 3, 6, 60)]
        [1.0, 2.0, 4.0, 30.0, 30.0]
    """
    return float(min(MAX_RETRY_AFTER, FIRST_RETRY_AFTER * 2 ** min(failures - 1, 16)))


class Outages:
    """Which buckets are out of reach, and when to ask them again. A clock set back never keeps one in peace for longer than that."""

    __slots__ = ("_open", "_silence")

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, float]] = {}  # failures in a row, time of the last one
        self._silence: dict[str, float] = {}  # seconds in all that callers have waited in vain for an answer

    def failed(self, bucket: str, now: float) -> None:
        """One more request went wrong. What fails while the bucket is left in peace, as many do at once, tells nothing new."""
        if not self.rest(bucket, now):
            failures, _ = self._open.get(bucket, (0, now))
            self._open[bucket] = (failures + 1, now)

    def silent(self, bucket: str, seconds: float) -> bool:
        """Callers had no more time to wait for an answer; True once they have waited, together, for as long as no S3 takes."""
        self._silence[bucket] = self._silence.get(bucket, 0.0) + seconds
        return self._silence[bucket] >= LONG

    def rest(self, bucket: str, now: float) -> float:
        """Seconds for which to leave it in peace from now on; 0 if it is time to ask (again)."""
        outage = self._open.get(bucket)
        if outage is None:
            return 0.0
        failures, since = outage
        until = since + retry_after(failures)
        return until - now if since <= now < until else 0.0

    def over(self, bucket: str) -> bool:
        """The origin has answered; True if that ends an outage."""
        if self._silence:
            self._silence.pop(bucket, None)
        return bool(self._open) and self._open.pop(bucket, None) is not None
