"""What is said of trouble with the directory: each time it is counted, and one cause gives one warning, and one when it is over."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm.metrics import Counters, Troubles

__all__ = ["Complaints"]

_OF_FILES = {"put a file", "download", "file"}
_WRITING = {"put", "put a file", "download"}


class Complaints:
    """Of one directory. Reads, writes and removals may all meet one cause: it is over when those that failed work again.

    Args:
        path: the directory.
        counters: whose `disk_errors` count each.
        troubles: say the first, and the end.
        failed: is told of each.
    """

    def __init__(self, path: str, counters: Counters, troubles: Troubles, failed: Callable[[Exception], None]) -> None:
        self._path = path
        self._counters = counters
        self._troubles = troubles
        self._failed = failed
        self._failing: set[str] = set()  # what gave trouble and has not worked since

    def __bool__(self) -> bool:
        """Whether there is anything that could be over."""
        return bool(self._troubles)

    def trouble(self, doing: str, error: Exception) -> None:
        """Something went wrong, and the next tier makes it good."""
        of_file = doing == "get" and isinstance(error, OSError)
        self._failing.add("file" if of_file else doing)
        self._report("disk", f"the cache directory {self._path} gives trouble ({error}); s3warm goes on without", error)

    def closed(self, error: Exception) -> None:
        """It cannot be opened."""
        self._failing.add("open")
        self._report(
            "disk", f"the cache directory {self._path} cannot be used ({error}); s3warm goes on with memory alone", error
        )

    def made_anew(self, error: Exception) -> None:
        """Its database was damaged, and is a new one now."""
        message = f"the database in the cache directory {self._path} was damaged ({error}); it was made anew"
        self._report("disk_damaged", message, error)

    def over(self, doing: str) -> None:
        """Something works. A body that was written shows that all does, if it is one in a file; other things show only that they do.

        A full disk can be read all the while, and rows can be written where no file can be opened: neither must look mended by it.
        """
        if doing in _WRITING:
            self._failing &= _OF_FILES if doing == "put" else set()
        self._failing.discard(doing)
        if not self._failing:
            self._troubles.over("disk", f"the cache directory {self._path} works again", directory=self._path)

    def _report(self, kind: str, message: str, error: Exception) -> None:
        self._counters.disk_errors += 1
        self._failed(error)
        self._troubles.report(kind, message, directory=self._path)
