"""A read-through cache for S3 objects in AWS Lambda.

    import s3warm

    def handler(event, context):
        flags = s3warm.get("my-config", "flags.json")

Hot objects are answered from memory in well under a microsecond, the rest from /tmp, where they survive a crash of the
runtime. When the TTL is over one conditional GET asks S3 whether the object has changed. An object is named by `(bucket, key)` or by
one `"s3://bucket/key"`. There are, by what they are for:

- bytes, or what a `transform` makes of them, once: `get` and `get_many`; `entry` has the metadata as well, in an `Entry`;
- files: `path`, and `tree` for all below a prefix, both until `release`; `as_file` for one block; `open` for what reads a stream;
- what a library makes of a file, a model for instance, once: `load`;
- init: `preload`, which gives a `PreloadReport`, and `glob`, which lists what to preload;
- the invocation: `deadline`, within which S3 is asked only as long as there is time to answer; `inject`, which makes arguments of objects;
- freshness: `invalidate` and `clear`; `put` writes an object, and keeps what was written;
- what it does and why: `stats` (`Stats`), `explain` (`Explanation`), `budgets` (`Budgets`), and an `Event` for each thing that happens;
- set-up: `configure` and `Settings`, `default_cache`, or a `Cache` of your own with the same functions as methods;
- errors, each an `S3WarmError`: `ObjectNotFoundError`, `AccessDeniedError`, `OriginUnavailableError`, `ObjectTooLargeError`,
  `DiskUnavailableError`, `FleetUnavailableError`, `IntegrityError`, `TransformError`, `PreloadError`, `ConfigurationError`.

`s3warm.aio` has the same functions for asyncio. `s3warm.notifications` takes S3's events, and drops what has changed from a whole fleet.
`s3warm.testing` has `fake_s3`, an S3 in memory for the tests of your handler.
"""

from __future__ import annotations

import os

from s3warm import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm import aio as aio
    from s3warm import emf as emf  # so that `s3warm.emf` is known where `s3warm` was imported
    from s3warm import notifications as notifications
    from s3warm import otel as otel
    from s3warm import powertools as powertools
    from s3warm.face import (
        AccessDeniedError,
        Budgets,
        Cache,
        ConfigurationError,
        DiskUnavailableError,
        Entry,
        Event,
        Explanation,
        FleetUnavailableError,
        IntegrityError,
        ObjectNotFoundError,
        ObjectTooLargeError,
        OriginUnavailableError,
        PreloadError,
        PreloadReport,
        S3WarmError,
        Settings,
        Stats,
        TransformError,
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
        inject,
        invalidate,
        load,
        open,  # noqa: A004  # it is what it says: s3warm.open
        path,
        preload,
        put,
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
    "FleetUnavailableError",
    "IntegrityError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "OriginUnavailableError",
    "PreloadError",
    "PreloadReport",
    "S3WarmError",
    "Settings",
    "Stats",
    "TransformError",
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
    "inject",
    "invalidate",
    "load",
    "open",
    "path",
    "preload",
    "put",
    "release",
    "stats",
    "tree",
]

__version__ = "0.1.0"


# Modules that are reached as `s3warm.emf` after `import s3warm`, and loaded then.
_LATER = ("aio", "emf", "notifications", "otel", "powertools")


if not TYPE_CHECKING:  # or each misspelt name would be an object to type checkers

    def __getattr__(name: str) -> object:
        """Load everything with the first name that is used (PEP 562), which takes 12 ms; `import s3warm` takes 1."""
        if name in _LATER:
            from importlib import import_module

            return import_module(f"s3warm.{name}")
        if name not in __all__ and name != "errors":
            raise AttributeError(f"module 's3warm' has no attribute {name!r}")
        from s3warm import face
        from s3warm.later import promise

        own = globals()
        for each in __all__:
            own.setdefault(each, getattr(face, each))  # unless somebody has put another in its place
        for each in _LATER:
            own.setdefault(each, promise(f"s3warm.{each}"))
        # CPython does not specialise look-ups in a module that has this function: each hit would cost 15 % more.
        own.pop("__getattr__", None)
        return own[name]


def __dir__() -> list[str]:
    return [*__all__, *_LATER]


if machine.initialization_type(os.environ) == "snap-start":
    from s3warm import lambda_hooks

    lambda_hooks.register()
