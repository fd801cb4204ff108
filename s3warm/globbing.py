"""Patterns for keys: `*` and `?` within a segment, `**` across segments, `[...]` as in fnmatch."""

from __future__ import annotations

import re
from fnmatch import translate

from s3warm.keys import locate
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Pattern", "checked_limit", "listable", "parse"]

# The name of a directory bucket ends like this (https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-bucket-naming-rules.html).
_DIRECTORY_BUCKET = "--x-s3"


class Pattern(NamedTuple):
    """A pattern, taken apart: the `prefix` of keys that is to be listed, and what matches the whole key."""

    text: str
    bucket: str
    prefix: str
    matches: re.Pattern[str]

    def uris(self, keys: Iterable[str]) -> list[str]:
        """The URIs of the keys that match, in the order of keys; consoles' folders, whose keys end in a slash, do not."""
        found = sorted(key for key in keys if not key.endswith("/") and self.matches.fullmatch(key))
        return [f"s3://{self.bucket}/{key}" for key in found]


def parse(pattern: str) -> Pattern:
    """Take a pattern apart.

    Raises:
        TypeError: not a string.
        ValueError: no URI, or there is a wildcard in the bucket.

    Example:
        >>> parsed = parse("s3://models/bert/shards-*.bin")
        >>> parsed.prefix, parsed.uris(["bert/shards-1.bin", "bert/shards-1/x.bin"])
        ('bert/shards-', ['s3://models/bert/shards-1.bin'])
    """
    if not isinstance(pattern, str):
        raise TypeError(f'a pattern must be a string like "s3://bucket/*.json", not {type(pattern).__name__}: {pattern!r}')
    named = pattern[5:].partition("/")[0] if pattern.startswith("s3://") else ""
    if any(wildcard in named for wildcard in "*?["):
        raise ValueError(f"pattern {pattern!r}: the bucket may hold no wildcard")
    try:
        where = locate(pattern)
    except ValueError as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from None
    prefix, expression = _translate(where.key)
    return Pattern(pattern, where.bucket, listable(where.bucket, prefix), re.compile(expression, re.DOTALL))


def listable(bucket: str, prefix: str) -> str:
    """The longest part of a prefix by which the bucket can be listed.

    Directory buckets list by prefixes that end in a slash only (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).

    Example:
        >>> listable("models", "bert/sh"), listable("models--euc1-az1--x-s3", "bert/sh")
        ('bert/sh', 'bert/')
    """
    return prefix[: prefix.rfind("/") + 1] if bucket.endswith(_DIRECTORY_BUCKET) else prefix


def checked_limit(limit: int) -> int:
    """How many URIs are wanted at most.

    Raises:
        TypeError: not a whole number.
        ValueError: less than 1.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be a whole number, 1 or more, not {type(limit).__name__}: {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be 1 or more, not {limit}")
    return limit


def _translate(key: str) -> tuple[str, str]:
    """What the keys begin with for certain, and the regular expression for all of a key."""
    pieces: list[str] = []
    prefix: str | None = None
    position = 0
    while position < len(key):
        piece, expression = _next(key, position)
        if expression is not None and prefix is None:
            prefix = key[:position]
        pieces.append(re.escape(piece) if expression is None else expression)
        position += len(piece)
    return key if prefix is None else prefix, "".join(pieces)


def _next(key: str, start: int) -> tuple[str, str | None]:
    """The piece of a pattern that begins there, and its regular expression; None: it stands for itself."""
    character = key[start]
    if character == "*":
        stars = len(key) - start - len(key[start:].lstrip("*"))
        end = start + stars
        if stars == 1:
            return "*", "[^/]*"
        if key[end : end + 1] == "/" and (start == 0 or key[start - 1] == "/"):
            return key[start : end + 1], "(?:.*/)?"  # any number of segments, also none
        return key[start:end], ".*"
    if character == "?":
        return "?", "[^/]"
    if character == "[":
        # As fnmatch finds its end: a `]` that comes first is a member.
        first = start + 1 + (key[start + 1 : start + 2] == "!")
        end = key.find("]", first + (key[first : first + 1] == "]"))
        if end >= 0:
            piece = key[start : end + 1]
            return piece, "(?!/)" + translate(piece)[:-2]  # fnmatch's own, without its end of the text (`\Z`)
    return character, None
