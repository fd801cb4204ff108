"""Several things at a time, for `preload` and `get_many`: a few threads, which end with the call."""

from __future__ import annotations

import threading

from s3warm import deadlines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["at_most", "run"]


def at_most(concurrency: int | None, default: int) -> int:
    """How many may be under way at a time.

    Raises:
        TypeError: not a whole number.
        ValueError: less than 1.

    Example:
        >>> at_most(None, 4), at_most(2, 4)
        (4, 2)
    """
    if concurrency is None:
        return default
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError(f"concurrency must be a whole number, 1 or more, not {type(concurrency).__name__}: {concurrency!r}")
    if concurrency < 1:
        raise ValueError(f"concurrency must be 1 or more, not {concurrency}")
    return concurrency


def run(work: Callable[[int], object], count: int, at_once: int) -> None:
    """Call `work(0)` to `work(count - 1)`, begun in this order, `at_once` at a time, one of them in the calling thread.

    Other threads are within the deadline of this one. Where there are no more threads, those that there are do all of it.

    Raises:
        BaseException: what `work` raised, the first in the order of the numbers, but an interrupt before all else. What was not begun by
            then is not begun; what was under way has ended.
    """
    numbers = iter(range(count))
    lock = threading.Lock()
    errors: dict[int, BaseException] = {}

    def claim() -> int | None:
        with lock:
            return None if errors else next(numbers, None)

    def labour() -> None:
        number: int | None = -1
        try:
            while (number := claim()) is not None:
                work(number)
        except BaseException as error:  # noqa: BLE001  # it is raised in the calling thread
            errors[-1 if number is None else number] = error

    threads: list[threading.Thread] = []
    try:
        for number in range(1, min(at_once, count)):
            threads.append(threading.Thread(target=deadlines.carried(labour), name=f"s3warm-pool-{number}", daemon=True))
            try:
                threads[-1].start()
            except RuntimeError:
                break
        labour()
        _join(threads)
        if errors:
            raise _first(errors)
    except BaseException as error:
        errors[-1] = error  # it may be an interrupt of the wait: nobody begins anything
        raise
    finally:
        _join(threads)
        errors.clear()  # their tracebacks lead here: a circle, which would keep bodies in memory


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is not None:  # it was started
            thread.join()


def _first(errors: dict[int, BaseException]) -> BaseException:
    interrupts = [error for error in errors.values() if not isinstance(error, Exception)]
    return interrupts[0] if interrupts else errors[min(errors)]
