"""Installs what a box is made with from the distribution's packages, where this is root and there is apt-get."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.lambdabox.available import COMMANDS


def packages() -> list[str]:
    """The Debian packages of the commands that are not there."""
    return sorted({package for command, package in COMMANDS.items() if shutil.which(command) is None})


def install() -> None:
    """Install them, if there are any; takes root and apt-get."""
    lacking = packages()
    if not lacking:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"{', '.join(lacking)} not installed, and installing it takes root and apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # A list of some other source that cannot be had is no reason to stop: the installation tells whether what is needed was there.
    subprocess.run(["apt-get", "-qq", "update"], env=environment, check=False)
    subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *lacking], env=environment, check=True)


if __name__ == "__main__":
    try:
        install()
    except RuntimeError as error:
        print(f"{error}; the tests that need it are skipped")
