"""The wheels of a layer, as pip finds them for an architecture and a version of Python that need not be this machine's."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["ARCHITECTURES", "VERSIONS", "Target", "dependencies", "own_wheel", "requirements"]

PROJECT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
ARCHITECTURES = {"x86_64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}
"""Lambda's architectures, and the platform of wheels that run on each: every runtime of `VERSIONS` has a glibc of 2.26 or later."""

_IN_THE_RUNTIME = "boto3"


class Target(NamedTuple):
    """What a layer is for."""

    python: str
    architecture: str


def own_wheel(folder: Path) -> Path:
    """Build the wheel of s3warm itself, from this source.

    Raises:
        RuntimeError: pip could not.
    """
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(PROJECT))
    (built,) = folder.glob("s3warm-*.whl")
    return built


def dependencies(wheel: Path, target: Target, folder: Path) -> list[Path]:
    """Download the wheels that a wheel requires, but boto3's, in order of their names.

    Raises:
        RuntimeError: pip could not; some package may have no wheel for this target.
    """
    _pip(
        *("download", "--dest", str(folder), "--only-binary=:all:", "--implementation", "cp"),
        *("--platform", ARCHITECTURES[target.architecture], "--python-version", target.python),
        *requirements(wheel),
    )
    return sorted(folder.glob("*.whl"))


def requirements(wheel: Path) -> list[str]:
    """The requirements of a wheel that are neither in the runtime nor of an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        described = email.message_from_bytes(archive.read(name))
    lines = described.get_all("Requires-Dist") or []
    return [line for line in lines if "extra ==" not in line and re.split(r"[^\w.-]", line)[0] != _IN_THE_RUNTIME]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`pip {' '.join(arguments)}` failed:\n{done.stderr.strip()}")
