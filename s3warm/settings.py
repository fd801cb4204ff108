"""Settings: plain values, checked when they are made, with one table that says what each one accepts."""

from __future__ import annotations

import os

from s3warm.errors import ConfigurationError
from s3warm.record import NamedTuple
from s3warm.rules.budget import Share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Unpack

    from s3warm.options import Options

__all__ = ["DEFAULT_TTL", "SWITCHES", "TABLE", "Settings", "resolve", "seconds", "switch"]

DEFAULT_TTL = 300.0  # seconds

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


class Setting(NamedTuple):
    """One row of the settings table."""

    name: str
    default: Any
    parse: Callable[[Any], Any]
    accepts: str
    meaning: str


class Unacceptable(ValueError):
    """A value that a setting does not accept; `Settings` turns it into a `ConfigurationError`."""


def seconds(value: Any) -> float:
    """A duration in seconds from a number or a `timedelta`; strings only for the environment's sake.

    Raises:
        TypeError: not a duration at all.
        ValueError: negative, or not a number.
    """
    if isinstance(value, bool):
        raise TypeError(f"a duration is seconds or a timedelta, not {value!r}")
    if isinstance(value, (int, float)):
        number = float(value)
    elif hasattr(value, "total_seconds"):
        number = float(value.total_seconds())
    else:
        raise TypeError(f"a duration is seconds or a timedelta, not {type(value).__name__}: {value!r}")
    if not number >= 0:
        raise ValueError(f"a duration cannot be negative or not a number: {value!r}")
    return number


def _seconds(value: Any) -> float:
    return seconds(float(value) if isinstance(value, str) else value)


def _seconds_or_none(value: Any) -> float | None:
    return None if value is None or value == "" else _seconds(value)


def _fraction(value: Any) -> float:
    number = _seconds(value)
    if number >= 1:
        raise Unacceptable
    return number


def _budget(value: Any) -> int | Share | None:
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
    if not 0 <= number < 2**63:
        raise Unacceptable
    return int(number)


def _directory(value: Any) -> str | None:
    if value is None or value == "":
        return None
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise Unacceptable
    return os.path.abspath(path)


