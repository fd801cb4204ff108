"""A small file system that is really full, of bytes or of inodes, and one that has room again. Needs root, to mount it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [getattr(pytest.mark, "lambda")]  # by name, for the word is a keyword


def missing() -> str | None:
    """What is not there to mount a file system with; None if all is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "root on Linux"
    if shutil.which("unshare") is None:
        return "unshare"
    done = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, timeout=30, check=False
    )
    return None if done.returncode == 0 else "the right to mount in a namespace of one's own"


@pytest.mark.parametrize("limit", ["size=4m", "size=16m,nr_inodes=40"])
def test_a_file_system_without_room_is_lived_with(limit: str, tmp_path: Path) -> None:
    absent = missing()
    if absent is not None:
        pytest.skip(f"{absent} is missing")
    script = 'mount -t tmpfs -o "$1" none "$2" && exec "$3" -m tests.faults.disk_full "$2"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", limit, str(tmp_path), sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
