"""Whether values that are given to all are still as they were made: for tests, as in production nobody looks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3warm.keys import ObjectKey

__all__ = ["Unchanged"]

_PLAIN = (str, bytes, int, float, complex, type(None))


class Unchanged:
    """What decoded values looked like when they were made: containers, arrays, tables and dataclasses, with all that is in them.

    Other objects are passed over: nothing tells what a model or a connection may change of itself.

    Example:
        >>> from s3warm.keys import locate
        >>> flags, unchanged = {"dark": True}, Unchanged()
        >>> unchanged.note(locate("s3://cfg/flags.json"), "json", flags)
        >>> flags["dark"] = False
        >>> unchanged.check()
        Traceback (most recent call last):
            ...
        AssertionError: what json made of s3://cfg/flags.json was changed since; the next call would get it as it is now: change a copy
    """

    def __init__(self) -> None:
        self._noted: list[tuple[ObjectKey, str, object, object]] = []

    def note(self, where: ObjectKey, made_by: str, value: object) -> None:
        """Remember a value that has just been made."""
        looks = _looks(value, ())
        if looks is not type(value):  # or it would be kept alive for nothing
            self._noted.append((where, made_by, value, looks))

    def check(self) -> None:
        """Look at all of them again, once.

        Raises:
            AssertionError: one was changed.
        """
        noted, self._noted = self._noted, []
        for where, made_by, value, looks in noted:
            if _looks(value, ()) != looks:
                raise AssertionError(
                    f"what {made_by} made of {where} was changed since; the next call would get it as it is now: change a copy"
                )


class _Table:
    """A copy of a table, as pandas has them, which compare by cells alone."""

    __slots__ = ("copy",)

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, copy: Any) -> None:
        self.copy = copy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and type(other.copy) is type(self.copy) and bool(other.copy.equals(self.copy))


def _looks(value: Any, inside: tuple[int, ...]) -> object:
    """What a value looks like, in immutable parts; of what it is inside of, itself perhaps, only that."""
    kind = type(value)
    if isinstance(value, _PLAIN):
        return kind, repr(value) if isinstance(value, float) else value  # a NaN is not equal to itself
    if id(value) in inside:
        return inside.index(id(value))
    inside = (*inside, id(value))
    if isinstance(value, dict):
        return kind, tuple((_looks(name, inside), _looks(part, inside)) for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return kind, tuple(_looks(part, inside) for part in value)
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(value)
    if isinstance(value, bytearray):
        return kind, bytes(value)
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None and not isinstance(value, type):
        return kind, tuple(_looks(getattr(value, name, None), inside) for name in fields)
    if not isinstance(value, type) and callable(getattr(value, "equals", None)) and callable(getattr(value, "copy", None)):
        return _Table(value.copy())
    if hasattr(value, "tobytes") and hasattr(value, "shape"):
        return kind, str(getattr(value, "dtype", "")), tuple(value.shape), value.tobytes()
    return kind
