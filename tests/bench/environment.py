"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["describe", "headline", "huge_pages"]

_PACKAGES = ("s3warm", "diskcache", "zstandard", "cachetools", "aws-lambda-powertools")


def describe() -> dict[str, Any]:
    """The machine and the versions, in plain values."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # others' work shows here
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "huge_pages": huge_pages(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def headline(environment: dict[str, Any]) -> str:
    """The same, for people."""
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
    return (
        f"{environment['cpu']}, {environment['cores']} cores, load {environment['load']}, {environment['system']}\n"
        f"{environment['python']}, SQLite {environment['sqlite']}, {packages}"
    )


def huge_pages(path: str = "/sys/kernel/mm/transparent_hugepage/enabled") -> str:
    """What the kernel does about them: "always", "madvise" or "never"; "not there" without such a file."""
    try:
        with open(path, encoding="ascii") as file:
            said = file.read()
    except OSError:
        return "not there"
    chosen = re.search(r"\[(\w+)\]", said)
    return chosen[1] if chosen else said.strip()


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
