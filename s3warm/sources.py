"""What `preload` and `get_many` are asked for: URIs, `(bucket, key)` pairs and callables, checked before any I/O."""

from __future__ import annotations

import os

from s3warm.keys import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s3warm.keys import ObjectKey

__all__ = ["called", "located", "place", "several"]


def located(source: object) -> ObjectKey:
    """The object that a URI or a pair names.

    Raises:
        TypeError: it is neither.
        ValueError: it cannot name an object.

    Example:
        >>> located(("cfg", "flags.json")) == located("s3://cfg/flags.json")
        True
    """
    if isinstance(source, str):
        if not source.startswith("s3://"):
            raise ValueError(
                f'{source!r} is no source: give "s3://bucket/key", or a bucket and a key as one tuple (bucket, key)'
            )
        return locate(source)
    if not isinstance(source, tuple) or len(source) != 2:
        raise TypeError(f'a source must be "s3://bucket/key" or a tuple (bucket, key), not {type(source).__name__}: {source!r}')
    try:
        return locate(*source)
    except (TypeError, ValueError) as error:
        raise type(error)(f"source {source!r}: {error}") from None


def place(source: object) -> ObjectKey | Callable[[], object]:
    """What `preload` is to do for a source: bring an object, or call a function.

    Raises:
        TypeError: it is no source.
        ValueError: it cannot name an object.
    """
    if callable(source):
        return source
    if isinstance(source, (list, set, frozenset, dict)) or hasattr(source, "__next__"):
        raise TypeError(f"sources are given one by one, as in preload(*sources), not as a {type(source).__name__}: {source!r}")
    if not isinstance(source, (str, tuple)):
        kind = type(source).__name__
        raise TypeError(
            f'a source must be "s3://bucket/key", a tuple (bucket, key) or a function without arguments, not {kind}: {source!r}'
        )
    where = located(source)
    if where.key.endswith("/"):
        raise ValueError(f"{where} names what lies below a prefix, not an object; give lambda: s3warm.tree({str(where)!r})")
    return where


def called(function: Callable[[], object]) -> str:
    """The qualified name of a callable; of a lambda, which has none, also where it stands."""
    named = getattr(function, "func", function)  # functools.partial
    name = str(getattr(named, "__qualname__", type(named).__qualname__))
    code = getattr(named, "__code__", None)
    if name.endswith("<lambda>") and code is not None:
        return f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
    return name


def several(sources: Iterable[object]) -> dict[object, ObjectKey]:
    """The objects that `get_many` is asked for, in order, each source once.

    Raises:
        TypeError: it is one source, or a source is none.
        ValueError: a source cannot name an object.
    """
    if isinstance(sources, (str, bytes)):
        raise TypeError(f"get_many takes several sources, as get_many([{sources!r}]); get takes one: get({sources!r})")
    if isinstance(sources, tuple) and len(sources) == 2 and all(isinstance(each, str) for each in sources):
        one_pair = not any(str(each).startswith("s3://") for each in sources)
        if one_pair:
            raise TypeError(f"get_many takes several sources; for one pair write get_many([{sources!r}]) or get{sources!r}")
    try:
        given = list(sources)
    except TypeError:
        if hasattr(sources, "__iter__"):
            raise  # it is the iterable's own
        raise TypeError(f"get_many takes an iterable of sources, not {type(sources).__name__}: {sources!r}") from None
    objects: dict[object, ObjectKey] = {}
    for source in given:
        where = located(source)  # first, as what is none may have no hash
        objects.setdefault(source, where)
    return objects
