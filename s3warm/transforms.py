"""What makes a value of a body: `"json"`, `"text"`, or a function of the user's."""

from __future__ import annotations

from s3warm.errors import ObjectTooLargeError
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.entries import Entry

__all__ = ["Decoder", "code_of", "described", "loading", "transforming"]

_ASYNCHRONOUS = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR: `inspect` would cost a start 7 ms
PIECE = 2**20  # bytes of what is inflated at a time


class Decoder(NamedTuple):
    """A way to make a value of something: `key` tells decoders apart, `make` does it, `name` is for people."""

    key: Any
    make: Callable[..., Any]
    name: str


def transforming(transform: object, largest: Callable[[], int]) -> Decoder:
    """The decoder of an entry for `transform`; what is inflated may have as many bytes as `largest` says.

    Raises:
        ValueError: there is no transform of that name.
        TypeError: it is neither a name nor a function that can be told from others.
    """
    if isinstance(transform, str):
        if transform not in _NAMED:
            hint = ", such as base64.b64decode" if transform == "binary" else ""
            raise ValueError(f'transform {transform!r} is none: give "json", "text" or a function of the bytes{hint}')
        named = _NAMED[transform]
        return Decoder(transform, lambda entry: named(_plain(entry, largest)), transform)
    function = _checked(transform, "transform", 'must be "json", "text" or a function of the bytes')
    return Decoder(function, lambda entry: function(entry.body), described(function))


def loading(loader: object) -> Decoder:
    """The decoder of a path for `loader`.

    Raises:
        TypeError: it is no function that can be told from others.
    """
    function = _checked(loader, "loader", "must be a function of a path")
    return Decoder(("path", function), function, described(function))


def described(function: Callable[..., Any]) -> str:
    """A function by its qualified name, and where it stands."""
    named = getattr(function, "func", function)
    prefix = "" if named is function else "partial of "  # functools.partial
    name = prefix + str(getattr(named, "__qualname__", type(named).__qualname__))
    code = getattr(named, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name


def code_of(key: Any) -> object:
    """What two decoders have in common that are one and the same line of the program, run twice; None if nothing tells."""
    if isinstance(key, tuple):
        key = key[1]
    wrapped = 0
    while hasattr(key, "func") and hasattr(key, "keywords"):  # functools.partial
        key, wrapped = key.func, wrapped + 1
    code = getattr(key, "__code__", None) if not hasattr(key, "__self__") else None
    return None if code is None else (code, wrapped)


def _checked(function: object, name: str, accepted: str) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"{name} {accepted}, not {type(function).__name__}: {function!r}")
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is not None and code.co_flags & _ASYNCHRONOUS:
        raise TypeError(
            f"{name} {described(function)} is asynchronous: give a plain function, which s3warm.aio runs in a thread"
        )
    try:
        hash(function)
    except TypeError:
        raise TypeError(
            f"{name} {described(function)} has no hash, and so cannot be told from others; give a function"
        ) from None
    return function


def _json(body: bytes) -> Any:
    import json

    return json.loads(body)


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig")


_NAMED: dict[str, Callable[[bytes], Any]] = {"json": _json, "text": _text}


def _plain(entry: Entry, largest: Callable[[], int]) -> bytes:
    """The body, without the gzip that its `Content-Encoding` names.

    Raises:
        ObjectTooLargeError: there is not enough memory for what is in it.
        ValueError: it is no gzip.
    """
    encoding = (entry.info.content_encoding or "").strip().lower()
    if encoding not in ("gzip", "x-gzip"):
        return entry.body
    import zlib

    most = largest()
    plain, rest = bytearray(), entry.body
    try:
        while rest:  # one member after the other
            inflater = zlib.decompressobj(wbits=31)
            while not inflater.eof:
                piece = inflater.decompress(rest, PIECE)
                rest = inflater.unconsumed_tail
                plain += piece
                if len(plain) > most:
                    raise ObjectTooLargeError.of(entry.object, len(plain), most)
                if not piece and not rest and not inflater.eof:
                    raise ValueError("its gzip ends too early")
            rest = inflater.unused_data
    except zlib.error as error:
        raise ValueError(f"its Content-Encoding is gzip, but {error}") from None
    return bytes(plain)
