"""What the tests of several processes share."""

from __future__ import annotations

import os
import sys

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    if "processes" in item.path.parts and (sys.platform != "linux" or not hasattr(os, "pidfd_open")):
        item.add_marker(pytest.mark.skip(reason="needs os.fork and pidfds, which only Linux has"))
