"""What S3 said is not there, remembered for a while if the setting `negative_ttl` wants it. Nothing else that went wrong is ever cached."""

from __future__ import annotations

from s3warm.errors import ObjectNotFoundError
from s3warm.rules import freshness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey

__all__ = ["Absences"]

_MOST = 4096  # a megabyte


class Absences:
    """Objects that do not exist, of this process: the one that has been known for longest is forgotten when there are too many.

    Example:
        >>> from s3warm.keys import locate
        >>> absences, where = Absences(), locate("s3://cfg/flags.json")
        >>> absences.note(where, ObjectNotFoundError(f"{where} does not exist"), 100.0, 110.0)
        >>> str(absences.known(where, 105.0, None))
        's3://cfg/flags.json does not exist (S3 said so 5.0 s ago: negative_ttl)'
        >>> absences.known(where, 110.0, None) is None
        True
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[ObjectKey, tuple[str, float, float]] = {}  # what was said, when it was asked, and until when it holds

    def note(self, where: ObjectKey, error: S3WarmError, asked_at: float, until: float) -> None:
        """S3 said so when it was asked at that time."""
        self._known.pop(where, None)
        if len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known), where), None)
        self._known[where] = str(error), asked_at, until

    def known(self, where: ObjectKey, now: float, bound: float | None) -> ObjectNotFoundError | None:
        """The error to raise for a call that accepts an age of `bound` seconds; None if S3 has to be asked."""
        found = self._known.get(where) if self._known else None
        if found is None:
            return None
        said, asked_at, until = found
        if not freshness.is_fresh(asked_at, until, now, bound):
            return None
        message = f"{said} (S3 said so {now - asked_at:.1f} s ago: negative_ttl)"
        return ObjectNotFoundError(message, bucket=where.bucket, key=where.key)

    def forget(self, where: ObjectKey) -> None:
        """It may be there by now."""
        if self._known:
            self._known.pop(where, None)

    def forget_all(self) -> None:
        """`forget` for each."""
        self._known.clear()
