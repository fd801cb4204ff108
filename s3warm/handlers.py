"""What can be told of a handler without `inspect`, which would cost a cold start 9 ms: its parameters, and how it runs."""

from __future__ import annotations

from functools import partial

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["Parameters", "is_async", "is_generator", "parameters"]

# `inspect.CO_VARKEYWORDS` and its neighbours: bits of `co_flags`, which the data model of Python documents.
_ANY_KEYWORD = 0x08
_GENERATOR = 0x20 | 0x200  # the second one of an asynchronous generator
_ASYNC = 0x80


class Parameters(NamedTuple):
    """What a function may be given by name.

    Attributes:
        places: by name, how many positional arguments come before it; None: it is by name only.
        bound: names that `functools.partial` has given values, or whose place something has taken, as `self`'s in a bound method.
        positional: names that cannot be given by name.
        any_name: it takes every other name as well.
    """

    places: Mapping[str, int | None]
    bound: frozenset[str] = frozenset()
    positional: frozenset[str] = frozenset()
    any_name: bool = False


def parameters(function: Callable[..., Any]) -> Parameters:
    """The parameters of a function, a method, a partial one, or of what a decorator wraps; where nothing tells: any.

    Example:
        >>> def handler(event, context, *, flags): ...
        >>> parameters(handler).places
        {'event': 0, 'context': 1, 'flags': None}
    """
    found: Any = function
    taken, named = 0, frozenset[str]()
    while not hasattr(found, "__code__") or hasattr(found, "__wrapped__") or hasattr(found, "__func__"):
        if isinstance(found, partial):
            taken, named = taken + len(found.args), named | found.keywords.keys()
            found = found.func
        elif hasattr(found, "__func__"):  # a bound method
            taken, found = taken + 1, found.__func__
        elif hasattr(found, "__wrapped__"):
            found = found.__wrapped__
        elif hasattr(type(found).__call__, "__code__"):
            taken, found = taken + 1, type(found).__call__
        else:
            return Parameters({}, named, any_name=True)
    code = found.__code__
    before = code.co_varnames[: code.co_argcount]
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    places: dict[str, int | None] = {name: place - taken for place, name in enumerate(before) if place >= taken}
    places.update(dict.fromkeys(only))
    return Parameters(
        places,
        named | frozenset(before[:taken]),
        frozenset(before[: code.co_posonlyargcount]),
        bool(code.co_flags & _ANY_KEYWORD),
    )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether it is an `async def`."""
    return bool(_flags(function) & _ASYNC)


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether nothing of it runs before somebody asks for its first item."""
    return bool(_flags(function) & _GENERATOR)


def _flags(function: Callable[..., Any]) -> int:
    found: Any = function
    while isinstance(found, partial):
        found = found.func
    code = getattr(found, "__code__", None) or getattr(type(found).__call__, "__code__", None)
    flags: int = getattr(code, "co_flags", 0)
    return flags
