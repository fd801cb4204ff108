"""What the cache counts and tells: `Stats`, `Event`, and one warning per kind of trouble."""

from __future__ import annotations

from collections import deque

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

__all__ = ["Announcer", "Counters", "Event", "Stats", "Troubles"]


class Stats(NamedTuple):
    """A snapshot of the cache's counters; `after - before` gives what happened in between, gauges as they are after.

    Each call that delivers a body counts once in the first eight fields. Bytes are bytes.

    Attributes:
        memory_hits: answered from memory, fresh.
        disk_hits: answered from /tmp, fresh.
        shared_hits: answered from the shared tier, or from a copy here that it has confirmed, without asking S3.
        misses: the body came from S3, nothing was held.
        revalidated: S3 said 304.
        replaced: S3 said 200 to a revalidation.
        stale_served: a stale copy stood in: S3 is out of reach, or is being asked by another.
        coalesced: answered by the request of another thread.
        removed: S3 said 404 or AccessDenied of an object that was held, and it was evicted.
        negative_hits: a 404 that was remembered (`negative_ttl`); counted in `errors` as well.
        errors: calls that raised.
        origin_requests: requests to S3, repeats and those without an answer included.
        origin_bytes: bytes of bodies received.
        evictions: from either tier, for want of room.
        disk_errors: troubles with /tmp that the next tier made good.
        corrupt: bodies on disk that failed verification and were dropped.
        shared_errors: troubles with the server of the shared tier that S3 made good; none is counted while it is left in peace.
        shared_refused: entries of the shared tier that were tampered with, damaged, or another object's.
        decoded: runs of a `transform` or a `loader`.
        decode_errors: of those, the ones that failed.
        written: objects that `put` has written.
        memory_bytes, memory_budget, memory_entries, disk_bytes, disk_budget: what the tiers hold now, and may hold.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
        ...     body = s3warm.get("cfg", "flags.json")
        ...     before = s3warm.stats()
        ...     body = s3warm.get("cfg", "flags.json")
        ...     (s3warm.stats() - before).memory_hits
        1
    """

    memory_hits: int = 0
    disk_hits: int = 0
    shared_hits: int = 0
    misses: int = 0
    revalidated: int = 0
    replaced: int = 0
    stale_served: int = 0
    coalesced: int = 0
    removed: int = 0
    negative_hits: int = 0
    errors: int = 0
    origin_requests: int = 0
    origin_bytes: int = 0
    evictions: int = 0
    disk_errors: int = 0
    corrupt: int = 0
    shared_errors: int = 0
    shared_refused: int = 0
    decoded: int = 0
    decode_errors: int = 0
    written: int = 0
    memory_bytes: int = 0
    memory_budget: int = 0
    memory_entries: int = 0
    disk_bytes: int = 0
    disk_budget: int = 0

    def __sub__(self, before: Stats) -> Stats:
        if not isinstance(before, Stats):
            return NotImplemented
        counted = {name: getattr(self, name) - getattr(before, name) for name in _COUNTED}
        return self._replace(**counted)

    def __str__(self) -> str:
        return "\n".join(f"{name:<16} {value:>14,}" for name, value in self._asdict().items())


_GAUGES = frozenset(("memory_bytes", "memory_budget", "memory_entries", "disk_bytes", "disk_budget"))
_COUNTED = tuple(name for name in Stats._fields if name not in _GAUGES)


class Counters:
    """The mutable counters behind `Stats`. `counters.x += 1` has no point at which CPython switches threads."""

    __slots__ = _COUNTED

    def __init__(self) -> None:
        for name in _COUNTED:
            setattr(self, name, 0)

    def renew(self) -> None:
        """This is a forked child: what was counted is its parent's."""
        self.__init__()  # type: ignore[misc]

    def snapshot(self, **others: int) -> Stats:
        """The counters now, together with what is counted or measured elsewhere."""
        return Stats(**{**{name: getattr(self, name) for name in _COUNTED}, **others})

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

        def __setattr__(self, name: str, value: int) -> None: ...


