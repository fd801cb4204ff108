"""A box leaves nothing behind, whichever way it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lambdabox.box import LambdaBox
from tests.lambdabox.environment import PROJECT
from tests.lambdabox.errors import BoxUnavailable
from tests.lambdabox.leftovers import leftovers

ECHO = Path(__file__).parent / "handlers" / "echo.py"
PATIENCE = 20.0

pytestmark = pytest.mark.usefixtures("boxes")

SCRIPT = f"""
import sys
from tests.lambdabox.box import LambdaBox
box = LambdaBox({str(ECHO)!r}, 128, 16)
box.invoke({{"action": "spawn"}})
"""


def test_ten_boxes_one_after_the_other() -> None:
    for number in range(10):
        before = set(leftovers(os.getpid()))
        with LambdaBox(ECHO, 128, 16) as box:
            assert box.invoke({"n": number})["event"] == {"n": number}
            assert set(leftovers(os.getpid())) - before  # it is looked for where it is
        _gone(os.getpid(), before)


def test_a_box_that_is_frozen_at_its_end() -> None:
    before = set(leftovers(os.getpid()))
    with LambdaBox(ECHO, 128, 16) as box:
        box.invoke({"action": "spawn"})
        box.freeze()
    _gone(os.getpid(), before)
    with pytest.raises(RuntimeError, match="closed"):
        box.invoke({})
    box.close()


def test_a_box_that_cannot_be_made() -> None:
    before = set(leftovers(os.getpid()))
    with pytest.raises(BoxUnavailable, match=r"mkfs\.ext4|mount"):
        LambdaBox(ECHO, 128, 0)
    _gone(os.getpid(), before)


@pytest.mark.parametrize(("end", "status"), [("", 0), ("sys.exit(3)", 3), ("1 / 0", 1)])
def test_a_box_that_nobody_closed(end: str, status: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT + end], cwd=PROJECT, stderr=subprocess.DEVNULL)
    assert process.wait(PATIENCE) == status
    assert leftovers(process.pid) == []  # at once: the interpreter waits for it


def test_a_box_whose_test_was_killed() -> None:
    end = "print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", SCRIPT + end]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert leftovers(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _gone(process.pid, set())


def _gone(pid: int, before: set[str]) -> None:
    """Soon, if not at once: the kernel may take a moment for a loop device."""
    patience = time.monotonic() + PATIENCE
    while set(leftovers(pid)) - before:
        assert time.monotonic() < patience, leftovers(pid)
        time.sleep(0.01)
