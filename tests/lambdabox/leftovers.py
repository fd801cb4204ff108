"""What boxes left on the machine that should be gone."""

from __future__ import annotations

import contextlib
import glob
import os

from tests.lambdabox import cgroups
from tests.lambdabox.box import PREFIX
from tests.lambdabox.keeper import ROOT


def leftovers(pid: int) -> list[str]:
    """Folders, control groups, loop devices, mounts and processes of boxes that the process `pid` made."""
    name = f"{PREFIX}{pid}-"
    found = glob.glob(f"{ROOT}/{name}*")
    group = cgroups.find(name)
    for directory in set(group.directories.values() if group else ()):
        found += glob.glob(f"{directory}*")
    for kind in ("/sys/block/loop*/loop/backing_file", "/proc/[0-9]*/mountinfo", "/proc/[0-9]*/cmdline", "/proc/[0-9]*/cgroup"):
        found += [path for path in glob.glob(kind) if name.encode() in _content(path)]
    return sorted(path for path in found if os.path.lexists(path))


def _content(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""
