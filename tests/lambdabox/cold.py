"""Cold starts in a function of 128 MB with its share of the CPU: s3warm with a warm /tmp, and from S3, beside boto3.

python -m tests.lambdabox.cold
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.report import Table
from tests.lambdabox import figures
from tests.lambdabox.available import why_not
from tests.lambdabox.box import LambdaBox
from tests.support.static_origin import StaticOrigin

HANDLERS = Path(__file__).parent / "handlers"
MEMORY_MB = 128
RUNS = 5
NAMES = ("nothing", "s3warm", "s3warm_s3", "boto3")
_COLUMNS = ("init", "import", "first_get")
_TIMEOUT = 60.0  # seconds; with 7 % of a CPU everything takes its time


def measure(names: tuple[str, ...] = NAMES, runs: int = RUNS) -> dict[str, dict[str, float]]:
    """Medians in seconds by handler: the runtime's init, in it the import, and the first `get` after it; runs take turns."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    event = {"bucket": "bucket", "key": "flags.json"}
    with StaticOrigin() as origin, ExitStack() as stack:
        origin.put(event["bucket"], event["key"], b'{"flag": true}' * 200)
        environ = {"AWS_ENDPOINT_URL": origin.endpoint}
        boxes = {
            name: stack.enter_context(
                LambdaBox(HANDLERS / f"cold_{name}.py", MEMORY_MB, environ=environ, cpu=True, timeout=_TIMEOUT)
            )
            for name in names
        }
        for box in boxes.values():  # fills /tmp, and reads all modules from the disk once
            box.invoke(event)
        for number in range(runs):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                samples[name].append(_start(boxes[name], event))
    assert all(run["disk_hits"] == 1 for run in samples.get("s3warm", ())), "a first get was no hit in /tmp"
    assert all(run["origin_requests"] == 1 for run in samples.get("s3warm_s3", ())), "a first get did not ask S3"
    return {
        name: {column: statistics.median(start.get(column, 0.0) for start in starts) for column in _COLUMNS}
        for name, starts in samples.items()
    }


def table(measured: dict[str, dict[str, float]], runs: int = RUNS) -> Table:
    """The medians, in milliseconds; by handler."""
    bare = measured["nothing"]["init"]
    heads = ("ms", "init", "more than nothing", "import", "first get", "all of it")
    rows = [
        (
            name,
            *(
                f"{seconds * 1000:,.0f}"
                for seconds in (
                    times["init"],
                    times["init"] - bare,
                    times["import"],
                    times["first_get"],
                    times["init"] - bare + times["first_get"],
                )
            ),
        )
        for name, times in measured.items()
    ]
    title = f"Cold start, {MEMORY_MB} MB and its share of the CPU (medians of {runs}); s3warm from /tmp, s3warm_s3 and boto3 from S3"
    return Table(title, heads, rows)


def _start(box: LambdaBox, event: dict[str, str]) -> dict[str, float]:
    """Figures of a new runtime."""
    box.crash()
    answer: dict[str, Any] = box.invoke(event)
    return {**answer, "init": box.init_seconds}


def main() -> int:
    """Print the table; 1 if no box can be made here."""
    missing = why_not(cpu=True)
    if missing is not None:
        print(f"no LambdaBox here: {missing}", file=sys.stderr)
        return 1
    measured = measure()
    print(table(measured))
    figures.save("lambda_cold", {"memory_mb": MEMORY_MB, "runs": RUNS, "seconds": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main())
