"""What is remembered of an origin that fails: whom to leave in peace, and what was said of it already."""

from __future__ import annotations

from s3warm.errors import OriginUnavailableError
from s3warm.rules.outage import Outages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Troubles

__all__ = ["OriginWatch"]


class OriginWatch:
    """Outages of buckets and troubles with single objects; one warning for each, and one when it is over."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._outages = Outages()

    def may_ask(self, where: ObjectKey, now: float) -> bool:
        """Whether it is time to ask for something of this bucket (again)."""
        return self._outages.may_ask(where.bucket, now)

    def failed(self, where: ObjectKey, error: S3WarmError, now: float) -> None:
        """S3 is out of reach, or it is well and this one object is not, or there was no time to find out."""
        if isinstance(error, OriginUnavailableError) and error.late and not self._outages.silent(where.bucket, error.silence):
            return
        if isinstance(error, OriginUnavailableError) and (error.outage or error.late):
            self._outages.failed(where.bucket, now)
            message = f"S3 cannot be reached for bucket {where.bucket}; copies stand in where they may ({error})"
            self._troubles.report(f"origin {where.bucket}", message, bucket=where.bucket)
        else:
            self.answered(where)
            self._troubles.report(f"object {where}", str(error), bucket=where.bucket, key=where.key)

    def answered(self, where: ObjectKey) -> None:
        """S3 has answered, whatever it said: an outage of the bucket is over."""
        if self._outages.over(where.bucket):
            message = f"S3 answers again for bucket {where.bucket}"
            self._troubles.over(f"origin {where.bucket}", message, bucket=where.bucket)

    def fetched(self, where: ObjectKey) -> None:
        """S3 has delivered the object, or confirmed it."""
        self.answered(where)
        self._troubles.over(f"object {where}", f"{where} can be fetched again", bucket=where.bucket, key=where.key)
