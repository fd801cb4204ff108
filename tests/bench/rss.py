"""How far a call lets the process grow at its peak, each in a process of its own, and what it may.

Run as a module (`python -m tests.bench.rss`), this is that process: it takes a `Task` as JSON and prints the bytes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.bodies import MIB, json_like, noise
from tests.bench.large import write_object
from tests.bench.report import Line, Report, Table, number
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Figure", "Sizes", "measure", "run"]

ROOT = Path(__file__).parents[2]
BUCKET, SMALL = "models", "small.bin"
PATIENCE = 120.0  # seconds for one process
PIECE = 256 * 1024  # bytes of one read of an opened object

PATH_BAR, GET_BAR, OPEN_BAR = 64 * MIB, 48 * MIB, 32 * MIB  # of `get`: beside the body


class Sizes(NamedTuple):
    """Of the objects, in bytes: the contract's."""

    path: int = 1024 * MIB
    get: int = 256 * MIB
    open: int = 256 * MIB
    disk: int = 64 * MIB  # the budget that `open` has to do with


class Task(NamedTuple):
    """What a process does."""

    call: str  # path, get or open
    key: str
    size: int
    endpoint: str
    directory: str
    disk_budget: int
    asks: bool  # whether S3 is asked for it


class Figure(NamedTuple):
    """The growth of one call at its peak, in bytes, and what it has to stay below."""

    name: str
    growth: int
    bar: int

    @property
    def holds(self) -> bool:
        """Whether it is below."""
        return self.growth < self.bar

    def __str__(self) -> str:
        return f"{self.name}: {self.growth / MIB:.1f} MiB, less than {self.bar / MIB:.0f} MiB are allowed"


def run(directory: str) -> Report:
    """Measure, and show each figure with its bar."""
    figures = measure(directory, Sizes())
    rows = [(name, number(growth / MIB), number(bar / MIB), "yes" if growth < bar else "NO") for name, growth, bar in figures]
    table = Table("Peak growth of the process's memory (MiB)", ("", "growth", "bar", "holds"), rows)
    lines = [Line(f"peak growth: {name}", growth / MIB, "at most", bar / MIB, "MiB") for name, growth, bar in figures]
    return Report([table], {figure.name: figure._asdict() for figure in figures}, lines)


def measure(directory: str, sizes: Sizes) -> list[Figure]:
    """All of it, in the order of the contract."""
    place = Path(directory)
    figures = []
    with StaticOrigin() as origin:

        def add(
            name: str, bar: int, call: str, key: str, size: int, *, budget: int = 8 * 1024 * MIB, asks: bool = True
        ) -> None:
            task = Task(call, key, size, origin.endpoint, str(place / f"cache-{key}"), budget, asks)
            figures.append(Figure(f"{name}, {size // MIB} MiB", _in_a_process(task), bar))

        origin.put(BUCKET, SMALL, b"x")
        large = place / "large"
        origin.put(BUCKET, "large", large, etag=write_object(large, noise(MIB), sizes.path))
        add("path(), cold", PATH_BAR, "path", "large", sizes.path)
        # An ETag that is no MD5, as large objects have it: s3warm sums for itself.
        origin.put(BUCKET, "parts", large, etag='"0123456789abcdef0123456789abcdef-64"')
        add("path(), cold, multipart ETag", PATH_BAR, "path", "parts", sizes.path)
        for kind, block in (("packed", noise(MIB)), ("JSON", json_like(MIB))):
            body = place / kind
            origin.put(BUCKET, kind, body, etag=write_object(body, block, sizes.get))
            add(f"get(), {kind}, cold", sizes.get + GET_BAR, "get", kind, sizes.get)
            add(f"get(), {kind}, disk hit", sizes.get + GET_BAR, "get", kind, sizes.get, asks=False)
        wide = place / "wide"
        origin.put(BUCKET, "wide", wide, etag=write_object(wide, noise(MIB), sizes.open))
        add(f"open() past {sizes.disk // MIB} MiB of disk", OPEN_BAR, "open", "wide", sizes.open, budget=sizes.disk)
    return figures


def _in_a_process(task: Task) -> int:
    command = [sys.executable, "-m", "tests.bench.rss", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(f"{task} failed:\n{done.stderr}")
    return int(done.stdout)


# From here on: that process.


def _main() -> None:
    print(_growth(Task(*json.loads(sys.argv[1]))))


def _growth(task: Task) -> int:
    """Bytes by which the peak of one call is above what the process held when everything was imported, made and used once."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    from s3warm import Cache

    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, max_pool_connections=16)
    client = boto3.session.Session().client("s3", endpoint_url=task.endpoint, region_name="us-east-1", config=config)
    with Cache(client=client, directory=task.directory, disk_budget=task.disk_budget, ttl=3600) as cache:
        cache.get(BUCKET, SMALL, ttl=0)  # from S3, whoever was here before
        cache.path(BUCKET, SMALL)
        cache.release_all()
        gc.collect()
        before = cache.stats()
        base = _status("VmRSS")
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the peak begins anew
        kept = _call(cache, task)
        peak = _status("VmHWM")
        asked = (cache.stats() - before).origin_requests
        assert bool(asked) is task.asks, f"{asked} requests"
        del kept
    return peak - base


def _call(cache: Any, task: Task) -> object:
    """Do it; what the caller would have in its hands afterwards."""
    if task.call == "path":
        path = cache.path(BUCKET, task.key)
        assert path.stat().st_size == task.size
        return path
    if task.call == "get":
        body = cache.get(BUCKET, task.key)
        assert len(body) == task.size
        return body
    buffer = bytearray(PIECE)
    with cache.open(BUCKET, task.key) as file:
        assert not os.path.exists(getattr(file.raw, "name", "")), "it is a file after all"
        length = 0
        while count := file.readinto(buffer):
            length += count
    assert length == task.size
    return None


def _status(name: str) -> int:
    """Bytes, from the kernel's own account of this process."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    raise LookupError(name)


if __name__ == "__main__":
    _main()