def _level(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise Unacceptable
    level = int(value)
    if not 0 <= level <= 22:
        raise Unacceptable
    return level


def _name(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 200:
        raise Unacceptable
    value.encode()
    return value


def _mode(value: Any) -> str:
    if value not in ("respect", "trust", "ignore"):
        raise Unacceptable
    return str(value)


_SIZE = 'bytes, a size like "64MiB" or a share like "25%"'

TABLE: tuple[Setting, ...] = (
    Setting(
        "ttl",
        None,
        _seconds_or_none,
        "seconds or a timedelta, 0 or more, or None",
        "for how long an object is fresh; None: 300 s. An object's shorter `max-age` wins",
    ),
    Setting(
        "ttl_jitter",
        0.1,
        _fraction,
        "a number from 0 up to, but not including, 1",
        "the share of the TTL by which it is shortened at random",
    ),
    Setting(
        "stale_if_error",
        3600.0,
        _seconds,
        "seconds or a timedelta, 0 or more",
        "for how long after expiry a copy may stand in while S3 is out of reach",
    ),
    Setting(
        "memory_budget",
        None,
        _budget,
        _SIZE + ", 0 to turn the tier off, or None",
        "bytes kept in memory; None: chosen, see the formula",
    ),
    Setting(
        "disk_budget",
        None,
        _budget,
        _SIZE + ", 0 to turn the tier off, or None",
        "bytes kept in the directory; None: 80 % of what is free and what it holds already",
    ),
    Setting(
        "directory",
        None,
        _directory,
        "a path, or None",
        "where the disk tier lies; None: `/tmp/s3warm` in Lambda, elsewhere a temporary one, removed at exit",
    ),
    Setting(
        "max_memory_object",
        None,
        _budget,
        _SIZE + " of the memory budget, or None",
        "the largest body kept in memory; None: half of the memory budget",
    ),
    Setting(
        "compression_level",
        1,
        _level,
        "a whole number from 0 (store as it is) to 22",
        "zstd level of bodies on disk that compress",
    ),
    Setting(
        "namespace",
        None,
        _name,
        "a string of at most 200 characters, or None",
        "keeps caches on one directory apart; None: derived from endpoint, region and kind of credentials",
    ),
    Setting(
        "cache_control",
        "respect",
        _mode,
        '"respect", "trust" or "ignore"',
        "whether an object's `Cache-Control` may shorten (respect), also lengthen (trust) or not touch its TTL",
    ),
)
_BY_NAME = {setting.name: setting for setting in TABLE}

# Switches for incidents and tests. They are not settings: they hold whatever the code passes.
SWITCHES = ("S3WARM_DISABLED", "S3WARM_OFFLINE")


class Settings:
    """The cache's settings, immutable and checked. Durations are seconds, sizes bytes.

    Raises:
        ConfigurationError: a value cannot be understood, or there is no such setting.

    Example:
        >>> Settings(ttl=60, memory_budget="64MiB").memory_budget
        67108864
    """

    __slots__ = tuple(_BY_NAME)

    ttl: float | None
    ttl_jitter: float
    stale_if_error: float
    memory_budget: int | Share | None
    disk_budget: int | Share | None
    directory: str | None
    max_memory_object: int | Share | None
    compression_level: int
    namespace: str | None
    cache_control: str

    def __init__(self, **options: Unpack[Options]) -> None:
        for name in options:
            if name not in _BY_NAME:
                raise ConfigurationError(f"there is no setting {name!r}{_nearest(name, list(_BY_NAME))}")
        given: dict[str, Any] = dict(options)
        for setting in TABLE:
            value = given.get(setting.name, setting.default)
            object.__setattr__(self, setting.name, _checked(setting, value, setting.name))

    def replace(self, **options: Unpack[Options]) -> Settings:
        """The same settings with some of them changed."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _BY_NAME}
        return Settings(**{**values, **options})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are immutable; use settings.replace({name}=...)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and all(getattr(self, name) == getattr(other, name) for name in _BY_NAME)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in _BY_NAME))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, ({name: getattr(self, name) for name in _BY_NAME},)

    def __repr__(self) -> str:
        changed = (s for s in TABLE if getattr(self, s.name) != s.default)
        return f"Settings({', '.join(f'{s.name}={getattr(self, s.name)!r}' for s in changed)})"


def _rebuild(values: dict[str, Any]) -> Settings:
    return Settings(**values)


def resolve(settings: Settings | None, options: Options, environ: Mapping[str, str]) -> Settings:
    """The settings in force: options, then `settings` or else the `S3WARM_*` variables, then defaults."""
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError(f"settings must be a Settings object or None, not {type(settings).__name__}: {settings!r}")
    base = from_environment(environ) if settings is None else settings
    return base.replace(**options) if options else base


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings that `S3WARM_<NAME>` variables give; an unknown one is warned about, with the nearest name."""
    values: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith("S3WARM_") or variable in SWITCHES:
            continue
        setting = _BY_NAME.get(variable[7:].lower())
        if setting is None:
            _warn_unknown(variable)
        elif environ[variable] != "":
            values[setting.name] = _checked(setting, environ[variable], variable)
    return Settings(**values)


def switch(name: str, environ: Mapping[str, str]) -> bool:
    """Whether an on/off variable is on.

    Example:
        >>> switch("S3WARM_OFFLINE", {"S3WARM_OFFLINE": "1"})
        True
    """
    value = environ.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise ConfigurationError(f"{name}={environ[name]!r} is not understood; accepted: 1 or 0")


def _checked(setting: Setting, value: Any, shown_as: str) -> Any:
    try:
        return setting.parse(value)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ConfigurationError(f"{shown_as}={value!r} is not understood; accepted: {setting.accepts}") from error


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else f"; there are {', '.join(known)}"


def _warn_unknown(variable: str) -> None:
    from s3warm.metrics import logger

    known = [*SWITCHES, *(f"S3WARM_{name.upper()}" for name in _BY_NAME)]
    logger().warning(
        "%s is not a setting and is ignored%s",
        variable,
        _nearest(variable, known),
        extra={"s3warm_trouble": "unknown_variable", "s3warm_variable": variable},
    )
