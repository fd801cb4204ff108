"""Which budgets the cache would choose, for this environment or for a function that is yet to be: by the cache's own rules."""

from __future__ import annotations

import os

from s3warm import machine, values
from s3warm.errors import ConfigurationError
from s3warm.explanation import Budgets
from s3warm.factory import LAMBDA_DIRECTORY, origin_memory
from s3warm.machine import MemoryLimit
from s3warm.origin.boto import memory_to_come
from s3warm.origin.places import suits
from s3warm.rules import budget
from s3warm.settings import resolve, switch
from s3warm.tiers.survey import Survey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3warm.settings import Settings

__all__ = ["bytes_of", "disk_place", "disk_total", "held_in", "would_choose"]

_LEAST = 2**20  # bytes: less is a number without its unit
_LAMBDA_UNITS = {"kb": "kib", "mb": "mib", "gb": "gib"}


def bytes_of(text: str, name: str) -> int:
    """A size as settings accept it, in bytes, but MB as Lambda counts: a function of 512 MB has 512 MiB.

    Raises:
        ConfigurationError: it is no size, or one that was meant to have a unit.

    Example:
        >>> bytes_of("512 MB", "--memory") == bytes_of("512MiB", "--memory") == 2**29
        True
    """
    lower = text.strip().lower()
    try:
        size = values.budget(lower[:-2] + _LAMBDA_UNITS.get(lower[-2:], lower[-2:]))
    except (ValueError, KeyError, OverflowError):
        size = None
    if not isinstance(size, int) or size < _LEAST:
        unit = f'; did you mean "{lower}MB"?' if lower.isdigit() else ""
        raise ConfigurationError(
            f'{name}={text!r} is not understood; accepted: a size of a MB or more, like "512MB" or "2GB"{unit}'
        )
    return size


def would_choose(
    environ: Mapping[str, str],
    *,
    memory: int | None = None,
    tmp: int | None = None,
    concurrency: int | None = None,
    rss: int | None = None,
    boto3: bool = False,
) -> Budgets:
    """The budgets of a cache with the settings of `S3WARM_*`, for what is given, and for what there is here otherwise.

    Args:
        environ: the environment's variables.
        memory: bytes of a function in Lambda, whose requests s3warm's own client sends.
        tmp: bytes of a /tmp with nothing in it.
        concurrency: processes that share the memory.
        rss: bytes that the process holds before the first request; None: as many as this one.
        boto3: whether boto3 sends the requests.
    """
    settings = resolve(None, {}, environ)
    limit = machine.memory_limit(environ) if memory is None else MemoryLimit(memory, f"the function's {memory // 2**20:,} MB")
    suited = memory is not None or not suits(environ, "any-plain-bucket")  # a function that is yet to be is in Lambda
    to_come = memory_to_come() if boto3 else origin_memory(settings, suited=suited)
    chosen = budget.memory_budget(
        settings.memory_budget,
        limit=limit.bytes,
        source=limit.source,
        rss=(machine.resident_memory() if rss is None else rss) + to_come,
        concurrency=machine.concurrency(environ) if concurrency is None else concurrency,
    )
    disabled = switch("S3WARM_DISABLED", environ)
    if disabled:
        chosen = budget.Budget(0, "S3WARM_DISABLED=1")
    largest = budget.largest_memory_object(settings.max_memory_object, chosen.bytes)
    if disabled or settings.disk_budget == 0:
        return Budgets(chosen, None, largest, None)
    if tmp is not None:
        place = settings.directory or LAMBDA_DIRECTORY
        return Budgets(chosen, budget.disk_budget(settings.disk_budget, free=tmp, held=0), largest, place)
    place = disk_place(settings, environ)
    return Budgets(chosen, disk_total(settings, place, held_in(place)), largest, place)


def disk_place(settings: Settings, environ: Mapping[str, str]) -> str:
    """Where the disk tier lies; outside Lambda, without a setting, the folder in which each process makes its own."""
    if settings.directory is not None:
        return settings.directory
    return LAMBDA_DIRECTORY if machine.in_lambda(environ) else environ.get("TMPDIR", "/tmp")  # noqa: S108  # it is only looked at


def held_in(place: str) -> int:
    """Bytes that a cache holds in a directory; 0 where there is none yet."""
    try:
        with Survey(place) as survey:
            return survey.database_bytes() + survey.file_bytes()
    except OSError:
        return 0


def disk_total(settings: Settings, place: str, held: int) -> budget.Budget:
    """The disk tier's budget in a directory, which may be yet to be made."""
    there = os.path.abspath(place)
    while not os.path.isdir(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    return budget.disk_budget(settings.disk_budget, free=machine.free_disk(there), held=held)