class Event(NamedTuple):
    """What the `on_event` hook is called with, once for each thing that happened. Memory hits and disk hits send none.

    The hook is called in the thread of a call, which waits for it, when nothing is locked: it may ask for objects itself. Not so for
    `"progress"`, which comes in the middle of a transfer. What the hook raises is logged, once, and goes no further.

    Attributes:
        name: what happened:
            `"fetched"`: the body came from S3, nothing was held;
            `"revalidated"`: S3 said 304;
            `"replaced"`: S3 said 200 to a revalidation;
            `"stale_served"`: a stale copy stood in;
            `"removed"`: S3 said 404 or AccessDenied of an object that was held;
            `"evicted"`: an object went from a tier for want of room;
            `"disk_error"`: trouble with /tmp, which the next tier made good; about no object;
            `"corrupt"`: a body on disk was damaged, and dropped;
            `"shared_error"`: trouble with the server of the shared tier, which S3 made good; about no object;
            `"shared_refused"`: an entry of the shared tier was tampered with, damaged, or another object's;
            `"written"`: `put` has written it;
            `"decoded"`: a `transform` or a `loader` made a value of it, `"decode_failed"`: it could not;
            `"progress"`: more of an object of over 4 MiB has arrived.
        bucket: name of the bucket; None where it is not about an object.
        key: key of the object, or None.
        bytes: size of the body concerned; of `"progress"` what has arrived so far.
        seconds: time that S3 took, by the cache's clock, for `"fetched"`, `"revalidated"`, `"replaced"` and `"written"`; that it took to make a value,
            for `"decoded"`; else 0.
        detail: a word on the cause, of `"stale_served"`, `"removed"`, `"disk_error"`, `"corrupt"`, `"shared_error"`, `"shared_refused"` and `"decode_failed"`; what made
            the value, of `"decoded"`.
        total: size of the object, of `"progress"`; else 0.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> def tell(event):
        ...     print(event.name, event.bucket, event.key, event.bytes)
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}, ttl=60, on_event=tell) as s3:
        ...     bodies = [s3warm.get("cfg", "flags.json") for _ in range(3)]
        ...     s3.advance(61)
        ...     body = s3warm.get("cfg", "flags.json")
        fetched cfg flags.json 2
        revalidated cfg flags.json 2
    """

    name: str
    bucket: str | None = None
    key: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    detail: str = ""
    total: int = 0


class Troubles:
    """The logger's conscience: one WARNING when a kind of trouble begins and one when it is over, not one per call."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether there are any now."""
        return bool(self._open)

    def report(self, kind: str, message: str, **fields: object) -> None:
        """Count one more of this kind; log the first."""
        count = self._open.get(kind, 0)
        if not count:
            try:
                log = logger()
            except OSError:  # no descriptor is left to import `logging` with: it is said the next time
                return
            log.warning("%s", message, extra={"s3warm_trouble": kind, **_prefixed(fields)})
        self._open[kind] = count + 1

    def over(self, kind: str, message: str, **fields: object) -> None:
        """The trouble is gone: say so, if it was ever reported."""
        count = self._open.pop(kind, 0) if self._open else 0
        if count:
            fields["count"] = count
            logger().warning("%s", message, extra={"s3warm_trouble": kind, **_prefixed(fields)})


def _prefixed(fields: dict[str, object]) -> dict[str, object]:
    # LogRecord refuses `extra` fields that it has itself (`name`, `module`, ...).
    return {f"s3warm_{name}": value for name, value in fields.items()}


def logger() -> Logger:
    """The logger `s3warm`. Made at first trouble: `logging` costs 8 ms of a bare interpreter's start."""
    import logging

    log = logging.getLogger("s3warm")
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())
    return log


class Announcer:
    """Keeps events until nothing is locked, and then calls the user's hook, whose errors are its own trouble."""

    __slots__ = ("_hook", "_pending", "_troubles")

    def __init__(self, hook: Callable[[Event], None] | None, troubles: Troubles) -> None:
        self._hook = hook
        self._troubles = troubles
        self._pending: deque[Event] = deque()

    def note(self, event: Event) -> None:
        """Keep an event, if anybody wants to hear of it."""
        if self._hook is not None:
            self._pending.append(event)

    def announce(self) -> None:
        """Call the hook for each event so far. Not to be called where a lock is held, or a flight is under way: the hook may ask for objects."""
        while self._hook is not None and self._pending:
            try:
                event = self._pending.popleft()
            except IndexError:  # another thread was quicker
                return
            self.tell(event)

    def tell(self, event: Event) -> None:
        """Call the hook with one event, at once."""
        if self._hook is None:
            return
        try:
            self._hook(event)
        except Exception as error:  # noqa: BLE001  # whatever a user's hook raises
            message = f"the on_event hook raised {error!r}; its errors are ignored"
            self._troubles.report("on_event", message, event=event.name)
