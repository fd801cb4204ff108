"""s3warm: a read-through cache for S3 objects in AWS Lambda.

    import s3warm

    def handler(event, context):
        flags = s3warm.get("my-config", "flags.json")

Hot objects are answered from memory in well under a microsecond, the rest from /tmp, where they survive a crash of the
runtime. When the TTL is over one conditional GET asks S3 whether the object has changed.
"""

from __future__ import annotations

import os

from s3warm import machine
from s3warm.default import configure, default_cache, front

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.deadlines import deadline
    from s3warm.entries import Entry
    from s3warm.errors import (
        AccessDeniedError,
        ConfigurationError,
        DiskUnavailableError,
        IntegrityError,
        ObjectNotFoundError,
        ObjectTooLargeError,
        OriginUnavailableError,
        PreloadError,
        S3WarmError,
    )
    from s3warm.explanation import Budgets, Explanation
    from s3warm.face import (
        as_file,
        budgets,
        clear,
        entry,
        explain,
        get_many,
        glob,
        invalidate,
        open,  # noqa: A004  # it is what it says: s3warm.open
        path,
        preload,
        release,
        stats,
        tree,
    )
    from s3warm.factory import Cache
    from s3warm.metrics import Event, Stats
    from s3warm.report import PreloadReport
    from s3warm.settings import Settings

__all__ = [
    "AccessDeniedError",
    "Budgets",
    "Cache",
    "ConfigurationError",
    "DiskUnavailableError",
    "Entry",
    "Event",
    "Explanation",
    "IntegrityError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "OriginUnavailableError",
    "PreloadError",
    "PreloadReport",
    "S3WarmError",
    "Settings",
    "Stats",
    "as_file",
    "budgets",
    "clear",
    "configure",
    "deadline",
    "default_cache",
    "entry",
    "explain",
    "get",
    "get_many",
    "glob",
    "invalidate",
    "open",
    "path",
    "preload",
    "release",
    "stats",
    "tree",
]

__version__ = "0.1.0"

# Bound once: the front follows the default cache, so this name stays right when `configure` replaces it. A function around it
# would cost a hit 40 % more.
get = front.get

# Everything else is loaded when it is first used (PEP 562): that takes 12 ms, and `import s3warm` without it one or two.
_HOMES = {
    "deadlines": ("deadline",),
    "entries": ("Entry",),
    "errors": (
        "AccessDeniedError",
        "ConfigurationError",
        "DiskUnavailableError",
        "IntegrityError",
        "ObjectNotFoundError",
        "ObjectTooLargeError",
        "OriginUnavailableError",
        "PreloadError",
        "S3WarmError",
    ),
    "explanation": ("Budgets", "Explanation"),
    "face": (
        "as_file",
        "budgets",
        "clear",
        "entry",
        "explain",
        "get_many",
        "glob",
        "invalidate",
        "open",
        "path",
        "preload",
        "release",
        "stats",
        "tree",
    ),
    "factory": ("Cache",),
    "metrics": ("Event", "Stats"),
    "report": ("PreloadReport",),
    "settings": ("Settings",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(__import__(f"s3warm.{home}", fromlist=[name]), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 's3warm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


# Init is not waited for here, and what it loads is in the snapshot.
if machine.initialization_type(os.environ) == "snap-start":
    from s3warm import lambda_hooks

    lambda_hooks.register()
