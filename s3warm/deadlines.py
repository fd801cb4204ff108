"""Until when S3 may be asked: the deadline of an invocation, known to all that is done within it, in whatever thread.

Times are those of `time.monotonic()`: a deadline lives as long as one invocation, in which nothing is frozen.
"""

from __future__ import annotations

import contextlib
import time
from contextvars import ContextVar, copy_context

from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["carried", "deadline", "left", "until"]

_FOREVER = 1e9  # seconds; locks of Python cannot wait for more than some centuries

_until: ContextVar[float | None] = ContextVar("s3warm_deadline", default=None)


@contextlib.contextmanager
def deadline(context: Any, reserve: float | timedelta = 0.2) -> Iterator[None]:
    """Within this block no request to S3 outlives the invocation: what is stale is served in its bounds, what is missing raises in time.

    Without it a request may take until Lambda kills the handler, which then answers nothing at all. Blocks nest, the earliest end counts;
    threads that s3warm starts, `copy_context().run` and tasks of asyncio are within it as well.

    Args:
        context: what Lambda passes to the handler (its `get_remaining_time_in_millis` is asked,
            https://docs.aws.amazon.com/lambda/latest/dg/python-context.html), or the time that is left in seconds or as a `timedelta`;
            None, which tests of handlers pass, sets no deadline.
        reserve: seconds to be kept for the handler's answer.

    Raises:
        TypeError: `context` is neither.
        ValueError: a time is negative, or no number.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> def handler(event, context):
        ...     with s3warm.deadline(context):
        ...         return s3warm.get("cfg", "flags.json")
        >>> class Context:
        ...     def get_remaining_time_in_millis(self):
        ...         return 3000
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
        ...     handler({}, Context())
        b'{}'
    """
    kept = seconds(reserve, "reserve")
    if context is None:
        yield
        return
    ask = getattr(context, "get_remaining_time_in_millis", None)
    if callable(ask):
        allowed = float(context.get_remaining_time_in_millis()) / 1000
    elif ask is None and (isinstance(context, (int, float)) or hasattr(context, "total_seconds")):
        allowed = seconds(context, "the time that is left")
    else:
        raise TypeError(
            f"context must be what Lambda passes to the handler, or seconds, not {type(context).__name__}: {context!r}"
        )
    end = time.monotonic() + min(allowed, _FOREVER) - min(kept, _FOREVER)
    before = _until.get()
    token = _until.set(end if before is None else min(before, end))
    try:
        yield
    finally:
        _until.reset(token)


def until() -> float | None:
    """The end of the time in which S3 may be asked; None: there is none."""
    return _until.get()


def left() -> float | None:
    """Seconds until then, negative ones after it."""
    end = _until.get()
    return None if end is None else end - time.monotonic()


def carried(work: Callable[P, R]) -> Callable[P, R]:
    """The same work for another thread, within the deadline of this one. A context serves one thread at a time: ask for each anew."""
    context = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.run(work, *args, **kwargs)

    return run
