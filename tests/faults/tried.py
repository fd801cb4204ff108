"""What was tried against s3warm in the last run, and what came of it: each test of `make faults` and `make soak` notes its counts here.

`python -m tests.faults` prints them as the README's table "What was tried".
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["OUT", "ROWS", "SOAK", "Tried", "note", "noted", "table"]

SOAK = os.environ.get("SOAK") == "1"  # ten times as much, or fifty
OUT = Path(__file__).parent / "out"
# In the order of the table.
ROWS = {
    "scenarios-embedded": "Random scenarios, moto's server behind a proxy that makes faults",
    "scenarios-gateway": "Random scenarios, Ceph's gateway behind a proxy that makes faults",
    "transfers": "Transfers among random faults",
    "outage": "An outage of one hour",
    "stampede": "A stampede on an expired object",
    "threads": "Threads on a small budget",
    "kills": "Kills at random steps",
    "disk": "Random disk faults",
    "planted": "Planted and damaged entries",
    "fuzz": "Fuzzed inputs of all that is parsed",
    "secrets": "Log lines, errors and events searched for secrets",
}


class Tried(NamedTuple):
    """One line: how much was tried, and what came of it, in words for people."""

    row: str
    tried: str
    outcome: str
    soak: bool


def note(row: str, tried: str, outcome: str, *, part: str = "") -> None:
    """Keep a line for the table, and say it. Only for what has held: a test that fails notes nothing. A row may have parts.

    Example:
        note("fuzz", f"{inputs:,} inputs", "no exception but the documented ones")
    """
    assert row in ROWS, row
    OUT.mkdir(exist_ok=True)
    line = Tried(row, tried, outcome, SOAK)
    (OUT / f"{row}.{part}.json").write_text(json.dumps(line._asdict()))
    print(f"{ROWS[row]}: {tried}; {outcome}")


def noted() -> list[Tried]:
    """The lines of the last run, those of one row together."""
    found = [[Tried(**json.loads(path.read_text())) for path in sorted(OUT.glob(f"{row}.*.json"))] for row in ROWS]
    return [
        Tried(
            row=parts[0].row,
            tried="<br>".join(part.tried for part in parts),
            outcome="<br>".join(part.outcome for part in parts),
            soak=all(part.soak for part in parts),
        )
        for parts in found
        if parts
    ]


def table(lines: list[Tried]) -> str:
    """The lines as the README has them."""
    rows = [f"| {ROWS[line.row]} | {line.tried} | {line.outcome} |" for line in lines]
    return "\n".join(["| what | tried | came of it |", "| --- | --- | --- |", *rows])
