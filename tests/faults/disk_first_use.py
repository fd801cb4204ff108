"""A process that has no descriptor left when it first uses its directory; see `test_disk_failures.py`."""

from __future__ import annotations

import logging
import os
import resource
import sys

from s3warm.testing import FakeCache, FakeS3

URI = "s3://disk/flags.json"


def main() -> None:
    # What the table imports would be there already.
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("s3warm").addHandler(handler)
    with FakeCache(FakeS3({"s3://disk/another.json": b"{}"}), disk_budget=0) as cache:
        cache.get("s3://disk/another.json")
    s3 = FakeS3({URI: b"{}"})
    cache = FakeCache(s3, directory=sys.argv[1], memory_budget=0)
    assert "diskcache" not in sys.modules
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), before[1]))
    for _ in range(3):
        assert cache.get(URI) == b"{}"
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert cache.stats().disk_errors == 1
    assert len(said) == 1, said


if __name__ == "__main__":
    main()
