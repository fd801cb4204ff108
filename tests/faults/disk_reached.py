"""Whom the shim reaches: SQLite and Python below the directory, and nobody elsewhere or once it is off."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tests.faults.disk_shim import BadDisk


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir()
    disk, said = BadDisk(directory), {}
    descriptor = os.open(directory / "file", os.O_RDWR | os.O_CREAT)
    with closing(sqlite3.connect(directory / "database", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")  # whose files are open from now on
        connection.execute("CREATE TABLE numbers (number)")
        with disk.failing("ENOSPC"):
            try:
                connection.execute("INSERT INTO numbers VALUES (1)")
            except sqlite3.OperationalError as error:
                said["sqlite"] = str(error)
            try:
                os.write(descriptor, b"1")
            except OSError as error:
                said["python"] = os.strerror(error.errno or 0)
            said["elsewhere"] = "fine" if directory.with_name("elsewhere").write_bytes(b"1") else ""
        connection.execute("INSERT INTO numbers VALUES (1)")
        said["afterwards"] = "fine" if os.write(descriptor, b"1") else ""
    os.close(descriptor)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
