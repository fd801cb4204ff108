"""What the tiers tell the cache, and what is made of it: counts, warnings, events."""

from __future__ import annotations

from s3warm.metrics import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters, Troubles

__all__ = ["Notices"]


class Notices:
    """Callbacks of the tiers. They only take note: the user's hook is called when nothing is locked."""

    def __init__(self, counters: Counters, troubles: Troubles, announcer: Announcer) -> None:
        self._counters = counters
        self._troubles = troubles
        self._announcer = announcer

    def evicted(self, where: ObjectKey, size: int) -> None:
        """An object had to go for want of room; the tier has counted it."""
        self._announcer.note(Event("evicted", where.bucket, where.key, size))

    def corrupted(self, where: ObjectKey, error: Exception) -> None:
        """A copy on disk was damaged, and dropped."""
        self._counters.corrupt += 1
        message = f"the copy of {where} in the cache directory was damaged ({error}); it was dropped"
        self._troubles.report("disk_corrupt", message)
        self._announcer.note(Event("corrupt", where.bucket, where.key, detail=str(error)))

    def failed(self, error: Exception) -> None:
        """The disk gave trouble; the tier has counted and reported it."""
        self._announcer.note(Event("disk_error", detail=str(error)))
