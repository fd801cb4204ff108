"""What the environment has: Lambda or not, its memory, what the process holds, what is free on a disk."""

from __future__ import annotations

import os
import sys

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MemoryLimit", "anonymous_memory", "concurrency", "free_disk", "in_lambda", "memory_limit", "resident_memory"]

MIB = 2**20

if sys.platform == "win32":
    _PAGE = 4096
else:
    _PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryLimit(NamedTuple):
    """Memory of the environment in bytes, and where that figure was read."""

    bytes: int
    source: str


def in_lambda(environ: Mapping[str, str]) -> bool:
    """Whether this is a Lambda execution environment (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""
    return "AWS_LAMBDA_RUNTIME_API" in environ or "AWS_LAMBDA_FUNCTION_NAME" in environ


def concurrency(environ: Mapping[str, str]) -> int:
    """Processes that share the environment: `AWS_LAMBDA_MAX_CONCURRENCY` on Lambda Managed Instances, else 1."""
    return max(1, _number(environ.get("AWS_LAMBDA_MAX_CONCURRENCY")) or 1)


def memory_limit(environ: Mapping[str, str], root: str = "/") -> MemoryLimit:
    """The memory that this environment may use: Lambda's variable, else the cgroup's limit, else the machine's memory."""
    megabytes = _number(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
    if megabytes and megabytes > 0:
        return MemoryLimit(megabytes * MIB, f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={megabytes} MB")
    machine = _machine_memory()
    found = MemoryLimit(machine, f"the machine's {machine // MIB} MiB")
    for version, path in _cgroup_files(root):
        limit = _number(_read(path))
        # Limits nest: the smallest on the way up counts. Where there is none, v1 writes a number near 2^63.
        if limit and limit < found.bytes:
            found = MemoryLimit(limit, f"the cgroup {version} limit of {limit // MIB} MiB")
    return found


def resident_memory() -> int:
    """Bytes that the process holds in memory (RSS); where /proc is missing, its peak so far."""
    return _memory()[0]


def anonymous_memory() -> int:
    """Bytes of the process that no file backs: a mapped model costs none of it, as its pages can be dropped."""
    resident, shared = _memory()
    return resident - shared


def free_disk(directory: str) -> int:
    """Bytes that an unprivileged process may still write there. No variable tells the size of Lambda's /tmp."""
    if sys.platform == "win32":
        return 0
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def _memory() -> tuple[int, int]:
    fields = (_read("/proc/self/statm") or "").split()
    if len(fields) > 2:
        return int(fields[1]) * _PAGE, int(fields[2]) * _PAGE
    if sys.platform == "win32":
        return 0, 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024), 0


def _machine_memory() -> int:
    if sys.platform == "win32":
        return 1024 * MIB
    return os.sysconf("SC_PHYS_PAGES") * _PAGE


def _cgroup_files(root: str) -> list[tuple[str, str]]:
    """Where memory limits of this process stand: its own group, that group's parents, the root of the mount (a container's own)."""
    files: list[tuple[str, str]] = []
    for line in (_read(os.path.join(root, "proc/self/cgroup")) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version, base, name = "v2", "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            version, base, name = "v1", "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        files.extend((version, os.path.join(root, base, *parts[:depth], name)) for depth in range(len(parts), -1, -1))
    return files


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    """The whole number in a text; None for anything else, as `max` in memory.max and misspelt variables are."""
    try:
        return int(text) if text else None
    except ValueError:
        return None
