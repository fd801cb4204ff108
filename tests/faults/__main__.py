"""Prints the table "What was tried" of the last `make soak` (or `make faults`)."""

from __future__ import annotations

from tests.faults.tried import ROWS, noted, table

lines = noted()
print(table(lines))
missing = [text for row, text in ROWS.items() if row not in {line.row for line in lines}]
if missing:
    print(f"\nnot run: {'; '.join(missing)}")
if not all(line.soak for line in lines):
    print("\nnot all of it is of `make soak`: run that first")
