"""The shim `badfs.c`: built where gcc is, preloaded into child processes, and there switched on and off."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ALL", "CALLS", "KINDS", "BadDisk", "build", "run_child"]

KINDS = ("ENOSPC", "EIO", "EMFILE", "EROFS", "EDQUOT", "short")
CALLS = ("open", "read", "write", "rename", "unlink", "mkdir", "truncate", "sync", "chmod")
ALL = (1 << len(KINDS)) - 1
SOURCE = Path(__file__).parent / "badfs.c"
ROOT = Path(__file__).parents[2]
LIBRARY = "BADFS_LIBRARY"  # the variable that tells a child what was preloaded into it


def build(folder: Path) -> Path:
    """The shim as a library in `folder`; skips where it cannot be built."""
    if sys.platform != "linux":
        pytest.skip("LD_PRELOAD and /proc are missing: this is not Linux")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing, which builds the shim of a failing disk")
    library = folder / "badfs.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    return library


def run_child(module: str, *words: object, library: Path | None = None, timeout: float = 100) -> str:
    """What a module that runs by itself printed; its trace where it failed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if library is not None:
        environment |= {"LD_PRELOAD": str(library), LIBRARY: str(library)}
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


class BadDisk:
    """The shim in this process, for the files below one directory."""

    def __init__(self, directory: Path) -> None:
        self._shim = ctypes.CDLL(os.environ[LIBRARY])
        self._shim.badfs_on.argtypes = [ctypes.c_char_p, ctypes.c_double, ctypes.c_uint64, ctypes.c_uint]
        self._shim.badfs_met.restype = self._shim.badfs_calls.restype = ctypes.c_ulong
        self._directory = os.fsencode(directory)
        self.working = True

    def fail(self, share: float = 1.0, seed: int = 0, kinds: int = ALL) -> None:
        """From now on this share of calls fails."""
        self._shim.badfs_on(self._directory, share, seed, kinds)
        self.working = False

    def work(self) -> None:
        """From now on the disk works."""
        self._shim.badfs_off()
        self.working = True

    @contextlib.contextmanager
    def failing(self, *kinds: str) -> Iterator[None]:
        """In the block every call fails that can, with one of these."""
        self.fail(kinds=sum(1 << KINDS.index(kind) for kind in kinds))
        try:
            yield
        finally:
            self.work()

    def met(self) -> dict[str, int]:
        """Faults so far, by their error."""
        return {kind: self._shim.badfs_met(number) for number, kind in enumerate(KINDS)}

    def calls(self) -> dict[str, int]:
        """Faults so far, by the call that met them."""
        return {call: self._shim.badfs_calls(number) for number, call in enumerate(CALLS)}
