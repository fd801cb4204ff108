"""The process that holds a box together, and takes it apart.

It has a mount namespace of its own, makes in it what a box needs, and waits for a line or for the end of its standard
input. Then, whichever way the test that started it has ended, it kills what runs in the box and leaves nothing behind.
It removes no directory with what is in it: a mount that was left would be emptied.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from tests.lambdabox import cgroups, mounts

ROOT = "/var/tmp"
"""Where the boxes' folders are: outside of /tmp, which the box covers, and on a disk."""


@dataclass(frozen=True)
class Plan:
    """What to make."""

    name: str  # of the control group, and of the folder
    memory_mb: int
    tmp_mb: int
    cpu: bool
    code: str  # the function's directory
    keep: list[str]  # directories under /tmp that the box needs

    @property
    def folder(self) -> str:
        """Holds the log, the image of /tmp, and (in the box alone) the function's code."""
        return os.path.join(ROOT, self.name)

    @property
    def task(self) -> str:
        return os.path.join(self.folder, "task")

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "log")


def build(plan: Plan, stack: ExitStack) -> None:
    """Make the box; `stack` gets what takes it apart."""
    os.mkdir(plan.folder, 0o700)
    stack.callback(os.rmdir, plan.folder)
    with open(plan.log, "xb"):
        stack.callback(os.unlink, plan.log)
    mounts.mount_code(stack, plan.code, plan.task)
    mounts.mount_tmp(stack, plan.folder, plan.tmp_mb, plan.keep)
    group = cgroups.find(plan.name)
    if group is None:
        raise OSError("no memory controller is mounted")
    stack.callback(group.remove)  # the first thing to happen at the end: processes keep mounts busy
    group.create(plan.memory_mb, cpu=plan.cpu)


def main(plan: Plan) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the test, whose end is seen here
    with ExitStack() as stack:
        try:
            build(plan, stack)
        except OSError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return
        print(json.dumps({}), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
