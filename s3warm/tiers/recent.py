"""Rows that were read a moment ago: a large body that is asked for again and again costs no statement of SQLite each time.

A row is 10 to 15 µs of SQLite and JSON, reading 64 KiB from a file 4. What is remembered is only where the file lies, not what is in it: the
file is opened and compared with its seal each time, as ever. Like what is in memory, it is this process's own: what another process
writes is seen after a second at the latest, what this one writes at once. Besides, a row that still says what it said is not parsed again.
"""

from __future__ import annotations

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.tiers.row import Row

__all__ = ["Recent", "Seen"]

TRUSTED = 1.0  # seconds, on the monotonic clock
_MOST = 64  # rows, of some 2 KB


class Seen(NamedTuple):
    """A row and its text."""

    row_key: bytes
    row: Row
    text: str
    path: str  # of the body's file; "" for an inline body


class Recent:
    """The last rows; any number of threads may ask and tell without a lock."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        # With the changes that this process had made to the database before it was read, and until when it is trusted.
        self._rows: dict[ObjectKey, tuple[Seen, int, float]] = {}

    def find(self, key: ObjectKey, changes: int, now: float) -> Seen | None:
        """The row of a body in a file, if it was read within the last second, and this process has written nothing since."""
        found = self._rows.get(key)
        if found is None:
            return None
        seen, changes_then, until = found
        return seen if changes_then == changes and now < until and seen.path else None

    def last(self, key: ObjectKey) -> Seen | None:
        """The row as it was when it was last read, for who compares before he goes by it."""
        found = self._rows.get(key)
        return None if found is None else found[0]

    def note(self, key: ObjectKey, seen: Seen, changes: int, now: float) -> None:
        """A row was read; `changes` are those that were made before that began."""
        if len(self._rows) >= _MOST and key not in self._rows:
            self._rows = {}
        self._rows[key] = seen, changes, now + TRUSTED

    def forget(self, key: ObjectKey) -> None:
        """What is remembered is not so any more."""
        self._rows.pop(key, None)
