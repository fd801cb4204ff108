"""When a stored answer may be used: freshness, `Cache-Control`, and how long a stale one may stand in.

All times are seconds since the epoch on the wall clock: monotonic clocks stop while Lambda freezes the environment.
"""

from __future__ import annotations

from s3warm.record import NamedTuple

__all__ = [
    "MOCKED",
    "CacheControl",
    "expires_at",
    "is_fresh",
    "lifetime",
    "may_keep",
    "may_serve_stale",
    "never_fresh",
    "parse_cache_control",
]


# A directive of our own, put on answers of a mocked AWS: each test that mocks it has a world of its own, and nothing of the one before
# may be served in it, whatever the settings say.
MOCKED = "s3warm-mocked"


class CacheControl(NamedTuple):
    """The response directives that a private cache obeys (RFC 9111, section 5.2.2)."""

    max_age: float | None = None
    no_cache: bool = False
    no_store: bool = False
    must_revalidate: bool = False
    mocked: bool = False  # not of the RFC: see MOCKED


def parse_cache_control(header: str | None) -> CacheControl:
    """The directives in a `Cache-Control` header; what is unknown or malformed is ignored.

    A `max-age` that is not a whole number counts as 0: RFC 9111, section 4.2.1 wants invalid freshness to be treated as stale.

    Example:
        >>> control = parse_cache_control('public, max-age=60, must-revalidate')
        >>> control.max_age, control.no_cache, control.must_revalidate
        (60.0, False, True)
    """
    if not header:
        return CacheControl()
    names: dict[str, str] = {}
    for directive in _directives(header.lower()):
        name, _, value = directive.partition("=")
        # The first of two equal directives counts (section 4.2.1: "either use the first occurrence").
        names.setdefault(name.strip(), value.strip().strip('"'))
    age = names.get("max-age")
    max_age = None
    if age is not None:
        # More than 2^31 seconds are to be taken as 2^31 (section 1.2.2); int() of endless digits would raise.
        digits = age.lstrip("0") if age.isascii() and age.isdigit() else "0"
        max_age = float(min(int(digits or "0"), 2**31)) if len(digits) < 12 else float(2**31)
    return CacheControl(
        max_age=max_age,
        no_cache="no-cache" in names,
        no_store="no-store" in names,
        must_revalidate="must-revalidate" in names,
        mocked=MOCKED in names,
    )


def _directives(header: str) -> list[str]:
    """The header cut at its commas, but not at those inside quoted strings (RFC 9110, section 5.6.4)."""
    cut, start, quoted = [], 0, False
    for position, character in enumerate(header):
        if character == '"' and header[position - 1 : position] != "\\":
            quoted = not quoted
        elif character == "," and not quoted:
            cut.append(header[start:position])
            start = position + 1
    return [*cut, header[start:]]


def may_keep(etag: str, control: CacheControl) -> bool:
    """Whether a body may be kept in this process at all: what has no ETag could never be revalidated, and `no-store` forbids it.

    Example:
        >>> may_keep('"1"', CacheControl()), may_keep('"1"', CacheControl(no_store=True)), may_keep("", CacheControl())
        (True, False, False)
    """
    return bool(etag) and not control.no_store


def lifetime(default_ttl: float, control: CacheControl, mode: str) -> float:
    """For how many seconds an answer validated now is fresh, before jitter.

    `mode` is the setting `cache_control`: under `"respect"` a `max-age` shortens the default only (a CDN's year must not freeze a
    configuration), under `"trust"` it lengthens it too, and under `"ignore"` the header plays no part in freshness.
    """
    if mode == "ignore":
        return default_ttl
    if control.max_age is None:
        return default_ttl
    return control.max_age if mode == "trust" else min(default_ttl, control.max_age)


def expires_at(
    validated_at: float, default_ttl: float, control: CacheControl, mode: str, *, jitter: float, draw: float
) -> float:
    """End of freshness. Jitter only shortens, so that many environments do not ask at one moment; `draw` is in [0, 1)."""
    if control.mocked or (control.no_cache and mode != "ignore"):
        return never_fresh(validated_at)
    return validated_at + lifetime(default_ttl, control, mode) * (1.0 - draw * jitter)


def never_fresh(validated_at: float) -> float:
    """The `expires_at` of what must be revalidated before each use, whatever age a call accepts (`no-cache`, invalidated)."""
    return validated_at - 1.0


def is_fresh(validated_at: float, until: float, now: float, bound: float | None = None) -> bool:
    """Whether an answer may be used without asking. A clock set back makes it stale, never immortal.

    `bound` is the age in seconds that one call accepts; it takes the place of the stored end of freshness.
    """
    if bound is None or until < validated_at:
        return validated_at <= now < until
    return validated_at <= now < validated_at + bound


def may_serve_stale(until: float, now: float, stale_if_error: float, control: CacheControl, mode: str) -> bool:
    """Whether a stale answer may stand in while the origin is out of reach (RFC 5861, section 4).

    `no-cache` and `must-revalidate` forbid it (RFC 9111, sections 5.2.2.4 and 5.2.2.2).
    """
    forbidden = control.mocked or (mode != "ignore" and (control.no_cache or control.must_revalidate))
    return not forbidden and now < until + stale_if_error
