"""Which decoded values memory holds: by what made them and by object."""

from __future__ import annotations

import sys

from s3warm.tiers.slot import slot_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from s3warm.keys import ObjectKey
    from s3warm.tiers.slot import ValueSlot

__all__ = ["Decoded"]


class Decoded:
    """See the module. Readers walk `tables[decoder][bucket][key]` without a lock, writers hold that of the tier."""

    def __init__(self) -> None:
        self.tables: dict[Any, dict[str, dict[object, ValueSlot]]] = {}
        self._by_object: dict[ObjectKey, list[ValueSlot]] = {}
        self._inner = 0  # bytes of what is in `tables`: there may be as many of them as values

    def find(self, key: ObjectKey, decoder: object) -> ValueSlot | None:
        """The value that a decoder made of an object."""
        bucket = self.tables.get(decoder, {}).get(key.bucket)
        return None if bucket is None else bucket.get(slot_key(key))

    def of(self, key: ObjectKey) -> list[ValueSlot]:
        """All that was made of an object, the oldest first."""
        return list(self._by_object.get(key, ()))

    def all(self) -> Iterator[ValueSlot]:
        """Every value."""
        return (slot for slots in list(self._by_object.values()) for slot in list(slots))

    def add(self, slot: ValueSlot) -> None:
        """Let a value be found; none of the same decoder's is there."""
        key = slot.object
        before = self._size_of(slot)
        self.tables.setdefault(slot.decoder, {}).setdefault(key.bucket, {})[slot_key(key)] = slot
        self._inner += self._size_of(slot) - before
        self._by_object.setdefault(key, []).append(slot)

    def remove(self, slot: ValueSlot) -> None:
        """Let it be found no more."""
        key = slot.object
        before = self._size_of(slot)
        table = self.tables[slot.decoder]
        del table[key.bucket][slot_key(key)]
        if not table[key.bucket]:
            del table[key.bucket]
        if not table:
            del self.tables[slot.decoder]
        self._inner += self._size_of(slot) - before
        slots = self._by_object[key]
        slots.remove(slot)
        if not slots:
            del self._by_object[key]

    def size(self) -> int:
        """Bytes of the tables."""
        return sys.getsizeof(self.tables) + sys.getsizeof(self._by_object) + self._inner

    def _size_of(self, slot: ValueSlot) -> int:
        """Bytes of the two tables that a slot is filed in."""
        table = self.tables.get(slot.decoder)
        if table is None:
            return 0
        bucket = table.get(slot.object.bucket)
        return sys.getsizeof(table) + (0 if bucket is None else sys.getsizeof(bucket))
