"""Defects that an attacker of this code once found, each with the way in. None may come back."""

from __future__ import annotations

import enum
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import AccessDeniedError, ObjectNotFoundError, OriginUnavailableError
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import database as database_module
from tests.support.entries import NOW, an_entry, noise
from tests.support.tiers import Journal, disk_tier, memory_tier

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm import Event

URI = "s3://cfg/flags.json"


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_is_removed_from_memory_is_free_at_once() -> None:
    """Removed slots stayed in the order of eviction, with their bodies."""
    tier = memory_tier()
    tier.put(an_entry(noise(1000)))
    slot = tier.slots["bucket"]["key"]
    handle = slot.handle
    tier.put(an_entry(noise(1000, 1), validated_at=NOW + 1))
    assert handle.slot is None
    tier.clear()
    assert all(item[1].slot is None for item in tier._order._heap)


@pytest.mark.parametrize("how", ["invalidate", "clear"])
def test_a_flight_that_begins_inside_invalidate_does_not_undo_it(how: str, tmp_path: Path) -> None:
    """It read the row that was fresh still, and promoted it to memory when the object was invalid already."""
    s3 = FakeS3({URI: b"old"})
    FakeCache(s3, directory=tmp_path, namespace="x").get(URI)
    cache = FakeCache(s3, directory=tmp_path, namespace="x")
    s3[URI] = b"new"
    disk, real = cache._disk, cache._flights.forget_all if how == "clear" else cache._flights.forget
    assert disk is not None
    read, go_on = threading.Event(), threading.Event()
    get = disk.get

    def slow_get(key: Any) -> Any:
        found = get(key)
        read.set()
        assert go_on.wait(30)
        return found

    disk.get = slow_get  # type: ignore[method-assign]
    reader = in_a_thread(lambda: cache.get(URI))
    assert read.wait(30)
    disk.get = get  # type: ignore[method-assign]

    def forget(*key: Any) -> None:
        go_on.set()
        reader.join(30)
        real(*key)

    setattr(cache._flights, "forget_all" if how == "clear" else "forget", forget)
    cache.clear() if how == "clear" else cache.invalidate(URI)
    assert cache.get(URI) == b"new"


@pytest.mark.parametrize("gone", ["deleted", "denied"])
def test_a_404_is_not_undone_by_a_flight_begun_earlier(gone: str) -> None:
    s3 = FakeS3({URI: b"old"})
    cache = FakeCache(s3)
    asked, go_on = threading.Event(), threading.Event()
    real = cache._memory.put

    def slow_put(entry: Any) -> bool:
        asked.set()
        assert go_on.wait(30)
        return real(entry)

    # The first flight has its answer and is about to keep it.
    fetch = cache._origin.fetch

    def slow_fetch(*args: Any, **options: Any) -> Any:
        answer = fetch(*args, **options)
        asked.set()
        assert go_on.wait(30)
        return answer

    cache._origin.fetch = slow_fetch  # type: ignore[method-assign]
    first = in_a_thread(lambda: cache.get(URI))
    assert asked.wait(30)
    cache._origin.fetch = fetch  # type: ignore[method-assign]
    if gone == "deleted":
        del s3[URI]
    else:
        s3.denied.add(URI)
    expected = ObjectNotFoundError if gone == "deleted" else AccessDeniedError
    with pytest.raises(expected):
        cache.get(URI, ttl=0)
    go_on.set()
    first.join(30)
    with pytest.raises(expected):
        cache.get(URI)


def test_nobody_inherits_the_age_that_another_call_accepts(tmp_path: Path) -> None:
    """A plain get joined the flight of a `get(ttl=3600)`, and was given what is an hour old."""
    s3 = FakeS3({URI: b"old"})
    FakeCache(s3, directory=tmp_path, namespace="x", ttl=60).get(URI)
    s3[URI] = b"new"
    s3.advance(3000)
    cache = FakeCache(s3, directory=tmp_path, namespace="x", ttl=60)
    disk = cache._disk
    assert disk is not None
    reading, go_on = threading.Event(), threading.Event()
    get, answers = disk.get, []

    def slow_get(key: Any) -> Any:
        disk.get = get  # type: ignore[method-assign]
        reading.set()
        assert go_on.wait(30)
        return get(key)

    disk.get = slow_get  # type: ignore[method-assign]
    patient = in_a_thread(lambda: answers.append(cache.get(URI, ttl=3600)))
    assert reading.wait(30)
    assert cache.get(URI) == b"new"
    go_on.set()
    patient.join(30)
    assert answers[0] in (b"old", b"new")


