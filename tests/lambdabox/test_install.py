"""Which packages are installed, and what is said where they cannot be."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.lambdabox.install import install, packages


def test_the_packages_of_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None if command in {"mkfs.ext4", "unshare", "nsenter"} else command)
    assert packages() == ["e2fsprogs", "util-linux"]


def test_only_root_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None if command == "mount" else command)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RuntimeError, match="mount not installed, and installing it takes root"):
        install()
