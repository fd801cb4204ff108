"""Packages of the distribution that tests need."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def install(packages: Sequence[str], lacking: str) -> None:
    """Install packages; takes root and apt-get, and says what is `lacking` where those are not there."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"{lacking}, and installing it takes root and apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # A list of some other source that cannot be had is no reason to stop: the installation tells whether what is needed was there.
    subprocess.run(["apt-get", "-qq", "update"], env=environment, check=False)
    subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages], env=environment, check=True)
