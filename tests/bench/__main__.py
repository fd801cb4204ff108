"""`make bench`: every line that is promised about speed, with its bar and whether it holds.

Every bench has several runs, and a line holds if it holds in most of them. The tables of the first run come first, the lines of all
runs last. Figures and plots are in `tests/bench/out/`. A line that does not hold is no error; a bench that breaks is.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from typing import TYPE_CHECKING

from tests.bench import (
    anonymous,
    cold_box,
    cold_path,
    cold_start,
    disk_hit,
    disk_write,
    fleet,
    growth,
    memory_hit,
    origins,
    requests,
    rss,
)
from tests.bench.environment import describe, headline
from tests.bench.keep import keep
from tests.bench.plots import plot
from tests.bench.report import OUT
from tests.bench.runs import run_all
from tests.bench.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.runs import Run
    from tests.bench.summary import Summary

# The lines are in this order.
BENCHES = {
    "memory_hit": memory_hit.run,
    "disk_hit": disk_hit.run,
    "disk_write": disk_write.run,
    "cold_start": cold_start.run,
    "cold_box": cold_box.run,
    "origins": origins.run,
    "requests": requests.run,
    "cold_path": cold_path.run,
    "rss": rss.run,
    "anonymous": anonymous.run,
    "growth": growth.run,
    "fleet": fleet.run,
}
# In a box with a fourteenth of a CPU a run takes most of a minute; `origins` and `fleet` have no lines.
ONCE = {"cold_box", "fleet", "origins"}


def main() -> int:
    """Run what is asked for; 1 if a bench has broken."""
    options = _options()
    begin = time.perf_counter()
    environment = describe()
    print(headline(environment), flush=True)
    runs = []
    for run in run_all({name: BENCHES[name] for name in options.names}, options.runs, ONCE):
        runs.append(run)
        report, missing, error = run.outcome
        if report is not None and run.number == 1:
            print(f"\n{report}\n", flush=True)
        if error:
            print(f"\n{error}", file=sys.stderr, flush=True)
        outcome = "failed" if error else f"not measured: {missing}" if missing else "done"
        print(f"run {run.number}, {run.bench}: {outcome}, {run.seconds:.0f} s", file=sys.stderr, flush=True)
    summary = summarise(runs)
    keep(environment, runs, summary)
    _draw(summary, runs)
    print(f"\n{time.perf_counter() - begin:.0f} s; all samples and plots are in tests/bench/out\n")
    print(summary.markdown() if options.markdown else summary.table())
    return 1 if summary.errors else 0


def _draw(summary: Summary, runs: Sequence[Run]) -> None:
    """Plots are the least of it: whatever is wrong with them, the lines are shown."""
    try:
        plot(summary, runs, OUT)
    except ImportError as error:
        print(f"no plots: {error} (dependency group bench)", file=sys.stderr)
    except Exception:  # noqa: BLE001
        traceback.print_exc()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="bench", help=f"one of {', '.join(BENCHES)}; all by default")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each bench (%(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the lines as a table in Markdown")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    if options.runs < 1:
        parser.error("at least one run is needed")
    wanted = set(options.names or BENCHES)
    options.names = [name for name in BENCHES if name in wanted]  # in the order of the lines
    return options


if __name__ == "__main__":
    sys.exit(main())
