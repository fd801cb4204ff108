"""Every setting: what it is called, what stands where nobody says anything, what it accepts and what it means."""

from __future__ import annotations

from s3warm import values
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DEFAULT_TTL", "TABLE", "Setting"]

DEFAULT_TTL = 300.0  # seconds


class Setting(NamedTuple):
    """One row of the settings table."""

    name: str
    default: Any
    parse: Callable[[Any], Any]
    accepts: str
    meaning: str


_SIZE = 'bytes, a size like "64MiB" or a share like "25%"'

TABLE: tuple[Setting, ...] = (
    Setting(
        "ttl",
        None,
        values.seconds_or_none,
        "seconds or a timedelta, 0 or more, or None",
        "for how long an object is fresh; None: 300 s. An object's shorter `max-age` wins",
    ),
    Setting(
        "ttl_jitter",
        0.1,
        values.fraction,
        "a number from 0 up to, but not including, 1",
        "the share of the TTL by which it is shortened at random",
    ),
    Setting(
        "stale_if_error",
        3600.0,
        values.from_number_or_text,
        "seconds or a timedelta, 0 or more",
        "for how long after expiry a copy may stand in while S3 is out of reach",
    ),
    Setting(
        "stale_while_revalidate",
        0.0,
        values.from_number_or_text,
        "seconds or a timedelta, 0 or more",
        "for how long after expiry a copy is served while another thread or process is asking S3 (RFC 5861); 0: callers wait for its answer",
    ),
    Setting(
        "negative_ttl",
        0.0,
        values.from_number_or_text,
        "seconds or a timedelta, 0 or more",
        "for how long a 404 is remembered, in this process; 0: not at all",
    ),
    Setting(
        "memory_budget",
        None,
        values.budget,
        _SIZE + ", 0 to turn the tier off, or None",
        "bytes kept in memory; None: chosen, see the formula",
    ),
    Setting(
        "disk_budget",
        None,
        values.budget,
        _SIZE + ", 0 to turn the tier off, or None",
        "bytes kept in the directory; None: 80 % of what is free and what it holds already",
    ),
    Setting(
        "directory",
        None,
        values.directory,
        "a path, or None",
        "where the disk tier lies; None: `/tmp/s3warm` in Lambda, elsewhere a temporary one for each process, removed at its exit",
    ),
    Setting(
        "max_memory_object",
        None,
        values.budget,
        _SIZE + " of the memory budget, or None",
        "the largest body kept in memory; None: half of the memory budget",
    ),
    Setting(
        "compression_level",
        1,
        values.compression_level,
        "a whole number from 0 (store as it is) to 22",
        "zstd level of bodies on disk that compress",
    ),
    Setting(
        "namespace",
        None,
        values.name,
        "a string of at most 200 characters, or None",
        "keeps caches on one directory, or in one shared tier, apart; None: derived from endpoint, region and kind of credentials, in a shared tier from the Lambda function's name",
    ),
    Setting(
        "cache_control",
        "respect",
        values.cache_control,
        '"respect", "trust" or "ignore"',
        "whether an object's `Cache-Control` may shorten (respect), also lengthen (trust) or not touch its TTL",
    ),
    Setting(
        "verify",
        "available",
        values.verify,
        '"available" or "require"',
        "require: an object for which S3 gives nothing to check its bytes against is an `IntegrityError`, before it is downloaded",
    ),
    Setting(
        "origin",
        "auto",
        values.origin,
        '"auto", "boto3" or "lean"',
        "who sends the requests where no client is given; auto: s3warm's own small client in Lambda, for plain buckets, else boto3",
    ),
    Setting(
        "rules",
        (),
        values.rules,
        'a mapping of prefixes, like {"s3://bucket/prefix": {"ttl": 5, "disk": False}}, or that as JSON',
        "other values below a prefix: of `ttl` and `stale_if_error`, and with `disk` False no body lies on disk, nor a tree that has it (with True those of SSE-C may); "
        "with `shared` False nothing is shared, with True also what is encrypted with KMS or SSE-C, or `no-store`; the longest prefix that gives a value decides",
    ),
    Setting(
        "shared_url",
        None,
        values.url,
        'a URL, like "rediss://user:password@host:6379", or None',
        "the Valkey or Redis server of the shared tier; needs `s3warm[shared]`, a `shared_secret`, and outside Lambda a `namespace`",
    ),
    Setting(
        "shared_secret",
        None,
        values.secret,
        "a string of at least 16 bytes, or None",
        "what entries of the shared tier are authenticated with (HMAC-SHA256): the same in all environments of a fleet",
    ),
    Setting(
        "shared_unauthenticated",
        False,
        values.switch,
        "True or False",
        "share without a secret: whoever can write to the server decides what every environment is given",
    ),
    Setting(
        "shared_max_object",
        2**20,
        values.size,
        'bytes, or a size like "4MiB"',
        "the largest body in the shared tier, compressed; of larger ones, and with 0 of all, only metadata are shared",
    ),
    Setting(
        "shared_timeout",
        0.02,
        values.above_zero,
        "seconds or a timedelta, above 0",
        "for how long a command may be unanswered; a whole answer takes five times that at most",
    ),
    Setting(
        "shared_connect_timeout",
        0.05,
        values.above_zero,
        "seconds or a timedelta, above 0",
        "for how long a connection may take to be made; TLS takes small functions longer than that",
    ),
)
