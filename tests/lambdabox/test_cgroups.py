"""Control groups of both versions, on files that look like them: a machine has one, and a test may not need root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lambdabox import cgroups
from tests.lambdabox.cgroups import MIB, CgroupV1, CgroupV2


def mounted(tmp_path: Path, *lines: str) -> str:
    file = tmp_path / "mounts"
    file.write_text("".join(line.format(root=tmp_path) + "\n" for line in lines))
    return str(file)


def test_version_1_is_found_by_its_controllers(tmp_path: Path) -> None:
    mounts = mounted(
        tmp_path,
        "tmpfs {root} tmpfs rw 0 0",
        "cgroup {root}/m cgroup rw,relatime,memory 0 0",
        "cgroup {root}/c cgroup rw,relatime,cpu,cpuacct 0 0",
        "cgroup {root}/f cgroup rw,relatime,freezer 0 0",
        "cgroup2 {root}/unified cgroup2 rw 0 0",
    )
    group = cgroups.find("box", mounts)
    assert isinstance(group, CgroupV1)
    assert group.directories == {"memory": f"{tmp_path}/m/box", "freezer": f"{tmp_path}/f/box", "cpu": f"{tmp_path}/c/box"}


def test_nothing_is_found_without_a_memory_controller(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    assert cgroups.find("box", mounted(tmp_path, "cgroup2 {root} cgroup2 rw 0 0")) is None
    assert cgroups.find("box", mounted(tmp_path)) is None


def test_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("cpu\n")
    group = cgroups.find("box", mounted(tmp_path, "cgroup2 {root} cgroup2 rw 0 0"))
    assert isinstance(group, CgroupV2)
    assert set(group.directories) == {"memory", "freezer", "cpu"}
    box = tmp_path / "box"
    group.create(1769, cpu=True)
    assert control.read_text() == "+memory"
    assert group.entries == [f"{box}/cgroup.procs"]
    assert (box / "memory.max").read_text() == str(1769 * MIB)
    assert (box / "cpu.max").read_text() == "100000 100000"
    (box / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    (box / "memory.stat").write_text("anon 4096\nfile 123\nanon_thp 0\n")
    assert (group.oom_kills(), group.rss()) == (2, 4096)
    (box / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    group.freeze()
    assert (box / "cgroup.freeze").read_text() == "1"


def test_a_freezer_that_never_freezes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_PATIENCE", 0.01)
    (tmp_path / "cgroup.events").write_text("frozen 0\n")
    with pytest.raises(TimeoutError, match="freezer"):
        CgroupV2({"memory": str(tmp_path)}).freeze()
