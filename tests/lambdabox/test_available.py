"""What a skipped test says."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

from tests.lambdabox import cgroups
from tests.lambdabox.available import why_not
from tests.lambdabox.cgroups import CgroupV1


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which all is there, as far as these tests ask."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda command: f"/bin/{command}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tests.lambdabox.available._rights", lambda: None)


def test_the_runtime_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "awslambdaric" in (why_not() or "")


def test_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None if command == "nsenter" else f"/bin/{command}")
    assert "nsenter" in (why_not() or "")


def test_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda command: f"/bin/{command}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "not root" in (why_not() or "")


def test_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "find", lambda name: None)
    assert "memory controller" in (why_not() or "")
    monkeypatch.setattr(cgroups, "find", lambda name: CgroupV1({"memory": "/memory/box"}))
    assert "freezer controller" in (why_not() or "")
    monkeypatch.setattr(cgroups, "find", lambda name: CgroupV1({"memory": "/proc/m/b", "freezer": "/proc/f/b"}))
    assert "cpu controller" in (why_not(cpu=True) or "")
    assert "cannot be written to" in (why_not() or "")
