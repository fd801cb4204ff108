"""Rows of large bodies that were read a moment ago: what is asked for again and again costs no statement of SQLite each time.

A row is 10 to 15 µs of SQLite and JSON, reading 64 KiB from a file 4. What is remembered is only where the file lies, not what is in it: the
file is opened and compared with its seal each time, as ever. Like what is in memory, it is this process's own: what another process
writes is seen after a second at the latest, what this one writes at once.
"""

from __future__ import annotations

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.tiers.row import Row

__all__ = ["Recent", "Sighting"]

TRUSTED = 1.0  # seconds, on the monotonic clock
_MOST = 64  # rows, of some 2 KB


class Sighting(NamedTuple):
    """A row, where its body lies, and when it was read."""

    row_key: bytes
    row: Row
    path: str
    changes: int  # that this process had made to the database by then
    until: float


class Recent:
    """The last rows; any number of threads may ask and tell without a lock."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[ObjectKey, Sighting] = {}

    def find(self, key: ObjectKey, changes: int, now: float) -> Sighting | None:
        """What was read of an object within the last second, if this process has written nothing since."""
        seen = self._seen.get(key)
        return seen if seen is not None and seen.changes == changes and now < seen.until else None

    def note(self, key: ObjectKey, row_key: bytes, row: Row, path: str, *, changes: int, now: float) -> Sighting:
        """A row was read; `changes` are those that were made before that began."""
        if len(self._seen) >= _MOST and key not in self._seen:
            self._seen = {}
        seen = self._seen[key] = Sighting(row_key, row, path, changes, now + TRUSTED)
        return seen

    def forget(self, key: ObjectKey) -> None:
        """What is remembered is not so any more."""
        self._seen.pop(key, None)
