"""What of a cache can be had without waiting: what is fresh in memory. For event loops, which nothing may hold up."""

from __future__ import annotations

from functools import partial

from s3warm.front import Front
from s3warm.record import NamedTuple
from s3warm.transforms import loading, transforming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.entries import Entry
    from s3warm.factory import Cache
    from s3warm.keys import ObjectKey
    from s3warm.making import Measure

__all__ = ["Elsewhere", "Near", "Wanted"]


class Wanted(NamedTuple):
    """What a call asks for that is not fresh in memory: calls of one `kind` are given the same.

    `bring` brings it, for as long as that takes; `look` looks into memory once more.
    """

    where: ObjectKey
    bound: float | None  # the age in seconds that the call accepts
    kind: tuple[object, ...]
    bring: Callable[[], Any]
    look: Callable[[], Any]


class Elsewhere(Exception):
    """It is not fresh in memory; `wanted` says what is to be brought."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(f"{wanted.where} is not fresh in memory")
        self.wanted = wanted


class Near(Front):
    """The hit path over a cache, from which `Elsewhere` is raised for everything that is not on it.

    Example:
        >>> from s3warm.testing import FakeCache, FakeS3
        >>> with FakeCache(FakeS3({"s3://cfg/flags.json": b"{}"})) as cache:
        ...     near = Near(cache)
        ...     try:
        ...         near.get("cfg", "flags.json")
        ...     except Elsewhere as elsewhere:
        ...         elsewhere.wanted.bring().body
        ...     near.get("cfg", "flags.json")
        b'{}'
        b'{}'
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._slots = cache._slots
        self._values = cache._values
        self._clock = cache._clock
        self._look = cache._ledger.look
        self._prolong = cache._prolong

    def _may_be_prolonged(self, slot: Any) -> bool:
        return not self._has_news() and super()._may_be_prolonged(slot)

    def _has_news(self) -> bool:
        """Whether it is time to listen to the fleet: that may wait for the network, and so is done where objects are brought."""
        return self.cache._beyond.has_news(float(self._clock()))

    def _read(self, where: ObjectKey, bound: float | None) -> Entry:
        cache = self.cache
        self._look(float(self._clock()))
        held = None if self._has_news() else cache._fresh_in_memory(where, bound)
        if held is not None:
            return held
        bring, look = partial(cache._read, where, bound), partial(self._read, where, bound)
        raise Elsewhere(Wanted(where, bound, ("entry",), bring, look))

    def _value(self, where: ObjectKey, bound: float | None, transform: object, size_of: Measure | None) -> Any:
        decoder = transforming(transform, self.cache._ledger.largest)
        bring = partial(self.cache._value, where, bound, transform, size_of)
        return self._made(where, bound, decoder.key, size_of, bring)

    def _loaded(self, where: ObjectKey, bound: float | None, loader: object, size_of: Measure | None) -> Any:
        decoder = loading(loader)
        bring = partial(self.cache._loaded, where, bound, loader, size_of)
        return self._made(where, bound, decoder.key, size_of, bring)

    def _made(
        self, where: ObjectKey, bound: float | None, decoder: object, size_of: Measure | None, bring: Callable[[], Any]
    ) -> Any:
        cache = self.cache
        self._look(float(self._clock()))
        slot = None if self._has_news() else cache._decoding.fresh(where, bound, decoder)
        if slot is not None:
            return slot.value
        look = partial(self._made, where, bound, decoder, size_of, bring)
        raise Elsewhere(Wanted(where, bound, ("value", decoder, id(size_of)), bring, look))
