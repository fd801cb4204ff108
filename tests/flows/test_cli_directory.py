"""`s3warm inspect` and `s3warm verify` on directories as they are, damaged and in use: what is said of them, and that nothing is changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import OriginUnavailableError
from s3warm.cli.main import main
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import intents
from s3warm.tiers import row as rows
from s3warm.tiers.audit import DAMAGED, MISSING, ORPHANED, PLANTED
from s3warm.tiers.pins import Pins
from s3warm.tiers.survey import Survey
from tests.faults import planted
from tests.faults.planted import Site, Victim
from tests.support.entries import noise, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs locks that can be asked for, which only Linux has")

BODIES = {
    "inline": b"small",
    "inline.json": text(5_000),
    "file.bin": noise(100_000),
    "file.json": text(12_000_000),  # a row that decompresses to much more
    "kms.bin": noise(90_000, 5),
    "kept.onnx": noise(60_000, 1),
    "letters.txt": bytes(65 + byte % 4 for byte in noise(400_000, 7)),  # a frame in a file
    "\x1b[2Jodd": b"odd",
    "tree/a": b"member",
    "tree/sub/b.bin": noise(40_000, 3),
}
HELD = 10  # bodies, and one tree
KMS = '"0123456789abcdef0123456789abcdef"'  # looks like an MD5, and is none


def an_s3() -> FakeS3:
    s3 = FakeS3({f"s3://bucket/{key}": body for key, body in BODIES.items() if key != "kms.bin"})
    s3.put("s3://bucket/kms.bin", BODIES["kms.bin"], etag=KMS, x_amz_server_side_encryption="aws:kms")
    s3["s3://bucket/cut/a"] = b"a" * 1000
    s3["s3://bucket/cut/b"] = b"b"
    s3.now = time.time()
    return s3


def a_cache(s3: FakeS3, path: Path, namespace: str = "mine") -> FakeCache:
    return FakeCache(s3, directory=path, namespace=namespace, disk_budget="64MiB", memory_budget="8MiB", ttl=3600)


def fill(path: Path) -> None:
    s3 = an_s3()
    with a_cache(s3, path) as cache:
        for key in BODIES:
            cache.path("bucket", key) if key == "file.json" else cache.get("bucket", key)
        cache.path("bucket", "kept.onnx")
        cache.tree("bucket", "tree")
        s3.before_answer = lambda request: setattr(s3, "down", request.object.key == "cut/b")
        with pytest.raises(OriginUnavailableError):
            cache.tree("bucket", "cut")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Filled anew for each test: a copy would have other inodes, and so no seal that holds."""
    for name in [name for name in os.environ if name.startswith(("S3WARM_", "AWS_"))]:
        monkeypatch.delenv(name)
    path = tmp_path / "cache"
    fill(path)
    return path


def fingerprint(path: Path) -> dict[str, tuple[object, ...]]:
    """All that can be told of a directory but who has read it; for directories that no cache of this process has open.

    Without the `ctime` of SQLite's log and index: run by root, SQLite gives them to their owner whenever it opens them.
    """
    found: dict[str, tuple[object, ...]] = {}
    for place in (path, *sorted(path.rglob("*"))):
        status = place.lstat()
        content = hashlib.sha256(place.read_bytes()).hexdigest() if place.is_file() and not place.is_symlink() else ""
        changed = 0 if place.name in ("cache.db-wal", "cache.db-shm") else status.st_ctime_ns
        told = status.st_ino, status.st_mode, status.st_uid, status.st_nlink, status.st_size, status.st_mtime_ns
        found[str(place)] = (*told, changed, content)
    return found


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    capsys.readouterr()
    status = run(*arguments, "--json")
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, json.loads(captured.out)


def kinds(found: Any) -> set[tuple[str, str]]:
    return {(finding["kind"], finding["what"]) for finding in found["findings"]}


