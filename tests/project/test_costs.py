"""What the ways through the house cost beyond a hit: requests, statements and system calls, counted rather than timed.

Each figure is what it is today. To be lowered when a way gets shorter, and raised only for something that is worth it to each call.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.testing import FakeCache, FakeS3
from tests.support.entries import noise, text
from tests.support.environs import unconfigure
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
TINY, FILE = b"{}", noise(200_000)
BODIES = {"tiny": TINY, "text": text(50_000), "file": FILE}


class Counted:
    """A cache whose statements and requests are counted."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.s3 = FakeS3({f"s3://bucket/{name}": body for name, body in BODIES.items()})
        self.s3["s3://bucket/first"] = b"opens the database"
        self.cache = FakeCache(self.s3, directory=directory, namespace="n", ttl=300, **options)
        self.cache.get("bucket", "first")

    def cost(self, work: Callable[[], object]) -> tuple[int, int]:
        """Requests, and statements of SQLite, triggers left out."""
        tier: Any = self.cache._disk
        store = tier._store
        statements: list[str] = []
        with store._as_writer():
            connections = [store._con, store._reader]
        for connection in connections:
            connection.set_trace_callback(lambda said: statements.append(said) if said not in statements[-1:] else None)
        before = len(self.s3.requests)
        work()
        for connection in connections:
            connection.set_trace_callback(None)
        return len(self.s3.requests) - before, len(statements)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    # The budget is looked at, and rows are read anew, once a second: here once.
    monkeypatch.setattr("s3warm.tiers.recent.TRUSTED", 3600.0)
    monkeypatch.setattr("s3warm.tiers.room._LOOK_EVERY", 3600.0)
    return Counted(tmp_path / "d")


# A look-up; BEGIN, the old row, diskcache's own look-up, INSERT, the order, COMMIT. A file: and two DELETEs of what had its name, and
# five looks at the budget and the order, as it is large.
@pytest.mark.parametrize(("name", "statements"), [("tiny", 7), ("text", 7), ("file", 14)])
def test_a_miss_is_one_request_and_a_handful_of_statements(counted: Counted, name: str, statements: int) -> None:
    assert counted.cost(lambda: counted.cache.get("bucket", name)) == (1, statements)


@pytest.mark.parametrize("name", BODIES)
def test_a_memory_hit_is_none_of_either(counted: Counted, name: str) -> None:
    counted.cache.get("bucket", name)
    assert counted.cost(lambda: [counted.cache.get("bucket", name) for _ in range(10)]) == (0, 0)


# A look whether another process has asked meanwhile, and the new times.
@pytest.mark.parametrize("name", BODIES)
def test_a_304_is_one_request_and_two_statements(counted: Counted, name: str) -> None:
    counted.cache.get("bucket", name)
    counted.s3.advance(300)
    assert counted.cost(lambda: counted.cache.get("bucket", name)) == (1, 2)
    assert counted.cache.stats().revalidated == 1


# A file: and a transaction in which the old one is removed.
@pytest.mark.parametrize(("name", "statements"), [("tiny", 7), ("file", 17)])
def test_a_body_that_has_changed_is_one_request_and_little_more_than_a_new_one(
    counted: Counted, name: str, statements: int
) -> None:
    counted.cache.get("bucket", name)
    counted.s3[f"s3://bucket/{name}"] = BODIES[name][::-1]
    counted.s3.advance(300)
    assert counted.cost(lambda: counted.cache.get("bucket", name)) == (1, statements)
    assert counted.cache.stats().replaced == 1


def test_a_path_that_is_held_is_three_statements(counted: Counted) -> None:
    """The row, once more when its file is pinned, and whether a file is to go with the pin that this one takes the place of."""
    counted.cache.path("bucket", "file")
    assert counted.cost(lambda: counted.cache.path("bucket", "file")) == (0, 3)


SCRIPT = """
import os, sys
from s3warm import Cache
os.environ.update({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
                   "AWS_ENDPOINT_URL": sys.argv[1]})
with Cache(directory=sys.argv[2], memory_budget=sys.argv[3], namespace="n", ttl=300, origin="lean") as cache:
    for name in ("first", "tiny", "file"):
        for _ in range(3):
            cache.get("bucket", name)
    def marked(work):
        work()
        os.access("/mark", 0)
        work()
        os.access("/mark", 0)
    marked(lambda: cache.get("bucket", "tiny"))
    marked(lambda: cache.get("bucket", "file"))
    marked(lambda: cache.get("bucket", "tiny", ttl=0))
    assert cache.stats().misses == 3, cache.stats()
"""
ALLOCATION = {"brk", "mmap", "munmap", "mremap", "madvise"}
NAMES = {"fstat": "newfstatat", "open": "openat", "access": "faccessat", "faccessat2": "faccessat"}


def system_calls(directory: Path, endpoint: str, memory_budget: str) -> list[Counter[str]]:
    """What the kernel is asked for by the second of each marked call, memory aside."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is missing (Debian's package strace)")
    log = directory / "strace"
    command = [strace, "-o", str(log), sys.executable, "-c", SCRIPT, endpoint, str(directory / "d"), memory_budget]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here (ptrace)")
    assert done.returncode == 0, done.stderr
    found: list[Counter[str]] = []
    counting: Counter[str] | None = None
    for line in log.read_text(errors="replace").splitlines():
        if '"/mark"' in line:
            if counting is None:
                counting = Counter()
            else:
                found.append(counting)
                counting = None
        elif counting is not None and (name := re.match(r"(\w+)\(", line)):
            called = NAMES.get(name[1], name[1])
            if called not in ALLOCATION:
                counting[called] += 1
    return found


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Any:
    unconfigure(monkeypatch)
    with StaticOrigin() as origin:
        for name, body in {"first": b"first", "tiny": TINY, "file": FILE}.items():
            origin.put("bucket", name, body)
        yield origin.endpoint


def test_a_memory_hit_asks_the_kernel_for_nothing(tmp_path: Path, endpoint: str) -> None:
    """But for the look at the process's memory once a second, which may fall into one of them."""
    tiny, file, confirmed = system_calls(tmp_path, endpoint, "8MiB")
    assert set(tiny) | set(file) <= {"pread64"}
    assert tiny.total() + file.total() <= 1
    assert confirmed["sendto"] == 1


def test_a_disk_hit_asks_the_kernel_for_no_more_than_it_must(tmp_path: Path, endpoint: str) -> None:
    tiny, file, confirmed = system_calls(tmp_path, endpoint, "0")
    assert not set(tiny) & {"openat", "pwrite64", "unlink", "rename"}
    # Within the second open, what it is, read, close; beyond it SQLite looks at its file as well.
    assert file["openat"] == file["close"] == 1
    assert file["pread64"] <= 8
    assert not set(file) & {"pwrite64", "unlink", "rename", "write"}
    assert confirmed["sendto"] == 1
    assert confirmed["recvfrom"] <= 2
    assert confirmed["connect"] == confirmed["socket"] == 0, "over the connection that there is"
