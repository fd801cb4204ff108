"""A file system that is really full, of bytes or of inodes; see `test_disk_full.py`.

`python -m tests.faults.disk_full MOUNTED BUDGET` fills what is mounted there beside a cache, and empties it again.
"""

from __future__ import annotations

import errno
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.disk_table import OBJECTS, REST, ROUNDS, Attempt, logged

INODES = 100


def fill(folder: Path) -> None:
    """Take every inode that is left or, where they are too many, every byte."""
    folder.mkdir()
    files = []
    try:
        for number in range(INODES):
            files.append(open(folder / str(number), "wb", buffering=0))  # noqa: PERF401, SIM115  # all of them are closed below, however many there were room for
        while True:
            files[0].write(bytes(4096))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        for file in files:
            file.close()


def main() -> None:
    mounted = Path(sys.argv[1])
    directory, filler = mounted / "cache", mounted / "filler"
    with pytest.MonkeyPatch.context() as patch, logged() as said:
        tried = Attempt(directory, patch)
        with closing(tried.new()) as cache:
            tried.use(cache)
            assert said == []
            fill(filler)
            for _ in range(ROUNDS):
                tried.use(cache)
            assert cache.stats().disk_errors > 0
            # What the tier evicts is room on the disk: it may work again for a while, and each time it ends is told once.
            assert ["again" in each for each in said] == [bool(number % 2) for number in range(len(said))], said
            for path in filler.iterdir():
                path.unlink()
            tried.wait(REST)
            for _ in range(2):
                tried.use(cache)
        with closing(tried.new()) as cache:
            asked = len(tried.s3.requests)
            assert {key: cache.get(key) for key in OBJECTS} == OBJECTS
            assert tried.s3.requests[asked:] == []


if __name__ == "__main__":
    main()
