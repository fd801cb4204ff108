"""`preload`: what a function needs from its first invocation on, brought in init, in the time that init has.

Lambda ends an init phase on demand after 10 s, and does it all again within the first invocation; with provisioned concurrency, SnapStart
or managed instances it has minutes (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
"""

from __future__ import annotations

import contextlib
import os
import time

from s3warm import deadlines, machine, pool
from s3warm.errors import PreloadError
from s3warm.keys import ObjectKey
from s3warm.metrics import logger
from s3warm.report import Preloaded, PreloadReport, reason, shown
from s3warm.sources import called, place
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from typing import Any

    Source = str | tuple[str, str] | Callable[[], object]
    # Brings an object and says what became of it: outcome and bytes.
    Bring = Callable[[ObjectKey], tuple[str, int]]

__all__ = ["AT_ONCE", "preload"]

AT_ONCE = 4  # objects of more than 4 MiB have up to sixteen connections each
ON_DEMAND = 8.0  # seconds since the start of the process, of the 10 that init has
LONGER = 120.0  # seconds since then, where init has minutes
NAMED = 3  # sources that a warning names


def preload(
    bring: Bring,
    tier_of: Callable[[ObjectKey], str],
    sources: Sequence[Source],
    *,
    timeout: float | timedelta | None,
    concurrency: int | None,
    strict: bool,
) -> PreloadReport:
    """See `Cache.preload`."""
    places = [place(source) for source in sources]
    at_once = pool.at_most(concurrency, AT_ONCE)
    allowed, why = _allowance(timeout)
    begun = time.monotonic()
    done: dict[int, Preloaded] = {}

    def work(number: int) -> None:
        left = deadlines.left()
        if left is None or left > 0:
            done[number] = _one(bring, sources[number], places[number])

    with contextlib.nullcontext() if allowed is None else deadlines.deadline(allowed, 0):
        pool.run(work, len(places), at_once)
    # Where each is when all are done: what came first may have had to go from memory again.
    for number, what in enumerate(places):
        if number in done and isinstance(what, ObjectKey) and done[number].error is None:
            done[number] = done[number]._replace(tier=tier_of(what))
    report = PreloadReport(
        tuple(done.get(number) or Preloaded(_named(source), "unfinished") for number, source in enumerate(sources)),
        time.monotonic() - begun,
    )
    if not report.ok and strict:
        raise _error(report) from next((each.error for each in _missing(report) if each.error is not None), None)
    if not report.ok:
        _warn(report, why)
    return report


def _allowance(timeout: float | timedelta | None) -> tuple[float | None, str]:
    """The seconds that there are, None: any number; and what a warning says when they were too few."""
    if timeout is not None:
        given = seconds(timeout, "timeout of preload")
        return (None if given == float("inf") else given), f", as the timeout of {given:g} s was over"
    if deadlines.until() is not None:
        return None, ", as the deadline had come"
    kind = machine.initialization_type(os.environ)
    if not kind:
        return None, ""
    allowed, age = ON_DEMAND if kind == "on-demand" else LONGER, machine.process_age()
    over = f", as the {allowed:g} s that init has for it were over"
    if age < allowed:
        return allowed - age, over
    # Called late: in a handler, perhaps.
    return 0.0, f"{over}: the process was {age:.1f} s old already, where only timeout= or a deadline() gives it time"


def _named(source: Source) -> str | tuple[str, str]:
    return called(source) if callable(source) else source


def _one(bring: Bring, source: Source, what: ObjectKey | Callable[[], object]) -> Preloaded:
    begun = time.monotonic()
    outcome, size = "called", 0
    failure: Exception | None = None
    try:
        if isinstance(what, ObjectKey):
            outcome, size = bring(what)
        else:
            size = _size(_settled(what(), source))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is in the report
        # Without its traceback, whose frames would keep bodies for as long as somebody keeps the report.
        outcome, failure = "unfinished" if getattr(error, "late", False) is True else "failed", error.with_traceback(None)
    return Preloaded(_named(source), outcome, "", size, time.monotonic() - begun, failure)


def _settled(result: object, source: Source) -> object:
    """What a callable gave, if it is a result and not the promise of one."""
    if not hasattr(result, "__await__"):
        return result
    close = getattr(result, "close", None)
    if callable(close):
        close()
    raise TypeError(f"{_named(source)} is asynchronous; preload calls functions and does not await: give it asyncio.run of it")


def _size(result: Any) -> int:
    """Bytes of a body or a file, else 0."""
    if isinstance(result, (bytes, bytearray, memoryview)):
        return memoryview(result).nbytes
    if hasattr(result, "__fspath__"):
        with contextlib.suppress(OSError):
            return _on_disk(os.fspath(result))
    return 0


def _on_disk(path: str) -> int:
    """Bytes of a file, or of all files below a directory."""
    if not os.path.isdir(path):
        return os.stat(path).st_size
    return sum(os.stat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _missing(report: PreloadReport) -> list[Preloaded]:
    return [each for each in report.sources if each.outcome in ("failed", "unfinished")]


def _said(missing: Sequence[Preloaded]) -> str:
    return "; ".join(f"{shown(each.source)}: {reason(each)}" for each in missing)


def _error(report: PreloadReport) -> PreloadError:
    missing = _missing(report)
    error = PreloadError(f"{len(missing):,} of {len(report.sources):,} sources could not be preloaded: {_said(missing)}")
    error.report = report
    return error


def _warn(report: PreloadReport, why: str) -> None:
    """One warning for all that is not there."""
    missing = _missing(report)
    failed, unfinished = len(report.failed), len(report.unfinished)
    counts = [f"{failed:,} failed"] if failed else []
    if unfinished:
        counts.append(f"{unfinished:,} unfinished{why}")
    more = f"; and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    message = (
        f"preload: {len(missing):,} of {len(report.sources):,} sources are not loaded yet ({', '.join(counts)}), and will be when they are "
        f"asked for. {_said(missing[:NAMED])}{more}"
    )
    fields = {
        "s3warm_preload_sources": len(report.sources),
        "s3warm_preload_failed": failed,
        "s3warm_preload_unfinished": unfinished,
        "s3warm_preload_missing": [shown(each.source) for each in missing],
    }
    with contextlib.suppress(OSError):  # no descriptor is left to import `logging` with
        logger().warning("%s", message, extra=fields)
