"""Installs what a box is made with from the distribution's packages, where this is root and there is apt-get."""

from __future__ import annotations

import shutil

from tests.lambdabox.available import COMMANDS
from tests.support import debian


def packages() -> list[str]:
    """The Debian packages of the commands that are not there."""
    return sorted({package for command, package in COMMANDS.items() if shutil.which(command) is None})


def install() -> None:
    """Install them, if there are any; takes root and apt-get."""
    lacking = packages()
    if lacking:
        debian.install(lacking, f"{', '.join(lacking)} not installed")


if __name__ == "__main__":
    try:
        install()
    except RuntimeError as error:
        print(f"{error}; the tests that need it are skipped")
