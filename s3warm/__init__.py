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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.face import (
        AccessDeniedError,
        Budgets,
        Cache,
        ConfigurationError,
        DiskUnavailableError,
        Entry,
        Event,
        Explanation,
        IntegrityError,
        ObjectNotFoundError,
        ObjectTooLargeError,
        OriginUnavailableError,
        PreloadError,
        PreloadReport,
        S3WarmError,
        Settings,
        Stats,
        as_file,
        budgets,
        clear,
        configure,
        deadline,
        default_cache,
        entry,
        explain,
        get,
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


if not TYPE_CHECKING:  # or each misspelt name would be an object to type checkers

    def __getattr__(name: str) -> object:
        """Load everything with the first name that is used (PEP 562), which takes 12 ms; `import s3warm` takes 1."""
        if name not in __all__ and name != "errors":
            raise AttributeError(f"module 's3warm' has no attribute {name!r}")
        from s3warm import face

        own = globals()
        for each in __all__:
            own.setdefault(each, getattr(face, each))  # unless somebody has put another in its place
        # CPython does not specialise look-ups in a module that has this function: each hit would cost 15 % more.
        own.pop("__getattr__", None)
        return own[name]


def __dir__() -> list[str]:
    return __all__


if machine.initialization_type(os.environ) == "snap-start":
    from s3warm import lambda_hooks

    lambda_hooks.register()
