"""Before a snapshot and after a restore: all is stale, nothing is open, budgets are new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import s3warm
from s3warm import chance, lambda_hooks, machine
from s3warm.testing import FakeCache, FakeS3, fake_s3

MIB = 2**20
A, B = "s3://cfg/a", "s3://cfg/b"


def test_what_is_held_is_revalidated_after_a_restore_wherever_it_lies(tmp_path: Path) -> None:
    s3 = FakeS3({A: b"a", B: b"b"})
    cache = FakeCache(s3, directory=tmp_path, namespace="x", ttl=3600)
    other = FakeCache(s3, directory=tmp_path, namespace="y", ttl=3600)
    path = cache.path(A)
    assert (cache.get(A), cache.get(B), other.get(A)) == (b"a", b"b", b"a")
    cache.suspend()
    cache.resume()
    s3[B] = b"new"
    asked = len(s3.requests)
    assert (cache.get(A), cache.get(B)) == (b"a", b"new")
    assert cache.path(A) == path
    assert [request.status for request in s3.requests[asked:]] == [304, 200]
    assert cache.get(A, ttl=7200) == b"a"
    assert other.get(A) == b"a"  # another function's, which was not restored
    assert len(s3.requests) == asked + 2


def test_what_another_process_finds_in_a_restored_directory_is_stale_as_well(tmp_path: Path) -> None:
    s3 = FakeS3({A: b"a"})
    FakeCache(s3, directory=tmp_path, namespace="x", ttl=3600).get(A)
    before = FakeCache(s3, directory=tmp_path, namespace="x", ttl=3600)
    before.suspend()
    crashed = FakeCache(s3, directory=tmp_path, namespace="x", ttl=3600)
    assert crashed.get(A) == b"a"
    assert [request.status for request in s3.requests] == [200, 304]


def test_a_copy_may_stand_in_for_as_long_as_it_was_validated_and_no_longer() -> None:
    with fake_s3({A: b"a", B: b"b"}, ttl=3600, stale_if_error=100) as s3:
        s3warm.get(A)
        s3.advance(60)
        lambda_hooks.before_snapshot()
        s3.down = True
        lambda_hooks.after_restore()
        assert s3warm.entry(A).stale
        s3.advance(50)  # 110 s since it was validated, an hour before it would have expired
        with pytest.raises(s3warm.OriginUnavailableError):
            s3warm.get(A)


def test_a_directory_that_cannot_be_written_before_the_snapshot_serves_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = FakeS3({A: b"a"})
    cache = FakeCache(s3, directory=tmp_path, namespace="x", ttl=3600, memory_budget=0)
    cache.get(A)
    tier = cache._disk_tier
    assert tier is not None
    assert tier._shelf is not None
    monkeypatch.setattr(type(tier._shelf), "retime_all", _full)
    cache.suspend()
    cache.resume()
    s3[A] = b"new"
    assert cache.get(A) == b"new"


def _full(*_: object) -> bool:
    raise OSError(28, "No space left on device")


def test_nothing_is_open_in_the_snapshot(tmp_path: Path) -> None:
    s3 = FakeS3({A: b"a"})
    cache = FakeCache(s3, directory=tmp_path, namespace="x")
    cache.get(A)
    assert _open(tmp_path / "cache.db")
    cache.suspend()
    assert not _open(tmp_path / "cache.db")
    assert cache.get(A) == b"a"


def _open(path: Path) -> bool:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return any(os.path.lexists(link) and os.readlink(link).startswith(str(path)) for link in links)


def test_budgets_are_what_the_restored_environment_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "s3warm.machine.resident_memory", lambda: 100 * MIB
    )  # whatever the tests before have left in this process
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "4096")
    with fake_s3({A: bytes(MIB)}) as s3:
        s3warm.get(A)
        assert s3warm.budgets().memory.bytes == 1024 * MIB
        largest = s3warm.default_cache()._ledger.largest()
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")
        lambda_hooks.after_restore()
        assert s3warm.budgets().memory.bytes == 512 * MIB
        assert s3warm.budgets().largest_in_memory == 256 * MIB
        assert s3warm.stats().memory_budget == 512 * MIB
        assert s3warm.default_cache()._ledger.largest() < largest - 1024 * MIB
        monkeypatch.setattr(machine, "resident_memory", lambda: 2048 * MIB)
        lambda_hooks.after_restore()
        assert s3warm.budgets().memory.bytes == 4 * MIB
        assert len(s3.requests) == 1


def test_two_that_are_restored_from_one_snapshot_draw_different_numbers() -> None:
    """As two forked children do, which are restored from one process."""
    draw = "import os, sys; from s3warm import chance; os.write(1, f'{chance.draw()} '.encode()); "
    script = f"import os; from s3warm import chance; chance.draw()\nfor _ in range(2):\n    if not os.fork():\n        {draw}os._exit(0)\n"
    script += "for _ in range(2):\n    os.wait()\n"
    drawn = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert len(set(drawn)) == 2
    assert all(0 <= chance.draw() < 1 for _ in range(100))


HOOKS = """
import json, os, sys, types
module = types.ModuleType("snapshot_restore_py")
hooks = []
module.register_before_snapshot = lambda hook: hooks.append(hook.__name__)
module.register_after_restore = lambda hook: hooks.append(hook.__name__)
if sys.argv[1] == "there":
    sys.modules["snapshot_restore_py"] = module
else:
    sys.modules["snapshot_restore_py"] = None
import s3warm
from s3warm import lambda_hooks
print(json.dumps([hooks, lambda_hooks.register(), hooks]))
"""


@pytest.mark.parametrize(
    ("kind", "library", "told"),
    [
        ("snap-start", "there", [["before_snapshot", "after_restore"], True, ["before_snapshot", "after_restore"]]),
        ("on-demand", "there", [[], True, ["before_snapshot", "after_restore"]]),
        ("snap-start", "missing", [[], False, []]),
    ],
)
def test_the_hooks_are_registered_once_where_a_snapshot_will_be_taken(kind: str, library: str, told: list[object]) -> None:
    environ = {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    script = HOOKS.replace("[hooks,", "[list(hooks),")
    done = subprocess.run([sys.executable, "-c", script, library], env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == told


def test_without_the_library_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_hooks, "_registered", False)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    assert not lambda_hooks.register()
    there = types.ModuleType("snapshot_restore_py")
    calls: list[object] = []
    there.register_before_snapshot = there.register_after_restore = calls.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", there)
    assert lambda_hooks.register()
    assert calls == [lambda_hooks.before_snapshot, lambda_hooks.after_restore]
