"""Which files in the directory may be written: plain ones that lie nowhere else. What is written through a link is somebody else's."""

from __future__ import annotations

import os
import stat

__all__ = ["is_own", "remove", "remove_foreign"]


def is_own(status: os.stat_result) -> bool:
    """Whether a file is a plain one with a single name, or with none: then it was removed just now, and does no harm."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def remove(path: str) -> None:
    """Remove whatever lies there, a tree too, but nothing that it links to."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        from shutil import rmtree

        rmtree(path)


def remove_foreign(path: str) -> bool:
    """Remove what lies in place of a file that is written, unless it is such a file. Whether anything was removed."""
    try:
        foreign = not is_own(os.lstat(path))
    except FileNotFoundError:
        return False
    if foreign:
        remove(path)
    return foreign
