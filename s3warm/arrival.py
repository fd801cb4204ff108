"""A body on its way: who asked for it and when, and what the cache does with it; what callers want, and how they take it."""

from __future__ import annotations

import time

from s3warm.metrics import Event
from s3warm.record import NamedTuple
from s3warm.rules import freshness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, Self, TypeVar

    from s3warm.entries import Entry, Metadata
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer
    from s3warm.singleflight import Flight

    class Held(Protocol):
        """A body that may be confirmed, or stand in, or what was made of one: `Entry`, `FileEntry`, `Known`."""

        @property
        def object(self) -> ObjectKey: ...
        @property
        def info(self) -> Metadata: ...
        @property
        def validated_at(self) -> float: ...
        @property
        def expires_at(self) -> float: ...
        @property
        def stale(self) -> bool: ...
        @property
        def etag(self) -> str: ...
        @property
        def size(self) -> int: ...
        def _replace(self, *args: Any, **changes: Any) -> Self: ...

    H = TypeVar("H", bound=Held)

    class Want(Protocol[H]):
        """What a caller wants of an object: its bytes, a file, a stream."""

        def fetch(self, where: ObjectKey, *, if_none_match: str | None) -> Any:
            """What S3 has now: `NotModified`, or what `receive` takes and `close` ends."""
            ...

        def receive(self, incoming: Any, arrival: Arrival, /) -> H:
            """Take the body that is on its way, and keep it if it may be kept."""
            ...

        def confirmed(self, entry: H) -> None:
            """The body is the current one; every tier that holds it knows."""
            ...

        def adopt(self, flight: Flight[Any], entry: Entry, /) -> H | None:
            """Take a body that the fleet has, and keep it here; None if that cannot be what is wanted."""
            ...


__all__ = ["Arrival", "Times"]


class Times(NamedTuple):
    """For how long a body that has just come is fresh, and whether it may be kept at all."""

    validated_at: float
    expires_at: float
    keep: bool


class Arrival:
    """200: a body is on its way, asked for at `asked_at` by the leader of `flight`."""

    def __init__(
        self,
        flight: Flight[Any],
        where: ObjectKey,
        held: Held | None,
        asked_at: float,
        *,
        expiry: Callable[[ObjectKey, float, freshness.CacheControl], float],
        learn: Callable[[int, float], None],
        announcer: Announcer,
    ) -> None:
        self._expiry = expiry
        self._learn = learn
        self._announcer = announcer
        self.flight = flight
        self.where = where
        self.asked_at = asked_at
        self._began = time.monotonic()
        self.held = held
        # A clock that was set back: what was validated "later" would outrank this, and come back when the clock gets there.
        self.supersedes = held is not None and held.validated_at > asked_at

    def give_up_held(self) -> bool:
        """Let go of the file that is held, since its room is needed, so that it cannot stand in any more; False if there is none."""
        held, self.held = self.held, None
        pin = getattr(held, "pin", None)
        if pin is not None:
            pin.release()
        return pin is not None

    def times(self, info: Metadata) -> Times:
        """See `Times`."""
        control = freshness.parse_cache_control(info.cache_control)
        keep = freshness.may_keep(info.etag, control)
        return Times(self.asked_at, self._expiry(self.where, self.asked_at, control), keep)

    def complete(self, size: int) -> None:
        """The whole body is here: S3 takes that long for one of `size` bytes."""
        self._learn(size, time.monotonic() - self._began)

    def progress(self, so_far: int, size: int) -> None:
        """Tell whoever listens how far the transfer is."""
        self._announcer.tell(Event("progress", self.where.bucket, self.where.key, so_far, total=size))
