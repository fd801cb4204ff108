"""`inject`: objects of S3 as arguments of a handler."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from functools import wraps
from weakref import WeakKeyDictionary

from s3warm import pool
from s3warm.deadlines import deadline
from s3warm.default import default_cache, front
from s3warm.handlers import is_async, is_generator, parameters
from s3warm.keys import ObjectKey
from s3warm.record import NamedTuple
from s3warm.sources import called, place
from s3warm.transforms import transforming
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from typing import Any, TypeVar

    R = TypeVar("R")
    # How many positional arguments come before a parameter; None: it is by name only.
    Places = Mapping[str, int | None]
    Source = str | tuple[str, str] | Callable[[], object]

__all__ = ["Injection", "inject"]

AT_ONCE = 8  # objects, as `get_many` has it

# By what `Injection` made, the handler that is in it and what that wants.
_made: WeakKeyDictionary[Callable[..., Any], tuple[Callable[..., Any], tuple[Want, ...]]] = WeakKeyDictionary()


class Want(NamedTuple):
    """A parameter, and where its value comes from; `options` are those that were given for `get`, as a hit without any is the fastest."""

    name: str
    what: ObjectKey | Callable[[], Any]
    options: Mapping[str, Any]

    def is_at_hand(self) -> bool:
        """Whether memory holds it, fresh: `value` then asks nobody, unless it is evicted in between."""
        if not isinstance(self.what, ObjectKey):
            return False
        cache = default_cache()
        transform, bound = self.options.get("transform"), self.options.get("ttl")
        if transform is None:
            held = cache._memory.get(self.what)
            return held is not None and cache._revalidation.is_fresh(held, bound)
        slot = cache._memory.value(self.what, transform)
        return slot is not None and cache._revalidation.is_fresh(slot.known(), bound)

    def value(self) -> Any:
        """The value, wherever it is."""
        if not isinstance(self.what, ObjectKey):
            return self.what()
        return front.get(self.what.bucket, self.what.key, **self.options)

    async def awaited(self) -> Any:
        """The value of an object, wherever it is."""
        from s3warm import aio

        assert isinstance(self.what, ObjectKey)
        return await aio.get(self.what.bucket, self.what.key, **self.options)


def inject(
    sources: Mapping[str, Source] | None, named: Mapping[str, Source], transform: Any, ttl: float | timedelta | None
) -> Injection:
    """See `s3warm.inject`."""
    if sources is not None and not isinstance(sources, Mapping):
        raise TypeError(
            f"inject takes sources by the names of parameters, as @s3warm.inject(flags='s3://cfg/flags.json'), or one mapping of them, "
            f"not {type(sources).__name__}: {sources!r}"
        )
    by_name = dict(sources or {})
    for name in by_name.keys() & named.keys():
        raise TypeError(f"inject has two sources for {name}")
    by_name.update(named)
    if not by_name:
        raise TypeError("inject has nothing to inject; name a parameter, as in @s3warm.inject(flags='s3://cfg/flags.json')")
    options: dict[str, Any] = {}
    if transform is not None:
        transforming(transform, int)  # raises if it is none
        options["transform"] = transform
    if ttl is not None:
        options["ttl"] = seconds(ttl, "ttl of inject")
    wants = tuple(_want(name, source, options) for name, source in by_name.items())
    if options and not any(isinstance(want.what, ObjectKey) for want in wants):
        raise TypeError("transform and ttl of inject are for objects; a function that delivers a value has its own")
    return Injection(wants)


class Injection:
    """A decorator that gives a handler what it wants."""

    __slots__ = ("_wants",)

    def __init__(self, wants: tuple[Want, ...]) -> None:
        self._wants = wants

    # No type can take parameters away by their names. One that keeps the first two, (event, context), refuses calls by name, makes optional
    # ones required and needs an overload for all else, of which mypy makes `Any` where a parameter is `Any`.
    def __call__(self, handler: Callable[..., R], /) -> Callable[..., R]:
        """The handler, whose callers need not give what is injected."""
        _check_kind(handler)
        wants = self._wants
        with contextlib.suppress(TypeError):  # it has no hash, and so is none of ours
            if handler in _made:  # one handler with all its wants: what is missing comes at once, whichever decorator names it
                handler, further = _made[handler]
                wants = (*wants, *further)
        places = _checked_places(handler, wants)
        decorated: Callable[..., R] = wraps(handler)((_awaiting if is_async(handler) else _calling)(handler, wants, places))
        _take_from_signature(decorated, handler, {want.name for want in wants})
        _made[decorated] = handler, wants
        return decorated


# -- where the decorator stands: no I/O, but an error for whatever cannot be meant -------------------------------------------------


def _want(name: object, source: object, options: Mapping[str, Any]) -> Want:
    if not isinstance(name, str):
        raise TypeError(f"inject takes sources by the names of parameters, not by {type(name).__name__}: {name!r}")
    if not callable(source) and not isinstance(source, (str, tuple)):
        raise TypeError(
            f'inject, {name}: a source must be "s3://bucket/key", a tuple (bucket, key) or a function without arguments, '
            f"not {type(source).__name__}: {source!r}"
        )
    try:
        what = place(source)
    except (TypeError, ValueError) as error:
        raise type(error)(f"inject, {name}: {error}") from None
    return Want(name, what, options)


def _check_kind(handler: object) -> None:
    if isinstance(handler, (staticmethod, classmethod)):
        raise TypeError(f"inject decorates functions; put it below @{type(handler).__name__}")
    if not callable(handler) or isinstance(handler, type):
        raise TypeError(f"inject decorates a handler, which {handler!r} is not")
    if is_generator(handler):
        raise TypeError(
            f"{called(handler)} is a generator, which begins with its first item, when what was injected may be old; "
            "inject into the function that makes it"
        )


def _checked_places(handler: Callable[..., Any], wants: Sequence[Want]) -> Places:
    """The places of the handler's parameters, into which all that is wanted fits."""
    found = parameters(handler)
    seen: set[str] = set()
    for name in (want.name for want in wants):
        if name in seen:
            raise TypeError(f"inject has two sources for {name} of {called(handler)}")
        if name in found.bound:
            raise TypeError(f"inject has nothing to do for {name}: {called(handler)} has a value for it")
        if name in found.positional:
            raise TypeError(f"{called(handler)} takes {name} by its position only; inject gives it by its name")
        if name not in found.places and not found.any_name:
            raise TypeError(f"{called(handler)} has no parameter {name} to inject into")
        seen.add(name)
    return found.places


