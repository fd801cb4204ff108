"""One entry in memory, or a value made of it, and the bytes that it really costs to keep it."""

from __future__ import annotations

import sys

from s3warm.entries import Entry, Known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3warm.entries import Metadata
    from s3warm.keys import ObjectKey

__all__ = ["Filed", "Handle", "Slot", "ValueSlot", "footprint", "slot_key", "value_footprint"]


class Filed:
    """What is kept in memory of an object. `deadline` is until when the hit path may answer from it: to its expiry, or to the next look at the memory."""

    __slots__ = (
        "cost",
        "deadline",
        "expires_at",
        "filed_hits",
        "frequency",
        "handle",
        "hits",
        "info",
        "object",
        "priority",
        "validated_at",
        "weight",
    )

    validated_at: float
    deadline: float
    hits: int
    expires_at: float
    object: ObjectKey
    info: Metadata
    cost: int
    priority: float
    frequency: float
    weight: float
    filed_hits: int
    handle: Handle  # once it is admitted: the two refer to each other, and what is not admitted must go at once

    def __init__(self, due: float) -> None:
        self.deadline = min(self.expires_at, due)
        self.hits = self.filed_hits = 0


class Slot(Filed):
    """One entry in memory."""

    __slots__ = ("body",)

    body: bytes

    def __init__(self, entry: Entry, due: float = float("inf")) -> None:
        self.object, self.info, self.validated_at, self.expires_at, self.body, _ = entry
        super().__init__(due)

    def entry(self) -> Entry:
        """The slot's content as an immutable entry."""
        return Entry(self.object, self.info, self.validated_at, self.expires_at, self.body)


class ValueSlot(Filed):
    """A value that `decoder`, which is called `made_by`, made of a body, in so many `seconds`; `size` is what it takes, in bytes.

    `info` is of the body that S3 has now: where that could not be decoded, the value is one of before.
    """

    __slots__ = ("__weakref__", "decoder", "made_by", "seconds", "size", "value")

    decoder: Any

    def __init__(self, known: Known, value: object, decoder: object, *, made_by: str, size: int, seconds: float) -> None:
        self.object, self.info, self.validated_at, self.expires_at, _ = known
        self.value = value
        self.decoder = decoder
        self.made_by = made_by
        self.size = size
        self.seconds = seconds
        super().__init__(float("inf"))

    def known(self) -> Known:
        """What is known of the object."""
        return Known(self.object, self.info, self.validated_at, self.expires_at)


class Handle:
    """What stands for a slot in the order of eviction. It lets go of a slot that is removed, whose body is then free at once."""

    __slots__ = ("slot",)

    def __init__(self, slot: Filed) -> None:
        self.slot: Filed | None = slot

    def __lt__(self, other: Handle) -> bool:
        # Only reached by two of one priority in the heap; either may go first.
        return id(self) < id(other)


class _Special:
    """The key of one version, or of what is asked for on terms, in the inner dict. Not a tuple: a caller's tuple must not find it."""

    __slots__ = ("parts",)

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Special) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


def slot_key(key: ObjectKey) -> object:
    """The key of the inner dict: the plain string for the common case, so that the hit path builds nothing."""
    return key.key if key.version_id is None and key.request is None else _Special(key.key, key.version_id, key.request)


def footprint(slot: Slot) -> int:
    """Bytes that keeping this slot costs, measured on its parts: the body, the names, and all bookkeeping but the shared tables.

    Constants that are shared by many entries (bucket, content type) are left out; what the allocator adds is in `_rounded`.
    """
    return _rounded(sys.getsizeof(slot.body)) + _bookkeeping(slot)


def value_footprint(slot: ValueSlot) -> int:
    """Bytes that keeping this value costs."""
    return slot.size + _bookkeeping(slot)


def _bookkeeping(slot: Filed) -> int:
    info = slot.info
    strings = (slot.object.key, slot.object.version_id, info.etag, info.version_id, info.cache_control, info.content_encoding)
    total = _FIXED + sum(_rounded(sys.getsizeof(text)) for text in strings if text)
    if info.user:
        total += sys.getsizeof(info.user)
        total += sum(_rounded(sys.getsizeof(text)) for pair in info.user.items() for text in pair)
    return total


def _rounded(size: int) -> int:
    # pymalloc hands out multiples of 16 up to 512 bytes; above, malloc adds 8 and rounds to 16 and, from 128 KiB, to pages.
    return (size + 15) & ~15 if size <= 512 else (size + 23) & ~15 if size < 131072 else (size + 4111) & ~4095


def _fixed() -> int:
    """Bookkeeping of any slot: the slot, its key, its metadata, its numbers, its place in the heap."""
    from s3warm.entries import Metadata
    from s3warm.keys import ObjectKey

    key, info = ObjectKey("b", "k"), Metadata("", 0)
    slot = Slot(Entry(key, info, 0.0, 0.0, b""))
    numbers = 6 * sys.getsizeof(0.5) + 2 * sys.getsizeof(2**31)  # times, ranks, last_modified; size and cost
    return sum(_rounded(sys.getsizeof(part)) for part in (key, info, slot, Handle(slot), (0.5, slot))) + numbers


_FIXED = _fixed()
