"""What a cache directory holds that nothing speaks of, and what is spoken of that it does not hold."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from s3warm.tiers import row as rows
from s3warm.tiers.database import DATABASE
from s3warm.tiers.room import file_of

if TYPE_CHECKING:
    from pathlib import Path

NOTHING: tuple[list[str], list[str]] = ([], [])


class Orphans(NamedTuple):
    """Files that no row names, and files that a row names and that are missing; both as `folder/name`."""

    files: list[str]
    missing: list[str]


def orphans(directory: Path) -> Orphans:
    """Compare rows and files. Nobody may be writing meanwhile: what is being staged has no row yet. Changes nothing.

    A download whose file was renamed, and whose commit failed, is named by its partial row.
    """
    named: set[str] = set()
    missing: list[str] = []
    for key, text in _texts(directory):
        row = rows.readable(text)
        if row is None:
            missing.append(f"an unreadable row, {key.hex()}")
            continue
        name = file_of(key, row)
        if name is None:
            continue  # its body lies in the row
        places = [f"staging/{name}", f"bodies/{rows.file_name(row)}"] if row.state == rows.PARTIAL else [f"bodies/{name}"]
        found = [place for place in places if os.path.lexists(directory / place)]
        named.update(found)
        if not found:
            missing.append(places[0])
    there = {f"{folder}/{name}" for folder in ("bodies", "staging") for name in os.listdir(directory / folder)}
    return Orphans(sorted(there - named), sorted(missing))


def _texts(directory: Path) -> list[tuple[bytes, object]]:
    with contextlib.closing(sqlite3.connect(f"file:{directory / DATABASE}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT key, tag FROM Cache").fetchall()