def body_of(directory: Path, key: str) -> Path:
    """The published file of an object."""
    with Survey(str(directory)) as survey:
        (row,) = [found.row for found in survey.rows() if found.row is not None and found.row.object.key == key]
        return Path(survey.directory.body(rows.file_name(row)))


# -- as it is -------------------------------------------------------------------------------------------------------------------


def test_all_that_is_held_is_told(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(directory)
    status, found = told(capsys, "inspect", directory)
    assert status == 0
    assert fingerprint(directory) == before
    items = {item["key"]: item for item in found["items"]}
    assert set(items) == {*BODIES, "tree/", "cut/"}
    assert found["namespaces"] == ["mine"]
    for key, body in BODIES.items():
        assert (items[key]["kind"], items[key]["size"], items[key]["bucket"]) == ("object", len(body), "bucket")
    assert (items["inline"]["where"], items["file.bin"]["where"], items["tree/"]["where"]) == ("row", "file", "folder")
    assert (items["letters.txt"]["codec"], items["letters.txt"]["where"], items["file.bin"]["codec"]) == ("zstd", "file", "raw")
    assert (items["inline.json"]["codec"], items["inline.json"]["where"]) == ("zstd", "row")
    assert (
        items["letters.txt"]["stored_size"] == body_of(directory, "letters.txt").stat().st_size < items["letters.txt"]["size"]
    )
    assert items["tree/"]["kind"] == "tree"
    assert (items["cut/"]["kind"], items["cut/"]["finished"], items["cut/"]["age"]) == ("download", 1, None)
    assert not any(item["in_use"] for item in items.values())
    assert all(0 <= items[key]["age"] < 60 and 3500 < items[key]["expires_in"] <= 3600 for key in BODIES)
    assert found["database_bytes"] == (directory / "cache.db").stat().st_size
    # As the cache itself has it: a partial row counts as a whole.
    files = sum(item["stored_size"] for item in items.values() if item["where"] != "row")
    assert found["held"] == found["database_bytes"] + files
    assert "MiB free" in found["budget"]["why"]


def test_what_is_held_is_what_the_cache_says(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_cache(an_s3(), directory) as cache:
        cache.get("bucket", "inline")
        counted = cache.stats()
    monkeypatch.setenv("S3WARM_DISK_BUDGET", "64MiB")
    _, found = told(capsys, "inspect", directory)
    assert found["budget"] == {"bytes": counted.disk_budget, "why": "as set"}
    assert abs(found["held"] - counted.disk_bytes) <= 512 * 1024, "its log and the index of it are gone"
    assert len(found["items"]) == len(BODIES) + 2


def test_the_table(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", directory, "--sort", "size", "--limit", 3) == 0
    head, _, namespace, header, *rows, more = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{directory}: {HELD} objects, 1 tree, 1 cut-off download; ")
    assert namespace.startswith("namespace ")
    assert header.split() == ["object", "etag", "codec", "where", "size", "stored", "age", "expires"]
    assert [row.split()[0] for row in rows] == ["s3://bucket/file.json", "s3://bucket/letters.txt", "s3://bucket/file.bin"]
    assert more == f"... and {HELD + 2 - 3} more"


def test_a_terminal_is_not_given_what_it_would_obey(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", directory, "--key", "odd") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "s3://bucket/\\x1b[2Jodd" in out
    assert "inline" not in out


def test_what_is_shown_can_be_chosen(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_cache(s3 := an_s3(), directory, "another") as cache:
        s3.advance(100)
        cache.get("bucket", "inline")
    _, both = told(capsys, "inspect", directory, "--key", "s3://bucket/inline", "--sort", "age")
    assert len(both["namespaces"]) == 2
    assert ["another" in item["namespace"] for item in both["items"]] == [True, False, False], "youngest first"
    _, one = told(capsys, "inspect", directory, "--namespace", "another")
    assert [item["key"] for item in one["items"]] == ["inline"]
    _, by_name = told(capsys, "inspect", directory, "--namespace", "mine")
    keys = [item["key"] for item in by_name["items"]]
    assert keys == sorted(keys)
    _, by_size = told(capsys, "inspect", directory, "--sort", "size")
    sizes = [item["stored_size"] for item in by_size["items"]]
    assert sizes == sorted(sizes, reverse=True)


def test_all_is_whole(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(directory)
    status, found = told(capsys, "verify", directory)
    assert fingerprint(directory) == before
    assert (status, found["findings"], found["downloads"]) == (0, [], 1)
    assert found["bodies"] == {"md5": HELD, "checksum": 0, "seal": 1}, "of what KMS has encrypted only the file's times tell"
    assert run("verify", directory) == 0
    assert capsys.readouterr().out.endswith("; 1 download not finished; nothing is wrong\n")


def test_large_bodies_are_proved_a_piece_at_a_time(directory: Path) -> None:
    code = (
        "import sys, tracemalloc; from s3warm.cli.main import main; main(['verify', sys.argv[1]]); tracemalloc.start();"
        "status = main(['verify', sys.argv[1]]); print(status, tracemalloc.get_traced_memory()[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True, timeout=60)
    status, peak = map(int, done.stdout.splitlines()[-1].split())
    assert (status, peak < 8 * 2**20) == (0, True), f"{peak} bytes for a body of 30 MB"


# -- in use -----------------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.flows.test_cli_directory import a_cache, an_s3
cache = a_cache(an_s3(), Path(sys.argv[1]))
cache.path("bucket", "kept.onnx")
cache.tree("bucket", "tree")
cache.get("bucket", "inline")
cache.invalidate("bucket", "inline")  # so that there is something in the log
print("ready", flush=True)
sys.stdin.readline()
cache.get("bucket", "inline")
print(cache.stats().disk_errors, flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the directory open, and uses a file and a tree."""
    command = [sys.executable, "-c", HOLDER, str(directory), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def test_while_another_process_uses_it(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holder(directory) as child:
        assert (directory / "cache.db-shm").exists()
        before = fingerprint(directory)
        _, found = told(capsys, "inspect", directory)
        status, verified = told(capsys, "verify", directory)
        assert fingerprint(directory) == before
        assert {item["key"] for item in found["items"] if item["in_use"]} == {"kept.onnx", "tree/"}
        assert (status, verified["findings"]) == (0, [])
        assert run("inspect", directory, "--key", "kept") == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith("in use")
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("go on\n")
        child.stdin.flush()
        assert child.stdout.readline() == "0\n", "it goes on as if nobody had looked"


def test_after_a_process_was_killed_its_log_is_read_and_left(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holder(directory) as child:
        child.kill()
        child.wait()
    assert (directory / "cache.db-wal").stat().st_size > 0
    before = fingerprint(directory)
    _, found = told(capsys, "inspect", directory)
    status, verified = told(capsys, "verify", directory)
    assert fingerprint(directory) == before
    assert (status, verified["findings"]) == (0, [])
    assert not any(item["in_use"] for item in found["items"])
    assert len(found["items"]) in (len(BODIES) + 1, len(BODIES) + 2)


def test_what_is_being_written_is_no_orphan(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = body_of(directory, "file.bin")
    shutil.copyfile(body, body.with_name(body.name[:33] + "0" * 16 + ".bin"))
    intent = intents.declare(str(directory / "intents"), body.name[:33] + "x-1-1")
    assert told(capsys, "verify", directory)[0] == 0
    intent.leave()
    status, found = told(capsys, "verify", directory)
    assert (status, [finding["kind"] for finding in found["findings"]]) == (1, [ORPHANED]), "its writer is dead"


def test_a_file_without_a_row_that_somebody_uses_is_no_orphan(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = body_of(directory, "file.bin")
    name = body.name[:33] + "0" * 16 + ".bin"
    shutil.copyfile(body, body.with_name(name))
    pins = Pins(str(directory / "pins"))
    pins.hold(name)
    assert told(capsys, "verify", directory)[0] == 0
    pins.close()
    assert kinds(told(capsys, "verify", directory)[1]) == {(ORPHANED, f"bodies/{name}")}


# -- damaged ------------------------------------------------------------------------------------------------------------------------


def overwritten(directory: Path) -> tuple[str, str]:
    path = body_of(directory, "file.bin")
    path.chmod(0o600)
    path.write_bytes(noise(100_000, 9))
    return DAMAGED, "s3://bucket/file.bin"


def shortened(directory: Path) -> tuple[str, str]:
    path = body_of(directory, "letters.txt")
    path.chmod(0o600)
    os.truncate(path, 1000)
    return DAMAGED, "s3://bucket/letters.txt"


def frame_changed(directory: Path) -> tuple[str, str]:
    path = body_of(directory, "letters.txt")
    path.chmod(0o600)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(body)
    return DAMAGED, "s3://bucket/letters.txt"


def touched_and_unprovable(directory: Path) -> tuple[str, str]:
    body_of(directory, "kms.bin").chmod(0o600)
    return DAMAGED, "s3://bucket/kms.bin"


def removed(directory: Path) -> tuple[str, str]:
    body_of(directory, "file.bin").unlink()
    return MISSING, "s3://bucket/file.bin"


def tree_removed(directory: Path) -> tuple[str, str]:
    shutil.rmtree(body_of(directory, "tree/"))
    return MISSING, "s3://bucket/tree/"


def member_changed(directory: Path) -> tuple[str, str]:
    member = body_of(directory, "tree/") / "sub" / "b.bin"
    member.chmod(0o600)
    member.write_bytes(noise(40_000, 4))
    return DAMAGED, "s3://bucket/tree/"


def member_added(directory: Path) -> tuple[str, str]:
    (body_of(directory, "tree/") / "sub" / "more").symlink_to("/etc")
    return DAMAGED, "s3://bucket/tree/"


def inline_changed(directory: Path) -> tuple[str, str]:
    with rows_of(directory) as connection:
        connection.execute("UPDATE Cache SET value = CAST('S' || substr(value, 2) AS BLOB) WHERE tag LIKE '%\"inline\"%'")
    return DAMAGED, "s3://bucket/inline"


def pickled(directory: Path) -> tuple[str, str]:
    with rows_of(directory) as connection:
        connection.execute("UPDATE Cache SET mode = 4, value = x'80049500' WHERE tag LIKE '%\"inline\"%'")
        ((key,),) = connection.execute("SELECT hex(key) FROM Cache WHERE tag LIKE '%\"inline\"%'")
    return DAMAGED, f"row {key.lower()}"


def of_another_object(directory: Path) -> tuple[str, str]:
    with rows_of(directory) as connection:
        connection.execute("UPDATE Cache SET tag = replace(tag, '\"inline\"', '\"inlinf\"')")
    return DAMAGED, "s3://bucket/inlinf"


def left_behind(directory: Path) -> tuple[str, str]:
    name = "ab" * 16 + "-" + "0" * 16
    (directory / "bodies" / name).write_bytes(b"left")
    return ORPHANED, f"bodies/{name}"


def linked(directory: Path) -> tuple[str, str]:
    name = "ab" * 16 + "-" + "0" * 16
    (directory / "bodies" / name).symlink_to("/etc/passwd")
    return PLANTED, f"bodies/{name}"


def piped(directory: Path) -> tuple[str, str]:
    os.mkfifo(directory / "unswept")
    return PLANTED, "unswept"


def foreign(directory: Path) -> tuple[str, str]:
    (directory / "notes.txt").write_bytes(b"")
    return PLANTED, "notes.txt"


def linked_elsewhere(directory: Path) -> tuple[str, str]:
    body = body_of(directory, "file.bin")
    os.link(body, directory.parent / "twin")
    return PLANTED, f"bodies/{body.name}"


DAMAGES: tuple[Callable[[Path], tuple[str, str]], ...] = (
    overwritten,
    shortened,
    frame_changed,
    touched_and_unprovable,
    removed,
    tree_removed,
    member_changed,
    member_added,
    inline_changed,
    pickled,
    of_another_object,
    left_behind,
    linked,
    piped,
    foreign,
    linked_elsewhere,
)


@contextlib.contextmanager
def rows_of(directory: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as connection:
        yield connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_is_found_and_left(
    directory: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], tuple[str, str]]
) -> None:
    expected = damage(directory)
    before = fingerprint(directory)
    status, found = told(capsys, "verify", directory)
    assert (status, found["ok"]) == (1, False)
    assert expected in kinds(found)
    unexpected = kinds(found) - {expected}
    also = {"linked": {ORPHANED}, "linked_elsewhere": {DAMAGED}}.get(damage.__name__, set())
    assert {kind for kind, _ in unexpected} == also
    assert run("inspect", directory) == 0, "what can be read is told all the same"
    assert run("verify", directory) == 1
    assert f"{expected[0]:<8}  {expected[1]}: " in capsys.readouterr().out
    assert fingerprint(directory) == before


@pytest.mark.parametrize("kind", planted.KINDS)
def test_nothing_that_is_planted_is_followed_run_or_changed(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    victim, canary = Victim(tmp_path / "victim"), tmp_path / "canary"
    site = Site(directory, victim, canary)
    planted.KINDS[kind](site, random.Random(kind))
    victim.note()
    before = state(directory)
    for command in ("inspect", "verify"):
        assert run(command, directory) in (0, 1)
        err = capsys.readouterr().err
        assert err == "" or (err.startswith("s3warm: ") and err.count("\n") == 1)
    assert not canary.exists()
    victim.check(unread=not site.linked)
    assert state(directory) == before


def state(path: Path) -> dict[str, tuple[object, ...]]:
    """What can be told without opening anything: some of it waits for a writer, or lies elsewhere too."""
    found: dict[str, tuple[object, ...]] = {}
    for place in (path, *sorted(path.rglob("*"))) if os.path.lexists(path) else ():
        status = place.lstat()
        found[str(place)] = (
            status.st_ino,
            status.st_mode,
            status.st_nlink,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
    return found


# -- no cache -------------------------------------------------------------------------------------------------------------------------


def test_what_is_no_cache_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir(0o700)
    (tmp_path / "open").mkdir(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    half = tmp_path / "half"
    for folder in (half, half / "bodies", half / "staging"):
        folder.mkdir(0o700)
    before = fingerprint(tmp_path)
    for name, why in {
        "nothing": "holds no cache",
        "file": "is not a directory",
        "empty": "holds no cache",
        "open": "is open to other users",
        "link": "is not a directory",
        "half": "holds no cache: there is no cache.db",
    }.items():
        for command in ("inspect", "verify"):
            status = run(command, tmp_path / name)
            captured = capsys.readouterr()
            assert status == 1
            assert why in (captured.out + captured.err)
    assert fingerprint(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a directory away")
def test_a_directory_of_somebody_else(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chown(directory, 12345, -1)
    assert run("inspect", directory) == 1
    assert "belongs to user 12345" in capsys.readouterr().err


def test_another_format(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rows_of(directory) as connection:
        connection.execute("PRAGMA user_version = 7")
    assert run("inspect", directory) == 1
    assert "is no database of this version of s3warm" in capsys.readouterr().err


def test_a_log_without_its_index(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holder(directory) as child:
        child.kill()
        child.wait()
    (directory / "cache.db-shm").unlink()
    before = fingerprint(directory)
    assert run("inspect", directory) == 1
    assert "has no -shm beside it" in capsys.readouterr().err
    assert fingerprint(directory) == before


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_that_is_none(directory: Path, capsys: pytest.CaptureFixture[str], limit: str) -> None:
    assert run("inspect", directory, f"--limit={limit}") == 2
    assert f"--limit={limit} is not understood" in capsys.readouterr().err