def test_a_plain_get_does_not_inherit_the_error_of_a_strict_one() -> None:
    s3 = FakeS3({URI: b"old"})
    cache = FakeCache(s3, ttl=60)
    cache.get(URI)
    s3.advance(60)
    s3.down = True
    dialling, go_on = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        s3.before_answer = None
        dialling.set()
        assert go_on.wait(30)

    s3.before_answer = wait
    errors: list[Exception] = []

    def strict() -> None:
        try:
            cache.get(URI, ttl=0)
        except OriginUnavailableError as error:
            errors.append(error)

    thread = in_a_thread(strict)
    assert dialling.wait(30)
    assert cache.get(URI) == b"old"
    go_on.set()
    thread.join(30)
    assert len(errors) == 1


@pytest.mark.parametrize("what", ["invalidate", "denied"])
def test_a_disk_that_cannot_be_written_does_not_bring_the_old_copy_back(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT", 0.05)
    s3 = FakeS3({URI: b"old"})
    FakeCache(s3, directory=tmp_path / "c", namespace="x").get(URI)
    cache = FakeCache(s3, directory=tmp_path / "c", namespace="x")
    cache.stats()
    with closing(sqlite3.connect(tmp_path / "c" / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        if what == "invalidate":
            s3[URI] = b"new"
            cache.invalidate(URI)
            assert cache.get(URI) == b"new"
        else:
            s3.denied.add(URI)
            for ttl in (0, None):
                with pytest.raises(AccessDeniedError):
                    cache.get(URI, ttl=ttl)
        other.execute("ROLLBACK")


def test_an_enum_and_its_string_are_one_object(tmp_path: Path) -> None:
    class Key(enum.StrEnum):
        FLAGS = "flags.json"

    s3 = FakeS3({URI: b"old"})
    cache = FakeCache(s3, directory=tmp_path, namespace="x")
    cache.get("cfg", Key.FLAGS)
    s3[URI] = b"new"
    cache.invalidate("cfg", "flags.json")
    assert FakeCache(s3, directory=tmp_path, namespace="x").get("cfg", Key.FLAGS) == b"new"


def test_a_full_disk_at_the_start_does_not_cost_the_warm_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps SQLite from reading for a moment speaks against nothing that lies there."""
    tier = disk_tier(tmp_path)
    tier.put(an_entry())
    tier.close()
    connect = sqlite3.connect

    def troubled(*args: Any, **options: Any) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", troubled)
    assert disk_tier(tmp_path).get(an_entry().object) is None
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert disk_tier(tmp_path).get(an_entry().object) == an_entry()


def test_a_transaction_that_fails_after_the_rename_leaves_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3warm.tiers.store import Store

    tier = disk_tier(tmp_path)
    tier.put(an_entry(key="other"))
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(Store, "write", full)
        assert not tier.put(an_entry(noise(200_000)))
    assert os.listdir(tmp_path / "bodies") == []
    tier.close()
    tier = disk_tier(tmp_path)
    assert tier.get(an_entry().object) is None
    assert os.listdir(tmp_path / "bodies") == []


def test_bytes_that_are_no_text_do_not_wedge_the_tier(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path, budget=600_000)
    for number in range(20):
        tier.put(an_entry(noise(1000, number), key=str(number)))
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other:
        other.execute("UPDATE Cache SET tag = CAST(x'5bff5d' AS TEXT) WHERE rowid % 2")
    journal = Journal()
    tier.close()
    tier = disk_tier(tmp_path, budget=600_000, journal=journal)
    for number in range(400):
        tier.get(an_entry(key=str(number)).object)
        tier.put(an_entry(noise(1000, number), key=str(number), validated_at=NOW + 1))
    assert journal.counters.disk_errors == 0
    tier.clear()
    assert tier.usage().entries == 0


def test_a_database_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    first = disk_tier(tmp_path)
    first.put(an_entry(noise(100_000)))
    for path in tmp_path.glob("cache.db*"):
        path.unlink()
    second = disk_tier(tmp_path)
    second.put(an_entry(noise(100_000, 1), key="second"))
    first.put(an_entry(noise(100_000, 2), key="third"))
    assert first.put(an_entry(noise(100_000, 2), key="third"))
    assert second.get(an_entry(key="third").object) is not None
    assert second.usage().entries == 2
    assert len(os.listdir(tmp_path / "bodies")) == 2


def test_a_directory_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    from shutil import rmtree

    tier = disk_tier(tmp_path / "c")
    tier.put(an_entry())
    rmtree(tmp_path / "c")
    tier.put(an_entry(noise(100_000), validated_at=NOW + 1))
    assert tier.put(an_entry(noise(100_000), validated_at=NOW + 2))
    assert tier.get(an_entry().object) is not None


def test_a_smaller_budget_is_reached_when_the_directory_is_opened_again(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path)
    for number in range(1500):
        tier.put(an_entry(noise(100, number), key=f"{number:04d}" + "x" * 900))
    held = tier.usage().bytes
    tier.close()
    tier = disk_tier(tmp_path, budget=held // 4)
    assert 0 < tier.usage().entries < 1500
    assert tier.usage().bytes <= held // 4


def test_a_pipe_in_place_of_a_body_blocks_nobody(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path)
    tier.put(an_entry(noise(100_000)))
    (path,) = (tmp_path / "bodies").iterdir()
    path.unlink()
    os.mkfifo(path)
    assert tier.get(an_entry().object) is None
    assert tier.put(an_entry(noise(100_000)))


def test_a_folder_in_place_of_a_body_is_put_away(tmp_path: Path) -> None:
    journal = Journal()
    tier = disk_tier(tmp_path, journal=journal)
    tier.put(an_entry(noise(100_000)))
    (path,) = (tmp_path / "bodies").iterdir()
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"x")
    assert tier.get(an_entry().object) is None
    assert tier.put(an_entry(noise(100_000)))
    assert path.is_file()


@pytest.mark.parametrize(
    "planted",
    [
        "UPDATE Floor SET value = 'high'",
        "UPDATE Rank SET weight = NULL, priority = NULL",
        "UPDATE Settings SET value = 'many' WHERE key = 'size'",
        "UPDATE Settings SET value = 'many' WHERE key = 'count'",
        "UPDATE Settings SET value = -9000000000 WHERE key = 'size'",
        "UPDATE Cache SET key = 'text' || rowid",
        "DROP TABLE Rank",
        "DROP TABLE Cache",
    ],
)
def test_odd_values_in_the_database_reach_nobody(planted: str, tmp_path: Path) -> None:
    s3 = FakeS3({f"s3://cfg/{number}": noise(3_000, number) for number in range(300)})
    cache = FakeCache(s3, directory=tmp_path / "c", namespace="x", disk_budget=600_000, memory_budget=0)
    for number in range(5):
        cache.get("cfg", str(number))
    with closing(sqlite3.connect(tmp_path / "c" / "cache.db", isolation_level=None)) as other:
        other.execute(planted)
    for number in range(300):
        assert cache.get("cfg", str(number)) == noise(3_000, number)
    cache.stats()
    cache.clear()
    assert cache.stats().disk_bytes <= 600_000
    cache.get("cfg", "1")
    asked = len(s3.requests)
    cache.get("cfg", "1")
    assert len(s3.requests) == asked, "the tier works again"


def test_a_clock_of_whole_seconds_is_a_clock(tmp_path: Path) -> None:
    s3 = FakeS3({URI: b"body"})
    s3.now = 1_700_000_000
    for _ in range(2):
        assert FakeCache(s3, directory=tmp_path, namespace="x").get(URI) == b"body"
    assert len(s3.requests) == 1


def test_a_404_of_what_was_never_held_removes_nothing() -> None:
    cache = FakeCache(FakeS3())
    with pytest.raises(ObjectNotFoundError):
        cache.get(URI)
    assert (cache.stats().removed, cache.stats().errors) == (0, 1)


def test_hooks_are_called_where_nothing_is_locked() -> None:
    """Two threads whose hooks each asked for the other's object waited for each other for ever."""
    s3 = FakeS3()
    for name in ("a", "b"):
        s3.put(f"s3://cfg/{name}", b"body", cache_control="no-store")
    both = threading.Barrier(2)
    seen: list[str] = []

    def hook(event: Event) -> None:
        if len(seen) < 2:
            seen.append(str(event.key))
            both.wait(30)
            cache.get("cfg", "b" if event.key == "a" else "a")

    cache = FakeCache(s3, on_event=hook)
    threads = [in_a_thread(lambda name=name: cache.get("cfg", name)) for name in ("a", "b")]  # type: ignore[misc]
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_writers_at_once_stay_within_the_budget_of_the_disk(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path, budget=3_000_000)
    tier.put(an_entry())
    assert tier._shelf is not None
    room = tier._shelf.room
    room.staged_bytes = 2_500_000  # another thread's file is on its way
    assert not tier.put(an_entry(noise(1_000_000), key="too much for now"))
    room.staged_bytes = 0
    assert tier.put(an_entry(noise(1_000_000), key="fits"))


FORK = """
import os, sys, threading
import s3warm
from s3warm.testing import FakeCache, FakeS3
s3 = FakeS3({"s3://b/k": b"body", "s3://b/new": b"new", "s3://b/other": b"other"})
cache = FakeCache(s3)
cache.get("b", "other")
asked, go_on = threading.Event(), threading.Event()
def wait(request):
    asked.set()
    go_on.wait(30)
s3.before_answer = wait
thread = threading.Thread(target=lambda: cache.get("b", "k"), daemon=True)
thread.start()
asked.wait(30)
cache._memory._lock.acquire()
cache._disk._store._reading.acquire()
child = os.fork()
if child == 0:
    s3.before_answer = None
    ok = cache.get("b", "new") == b"new" and cache.get("b", "other", ttl=0) == b"other"
    os._exit(0 if ok else 1)
cache._memory._lock.release()
cache._disk._store._reading.release()
for _ in range(1000):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    threading.Event().wait(0.02)
else:
    os.kill(child, 9)
    sys.exit("the child hangs")
go_on.set()
thread.join(30)
assert status == 0, status
assert cache.get("b", "k") == b"body"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_a_forked_child_waits_for_nobody() -> None:
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK], check=True, timeout=60)


CLIENT = """
import os
from s3warm.origin.boto import BotoRequests
os.environ.update(AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_DEFAULT_REGION="us-east-1")
requests = BotoRequests()
before = requests._client()
assert requests._client() is before
child = os.fork()
if child == 0:
    requests.renew()
    os._exit(0 if requests._client() is not before else 1)
assert os.waitpid(child, 0)[1] == 0
assert requests._client() is before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_a_forked_child_does_not_read_from_its_parents_connections() -> None:
    """The parent was given the child's answer, and the child the parent's, each under the other's key."""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", CLIENT], check=True, timeout=60)


def test_the_file_of_a_replaced_body_is_removed(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path)
    for number in range(5):
        tier.put(an_entry(noise(100_000, number), validated_at=NOW + number))
    assert len(os.listdir(tmp_path / "bodies")) == 1


def test_what_another_process_validated_is_believed(tmp_path: Path) -> None:
    s3 = FakeS3({URI: b"one"})
    one, two = (FakeCache(s3, directory=tmp_path, namespace="x", ttl=60) for _ in range(2))
    one.get(URI)
    two.get(URI)
    s3.advance(60)
    one.get(URI)
    assert len(s3.requests) == 2
    two.get(URI)
    assert len(s3.requests) == 2, "one revalidation serves both"
    s3[URI] = b"two"
    s3.advance(60)
    assert one.get(URI) == b"two"
    assert two.get(URI) == b"two"
    assert len(s3.requests) == 3


def test_what_could_not_be_evicted_is_remembered_in_bounds(tmp_path: Path) -> None:
    """With a directory that cannot be used each put is one more that could not be made good."""
    from s3warm.tiers import doubts

    tier = disk_tier(tmp_path / "c")
    (tmp_path / "c").mkdir(mode=0o755)
    for number in range(doubts.LIMIT + 10):
        assert not tier.put(an_entry(key=str(number)))
    assert len(tier._doubts._keys) <= doubts.LIMIT
    (tmp_path / "c").chmod(0o700)
    tier._closed_until = 0.0
    assert tier.get(an_entry(key="0").object) is None
    assert tier.put(an_entry(key="0"))
    assert tier.get(an_entry(key="0").object) is not None


def test_a_row_that_is_no_text_does_not_hang_what_changes_it(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path)
    tier.put(an_entry())
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other:
        ((tag,),) = other.execute("SELECT CAST(tag AS BLOB) FROM Cache").fetchall()
        planted = tag.replace(b"application", b"appl\xe2cation")
        assert planted != tag
        other.execute("UPDATE Cache SET tag = CAST(? AS TEXT)", (planted,))
    tier.expire(an_entry().object)
    assert tier.get(an_entry().object) is None


def test_an_answer_asked_for_earlier_does_not_replace_that_of_a_strict_call() -> None:
    """Also where the clock has not moved in between."""
    s3 = FakeS3({URI: b"old"})
    cache = FakeCache(s3)
    fetch = cache._origin.fetch
    asked, go_on = threading.Event(), threading.Event()

    def slow_fetch(*args: Any, **options: Any) -> Any:
        answer = fetch(*args, **options)
        asked.set()
        assert go_on.wait(30)
        return answer

    cache._origin.fetch = slow_fetch  # type: ignore[method-assign]
    first = in_a_thread(lambda: cache.get(URI))
    assert asked.wait(30)
    cache._origin.fetch = fetch  # type: ignore[method-assign]
    s3[URI] = b"new"
    assert cache.get(URI, ttl=0) == b"new"
    go_on.set()
    first.join(30)
    assert cache.get(URI) == b"new"


COUNTED = """
import os
from s3warm.testing import FakeCache, FakeS3
cache = FakeCache(FakeS3({"s3://b/k": b"body"}))
cache.get("b", "k")
cache.get("b", "k")
if not os.fork():
    before = cache.stats()
    cache.get("b", "k")
    after = cache.stats()
    counted = [before.misses, before.memory_hits, before.origin_requests, after.memory_hits, after.memory_entries]
    os._exit(0 if counted == [0, 0, 0, 1, 1] else 1)
assert os.wait()[1] == 0
assert (cache.stats().misses, cache.stats().memory_hits) == (1, 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_a_forked_child_counts_from_the_start() -> None:
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", COUNTED], check=True, timeout=60)


LEFT = """
import os, signal
import s3warm
from s3warm.factory import Cache
class Warming(Cache):
    def _supplier(self, client, settings):
        from s3warm.testing import FakeS3
        return FakeS3({"s3://b/k": b"body" * 100_000})
cache = Warming()
cache.get("b", "k")
print(cache.budgets().directory if hasattr(cache.budgets(), "directory") else cache._disk_tier.path, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_the_temporary_directory_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}

    def run(end: str) -> Path:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LEFT + end]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        return Path(done.stdout.strip())

    def age(path: Path) -> None:
        os.utime(path, (NOW, NOW))  # those that are not yet a minute old may be being made

    killed, young = run("os.kill(os.getpid(), signal.SIGKILL)"), run("os.kill(os.getpid(), signal.SIGTERM)")
    foreign = tmp_path / "s3warm-17-notours"
    foreign.mkdir()
    age(killed)
    age(foreign)
    assert killed.parent == young.parent == tmp_path
    assert killed.exists()
    # A process that lives, or a child that it has forked, keeps its directory.
    keeping = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            LEFT + "if os.fork(): os._exit(0)\nimport sys; sys.stdin.read()",
        ],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeping.stdin is not None
    assert keeping.stdout is not None
    used = Path(keeping.stdout.readline().strip())
    keeping.wait(30)
    age(used)
    last = run("")
    assert not last.exists()
    assert not killed.exists()
    assert young.exists()
    assert foreign.exists()
    assert used.exists()
    keeping.stdin.close()
    keeping.stdout.read()  # the child has ended
    keeping.stdout.close()
    run("")
    assert not used.exists()
