"""Every known trap of diskcache, closed. Each test would fail on a plain `diskcache.Cache`."""

from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from s3warm.tiers import database as database_module
from s3warm.tiers import disk as disk_module
from s3warm.tiers import row as rows
from s3warm.tiers.database import DATABASE
from tests.support.entries import NOW, an_entry, noise, text
from tests.support.tiers import Journal, disk_tier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

MIB = 2**20


def database(directory: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(directory / DATABASE, isolation_level=None))


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("mode", [2, 3, 4])
def test_a_row_flipped_to_pickle_mode_is_dropped_and_not_executed(tmp_path: Path, mode: int) -> None:
    """CVE-2025-69872."""
    journal, entry, proof = Journal(), an_entry(), tmp_path / "executed"
    directory = tmp_path / "cache"
    tier = disk_tier(directory, journal=journal)
    tier.put(entry)
    bomb = pickle.dumps(_Bomb(proof))
    (directory / "bodies" / "bomb").write_bytes(bomb)
    with database(directory) as connection:
        connection.execute("UPDATE Cache SET mode = ?, value = ?, filename = 'bodies/bomb'", (mode, bomb))
    assert tier.get(entry.object) is None
    assert journal.corrupted == [entry.object]
    assert not proof.exists()
    assert tier.usage().entries == 0
    assert tier.put(entry), "the store goes on"


def test_a_pickled_key_is_not_executed(tmp_path: Path) -> None:
    directory, proof = tmp_path / "cache", tmp_path / "executed"
    tier = disk_tier(directory)
    tier.put(an_entry())
    with database(directory) as connection:
        connection.execute("UPDATE Cache SET key = ?, raw = 0", (pickle.dumps(_Bomb(proof)),))
    tier.close()
    tier = disk_tier(directory)
    assert tier.get(an_entry().object) is None
    tier.clear()
    assert not proof.exists()


@pytest.mark.parametrize("inline", [True, False])
def test_a_row_that_names_a_file_elsewhere_neither_reads_nor_unlinks_it(tmp_path: Path, inline: bool) -> None:
    directory, victim = tmp_path / "cache", tmp_path / "victim"
    victim.write_bytes(b"secret")
    entry = an_entry(b"small" if inline else noise(200_000))
    tier = disk_tier(directory)
    tier.put(entry)
    with database(directory) as connection:
        connection.execute("UPDATE Cache SET filename = '../victim'")
    assert tier.get(entry.object) is None
    tier.put(entry)
    with database(directory) as connection:
        connection.execute("UPDATE Cache SET filename = '../victim'")
    tier.evict(entry.object)
    tier.clear()
    assert victim.read_bytes() == b"secret"


