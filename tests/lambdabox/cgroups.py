"""The control group of a box: its memory cap, its share of the CPU, and the freezer.

Version 1 has a hierarchy for each controller, version 2 one for all of them. A group is known by its name, so that any
process can find it; it lies directly under the root of its hierarchy.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

MIB = 1024 * 1024
_PERIOD = 100_000  # microseconds, the default of both versions
_MB_PER_CPU = 1769  # a function with as much memory has one whole CPU
_PATIENCE = 10.0  # seconds for what the kernel does at once, unless the machine is very busy
_BEAT = 0.002


class Cgroup(ABC):
    """A group of processes, with a directory for each hierarchy that it is in."""

    def __init__(self, directories: Mapping[str, str]) -> None:
        self.directories = dict(directories)  # by controller

    @property
    def entries(self) -> list[str]:
        """The files to which a process writes 0 to join."""
        return [os.path.join(directory, "cgroup.procs") for directory in self.directories.values()]

    def create(self, memory_mb: int, *, cpu: bool) -> None:
        """Make the group and set its limits."""
        for directory in self.directories.values():
            os.mkdir(directory)
        self.limit(memory_mb * MIB, _PERIOD * memory_mb // _MB_PER_CPU if cpu else None)

    @abstractmethod
    def limit(self, memory: int, quota: int | None) -> None:
        """Cap memory (bytes) and, with a quota, the CPU (microseconds of each period)."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop every process; returns when all stand still."""

    @abstractmethod
    def thaw(self) -> None:
        """Let every process go on."""

    @abstractmethod
    def oom_kills(self) -> int:
        """How many processes were killed for memory."""

    @abstractmethod
    def rss(self) -> int:
        """The bytes of anonymous memory."""

    def processes(self) -> list[int]:
        """The processes in the group; none if there is no group."""
        found: set[int] = set()
        for entry in self.entries:
            with contextlib.suppress(OSError):
                found.update(map(int, _read(entry).split()))
        return sorted(found)

    def kill(self) -> None:
        """Kill every process, frozen ones too, and wait until they are gone."""

        def gone() -> bool:
            processes = self.processes()
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if processes:
                self.thaw()  # what is frozen takes no signal
            return not processes

        _until(gone, "processes that cannot be killed")

    def remove(self) -> None:
        """Kill every process and remove the group, as far as it is there."""
        if not any(map(os.path.isdir, self.directories.values())):
            return
        self.kill()

        def removed(directory: str) -> bool:
            with contextlib.suppress(OSError):  # busy for a moment after the last process
                os.rmdir(directory)
            return not os.path.isdir(directory)

        for directory in self.directories.values():
            _until(lambda directory=directory: removed(directory), f"{directory} cannot be removed")  # type: ignore[misc]


class CgroupV1(Cgroup):
    """A directory in each of the hierarchies memory, freezer and cpu."""

    def limit(self, memory: int, quota: int | None) -> None:
        _write(self._file("memory", "limit_in_bytes"), str(memory))
        with_swap = self._file("memory", "memsw.limit_in_bytes")
        if os.path.exists(with_swap):  # where swap is accounted for
            _write(with_swap, str(memory))
        if quota is not None:
            _write(self._file("cpu", "cfs_period_us"), str(_PERIOD))
            _write(self._file("cpu", "cfs_quota_us"), str(quota))

    def freeze(self) -> None:
        self._set_state("FROZEN")

    def thaw(self) -> None:
        self._set_state("THAWED")

    def oom_kills(self) -> int:
        return _field(self._file("memory", "oom_control"), "oom_kill")

    def rss(self) -> int:
        return _field(self._file("memory", "stat"), "total_rss")

    def _set_state(self, state: str) -> None:
        path = self._file("freezer", "state")

        def reached() -> bool:
            if _read(path).strip() == state:
                return True
            _write(path, state)  # again, if some process was not stopped at the first try
            return _read(path).strip() == state

        _until(reached, f"{path} does not become {state}")

    def _file(self, controller: str, name: str) -> str:
        return os.path.join(self.directories[controller], f"{controller}.{name}")


class CgroupV2(Cgroup):
    """One directory for all controllers."""

    @property
    def entries(self) -> list[str]:
        return [self._file("cgroup.procs")]

    def create(self, memory_mb: int, *, cpu: bool) -> None:
        control = os.path.join(os.path.dirname(self._directory), "cgroup.subtree_control")
        wanted = ["memory", "cpu"] if cpu else ["memory"]
        missing = set(wanted) - set(_read(control).split())
        if missing:
            _write(control, " ".join(f"+{controller}" for controller in sorted(missing)))
        os.mkdir(self._directory)
        self.limit(memory_mb * MIB, _PERIOD * memory_mb // _MB_PER_CPU if cpu else None)

    def limit(self, memory: int, quota: int | None) -> None:
        _write(self._file("memory.max"), str(memory))
        if os.path.exists(self._file("memory.swap.max")):
            _write(self._file("memory.swap.max"), "0")
        if quota is not None:
            _write(self._file("cpu.max"), f"{quota} {_PERIOD}")

    def freeze(self) -> None:
        self._set_frozen(1)

    def thaw(self) -> None:
        self._set_frozen(0)

    def oom_kills(self) -> int:
        return _field(self._file("memory.events"), "oom_kill")

    def rss(self) -> int:
        return _field(self._file("memory.stat"), "anon")

    def _set_frozen(self, frozen: int) -> None:
        _write(self._file("cgroup.freeze"), str(frozen))
        _until(lambda: _field(self._file("cgroup.events"), "frozen") == frozen, "the freezer does not answer")

    @property
    def _directory(self) -> str:
        return self.directories["memory"]

    def _file(self, name: str) -> str:
        return os.path.join(self._directory, name)


def find(name: str, mounts: str = "/proc/self/mounts") -> Cgroup | None:
    """The group of this name, which need not exist yet; None where no memory controller is mounted."""
    roots, unified = _hierarchies(mounts)
    if "memory" in roots:
        return CgroupV1({controller: os.path.join(root, name) for controller, root in roots.items()})
    if unified is not None:
        with contextlib.suppress(OSError):
            offered = _read(os.path.join(unified, "cgroup.controllers")).split()
            if "memory" in offered:
                # The freezer of version 2 is no controller, but part of every group.
                kinds = ["memory", "freezer", *({"cpu"} & set(offered))]
                return CgroupV2(dict.fromkeys(kinds, os.path.join(unified, name)))
    return None


def _hierarchies(mounts: str) -> tuple[dict[str, str], str | None]:
    """Where the controllers of version 1 are mounted, and version 2."""
    roots: dict[str, str] = {}
    unified = None
    for line in _read(mounts).splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup":
            for controller in {"memory", "freezer", "cpu"} & set(options.split(",")):
                roots.setdefault(controller, target)
        elif kind == "cgroup2":
            unified = unified or target
    return {controller: roots[controller] for controller in ("memory", "freezer", "cpu") if controller in roots}, unified


def _until(reached: Callable[[], bool], complaint: str) -> None:
    patience = time.monotonic() + _PATIENCE
    while not reached():
        if time.monotonic() > patience:
            raise TimeoutError(complaint)
        time.sleep(_BEAT)


def _field(path: str, name: str) -> int:
    found = re.search(rf"^{name} (\d+)$", _read(path), re.MULTILINE)
    if found is None:
        raise OSError(f"{path} does not speak of {name}")
    return int(found[1])


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
