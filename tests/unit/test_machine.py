"""What the environment has, read from fake roots."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3warm import machine
from s3warm.machine import anonymous_memory, concurrency, free_disk, in_lambda, memory_limit, resident_memory

MIB = 2**20
MACHINE = 16_384 * MIB

V1 = "sys/fs/cgroup/memory"
V2 = "sys/fs/cgroup"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_machine_memory", lambda: MACHINE)


def write(root: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(root)


@pytest.mark.parametrize(
    ("files", "mebibytes", "source"),
    [
        ({}, 16_384, "the machine's 16384 MiB"),
        ({"proc/self/cgroup": "0::/\n"}, 16_384, "the machine's 16384 MiB"),
        ({"proc/self/cgroup": ""}, 16_384, "the machine's 16384 MiB"),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "max\n"}, 16_384, "the machine's 16384 MiB"),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": ""}, 16_384, "the machine's 16384 MiB"),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "garbage"}, 16_384, "the machine's 16384 MiB"),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": f"{512 * MIB}\n"}, 512, "the cgroup v2 limit of 512 MiB"),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": f"{99_999 * MIB}\n"}, 16_384, "the machine's 16384 MiB"),
        (
            {"proc/self/cgroup": "0::/app/web\n", f"{V2}/app/web/memory.max": f"{256 * MIB}", f"{V2}/app/memory.max": "max"},
            256,
            "the cgroup v2 limit of 256 MiB",
        ),
        (
            {
                "proc/self/cgroup": "0::/app/web\n",
                f"{V2}/app/web/memory.max": "max",
                f"{V2}/app/memory.max": f"{128 * MIB}",
                f"{V2}/memory.max": f"{512 * MIB}",
            },
            128,
            "the cgroup v2 limit of 128 MiB",
        ),
        (
            {"proc/self/cgroup": "0::/../../web\n", f"{V2}/web/memory.max": f"{64 * MIB}"},
            64,
            "the cgroup v2 limit of 64 MiB",
        ),
        (
            # A container's own view: the path is the host's, and only the root of the mount is there.
            {"proc/self/cgroup": "0::/docker/0123\n", f"{V2}/memory.max": f"{300 * MIB}"},
            300,
            "the cgroup v2 limit of 300 MiB",
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/app\n4:memory:/app\n1:name=systemd:/init\n",
                f"{V1}/app/memory.limit_in_bytes": f"{256 * MIB}\n",
            },
            256,
            "the cgroup v1 limit of 256 MiB",
        ),
        (
            {
                "proc/self/cgroup": "4:hugetlb,memory:/app\n",
                f"{V1}/app/memory.limit_in_bytes": "9223372036854771712",
                f"{V1}/memory.limit_in_bytes": f"{640 * MIB}",
            },
            640,
            "the cgroup v1 limit of 640 MiB",
        ),
        (
            {"proc/self/cgroup": "4:memory:/app\n", f"{V1}/app/memory.limit_in_bytes": "9223372036854771712"},
            16_384,
            "the machine's 16384 MiB",
        ),
        (
            # Hybrid: the controller is v1's, the empty line v2's.
            {
                "proc/self/cgroup": "4:memory:/app\n0::/app\n",
                f"{V1}/app/memory.limit_in_bytes": f"{700 * MIB}",
                f"{V2}/app/memory.max": f"{800 * MIB}",
            },
            700,
            "the cgroup v1 limit of 700 MiB",
        ),
    ],
)
def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path, files: dict[str, str], mebibytes: int, source: str) -> None:
    assert memory_limit({}, write(tmp_path, files)) == (mebibytes * MIB, source)


def test_lambdas_variable_wins_over_everything(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": f"{64 * MIB}"})
    found = memory_limit({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}, root)
    assert found == (128 * MIB, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128 MB")


@pytest.mark.parametrize("value", ["", "0", "lots", "12.5"])
def test_a_variable_that_is_no_size_is_passed_over(tmp_path: Path, value: str) -> None:
    assert memory_limit({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": value}, str(tmp_path)).bytes == MACHINE


@pytest.mark.parametrize(
    ("value", "processes"), [(None, 1), ("", 1), ("0", 1), ("1", 1), ("16", 16), ("-3", 1), ("many", 1), ("2.5", 1)]
)
def test_concurrency_is_one_unless_the_variable_says_otherwise(value: str | None, processes: int) -> None:
    assert concurrency({} if value is None else {"AWS_LAMBDA_MAX_CONCURRENCY": value}) == processes
    assert concurrency({} if value is None else {"WEB_CONCURRENCY": value}) == processes


def test_lambdas_concurrency_wins_over_gunicorns() -> None:
    assert concurrency({"WEB_CONCURRENCY": "4", "AWS_LAMBDA_MAX_CONCURRENCY": "16"}) == 16


@pytest.mark.parametrize(
    ("environ", "there"),
    [
        ({}, False),
        ({"AWS_REGION": "x"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "x"}, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, True),
    ],
)
def test_lambda_is_known_by_its_variables(environ: dict[str, str], there: bool) -> None:
    assert in_lambda(environ) is there


def test_the_process_holds_a_sane_amount_of_memory() -> None:
    resident = resident_memory()
    assert 8 * MIB < resident < 4096 * MIB
    assert 0 < anonymous_memory() <= resident_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_anonymous_memory_grows_with_what_is_allocated() -> None:
    """In a fresh process: this one's heap may have room for the ballast already."""
    code = """
from s3warm.machine import anonymous_memory
before = anonymous_memory()
ballast = bytearray(b"x") * (64 * 2**20)
print(anonymous_memory() - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout)
    assert 60 * MIB < grown < 80 * MIB


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_without_proc_the_peak_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_statm", lambda: b"")
    monkeypatch.setattr(machine, "_last", None)
    assert 8 * MIB < resident_memory() < 8192 * MIB
    assert anonymous_memory() == resident_memory()


def test_what_is_free_on_a_disk_is_asked_of_the_file_system(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    assert 0 < free_disk(str(tmp_path)) <= status.f_blocks * status.f_frsize


def test_a_directory_that_is_not_there_has_no_free_space_to_tell(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        free_disk(str(tmp_path / "missing"))


def test_the_real_machine_has_a_limit() -> None:
    assert memory_limit({}).bytes <= MACHINE


def test_memory_is_told_also_when_somebody_has_closed_every_descriptor() -> None:
    before = anonymous_memory()
    assert machine._opened is not None
    os.close(machine._opened[1])
    assert abs(anonymous_memory() - before) < 8 * MIB
    anonymous_memory()  # has opened it anew
    assert machine._opened is not None
    os.close(machine._opened[1])
    another = os.open(__file__, os.O_RDONLY)  # which has the number of the one that is closed
    assert another == machine._opened[1]
    assert abs(anonymous_memory() - before) < 8 * MIB
    os.close(another)
    assert abs(anonymous_memory() - before) < 8 * MIB


def test_where_no_descriptor_is_left_memory_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the peak that the process ever had, for which everything would be evicted."""
    before = anonymous_memory()
    monkeypatch.setattr(machine, "_statm", lambda: b"")
    assert anonymous_memory() == before


def test_without_ctypes_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_trim", None)
    monkeypatch.setitem(sys.modules, "ctypes", None)
    machine.give_back()
    machine.free_at_once()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_sees_its_own_memory() -> None:
    machine.give_back()  # what earlier tests have left free would be used below
    mine = anonymous_memory()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        grown = bytearray(64 * MIB)
        grown[::4096] = b"x" * (64 * MIB // 4096)
        os.write(writing, str(anonymous_memory()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 99)) > mine + 48 * MIB
    os.close(reading)
    os.close(writing)


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_what_is_free_between_what_is_kept_is_given_back() -> None:
    bodies = [b"x" * 30_000 + bytes(1) for _ in range(2000)]
    kept = bodies[::50]
    del bodies
    before = anonymous_memory()
    machine.give_back()
    assert anonymous_memory() < before - 30 * MIB
    assert len(kept) == 40
