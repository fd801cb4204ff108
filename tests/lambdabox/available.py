"""Whether a box can be made on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

from tests.lambdabox import cgroups
from tests.lambdabox.keeper import ROOT

COMMANDS = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "umount": "mount", "mkfs.ext4": "e2fsprogs"}
"""What a box is made with, and the Debian package of each."""


def why_not(*, cpu: bool = False) -> str | None:
    """The part that is missing for a LambdaBox, or None; with `cpu`, for one with Lambda's share of the CPU."""
    return _software() or _rights() or _groups(cpu=cpu)


def _software() -> str | None:
    if sys.platform != "linux":
        return "it is no Linux"
    if importlib.util.find_spec("awslambdaric") is None:
        return "AWS's runtime client is not installed (awslambdaric, dependency group lambda)"
    for command, package in COMMANDS.items():
        if shutil.which(command) is None:
            return f"the command {command} is not there (package {package})"
    return None


def _rights() -> str | None:
    if os.geteuid() != 0:
        return "this is not root, who alone may mount and make control groups"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices (/dev/loop-control)"
    if os.path.realpath(ROOT) != ROOT:
        return f"{ROOT} is a link to {os.path.realpath(ROOT)}, which a box may cover"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"no mount namespace can be made: {tried.stderr.strip()}" if tried.returncode else None


def _groups(*, cpu: bool) -> str | None:
    group = cgroups.find("s3warm-lambdabox")
    if group is None:
        return "no memory controller is mounted, neither of cgroup v1 nor of v2"
    for controller in ("freezer", "cpu") if cpu else ("freezer",):
        if controller not in group.directories:
            return f"the {controller} controller of the control groups is not mounted"
    for directory in sorted(set(group.directories.values())):
        if not os.access(os.path.dirname(directory), os.W_OK):
            return f"{os.path.dirname(directory)} cannot be written to"
    return None
