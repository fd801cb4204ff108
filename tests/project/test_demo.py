"""`make demo` keeps what its table promises; the demo itself compares bodies and counts requests, and fails if one is off."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Label, from, whether boto3 fails, S3 requests.
ROWS = [
    ("new environment", "S3", False, "1 GET"),
    ("again", "memory", False, "0"),
    ("runtime crashed", "/tmp", False, "0"),
    ("TTL over, unchanged", "memory, 304", False, "1 GET, 0 bytes"),
    ("TTL over, changed", "S3", False, "1 GET"),
    ("S3 down", "stale", True, "0"),
    ("model, new environment", "S3", False, "17 GET"),
    ("model, again", "memory", False, "0"),
    ("model, runtime crashed", "/tmp", False, "0"),
]
TIME = re.compile(r"\d+(\.\d)? (ns|µs|ms)")


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_the_demo_prints_what_it_promises() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False, timeout=110
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("what happened"))
    names = ("what happened", "from", "s3warm", "boto3", "S3 requests")
    starts = [lines[header].index(name) for name in names]
    rows = []
    for line in lines[header + 1 : header + 1 + len(ROWS)]:
        label, source, warm, plain, requests = (
            line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)
        )
        assert TIME.fullmatch(warm), line
        assert plain == "fails" or TIME.fullmatch(plain), line
        rows.append((label, source, plain == "fails", requests))
    assert rows == ROWS
    total = lines[header + 1 + len(ROWS)]
    found = re.fullmatch(
        r"1,000 calls: s3warm (\d+) requests, boto3 1,000; memory (\d+) of (\d+) MiB, /tmp (\d+) of (\d+) MiB", total
    )
    assert found, total
    sent, memory, memory_budget, disk, disk_budget = map(int, found.groups())
    assert 0 < sent < 500
    assert 64 <= memory <= memory_budget
    assert 64 <= disk <= disk_budget
