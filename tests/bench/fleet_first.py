"""What a shared tier costs an environment once: what it imports, and the connection. Run as a module it is such an environment."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.report import Table, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["measure", "table"]

PROCESSES = 7
JOINING = "the cache, beyond one without a shared tier (modules of s3warm)"
IMPORTING = "import of redis-py, and what dials with it"
CONNECTING = "connection, and the first command"
NEXT = "the next command"


def measure(url: str) -> dict[str, float]:
    """Milliseconds by step; medians over processes, whose modules have been compiled before."""
    command = [sys.executable, "-m", "tests.bench.fleet_first", url]
    # The first one warms up.
    told = [
        json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120).stdout)
        for _ in range(PROCESSES + 1)
    ]
    return {step: statistics.median(each[step] for each in told[1:]) for step in (JOINING, IMPORTING, CONNECTING, NEXT)}


def table(steps: Mapping[str, float]) -> Table:
    """For the terminal."""
    title = f"The shared tier's first use (medians of {PROCESSES} processes)"
    return Table(title, ("", "ms"), [(name, number(milliseconds)) for name, milliseconds in steps.items()])


def _environment(url: str) -> dict[str, float]:
    from s3warm import Cache
    from s3warm.fleet import Fleet

    def alone() -> Cache:
        return Cache(origin="lean", disk_budget=0, namespace="bench")

    def joined() -> Cache:
        return Cache(origin="lean", disk_budget=0, namespace="bench", shared_url=url, shared_secret="secret of the bench")

    def import_redis() -> object:
        from s3warm.tiers import clients, dialing

        return clients, dialing

    _, without = _took(alone)
    cache, with_it = _took(joined)
    _, importing = _took(import_redis)
    beyond = cache._beyond
    assert isinstance(beyond, Fleet)
    server = beyond.shared._server
    first, connecting = _took(lambda: server.read(lambda client: client.ping()))
    again, following = _took(lambda: server.read(lambda client: client.ping()))
    assert first is True
    assert again is True
    return {JOINING: with_it - without, IMPORTING: importing, CONNECTING: connecting, NEXT: following}


def _took(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and milliseconds."""
    begin = time.perf_counter()
    given = work()
    return given, (time.perf_counter() - begin) * 1e3


if __name__ == "__main__":
    print(json.dumps(_environment(sys.argv[1])))
