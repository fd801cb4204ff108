"""Settings: plain values, checked when they are made; `declared` says what each one accepts."""

from __future__ import annotations

from s3warm import values
from s3warm.declared import TABLE
from s3warm.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Unpack

    from s3warm.declared import Setting
    from s3warm.options import Options
    from s3warm.rules.budget import Share
    from s3warm.rules.prefixes import Rule

__all__ = ["SWITCHES", "Settings", "resolve", "switch"]

_BY_NAME = {setting.name: setting for setting in TABLE}

# Switches for incidents and tests. They are not settings: they hold whatever the code passes.
SWITCHES = ("S3WARM_DISABLED", "S3WARM_OFFLINE")


class Settings:
    """The cache's settings, immutable and checked. Durations are seconds, sizes bytes. What each one means is said below, at its name.

    Where no settings are given to `Cache` or `configure`, the `S3WARM_*` variables of the environment are read.

    Args:
        **options: settings by name; the others have their defaults.

    Raises:
        ConfigurationError: a value cannot be understood, or there is no such setting.

    Example:
        >>> Settings(ttl=60, memory_budget="64MiB").memory_budget
        67108864
    """

    # `help` shows the values.
    __slots__ = {s.name: f"{s.meaning}. S3WARM_{s.name.upper()}; accepts {s.accepts}; {s.default!r} if not set" for s in TABLE}

    ttl: float | None
    ttl_jitter: float
    stale_if_error: float
    stale_while_revalidate: float
    negative_ttl: float
    memory_budget: int | Share | None
    disk_budget: int | Share | None
    directory: str | None
    max_memory_object: int | Share | None
    compression_level: int
    namespace: str | None
    cache_control: str
    verify: str
    origin: str
    rules: tuple[Rule, ...]
    shared_url: str | None
    shared_secret: str | None
    shared_unauthenticated: bool
    shared_max_object: int
    shared_timeout: float
    shared_connect_timeout: float

    def __init__(self, **options: Unpack[Options]) -> None:
        for name in options:
            if name not in _BY_NAME:
                raise ConfigurationError(f"there is no setting {name!r}{_nearest(name, list(_BY_NAME))}")
        given: dict[str, Any] = dict(options)
        for setting in TABLE:
            value = given.get(setting.name, setting.default)
            object.__setattr__(self, setting.name, _checked(setting, value, setting.name))

    def replace(self, **options: Unpack[Options]) -> Settings:
        """The same settings with some of them changed.

        Args:
            **options: those to change, by name.

        Raises:
            ConfigurationError: a value cannot be understood, or there is no such setting.

        Example:
            >>> Settings(ttl=60, verify="require").replace(ttl=5)
            Settings(ttl=5.0, verify='require')
        """
        changed: dict[str, Any] = {name: getattr(self, name) for name in _BY_NAME} | dict(options)
        return Settings(**changed)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are immutable; use settings.replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("settings are immutable")

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
    given: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith("S3WARM_") or variable in SWITCHES:
            continue
        setting = _BY_NAME.get(variable[7:].lower())
        if setting is None:
            _warn_unknown(variable)
        elif environ[variable] != "":
            given[setting.name] = _checked(setting, environ[variable], variable)
    return Settings(**given)


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
    except values.Unacceptable as error:
        why = f": {error}" if error.args else ""
        raise ConfigurationError(
            f"{shown_as}={_shown(setting, value)} is not understood; accepted: {setting.accepts}{why}"
        ) from error
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ConfigurationError(
            f"{shown_as}={_shown(setting, value)} is not understood; accepted: {setting.accepts}"
        ) from error


def _shown(setting: Setting, value: Any) -> str:
    """The value as it prints; a whole number of more than 4,300 digits does not, and nothing that is to stay secret."""
    if setting.parse in (values.url, values.secret):
        return "'***'"
    try:
        return repr(value)
    except ValueError:
        return f"<{type(value).__name__}>"


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
