"""Random work on a disk that fails at random: right bytes or an error of ours, nothing left behind, and whole again once the disk is.

The disk is `badfs.c`, preloaded into a child: it fails the calls of Python and of SQLite alike, by a seeded draw. A seed that fails is
repeated by what the failure prints.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.disk_shim import build, run_child
from tests.faults.tried import SOAK, note

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = 1000 if SOAK else 100
AT_ONCE = 50  # in one child


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_whatever_the_disk_does_bytes_are_right_and_the_tier_heals(tmp_path: Path) -> None:
    library = build(tmp_path)
    met: dict[str, int] = {}
    calls: dict[str, int] = {}
    for first in range(0, SCENARIOS, AT_ONCE):
        work = tmp_path / str(first)
        work.mkdir()
        said = json.loads(run_child("tests.faults.disk_scenarios", work, first, AT_ONCE, library=library, timeout=300))
        assert said["scenarios"] == AT_ONCE
        for counts, more in ((met, said["met"]), (calls, said["calls"])):
            counts.update({name: counts.get(name, 0) + number for name, number in more.items()})
    assert min(met.values()) > 0, met
    assert all(calls[call] > 0 for call in ("open", "read", "write", "rename", "unlink", "mkdir", "truncate", "chmod")), calls
    faults = ", ".join(f"{number:,} {name}" for name, number in met.items())
    note(
        "disk",
        f"{SCENARIOS:,} scenarios of 30 steps; {sum(met.values()):,} faults ({faults})",
        "the right bytes or one of the documented errors; /tmp is used again afterwards",
    )


def test_the_shim_reaches_sqlite(tmp_path: Path) -> None:
    library = build(tmp_path)
    said = json.loads(run_child("tests.faults.disk_reached", tmp_path / "disk", library=library))
    assert said == {
        "sqlite": "database or disk is full",
        "python": "No space left on device",
        "elsewhere": "fine",
        "afterwards": "fine",
    }