def _take_from_signature(decorated: Any, handler: Callable[..., Any], names: set[str]) -> None:
    """Frameworks fill in all that a signature has, in place of what is injected: so it is not there.

    Whoever reads signatures has loaded `inspect`; where it is not loaded, it would cost a cold start 9 ms.
    """
    inspect = sys.modules.get("inspect")
    if inspect is None:
        return
    with contextlib.suppress(TypeError, ValueError):  # nothing tells what the handler takes
        signature = inspect.signature(handler)
        left = [parameter for parameter in signature.parameters.values() if parameter.name not in names]
        decorated.__signature__ = signature.replace(parameters=left)


# -- in a call: what memory holds fresh is taken at once; for the rest there is the time that the invocation has left ---------------


def _calling(handler: Callable[..., Any], wants: Sequence[Want], places: Places) -> Callable[..., Any]:
    def injected(*args: Any, **kwargs: Any) -> Any:
        at_hand, missing = _wanted(wants, places, args, kwargs)
        values = {want.name: want.value() for want in at_hand}
        if missing:
            with _in_time(args, kwargs):
                _bring(missing, values)
        return handler(*args, **kwargs, **values)

    return injected


def _awaiting(handler: Callable[..., Any], wants: Sequence[Want], places: Places) -> Callable[..., Any]:
    async def injected(*args: Any, **kwargs: Any) -> Any:
        at_hand, missing = _wanted(wants, places, args, kwargs)
        # What is evicted in between must not hold up the event loop.
        values = {want.name: await want.awaited() for want in at_hand}
        if missing:
            with _in_time(args, kwargs):
                await _await(missing, values)
        return await handler(*args, **kwargs, **values)

    return injected


def _wanted(
    wants: Sequence[Want], places: Places, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[list[Want], list[Want]]:
    """What is at hand, and what has to be brought; nothing is done for what the caller gives."""
    at_hand: list[Want] = []
    missing: list[Want] = []
    for want in wants:
        position = places.get(want.name)
        if want.name in kwargs or (position is not None and position < len(args)):
            continue
        (at_hand if want.is_at_hand() else missing).append(want)
    return at_hand, missing


def _in_time(args: Sequence[object], kwargs: Mapping[str, object]) -> AbstractContextManager[None]:
    """The deadline of the invocation, if the last argument is the context of one; a mock in its place sets none."""
    context = kwargs.get("context", args[-1] if args else None)
    ask = getattr(context, "get_remaining_time_in_millis", None)
    left = ask() if callable(ask) else None
    return deadline(max(0.0, left / 1000) if isinstance(left, (int, float)) else None)


def _bring_objects(objects: Sequence[Want], values: dict[str, Any]) -> None:
    def bring(number: int) -> None:
        values[objects[number].name] = objects[number].value()

    pool.run(bring, len(objects), AT_ONCE)


def _parted(missing: Sequence[Want]) -> tuple[list[Want], list[Want]]:
    """Objects and functions."""
    objects = [want for want in missing if isinstance(want.what, ObjectKey)]
    return objects, [want for want in missing if not isinstance(want.what, ObjectKey)]


def _bring(missing: Sequence[Want], values: dict[str, Any]) -> None:
    """Functions are called in the handler's own thread, as what some of them make, such as connections of SQLite, is bound to it."""
    objects, functions = _parted(missing)
    _bring_objects(objects, values)
    for want in functions:
        value = want.value()
        if hasattr(value, "__await__"):
            getattr(value, "close", int)()
            raise TypeError(f"the source of {want.name} is asynchronous, and the handler is not: make it an async def")
        values[want.name] = value


async def _await(missing: Sequence[Want], values: dict[str, Any]) -> None:
    """The event loop goes on meanwhile; functions that are no `async def` are called in a thread."""
    import asyncio

    from s3warm import awaiting

    async def bring(want: Want) -> None:
        values[want.name] = await want.awaited()

    objects, functions = _parted(missing)
    if objects:
        await awaiting.several(bring, objects, AT_ONCE)
    for want in functions:
        assert not isinstance(want.what, ObjectKey)
        value = want.what() if is_async(want.what) else await asyncio.to_thread(want.what)
        values[want.name] = await value if hasattr(value, "__await__") else value
