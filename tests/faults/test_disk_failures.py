"""Whatever is wrong with the directory: right bytes, one warning, a count, and a tier that works again once the cause is gone.

`disk_table.py` has the table. What takes the shim of a failing disk, or the last descriptor, is tried in a child.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from s3warm.filing import PinnedFile
from s3warm.keys import ObjectKey
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.database import DATABASE
from s3warm.tiers.intents import declare, left_behind
from s3warm.tiers.opening import remove_database
from s3warm.tiers.room import Room
from tests.faults.disk_shim import build, run_child
from tests.faults.disk_table import TABLE, attempt
from tests.support.entries import noise
from tests.support.orphans import orphans

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

URI = "s3://disk/object"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "it is full")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(("name", "moment"), [(name, moment) for name, failure in TABLE.items() for moment in failure.moments])
def test_the_caller_gets_right_bytes_and_the_tier_heals(
    name: str, moment: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    failure, directory = TABLE[name], tmp_path / "cache"
    if failure.shim:
        run_child("tests.faults.disk_table", name, moment, directory, library=request.getfixturevalue("shim"))
    elif failure.alone:
        run_child("tests.faults.disk_table", name, moment, directory)
    else:
        attempt(name, moment, directory)


def test_nothing_is_left_of_a_file_whose_row_was_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of a body that lies in it was taken to name the file which that was to become."""
    with FakeCache(FakeS3({URI: b"{}"}), directory=tmp_path / "cache", namespace="x") as cache:
        cache.get(URI)
        with monkeypatch.context() as patch:
            patch.setattr(Room, "file", full)
            assert cache._files is not None
            assert cache._files.file(ObjectKey("disk", "object")) is None
            assert cache.stats().disk_errors == 1
        assert orphans(tmp_path / "cache").files == []


def test_nothing_is_left_of_what_was_replaced_once_the_directory_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = FakeS3({URI: noise(100_000), f"{URI} 2": b"{}"})
    with FakeCache(s3, directory=tmp_path / "cache", namespace="x") as cache:
        cache.get(URI)
        cache.get(f"{URI} 2")  # of a database without rows all files would go
        s3[URI] = noise(100_000, 1)
        monkeypatch.setattr(Room, "remove_superseded", full)
        assert cache.get(URI, ttl=0) == s3[URI]
    with FakeCache(s3, directory=tmp_path / "cache", namespace="x") as cache:
        cache.get(URI)
    assert orphans(tmp_path / "cache").files == []


def test_a_damaged_database_that_cannot_be_removed_keeps_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, rows that were replaced since would be back."""
    directory = tmp_path / "cache"
    with FakeCache(FakeS3({URI: b"{}"}), directory=directory, namespace="x") as cache:
        cache.get(URI)
        before = {path.name for path in directory.iterdir()}
        assert f"{DATABASE}-wal" in before
        unlink = os.unlink

        def refused(path: str) -> None:
            if path.endswith(DATABASE):
                full()
            unlink(path)

        monkeypatch.setattr(os, "unlink", refused)
        remove_database(str(directory), None)
        assert {path.name for path in directory.iterdir()} == before


def test_an_intent_that_cannot_be_read_costs_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "intents")
    declare(path, "name").leave()
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "pread", full)
    with pytest.raises(OSError, match="full"):
        next(left_behind(path))
    assert os.listdir("/proc/self/fd") == before


def test_a_file_that_cannot_be_opened_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeCache(FakeS3({URI: b"{}"}), directory=tmp_path / "cache", namespace="x") as cache:
        cache.open(URI).close()
        monkeypatch.setattr(PinnedFile, "__init__", full)
        with cache.open(URI) as file:
            assert file.read() == b"{}"
        assert cache.stats().disk_errors == 1


def test_the_last_descriptor_is_gone_at_the_first_use(tmp_path: Path) -> None:
    """The modules of the disk cannot be read then."""
    run_child("tests.faults.disk_first_use", tmp_path / "cache")
