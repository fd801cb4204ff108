"""Since when what is known of objects counts: whatever was validated at that time or before is of no use any more."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey

__all__ = ["Floors"]

_MOST = 4096  # objects that are told apart


class Floors:
    """The times of objects, in bounded memory: where there are too many, all get the latest.

    Example:
        >>> from s3warm.keys import locate
        >>> floors = Floors()
        >>> floors.lift(locate("s3://b/k"), 100.0)
        >>> floors.of(locate("s3://b/k")), floors.of(locate("s3://b/other"))
        (100.0, -inf)
    """

    __slots__ = ("_all", "_own")

    def __init__(self) -> None:
        self._own: dict[ObjectKey, float] = {}
        self._all = float("-inf")

    def of(self, where: ObjectKey) -> float:
        """The time of an object."""
        return max(self._all, self._own.get(where, self._all))

    def lift(self, where: ObjectKey, now: float) -> None:
        """Raise one's."""
        if len(self._own) >= _MOST and where not in self._own:
            self.lift_all(now)
        self._own[where] = float(now)

    def lift_all(self, now: float) -> None:
        """Raise everybody's."""
        self._all = float(now)
        self._own = {}
