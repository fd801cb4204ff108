"""What the tiers tell the cache, and what is made of it: counts, warnings, events."""

from __future__ import annotations

from s3warm.metrics import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters, Troubles

__all__ = ["Notices", "said"]

_MOST_SAID = 300  # characters of a server's own words, which may be a megabyte of anything


class Notices:
    """Callbacks of the tiers. They only take note: the user's hook is called when nothing is locked."""

    def __init__(self, counters: Counters, troubles: Troubles, announcer: Announcer) -> None:
        self.counters = counters
        self._troubles = troubles
        self._announcer = announcer

    def evicted(self, where: ObjectKey, size: int) -> None:
        """An object had to go for want of room; the tier has counted it."""
        self._announcer.note(Event("evicted", where.bucket, where.key, size))

    def corrupted(self, where: ObjectKey, error: Exception) -> None:
        """A copy on disk was damaged, and dropped."""
        self.counters.corrupt += 1
        message = f"the copy of {where} in the cache directory was damaged ({error}); it was dropped"
        self._troubles.report("disk_corrupt", message)
        self._announcer.note(Event("corrupt", where.bucket, where.key, detail=str(error)))

    def server_failed(self, kind: str, error: Exception | None) -> None:
        """The server of the shared tier gave trouble of a kind (no `answer`, no `write`, no `close`), or, with None, does so no more."""
        name = f"shared_{kind}"
        if error is None:
            self._troubles.over(
                name, "the shared tier answers again" if kind == "answer" else "the shared tier takes writes again"
            )
            return
        self.counters.shared_errors += 1
        words = said(error)
        if "Timeout" in words or "time left" in words:
            words += "; shared_connect_timeout and shared_timeout say for how long it may take"
        if "MovedError" in words:
            words += "; the server is one of a cluster: add ?cluster=true to shared_url"
        instead = (
            "takes no writes, so that others may have to ask S3" if kind == "write" else "cannot be used; S3 is asked instead"
        )
        self._troubles.report(name, f"the shared tier {instead}, and it is tried again in a while ({words})")
        self._announcer.note(Event("shared_error", detail=words))

    def refused(self, where: ObjectKey | None, error: Exception) -> None:
        """What the shared tier has of an object, or its log, is not what a holder of the secret wrote."""
        self.counters.shared_refused += 1
        what = "the log of what was invalidated" if where is None else str(where)
        message = f"what the shared tier has of {what} is refused ({error}), and S3 is asked; who else can write there?"
        self._troubles.report("shared_refused", message)
        at = ("", "") if where is None else where[:2]
        self._announcer.note(Event("shared_refused", *at, detail=str(error)))

    def failed(self, error: Exception) -> None:
        """The disk gave trouble; the tier has counted and reported it."""
        self._announcer.note(Event("disk_error", detail=str(error)))


def said(error: Exception) -> str:
    """An error with a server's own words, as it fits into one line of a log."""
    words = f"{type(error).__name__}: {error}"
    line = "".join(character if character.isprintable() else " " for character in words[: _MOST_SAID + 1])
    return line if len(line) <= _MOST_SAID else f"{line[:_MOST_SAID]}..."
