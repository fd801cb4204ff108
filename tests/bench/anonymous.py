"""How much anonymous memory a process holds for each byte that s3warm counts, while four threads get objects and eviction runs.

What is counted is what the ledger counts: the bytes of the memory tier, its bookkeeping included, and of bodies under way. What is held is
/proc/self/statm's resident less its shared pages, over what the same process held before its first object, so that everything that is
imported for it is in there. Each situation has a process of its own.

Run as a module (`python -m tests.bench.anonymous`), this is that process: it takes a `Task` as JSON and prints a `Found` as JSON.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.bodies import KIB, MIB, noise
from tests.bench.lean_place import BUCKET, variables
from tests.bench.report import Line, Report, Table, number
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from typing import Any

    from s3warm import Cache

__all__ = ["run"]

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds for one process, beside its run
SECONDS = 14.0  # of a run; what is told is its second half
BETWEEN = 0.01  # seconds, from one sample to the next
THREADS = 4
OBJECTS, SMALLEST, LARGEST = 600, KIB, 8 * MIB  # as many small ones as large ones: evenly spread over the logarithm
BUDGET = 256 * MIB
BAR = 1.10


class Task(NamedTuple):
    """What a process does."""

    name: str
    megabytes: int  # of the function
    disk_budget: int
    cares: bool = True  # whether s3warm asks the allocator to give back
    endpoint: str = ""
    directory: str = ""


class Found(NamedTuple):
    """What the fifth thread saw: held over counted in each sample, and medians in bytes; and what the others did meanwhile."""

    ratios: list[float]
    held: float
    counted: float
    gets: int
    evictions: int
    errors: int

    @property
    def median(self) -> float:
        """What the bar is about."""
        return statistics.median(self.ratios)


# With 384 MB the budget does not fit beside Python and what the allocator keeps, so that the ledger has to shrink the tier.
SHORT, AMPLE = 384, 3008
TASKS = (
    Task(f"{SHORT} MB, memory and disk", SHORT, 128 * MIB),
    Task(f"{SHORT} MB, memory alone", SHORT, 0),
    Task(f"{AMPLE} MB, memory and disk", AMPLE, 128 * MIB),
    Task(f"{AMPLE} MB, memory alone", AMPLE, 0),
    Task(f"{SHORT} MB, memory alone, nothing given back", SHORT, 0, cares=False),
)
BOUND = TASKS[:4]  # by the bar


def run(directory: str) -> Report:
    """Measure each situation, and show what is held beside what is counted."""
    with StaticOrigin() as origin:
        _put(origin, Path(directory))
        found = {
            task.name: _in_a_process(
                task._replace(endpoint=origin.endpoint, directory=os.path.join(directory, f"cache-{number_of_task}"))
            )
            for number_of_task, task in enumerate(TASKS)
        }
    rows = [
        (
            name,
            f"{one.median:.3f}",
            f"{max(one.ratios):.3f}",
            number(one.held / MIB),
            number(one.counted / MIB),
            number(one.gets / SECONDS),
            str(one.evictions),
            str(one.errors),
        )
        for name, one in found.items()
    ]
    title = (
        f"Anonymous memory over what the ledger counts; {THREADS} threads, objects of 1 KiB to 8 MiB, a budget of {BUDGET // MIB} MiB\n"
        f"(samples of the second half of {SECONDS:.0f} s; the bar is about their median)"
    )
    heads = ("", "median ×", "max ×", "held, MiB", "counted, MiB", "gets a second", "evictions", "errors")
    lines = [
        Line(f"anonymous memory over live bytes, median: {task.name}", found[task.name].median, "at most", BAR, "×")
        for task in BOUND
    ]
    return Report([Table(title, heads, rows)], {name: one._asdict() for name, one in found.items()}, lines)


def _put(origin: StaticOrigin, directory: Path) -> None:
    data = noise(LARGEST)
    for each in range(OBJECTS):
        path = directory / f"body-{each}"
        path.write_bytes(data[: _size(each)])
        origin.put(BUCKET, _key(each), path)


def _key(each: int) -> str:
    return f"objects/{each}.bin"


def _size(each: int) -> int:
    return int(SMALLEST * (LARGEST / SMALLEST) ** (each / (OBJECTS - 1)))


def _in_a_process(task: Task) -> Found:
    environment = variables(task.endpoint, AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(task.megabytes))
    command = [sys.executable, "-m", "tests.bench.anonymous", json.dumps(task)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=PATIENCE + SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{task} failed:\n{done.stderr}")
    return Found(*json.loads(done.stdout))


# From here on: that process.


def _main() -> None:
    print(json.dumps(_measured(Task(*json.loads(sys.argv[1])))))


def _measured(task: Task) -> Found:
    from s3warm import Cache, machine

    if not task.cares:
        ours: Any = machine
        ours.give_back = ours.free_at_once = lambda: None
    with Cache(origin="lean", directory=task.directory, memory_budget=BUDGET, disk_budget=task.disk_budget, ttl=3600) as cache:
        base = machine.anonymous_memory()
        begin = time.monotonic()
        workers = [Worker(cache, seed, begin + SECONDS) for seed in range(THREADS)]
        for worker in workers:
            worker.start()
        time.sleep(SECONDS / 2)
        held, counted = [], []
        while time.monotonic() < begin + SECONDS:
            held.append(machine.anonymous_memory() - base)
            counted.append(cache._memory.held() + cache._ledger._pending)
            time.sleep(BETWEEN)
        for worker in workers:
            worker.join()
        evictions = cache.stats().evictions
    return Found(
        [one / other for one, other in zip(held, counted, strict=True)],
        statistics.median(held),
        statistics.median(counted),
        sum(worker.gets for worker in workers),
        evictions,
        sum(worker.errors for worker in workers),
    )


class Worker(threading.Thread):
    """Gets one object after the other, and holds none."""

    def __init__(self, cache: Cache, seed: int, until: float) -> None:
        super().__init__()
        self._cache = cache
        self._draw = random.Random(seed)
        self._until = until
        self.gets = self.errors = 0

    def run(self) -> None:
        from s3warm import S3WarmError

        while time.monotonic() < self._until:
            each = self._draw.randrange(OBJECTS)
            try:
                assert len(self._cache.get(BUCKET, _key(each))) == _size(each)
            except S3WarmError:
                self.errors += 1
            self.gets += 1


if __name__ == "__main__":
    _main()
