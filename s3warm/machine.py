"""What the environment has: Lambda or not, its memory, what the process holds, what is free on a disk."""

from __future__ import annotations

import os
import sys
import time

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MemoryLimit",
    "anonymous_memory",
    "concurrency",
    "free_at_once",
    "free_disk",
    "give_back",
    "has_runtime",
    "in_lambda",
    "initialization_type",
    "memory_limit",
    "process_age",
    "resident_memory",
]

MIB = 2**20

_IMPORTED_AT = time.monotonic()

_opened: tuple[int, int] | None = None  # process and descriptor
_last: tuple[int, int] | None = None  # resident and shared bytes
_STATM = 7  # numbers in /proc/self/statm (proc_pid_statm(5))
_trim: Callable[..., int] | None = None

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


def initialization_type(environ: Mapping[str, str]) -> str:
    """Which kind of init phase Lambda has begun this process with: `"on-demand"`, which has 10 s, or another, which has more; "" elsewhere.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html; what does not say is held for on-demand.
    """
    return (environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") or "on-demand") if in_lambda(environ) else ""


def process_age(root: str = "/") -> float:
    """Seconds since this process was started, frozen ones included; where /proc does not say, since this module was imported.

    Field 22 of /proc/self/stat is the start in clock ticks since the boot (proc_pid_stat(5)), the first of /proc/uptime now in seconds.
    """
    imported = time.monotonic() - _IMPORTED_AT
    # The name of the program, in brackets, may hold anything.
    fields = (_read(os.path.join(root, "proc/self/stat")) or "").rpartition(")")[2].split()
    uptime = (_read(os.path.join(root, "proc/uptime")) or "").split()
    try:
        up, started = float(uptime[0]), int(fields[19])
        ticks: int = os.sysconf("SC_CLK_TCK")  # a second
        return max(imported, up - started / ticks)
    except (IndexError, ValueError):
        return imported


def has_runtime(environ: Mapping[str, str]) -> bool:
    """Whether Lambda's runtime is there as well: tests that set the name of a function have none."""
    return bool(environ.get("AWS_LAMBDA_RUNTIME_API"))


def concurrency(environ: Mapping[str, str]) -> int:
    """Processes that share the memory: `AWS_LAMBDA_MAX_CONCURRENCY` on Lambda Managed Instances, gunicorn's `WEB_CONCURRENCY`, else 1."""
    return max(1, _number(environ.get("AWS_LAMBDA_MAX_CONCURRENCY")) or _number(environ.get("WEB_CONCURRENCY")) or 1)


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


def give_back() -> None:
    """Let the C library return to the system what is free in its heaps, whole pages in their middle too (malloc_trim(3), of glibc alone).

    Measured: of 87 MB freed between bodies of 1 to 60 kB of which each 50th stayed, free() gave back none and malloc_trim 87, in 10 ms.
    What it leaves are the tops of all arenas but the first: 10 to 20 MiB, where four threads get objects of up to 8 MiB.
    Rejected: fewer arenas, and a low M_MMAP_THRESHOLD, which would slow down the handler's own allocations all the time; see `free_at_once`.
    """
    global _trim  # noqa: PLW0603  # ctypes costs 3 ms and a MiB: at first need
    if _trim is None:
        _trim = _of_libc("malloc_trim")
    _trim(0)


def free_at_once() -> None:
    """Let blocks of 4 MiB and more go back to the system as soon as they are freed, whoever frees them (M_MMAP_THRESHOLD, mallopt(3)).

    glibc raises its threshold to the size of what is freed, up to 32 MiB, and then keeps such blocks. The price: each page of such a block
    is a fault when it is allocated, the handler's blocks too. Whoever has set a threshold in the environment has had a reason.
    """
    settings = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ and "mmap_threshold" not in settings:
        _of_libc("mallopt")(-3, 4 * MIB)


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
    global _last  # noqa: PLW0603  # what is true of the process
    fields = _statm().split()
    if len(fields) == _STATM and fields[1].isdigit() and fields[2].isdigit():
        _last = int(fields[1]) * _PAGE, int(fields[2]) * _PAGE
        return _last
    if _last is not None:  # no descriptor is left to look with; it cannot be far from that
        return _last
    if sys.platform == "win32":
        return 0, 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024), 0


def _of_libc(name: str) -> Callable[..., int]:
    """A function of the C library; musl and macOS have none of these."""
    try:
        import ctypes

        found: Callable[..., int] = getattr(ctypes.CDLL(None), name, _nothing)
    except (ImportError, OSError):  # no descriptor is left, or Python was built without
        return _nothing
    return found


def _nothing(*_: int) -> int:
    return 0


def _statm() -> bytes:
    """The process's /proc file, kept open: 1.4 instead of 17 microseconds."""
    global _opened  # noqa: PLW0603  # one descriptor a process
    if sys.platform != "linux":
        return b""
    try:
        if _opened is None or _opened[0] != os.getpid():  # a forked child would read its parent's
            _opened = os.getpid(), os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        told = os.pread(_opened[1], 200, 0)
    except OSError:
        told = b""
    if len(told.split()) != _STATM:  # somebody closes all descriptors, and this number may be another file's by now
        _opened = None
        return (_read("/proc/self/statm") or "").encode()
    return told


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
