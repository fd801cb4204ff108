"""The keyword arguments of `Cache`, `configure` and `Settings`, for type checkers: imported by them only, never at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from typing import Any

    from s3warm.rules.budget import Share
    from s3warm.rules.prefixes import Rule

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """Each field is the setting of the same name; a test holds the two equal."""

    ttl: float | timedelta | None
    ttl_jitter: float
    stale_if_error: float | timedelta
    stale_while_revalidate: float | timedelta
    negative_ttl: float | timedelta
    memory_budget: int | str | Share | None
    disk_budget: int | str | Share | None
    directory: str | os.PathLike[str] | None
    max_memory_object: int | str | Share | None
    compression_level: int
    namespace: str | None
    cache_control: Literal["respect", "trust", "ignore"]
    verify: Literal["available", "require"]
    origin: Literal["auto", "boto3", "lean"]
    rules: Mapping[str, Mapping[str, Any]] | Sequence[Rule] | str
    shared_url: str | None
    shared_secret: str | None
    shared_unauthenticated: bool
    shared_max_object: int | str
    shared_timeout: float | timedelta
    shared_connect_timeout: float | timedelta
