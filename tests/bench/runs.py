"""Several runs of several benches. Each is in a process of its own, so that none has the heap, the variables or the end of another."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.report import NotMeasured

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tests.bench.report import Report

    Bench = Callable[[str], Report]  # from a directory of its own, which is empty

__all__ = ["Outcome", "Run", "alone", "attempt", "run_all"]


class Outcome(NamedTuple):
    """A report, or why there is none."""

    report: Report | None
    missing: str = ""  # on this machine
    error: str = ""


class Run(NamedTuple):
    """One run of one bench."""

    bench: str
    number: int  # from 1
    outcome: Outcome
    seconds: float = 0.0
    load: float = 0.0  # of the machine at the end: others' work shows here


def run_all(
    benches: Mapping[str, Bench],
    runs: int,
    once: Collection[str] = (),
    execute: Callable[[Bench, str], Outcome] | None = None,
) -> Iterator[Run]:
    """All benches, then all of them again, as often as there are runs; those of `once` in the first run alone.

    What a bench raises is in its outcome, and the others go on.
    """
    for number in range(1, runs + 1):
        for name, bench in benches.items():
            if number == 1 or name not in once:
                begin = time.perf_counter()
                with tempfile.TemporaryDirectory(prefix="s3warm-bench-") as directory:
                    outcome = (execute or alone)(bench, directory)
                yield Run(name, number, outcome, round(time.perf_counter() - begin, 1), round(os.getloadavg()[0], 2))


def alone(bench: Bench, directory: str) -> Outcome:
    """Run a bench in a new process. If that is killed, this is an error as any other."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(attempt, bench, directory).result()
        except BrokenProcessPool as error:
            return Outcome(None, error=str(error))


def attempt(bench: Bench, directory: str) -> Outcome:
    """Run a bench, and make of what it raises what is shown of it."""
    try:
        return Outcome(bench(directory))
    except NotMeasured as why:
        return Outcome(None, missing=str(why))
    except Exception:  # noqa: BLE001  # the other benches are not to be lost
        return Outcome(None, error=traceback.format_exc())
