"""What is remembered of an origin that fails: whom to leave in peace, what to answer meanwhile, and what was said of it already."""

from __future__ import annotations

from s3warm.errors import OriginUnavailableError, twin
from s3warm.rules.outage import Outages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Troubles

__all__ = ["OriginWatch"]

_MOST = 1024  # errors that are remembered


class OriginWatch:
    """Outages of buckets and troubles with single objects; one warning for each, and one when it is over."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._outages = Outages()
        self._errors: dict[ObjectKey, S3WarmError] = {}  # what was last raised for objects in an outage that goes on

    def may_ask(self, where: ObjectKey, now: float) -> bool:
        """Whether it is time to ask for something of this bucket (again)."""
        return not self.pause(where, now)

    def pause(self, where: ObjectKey, now: float) -> float:
        """Seconds for which the bucket is left in peace; 0 if it may be asked."""
        return self._outages.rest(where.bucket, now)

    def refusal(self, where: ObjectKey, now: float) -> S3WarmError | None:
        """What to raise in place of asking for an object that failed a moment ago; None if it may be asked for.

        An object that has not failed yet is asked for: nothing else could be done for its caller, and it may be the one that finds S3 well.
        """
        error = self._errors.get(where)
        rest = 0.0 if error is None else self.pause(where, now)
        if error is None or not rest:
            return None
        return twin(error, f" (S3 is left in peace for another {rest:.1f} s; ttl=0 asks all the same)")

    def failed(self, where: ObjectKey, error: S3WarmError, now: float) -> None:
        """S3 is out of reach, or it is well and this one object is not, or there was no time to find out."""
        if isinstance(error, OriginUnavailableError) and error.late and not self._outages.silent(where.bucket, error.silence):
            return
        if isinstance(error, OriginUnavailableError) and (error.outage or error.late):
            self._outages.failed(where.bucket, now)
            self._errors.pop(where, None)
            if len(self._errors) >= _MOST:
                self._errors.pop(next(iter(self._errors), where), None)
            self._errors[where] = twin(error)
            message = f"S3 cannot be reached for bucket {where.bucket}; copies stand in where they may ({error})"
            self._troubles.report(f"origin {where.bucket}", message, bucket=where.bucket)
        else:
            self.answered(where)
            self._troubles.report(f"object {where}", str(error), bucket=where.bucket, key=where.key)

    def answered(self, where: ObjectKey) -> None:
        """S3 has answered, whatever it said: an outage of the bucket is over."""
        if self._outages.over(where.bucket):
            for other in [each for each in list(self._errors) if each.bucket == where.bucket]:
                self._errors.pop(other, None)
            message = f"S3 answers again for bucket {where.bucket}"
            self._troubles.over(f"origin {where.bucket}", message, bucket=where.bucket)

    def fetched(self, where: ObjectKey) -> None:
        """S3 has delivered the object, or confirmed it."""
        self.answered(where)
        self._troubles.over(f"object {where}", f"{where} can be fetched again", bucket=where.bucket, key=where.key)

    def forget(self, where: ObjectKey) -> None:
        """The object may be asked for at once, whatever became of it before."""
        self._errors.pop(where, None)

    def forget_all(self) -> None:
        """`forget` for each."""
        self._errors.clear()
