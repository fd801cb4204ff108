"""Parsers of what users give for a setting or an argument: durations, sizes, names."""

from __future__ import annotations

import os

from s3warm.rules.budget import Share
from s3warm.rules.prefixes import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Hidden",
    "above_zero",
    "budget",
    "cache_control",
    "compression_level",
    "directory",
    "fraction",
    "from_number_or_text",
    "name",
    "origin",
    "rules",
    "seconds",
    "seconds_or_none",
    "secret",
    "size",
    "switch",
    "url",
    "verify",
]

_SHORTEST_SECRET = 16  # bytes: 128 bits, if they are drawn and not thought of

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


class Unacceptable(ValueError):
    """A value that a setting does not accept; `Settings` turns it into a `ConfigurationError`."""


def seconds(value: Any, name: str = "a duration") -> float:
    """A duration in seconds from a number or a `timedelta`; `name` is what an error calls it.

    Raises:
        TypeError: not a duration at all.
        ValueError: negative, or not a number.
    """
    wanted = f"{name} must be seconds or a timedelta, 0 or more"
    total_seconds = getattr(value, "total_seconds", None)
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or total_seconds is not None):
        raise TypeError(f"{wanted}, not {type(value).__name__}: {value!r}")
    try:
        number = float(value if total_seconds is None else total_seconds())
    except OverflowError:
        raise ValueError(f"{wanted}, and no more than a float can hold") from None
    if not number >= 0:
        raise ValueError(f"{wanted}, not {value!r}")
    return number


def from_number_or_text(value: Any) -> float:
    """`seconds`, also from the text of an environment variable."""
    return seconds(float(value) if isinstance(value, str) else value)


def seconds_or_none(value: Any) -> float | None:
    """A duration in seconds, or None."""
    return None if value is None or value == "" else from_number_or_text(value)


def fraction(value: Any) -> float:
    """A number from 0 up to, but not including, 1."""
    if not isinstance(value, (int, float, str)):
        raise Unacceptable
    number = from_number_or_text(value)
    if number >= 1:
        raise Unacceptable
    return number


def budget(value: Any) -> int | Share | None:
    """A number of bytes from a number or a text such as "64MiB"; a share from a text such as "25%"; or None."""
    if value is None or value == "":
        return None
    if isinstance(value, Share):
        if not 0 <= value.fraction <= 1:
            raise Unacceptable
        return value if value.fraction else 0
    if isinstance(value, bool):
        raise Unacceptable
    if isinstance(value, int):
        number: float = value
    elif isinstance(value, str):
        text = value.strip().lower()
        if text.endswith("%"):
            percent = float(text[:-1])
            if not 0 <= percent <= 100:
                raise Unacceptable
            return Share(percent / 100) if percent else 0
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
        number = float(digits) * _UNITS[text[len(digits) :].strip()]
    else:
        raise Unacceptable
    if not (number == 0 or 1 <= number < 2**63):
        raise Unacceptable
    return int(number)


def directory(value: Any) -> str | None:
    """An absolute path, or None."""
    if value is None or value == "":
        return None
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise Unacceptable
    os.fsencode(path)  # half of a surrogate pair is no path, and raises a ValueError
    return os.path.abspath(os.path.expanduser(path))


def compression_level(value: Any) -> int:
    """A zstd level, or 0."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise Unacceptable
    level = int(value)
    if not 0 <= level <= 22:
        raise Unacceptable
    return level


def name(value: Any) -> str | None:
    """A short text, or None."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 200:
        raise Unacceptable
    value.encode()
    return value


def cache_control(value: Any) -> str:
    """One of the three modes."""
    return _one_of(value, "respect", "trust", "ignore")


def verify(value: Any) -> str:
    """One of the two modes."""
    return _one_of(value, "available", "require")


def origin(value: Any) -> str:
    """One of the three suppliers of requests."""
    return _one_of(value, "auto", "boto3", "lean")


def rules(value: Any) -> tuple[Rule, ...]:
    """Rules by prefix, from a mapping, from JSON, or as they are."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        import json

        value = json.loads(value)
    if not hasattr(value, "items"):
        if not isinstance(value, (list, tuple)) or not all(isinstance(rule, Rule) for rule in value):
            raise Unacceptable
        value = {rule.prefix: rule._asdict() for rule in value}
    return tuple(_rule(prefix, dict(given)) for prefix, given in value.items())


def _rule(prefix: Any, given: dict[str, Any]) -> Rule:
    if not isinstance(prefix, str) or not prefix.startswith("s3://") or prefix == "s3://" or prefix.startswith("s3:///"):
        raise Unacceptable(f'the prefix {prefix!r} must begin with "s3://bucket"')
    if "*" in prefix:
        raise Unacceptable(f"the prefix {prefix!r} is no pattern: it is what URIs begin with")
    given.pop("prefix", None)
    places = {place: given.pop(place, None) for place in ("disk", "shared")}
    for place, said in places.items():
        if said is not None and not isinstance(said, bool):
            raise Unacceptable(f"{place} of {prefix!r} must be True or False, not {said!r}")
    durations: dict[str, float | None] = {}
    for field in ("ttl", "stale_if_error"):
        try:
            durations[field] = seconds_or_none(given.pop(field, None))
        except (TypeError, ValueError):
            raise Unacceptable(f"{field} of {prefix!r} must be seconds or a timedelta, 0 or more") from None
    if given:
        raise Unacceptable(f"{prefix!r} takes ttl, stale_if_error, disk and shared, not {', '.join(map(repr, given))}")
    # "s3://bucket" is no prefix of the objects of "bucket-2".
    return Rule(prefix if "/" in prefix[5:] else prefix + "/", durations["ttl"], durations["stale_if_error"], **places)


def url(value: Any) -> str | None:
    """The URL of a server, which may have a password in it, and so does not print; or None."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Unacceptable
    from s3warm.tiers.address import parse

    try:
        parse(value)
    except ValueError as error:  # which quotes no password
        raise Unacceptable(str(error)) from None
    return Hidden(value)


def secret(value: Any) -> str | None:
    """A secret, or None. It does not print."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value.encode()) < _SHORTEST_SECRET:
        raise Unacceptable
    return Hidden(value)


def switch(value: Any) -> bool:
    """True or False, also from the text of an environment variable."""
    text = value.strip().lower() if isinstance(value, str) else value
    if text in (True, "1", "true", "yes", "on"):
        return True
    if text in (False, "", "0", "false", "no", "off"):
        return False
    raise Unacceptable


def above_zero(value: Any) -> float:
    """`from_number_or_text`, of more than nothing."""
    number = from_number_or_text(value)
    if not 0 < number < float("inf"):
        raise Unacceptable
    return number


def size(value: Any) -> int:
    """A number of bytes; see `budget`."""
    number = budget(value)
    if not isinstance(number, int):
        raise Unacceptable
    return number


class Hidden(str):
    """A text that is a secret, or has one in it: it is what it is, but does not print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _one_of(value: Any, *words: str) -> str:
    if value not in words:
        raise Unacceptable
    return str(value)
