"""`make bench`: every bench, or those that are named, as tables here and as JSON in `tests/bench/out/`."""

from __future__ import annotations

import argparse
import tempfile
import time

from tests.bench import cold_path, disk_hit, disk_write, memory_hit, origins, rss
from tests.bench.environment import describe, headline
from tests.bench.report import save

BENCHES = {
    "memory_hit": memory_hit.run,
    "disk_hit": disk_hit.run,
    "disk_write": disk_write.run,
    "cold_path": cold_path.run,
    "rss": rss.run,
    "origins": origins.run,
}


def main() -> None:
    """Run benches one after the other, each in a directory of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="bench", help=f"one of {', '.join(BENCHES)}; all by default")
    names = parser.parse_args().names or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    begin = time.perf_counter()
    environment = describe()
    print(headline(environment))
    for name in names:
        with tempfile.TemporaryDirectory(prefix="s3warm-bench-") as directory:
            report = BENCHES[name](directory)
        save(name, environment, report)
        print(f"\n{report}", flush=True)
    print(f"\n{time.perf_counter() - begin:.0f} s; all samples are in tests/bench/out/*.json")


main()