def test_settings_in_the_database_are_not_trusted(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    tier = disk_tier(directory)
    tier.put(an_entry())
    tier.close()
    with database(directory) as connection:
        connection.execute("UPDATE Settings SET value = 'least-recently-used' WHERE key = 'eviction_policy'")
        connection.execute("UPDATE Settings SET value = 100 WHERE key = 'cull_limit'")
        connection.execute("UPDATE Settings SET value = 1 WHERE key = 'size_limit'")
        connection.execute("UPDATE Settings SET value = 1073741824 WHERE key = 'sqlite_mmap_size'")
    tier = disk_tier(directory)
    assert tier.get(an_entry().object) == an_entry()
    store = tier._store
    assert store is not None
    assert (store.eviction_policy, store.cull_limit, store.sqlite_mmap_size) == ("none", 0, 0)


def test_a_database_with_settings_of_somebody_elses_is_made_anew(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    tier = disk_tier(directory)
    tier.put(an_entry())
    tier.close()
    with database(directory) as connection:
        connection.execute("INSERT INTO Settings VALUES ('sqlite_temp_store_directory', '/somewhere')")
    tier = disk_tier(directory)
    assert tier.get(an_entry().object) is None
    assert tier.put(an_entry())


def test_an_expired_row_stays_visible_and_an_insert_culls_nothing(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path / "cache", budget=10 * MIB)
    expired = an_entry(key="expired", validated_at=1.0, expires_at=2.0)
    tier.put(expired)
    # On diskcache's defaults one insert of 5 MiB emptied a cache of 10 MiB, the new item included.
    tier.put(an_entry(noise(5 * MIB), key="large"))
    assert tier.get(expired.object) == expired
    assert tier.get(an_entry(key="large").object) is not None


def test_a_read_writes_nothing(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path / "cache")
    for body in (b"inline", noise(200_000)):
        tier.put(an_entry(body, key=str(len(body))))
    assert tier._store is not None
    statements: list[str] = []
    tier._store._con.set_trace_callback(statements.append)
    before = os.stat(tmp_path / "cache" / (DATABASE + "-wal")).st_mtime_ns
    for body in (b"inline", noise(200_000)):
        assert tier.get(an_entry(key=str(len(body))).object) is not None
    assert len(statements) == 2, statements
    assert all(statement.startswith("SELECT") for statement in statements)
    assert os.stat(tmp_path / "cache" / (DATABASE + "-wal")).st_mtime_ns == before


def test_large_bodies_are_not_written_line_by_line_nor_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = disk_tier(tmp_path / "cache", level=0)
    tier.put(an_entry())
    written: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        written.append(write(descriptor, data))
        return written[-1]

    monkeypatch.setattr(os, "write", counted)
    body = b"line\n" * 1_000_000
    assert tier.put(an_entry(body))
    assert written == [len(body)]


def test_files_lie_flat_and_everything_is_private(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    old = os.umask(0)
    try:
        tier = disk_tier(directory)
        tier.put(an_entry(noise(200_000)))
        tier.put(an_entry(b"inline", key="inline"))
    finally:
        os.umask(old)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [directory, *directory.rglob("*")]}
    wanted = {path: 0o700 if path.is_dir() else 0o400 if path.parent.name == "bodies" else 0o600 for path in modes}
    assert modes == wanted
    assert 0o400 in modes.values()
    assert {path.name for path in directory.iterdir() if path.is_dir()} == {"bodies", "staging"}
    assert len(list((directory / "bodies").iterdir())) == 1
    assert list((directory / "staging").iterdir()) == []


def test_the_number_of_connections_does_not_grow_with_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def counted(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        opened.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counted)
    tier = disk_tier(tmp_path / "cache")
    tier.put(an_entry())
    threads = [threading.Thread(target=lambda: tier.get(an_entry().object)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([connection for connection in opened if is_open(connection)]) == 2
    tier.close()
    assert not any(is_open(connection) for connection in opened)


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_each_connection_has_a_small_cache_and_maps_nothing(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path / "cache")
    tier.put(an_entry())
    assert tier._store is not None
    assert tier._store._con.execute("PRAGMA cache_size").fetchone() == (-256,)
    assert tier._store._con.execute("PRAGMA mmap_size").fetchone() == (0,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_a_forked_child_leaves_the_connections_to_its_parent(tmp_path: Path) -> None:
    """In a process of its own: forking one that has threads is nobody's idea of a good time."""
    code = f"""
import os, sys
from pathlib import Path
from tests.support.tiers import disk_tier
from tests.support.entries import an_entry
from s3warm.tiers import store
tier = disk_tier(Path({str(tmp_path / "cache")!r}))
tier.put(an_entry(b"parent", key="parent"))
tier.get(an_entry(key="parent").object)
child = os.fork()
if child == 0:
    found = tier.get(an_entry(key="parent").object)
    stored = tier.put(an_entry(b"child", key="child"))
    left = len(store._left_to_parents)
    tier.close()
    os._exit(0 if found and stored and left == 2 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert tier.get(an_entry(key="child").object).body == b"child"
assert tier.put(an_entry(b"after", key="after"))
assert tier._store._con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_sqlites_own_size_counts(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    tier = disk_tier(directory)
    for number in range(300):
        tier.put(an_entry(noise(3_000, number), key=str(number)))
    on_disk = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    # Pages that are still in the log are counted there and, as they will be, in the database.
    assert 900_000 < on_disk <= tier.usage().bytes <= on_disk + 128 * 4096


def test_space_that_rows_gave_up_is_given_back(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    tier = disk_tier(directory)
    for number in range(100):
        tier.put(an_entry(noise(30_000, number), key=str(number)))
    tier.clear()
    assert tier.usage().bytes < 400_000
    assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) < 400_000


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated", "link"])
def test_a_damaged_database_is_made_anew(tmp_path: Path, damage: str) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory)
    entries = [an_entry(noise(size), key=str(size)) for size in (100, 200_000)]
    for entry in entries:
        tier.put(entry)
    tier.close()
    path = directory / DATABASE
    if damage == "garbage":
        path.write_bytes(noise(40_000))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5_000])
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    tier = disk_tier(directory, journal=journal)
    assert [tier.get(entry.object) for entry in entries] == [None, None]
    assert list((directory / "bodies").iterdir()) == [], "files that no row knows are removed"
    for entry in entries:
        assert tier.put(entry)
        assert tier.get(entry.object) == entry


def test_a_database_that_breaks_under_us_heals(tmp_path: Path) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    for number in range(200):
        tier.put(an_entry(noise(2_000, number), key=str(number)))
    assert tier._store is not None
    tier._store.fold()
    with open(directory / DATABASE, "r+b") as file:
        file.seek(4096)
        file.write(noise(400_000))
    for number in range(200):
        found = tier.get(an_entry(key=str(number)).object)
        assert found is None or found.body == noise(2_000, number)
    assert tier.put(an_entry())
    assert tier.get(an_entry().object) == an_entry()
    assert journal.counters.disk_errors + len(journal.corrupted) > 0


def tampered(**changes: object) -> str:
    entry = an_entry()
    row = rows.Row("test", entry.object, entry.info._replace(**changes), "raw", 4, 0, None, NOW, NOW + 300)  # type: ignore[arg-type]
    return rows.pack(row)


ROWS = {
    "a number for the user's metadata": tampered(user=7),
    "a number in the user's metadata": tampered(user={"a": 7}),
    "a number for Cache-Control": tampered(cache_control=7),
    "no ETag": tampered(etag=None),
    "a text for the size": tampered(size="4"),
    "no JSON": "nonsense",
    "null": None,
    "a number": 7,
    "bytes": b"[1]",
    "another format": "[2, 3]",
    "deep": "[" * 100_000,
    "wrong types": '[1, "test", ["bucket", "key", null], [5, "x"], "raw", -1, 0, null, 0.0, 1.0]',
}


@pytest.mark.parametrize("planted", ROWS.values(), ids=ROWS.keys())
def test_a_row_that_cannot_be_read_is_dropped(tmp_path: Path, planted: object) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    tier.put(an_entry())
    with database(directory) as connection:
        connection.execute("UPDATE Cache SET tag = ?", (planted,))
    assert tier.get(an_entry().object) is None
    assert journal.corrupted == [an_entry().object]
    assert tier.put(an_entry())


def test_a_row_of_another_object_is_not_served(tmp_path: Path) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    tier.put(an_entry(b"public", key="public"))
    tier.put(an_entry(b"secret", key="secret"))
    with database(directory) as connection:
        connection.execute(
            "UPDATE Cache SET (tag, value) = (SELECT tag, value FROM Cache WHERE key = ?) WHERE key = ?",
            (rows.digest("test", an_entry(key="secret").object), rows.digest("test", an_entry(key="public").object)),
        )
    assert tier.get(an_entry(key="public").object) is None
    assert journal.corrupted == [an_entry(key="public").object]


@pytest.mark.parametrize(
    "body", [noise(500), text(5_000), noise(300_000), text(3_000_000)], ids=["raw", "zstd", "raw file", "zstd file"]
)
def test_a_flipped_byte_is_never_served(tmp_path: Path, body: bytes) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    entry = an_entry(body)
    tier.put(entry)
    files = list((directory / "bodies").iterdir())
    if files:
        stored = bytearray(files[0].read_bytes())
        stored[len(stored) // 2] ^= 1
        files[0].write_bytes(stored)
    else:
        with database(directory) as connection:
            ((value,),) = connection.execute("SELECT value FROM Cache").fetchall()
            stored = bytearray(value)
            stored[len(stored) // 2] ^= 1
            connection.execute("UPDATE Cache SET value = ?", (bytes(stored),))
    assert tier.get(entry.object) is None
    assert journal.corrupted == [entry.object]
    assert list((directory / "bodies").iterdir()) == []


def test_a_frame_that_claims_terabytes_allocates_nothing(tmp_path: Path) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    entry = an_entry(text(5_000))
    tier.put(entry)
    # Magic, then a descriptor: single segment, 8 bytes of content size (RFC 8878, section 3.1.1).
    frame = b"\x28\xb5\x2f\xfd" + b"\xe0" + (4 * 2**40).to_bytes(8, "little") + b"\x01\x00\x00"
    with database(directory) as connection:
        ((planted,),) = connection.execute("SELECT tag FROM Cache").fetchall()
        row = rows.unpack(planted)
        for size in (row.info.size, 4 * 2**40):
            lying = rows.pack(row._replace(info=row.info._replace(size=size), stored_size=len(frame)))
            connection.execute("UPDATE Cache SET tag = ?, value = ?", (lying, frame))
            assert tier.get(entry.object) is None
            tier.put(entry)
    assert len(journal.corrupted) == 2


def test_a_file_that_is_gone_is_a_miss_and_its_row_goes(tmp_path: Path) -> None:
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    entry = an_entry(noise(200_000))
    tier.put(entry)
    next((directory / "bodies").iterdir()).unlink()
    assert tier.get(entry.object) is None
    assert tier.usage().entries == 0
    assert journal.corrupted == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    directory, victim = tmp_path / "cache", tmp_path / "victim"
    body = noise(200_000)
    victim.write_bytes(body)
    tier = disk_tier(directory)
    entry = an_entry(body)
    tier.put(entry)
    path = next((directory / "bodies").iterdir())
    path.unlink()
    path.symlink_to(victim)
    assert tier.get(entry.object) is None
    tier.put(entry)
    assert victim.read_bytes() == body
    assert not path.is_symlink(), "publishing replaces the link and leaves alone what it points to"


@pytest.mark.parametrize("wrong", ["link", "open to others", "a file", "no parent rights"])
def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path: Path, wrong: str) -> None:
    directory, journal = tmp_path / "cache", Journal()
    if wrong == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "real")
    elif wrong == "open to others":
        directory.mkdir(mode=0o755)
    elif wrong == "a file":
        directory.write_bytes(b"")
    else:
        directory = tmp_path / "cache\0" if os.geteuid() == 0 else tmp_path / "closed" / "cache"
        if os.geteuid() != 0:
            (tmp_path / "closed").mkdir(mode=0o500)
        else:
            # Root may write anywhere but into /proc.
            from pathlib import Path as RealPath

            directory = RealPath("/proc/s3warm")
    tier = disk_tier(directory, journal=journal)
    assert not tier.put(an_entry())
    assert tier.get(an_entry().object) is None
    assert journal.counters.disk_errors == 1
    assert not (tmp_path / "real" / DATABASE).exists()


def test_namespaces_on_one_directory_see_nothing_of_each_other(tmp_path: Path) -> None:
    mine, theirs = disk_tier(tmp_path / "cache", namespace="a"), disk_tier(tmp_path / "cache", namespace="b")
    mine.put(an_entry(b"mine"))
    assert theirs.get(an_entry().object) is None
    theirs.put(an_entry(b"theirs"))
    theirs.clear()
    found = mine.get(an_entry().object)
    assert found is not None
    assert found.body == b"mine"


def test_a_locked_database_costs_a_bounded_wait_and_no_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr(disk_module, "REST_AFTER_BUSY", 0)
    directory, journal = tmp_path / "cache", Journal()
    tier = disk_tier(directory, journal=journal)
    tier.put(an_entry(b"held"))
    tier.put(an_entry(key="other"))
    with database(directory) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        assert not tier.put(an_entry(b"new", validated_at=NOW + 1))
        assert journal.counters.disk_errors > 0
        assert tier.get(an_entry().object) is None, "what should have been replaced is not found"
        assert tier.get(an_entry(key="other").object) is not None, "readers are not blocked"
        blocker.execute("ROLLBACK")
        assert tier.put(an_entry(b"new", validated_at=NOW + 2))


def test_the_directory_being_opened_elsewhere_costs_a_bounded_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3warm.tiers import opening
    from s3warm.tiers.directory import Directory

    monkeypatch.setattr(opening, "OPEN_TIMEOUT", 0.01)
    journal = Journal()
    directory = Directory(str(tmp_path / "cache"))
    directory.prepare()
    with directory.lock(0) as lock:
        assert lock.acquire(timeout=0)
        tier = disk_tier(tmp_path / "cache", journal=journal)
        assert not tier.put(an_entry())
    assert journal.counters.disk_errors == 1


def test_what_a_dead_writer_left_is_swept_and_a_living_ones_work_is_not(tmp_path: Path) -> None:
    from s3warm.tiers.directory import Directory

    path = tmp_path / "cache"
    tier = disk_tier(path)
    kept = an_entry(noise(200_000), key="kept")
    tier.put(kept)
    tier.close()
    directory = Directory(str(path))

    def name(etag: str) -> str:
        entry = an_entry(key="dead", etag=etag)
        return rows.file_name(rows.Row("test", entry.object, entry.info, "raw", 4, 0, None, 0.0, 0.0))

    dead = directory.stage(name('"dead"'))
    dead.write([b"half"])
    published = directory.stage(name('"published"'))
    published.write([b"whole, but without a row"])
    published.publish()
    living = directory.stage(name('"living"'))
    living.write([b"at work"])
    for staged in (dead, published):
        staged._intent.leave()  # as the kernel does when the writer dies
    tier = disk_tier(path)
    assert tier.get(kept.object) == kept
    assert len(list(directory_entries(path / "bodies"))) == 1
    assert [name.rsplit(".", 1)[1] for name in directory_entries(path / "staging")] == ["staged"]
    living.finish(lambda _: False)
    assert list(directory_entries(path / "staging")) == []


@pytest.mark.parametrize("planted", [f"{'a' * 32}-/../../../victim", "../../victim", "\x00\xff", "a" * 200])
def test_a_planted_intent_removes_nothing_outside_of_the_directory(tmp_path: Path, planted: str) -> None:
    from s3warm.tiers import intents

    path = tmp_path / "cache"
    tier = disk_tier(path)
    tier.put(an_entry())
    tier.close()
    victims = [tmp_path / "victim", tmp_path / "victim.staged", path / "victim.staged"]
    for victim in victims:
        victim.write_bytes(b"precious")
    intents.declare(str(path / "intents"), planted).leave()
    again = disk_tier(path)
    assert again.get(an_entry().object) == an_entry()
    assert all(victim.read_bytes() == b"precious" for victim in victims)
    assert list(intents.left_behind(str(path / "intents"))) == [], "and it is forgotten"


def test_what_a_body_replaced_is_gone_though_its_writer_died_before_it_removed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3warm.tiers.directory import Staged
    from s3warm.tiers.room import Room

    path = tmp_path / "cache"
    old, new = an_entry(noise(200_000, 1), etag='"1"'), an_entry(noise(200_000, 2), etag='"2"')
    tier = disk_tier(path)
    tier.put(old)
    with monkeypatch.context() as dying:
        dying.setattr(Room, "remove_superseded", lambda *_: None)
        dying.setattr(Staged, "finish", lambda staged, _: staged._intent.leave())
        tier.put(new)
    tier.close()
    assert len(directory_entries(path / "bodies")) == 2
    again = disk_tier(path)
    assert again.get(new.object) == new
    assert len(directory_entries(path / "bodies")) == 1


def test_a_body_that_is_replaced_while_it_is_in_use_stays_until_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    old, new = an_entry(noise(200_000, 1), etag='"1"'), an_entry(noise(200_000, 2), etag='"2"')
    tier = disk_tier(path)
    tier.put(old)
    file = tier.file(old.object)
    assert file is not None
    tier.put(new)
    with open(file.path, "rb") as handed_out:
        assert handed_out.read() == old.body
    assert tier.get(new.object) == new
    file.pin.release()
    assert tier.usage().entries == 2, "it counts in the budget, until room is needed"


def directory_entries(path: Path) -> list[str]:
    return os.listdir(path)


def test_a_body_that_came_back_while_what_it_replaced_was_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process puts the old body back between this one's commit and its removal of the old file."""
    from s3warm.tiers.room import Room

    path = tmp_path / "cache"
    old, new = an_entry(noise(200_000, 1), etag='"1"'), an_entry(noise(200_000, 2), etag='"2"')
    tier, other = disk_tier(path), disk_tier(path)
    tier.put(old)
    remove = Room.remove_superseded

    def overtaken(room: Room, *what: object) -> None:
        monkeypatch.setattr(Room, "remove_superseded", remove)
        assert other.put(old._replace(validated_at=old.validated_at + 1))
        remove(room, *what)  # type: ignore[arg-type]

    monkeypatch.setattr(Room, "remove_superseded", overtaken)
    assert tier.put(new)
    for each in (tier, other):
        found = each.get(old.object)
        assert found is not None
        assert found.body == old.body
        assert each.usage().entries == 1
    assert len(directory_entries(path / "bodies")) == 1


@pytest.mark.parametrize("said", [b"a" * 32 + b"-\x00-1-1", b"a" * 256, b"\xff" * 40, b"a" * 32 + b"-../x"])
def test_a_damaged_intent_is_forgotten_and_the_disk_goes_on(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "cache"
    tier = disk_tier(path)
    tier.put(an_entry(noise(200_000)))
    tier.close()
    with open(path / "intents", "r+b") as file:
        file.write(said)
    again = disk_tier(path)
    assert again.get(an_entry(noise(200_000)).object) is not None
    assert again.put(an_entry(noise(200_000, 1), key="another"))


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_what_lies_in_place_of_the_intents_is_removed(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "cache", tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_bytes(b"x")
    tier = disk_tier(path)
    tier.put(an_entry())
    tier.close()
    if kind == "directory":
        os.mkdir(path / "intents")
    else:
        os.symlink(victim, path / "intents")
    again = disk_tier(path)
    assert again.put(an_entry(noise(200_000), key="large"))
    assert (victim / "precious").read_bytes() == b"x"
