"""Locks between processes: exclusive, bounded, and gone with their holder."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3warm.tiers.locks import RangeLock

HOLDER = """
import sys
from s3warm.tiers.locks import RangeLock
lock = RangeLock(sys.argv[1], int(sys.argv[2]))
print(lock.acquire(timeout=0), flush=True)
sys.stdin.read()
"""


class Sleeps(list[float]):
    """A `sleep` that notes instead of sleeping, and calls a function at the n-th one."""

    def __init__(self, *, at: int = -1, call: object = None) -> None:
        super().__init__()
        self.at, self.call = at, call

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        if len(self) == self.at and callable(self.call):
            self.call()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def test_one_holder_at_a_time_also_within_a_process(path: str) -> None:
    with RangeLock(path, 0) as first, RangeLock(path, 0) as second:
        assert first.acquire(timeout=0)
        assert not second.acquire(timeout=0)
        first.release()
        assert second.acquire(timeout=0)


def test_other_bytes_are_other_locks(path: str) -> None:
    with RangeLock(path, 0) as first, RangeLock(path, 1) as second, RangeLock(path, 2**40) as third:
        assert all(lock.acquire(timeout=0) for lock in (first, second, third))


def test_who_holds_it_may_take_it_again(path: str) -> None:
    with RangeLock(path, 0) as lock:
        assert lock.acquire(timeout=0)
        assert lock.acquire(timeout=0)


def test_waiting_is_bounded(path: str) -> None:
    sleeps = Sleeps()
    with RangeLock(path, 0) as holder, RangeLock(path, 0, sleep=sleeps) as waiting:
        assert holder.acquire(timeout=0)
        assert not waiting.acquire(timeout=0.1)
    assert 0.1 <= sum(sleeps) < 0.11


def test_without_a_timeout_nothing_is_slept(path: str) -> None:
    sleeps = Sleeps()
    with RangeLock(path, 0) as holder, RangeLock(path, 0, sleep=sleeps) as waiting:
        assert holder.acquire(timeout=0)
        assert not waiting.acquire(timeout=0)
    assert sleeps == []


def test_a_waiter_gets_it_when_the_holder_lets_go(path: str) -> None:
    holder = RangeLock(path, 0)
    assert holder.acquire(timeout=0)
    sleeps = Sleeps(at=3, call=holder.release)
    with RangeLock(path, 0, sleep=sleeps) as waiting:
        assert waiting.acquire(timeout=1)
    assert len(sleeps) == 3


def test_release_may_be_called_twice_and_leaves_no_descriptor(path: str) -> None:
    before = set(os.listdir("/dev/fd"))
    lock = RangeLock(path, 0)
    lock.acquire(timeout=0)
    lock.release()
    lock.release()
    assert set(os.listdir("/dev/fd")) == before


def test_a_lock_that_is_forgotten_is_let_go(path: str) -> None:
    lock = RangeLock(path, 0)
    assert lock.acquire(timeout=0)
    del lock
    gc.collect()
    with RangeLock(path, 0) as other:
        assert other.acquire(timeout=0)


def test_the_file_is_private_and_made_where_it_is_missing(path: str) -> None:
    with RangeLock(path, 0):
        assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["link", "missing directory"])
def test_what_cannot_be_opened_is_one_error_and_no_noise_at_its_end(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    if kind == "link":
        os.symlink(path + ".elsewhere", path)
    else:
        path = os.path.join(path, "below")
    with pytest.raises(OSError, match=r"lock"):
        RangeLock(path, 0)
    gc.collect()
    assert noise == []
    assert not os.path.exists(path + ".elsewhere")


def test_it_holds_between_processes_and_ends_with_a_killed_holder(path: str) -> None:
    command = [sys.executable, "-c", HOLDER, path, "7"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with RangeLock(path, 7) as lock, RangeLock(path, 8) as other:
            assert not lock.acquire(timeout=0)
            assert other.acquire(timeout=0)
            process.kill()
            process.wait()
            assert lock.acquire(timeout=0)
