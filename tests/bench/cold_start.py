"""Cold starts: how much later than a bare interpreter a fresh process has s3warm, and its first object.

The processes take turns. A time is that of the whole process, its end too, less that of a bare interpreter; in a second column is the
time until it has what it is for. `cold_box` has the same in a box with Lambda's share of the CPU.
"""

from __future__ import annotations

import importlib.util
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import s3warm
from tests.bench.bodies import KIB, MIB, noise
from tests.bench.lean_place import BUCKET, variables
from tests.bench.report import Line, Report, Table, number
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["run"]

ROOT = Path(__file__).parents[2]
STARTS = 21
PATIENCE = 60.0  # seconds for one process
COLD, WARM = "cold.bin", "warm.bin"

BARE = "a bare interpreter"
RUNTIME = "what Lambda's runtime client imports"
ON_RUNTIME = "the same, and import s3warm"
IMPORT = "import s3warm"
FROM_DISK = "s3warm.get, from a warm /tmp"
FROM_S3 = "s3warm.get, from S3"
BOTO3 = "boto3, from S3"

OURS = "import s3warm\nassert len(s3warm.get({bucket!r}, {key!r})) == {size}\n"
THEIRS = """
import boto3
assert len(boto3.client("s3").get_object(Bucket={bucket!r}, Key={key!r})["Body"].read()) == {size}
"""
RUNTIME_SOURCE = "import logging, json, enum, functools, collections, contextlib, threading, re\n"
SOURCES = {
    BARE: "",
    RUNTIME: RUNTIME_SOURCE,
    ON_RUNTIME: RUNTIME_SOURCE + "import s3warm\n",
    IMPORT: "import s3warm\n",
    FROM_DISK: OURS.format(bucket=BUCKET, key=WARM, size=KIB),
    FROM_S3: OURS.format(bucket=BUCKET, key=COLD, size=KIB),
    BOTO3: THEIRS.format(bucket=BUCKET, key=COLD, size=KIB),
}
# The clock is the same in all processes.
DONE = """
import os, time
ready = time.perf_counter()
with open("/proc/self/statm") as file:
    print(ready, int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""
TOLD = "stats = s3warm.stats()\nassert (stats.disk_hits, stats.origin_requests) == (1, 0), stats\n"


class Start(NamedTuple):
    """One fresh process: seconds of all of it and until it was ready, and the bytes that it then had in memory."""

    whole: float
    ready: float
    resident: float


def run(directory: str) -> Report:
    """Measure, and show each over a bare interpreter."""
    with StaticOrigin() as origin:
        for key in (COLD, WARM):
            origin.put(BUCKET, key, noise(KIB))
        samples = _starts(origin, directory)
    medians = {
        name: Start(*(statistics.median(values) for values in zip(*starts, strict=True))) for name, starts in samples.items()
    }
    return Report(
        [_table(medians)], {name: [start._asdict() for start in starts] for name, starts in samples.items()}, _lines(medians)
    )


def _starts(origin: StaticOrigin, directory: str) -> dict[str, list[Start]]:
    """All processes, in an order that is drawn anew for each round; the first round writes bytecode and fills the caches."""
    warm = os.path.join(directory, "warm")
    environment = variables(origin.endpoint, HOME=directory, S3WARM_ORIGIN="lean", S3WARM_TTL="86400")
    _start(SOURCES[FROM_DISK], {**environment, "S3WARM_DIRECTORY": warm})
    origin.forget()
    _start(SOURCES[FROM_DISK] + TOLD, {**environment, "S3WARM_DIRECTORY": warm})  # it is what it is called
    samples: dict[str, list[Start]] = {name: [] for name in SOURCES}
    order, draw = list(SOURCES), random.Random(0)
    for turn in range(STARTS + 1):
        draw.shuffle(order)
        for name in order:
            place = warm if name == FROM_DISK else os.path.join(directory, f"cold-{turn}")
            started = _start(SOURCES[name], {**environment, "S3WARM_DIRECTORY": place})
            if turn:
                samples[name].append(started)
    bytecode = importlib.util.cache_from_source(s3warm.__file__)
    assert os.path.exists(bytecode), "no bytecode could be written, so that each start compiles"
    asked = [served.key for served in origin.requests()]
    assert asked == [COLD] * 2 * (STARTS + 1), "one request from each cold start, none from a warm one"
    return samples


def _start(source: str, environment: Mapping[str, str]) -> Start:
    command = [sys.executable, "-c", source + DONE]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=environment, text=True, timeout=PATIENCE)
    whole = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"a start failed:\n{source}\n{done.stderr}")
    ready, resident = map(float, done.stdout.split())
    return Start(whole, ready - begin, resident)


def _lines(medians: Mapping[str, Start]) -> list[Line]:
    def ms(name: str, base: str) -> float:
        return (medians[name].whole - medians[base].whole) * 1e3

    def mib(name: str) -> float:
        return (medians[name].resident - medians[BARE].resident) / MIB

    return [
        Line("import s3warm, over what Lambda's runtime has imported", ms(ON_RUNTIME, RUNTIME), "at most", 6, "ms"),
        Line("import s3warm, over a bare interpreter", ms(IMPORT, BARE), "at most", 12, "ms"),
        # Until the body is there; nobody waits for the end of the process.
        Line(
            "first get in a fresh process, warm /tmp, import included",
            (medians[FROM_DISK].ready - medians[BARE].ready) * 1e3,
            "at most",
            30,
            "ms",
        ),
        Line(
            "cold to the first 1 KiB object from S3, of boto3's time",
            ms(FROM_S3, BARE) / ms(BOTO3, BARE) * 100,
            "at most",
            25,
            "%",
        ),
        Line("memory at the first object from S3, of boto3's", mib(FROM_S3) / mib(BOTO3) * 100, "at most", 50, "%"),
        Line("memory at the first object from S3, over a bare interpreter", mib(FROM_S3), "at most", 18, "MiB"),
    ]


def _table(medians: Mapping[str, Start]) -> Table:
    bare = medians[BARE]
    rows: list[tuple[str, ...]] = []
    for name, start in medians.items():
        over: list[Any] = [start, Start(*(own - least for own, least in zip(start, bare, strict=True)))]
        rows.append(
            (
                name,
                *(
                    text
                    for each in over
                    for text in (number(each.whole * 1e3), number(each.ready * 1e3), number(each.resident / MIB))
                ),
            )
        )
    heads = ("", "ms", "until ready", "MiB", "over bare: ms", "until ready", "MiB")
    return Table(f"A fresh process (medians of {STARTS}; warm /tmp: 1 hit on disk, no request)", heads, rows)
