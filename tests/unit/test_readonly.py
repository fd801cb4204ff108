"""A database that is read without changing it, while others write it, close it and replace it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3warm.tiers.database import USER_VERSION
from s3warm.tiers.readonly import BadDatabase, ReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = "SELECT count(*) FROM Cache"


@contextlib.contextmanager
def writer(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection of a process that uses the cache."""
    with contextlib.closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE IF NOT EXISTS Cache (x)")
        connection.execute(f"PRAGMA user_version = {USER_VERSION}")
        yield connection


@pytest.fixture
def look(tmp_path: Path) -> Iterator[ReadOnly]:
    with writer(tmp_path) as connection:
        connection.execute("INSERT INTO Cache VALUES (1)")
    with contextlib.closing(ReadOnly(str(tmp_path))) as found:
        yield found


def test_what_others_write_meanwhile_is_seen(tmp_path: Path, look: ReadOnly) -> None:
    assert look.query(COUNT) == [(1,)]
    assert os.listdir(tmp_path) == ["cache.db"]
    with writer(tmp_path) as connection:
        for count in range(2, 200):
            connection.execute("INSERT INTO Cache VALUES (zeroblob(3000))")
            assert look.query(COUNT) == [(count,)]
        look.close()
        connection.execute("DELETE FROM Cache")
        assert look.query(COUNT) == [(0,)]
    assert look.query(COUNT) == [(0,)], "they have closed it"


def test_a_database_that_was_closed_and_is_changed_is_opened_anew(tmp_path: Path, look: ReadOnly) -> None:
    assert look.query(COUNT) == [(1,)]
    with writer(tmp_path) as connection:
        connection.execute("INSERT INTO Cache VALUES (2)")
    assert look.query(COUNT) == [(2,)]
    os.unlink(tmp_path / "cache.db")
    with writer(tmp_path) as connection:
        connection.executemany("INSERT INTO Cache VALUES (?)", [(number,) for number in range(5)])
    assert look.query(COUNT) == [(5,)]


def test_nothing_can_be_written(look: ReadOnly) -> None:
    with pytest.raises(BadDatabase, match="readonly"):
        look.query("DELETE FROM Cache")
    assert look.query(COUNT) == [(1,)]


def test_what_runs_by_itself_is_refused(tmp_path: Path, look: ReadOnly) -> None:
    with writer(tmp_path) as connection:
        connection.execute("ALTER TABLE Cache RENAME TO Real")
        connection.execute(
            "CREATE VIEW Cache AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
        )
    with pytest.raises(BadDatabase, match="is no database of this version"):
        look.query(COUNT)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_link_is_not_followed(tmp_path: Path, look: ReadOnly, suffix: str) -> None:
    place = tmp_path / f"cache.db{suffix}"
    if suffix == "":
        place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadDatabase, match="is a link"):
        look.query(COUNT)


def test_a_name_that_a_uri_would_read_otherwise(tmp_path: Path) -> None:
    odd = tmp_path / "a b?mode=rwc#%41"
    odd.mkdir()
    with writer(odd) as connection:
        connection.execute("INSERT INTO Cache VALUES (1)")
    with contextlib.closing(ReadOnly(str(odd))) as look:
        assert look.query(COUNT) == [(1,)]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache.db").write_bytes(content)
    with contextlib.closing(ReadOnly(str(tmp_path))) as look, pytest.raises(BadDatabase):
        look.query(COUNT)
    assert (tmp_path / "cache.db").read_bytes() == content
    assert os.listdir(tmp_path) == ["cache.db"]
