"""Files that the disk tier hands out: exact, read-only, with the key's suffix, unchanged and there for as long as somebody uses them."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3warm.entries import Entry, Metadata
from s3warm.keys import ObjectKey
from s3warm.origin.base import NoRoom
from s3warm.tiers import files as files_module
from s3warm.tiers import row as rows
from s3warm.tiers.database import database_files
from s3warm.tiers.verified import check_touched
from tests.support.entries import NOW, an_entry, noise, text
from tests.support.orphans import NOTHING, orphans
from tests.support.tiers import MIB, Journal, disk_tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from s3warm.entries import FileEntry
    from s3warm.tiers.disk import DiskTier

    class MakeTier(Protocol):
        def __call__(self, *, budget: int = ..., journal: Journal | None = ...) -> DiskTier: ...


def hexed(size: int, seed: int = 0) -> bytes:
    """Bytes that compress to about half."""
    return noise(size // 2, seed).hex().encode()


BODIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "raw inline"),
    "inline raw": (lambda: noise(1000), "raw inline"),
    "inline zstd": (lambda: text(200_000), "zstd inline"),
    "zstd file": (lambda: hexed(400_000), "zstd file"),
    "zstd file of more than 8 MiB": (lambda: hexed(18 * MIB), "zstd file"),
    "raw file": (lambda: noise(300_000), "raw file"),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make(directory: Path) -> Iterator[MakeTier]:
    """Tiers on one directory; in the end every file is a row's, and every row's file is there."""
    made: list[DiskTier] = []

    def make(*, budget: int = 64 * MIB, journal: Journal | None = None) -> DiskTier:
        made.append(disk_tier(directory, budget=budget, journal=journal))
        return made[-1]

    yield make
    for tier in made:
        tier.close()
    if directory.exists():
        assert orphans(directory) == NOTHING


def a_file(tier: DiskTier, entry: Entry) -> FileEntry:
    found = tier.file(entry.object)
    assert found is not None
    return found


def body_of(found: FileEntry) -> bytes:
    return Path(found.path).read_bytes()


def form_of(tier: DiskTier, entry: Entry) -> str:
    seen = tier._shelf.look_up(entry.object)[0]  # type: ignore[union-attr]
    assert seen is not None
    return f"{seen.row.codec} {'inline' if seen.row.seal is None else 'file'}"


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory / "bodies"))


# -- what is handed out --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "form"), BODIES.values(), ids=BODIES.keys())
def test_whatever_form_it_is_held_in_a_file_is_exact_read_only_and_the_same_each_time(
    make: MakeTier, directory: Path, body: Callable[[], bytes], form: str
) -> None:
    tier, entry = make(), an_entry(body(), key="models/net.onnx")
    assert tier.put(entry)
    assert form_of(tier, entry) == form
    first, second = a_file(tier, entry), a_file(tier, entry)
    assert body_of(first) == entry.body
    assert (first.object, first.info, first.validated_at, first.expires_at) == entry[:4]
    assert (first.path, first.stale) == (second.path, False)
    status = os.stat(first.path)
    assert (stat.S_IMODE(status.st_mode), status.st_ino) == (0o400, os.stat(second.path).st_ino)
    assert os.path.dirname(first.path) == str(directory / "bodies")
    assert first.path.endswith(".onnx")
    assert names(directory) == [os.path.basename(first.path)], "the form that it replaces is gone"
    assert tier.get(entry.object) == entry
    assert form_of(tier, entry) == "raw file"
    assert tier.usage().entries == 1
    assert orphans(directory) == NOTHING


def test_nothing_held_is_no_file(make: MakeTier) -> None:
    assert make().file(an_entry().object) is None


def test_a_file_comes_as_it_is_held_fresh_or_not_and_with_the_times_of_a_confirmation(make: MakeTier) -> None:
    tier, entry = make(), an_entry(noise(100_000), validated_at=1.0, expires_at=2.0)
    tier.put(entry)
    assert a_file(tier, entry).expires_at == 2.0
    tier.refresh(entry.object, entry.etag, NOW, NOW + 1)
    assert a_file(tier, entry)[2:4] == (NOW, NOW + 1)
    tier.expire(entry.object)
    found = a_file(tier, entry)
    assert found.expires_at < found.validated_at


@pytest.mark.parametrize(
    ("key", "suffix"),
    [
        ("net.onnx", ".onnx"),
        ("a/b.c/table.csv.gz", ".csv.gz"),
        ("archive.tar.zst", ".tar.zst"),
        ("only.gz", ".gz"),
        ("numbers.v1.2", ".2"),
        ("a-b.safe_tensors", ".safe_tensors"),
        ("none", ""),
        ("folder.d/none", ""),
        (".hidden", ""),
        (".", ""),
        ("..", ""),
        ("a.b/../x", ""),
        ("a.b/..", ""),
        ("trailing.", ""),
        ("folder/", ""),
        (".sh;rm", ""),
        ("x.sh;rm -rf", ""),
        ("x.a\x00b", ""),
        ("x.a\nb", ""),
        ("x.\u0661", ""),
        ("x.b$(id)", ""),
        ("x.partial", ".partial"),
        ("x.+zstd", ""),
        ("y" * 300, ""),
        ("x." + "y" * 300, ""),
        ("x" * 300 + ".npy", ".npy"),
    ],
)
def test_the_suffix_is_the_keys_where_it_is_plain_and_no_name_leads_elsewhere(
    make: MakeTier, directory: Path, key: str, suffix: str
) -> None:
    tier, entry = make(), an_entry(key=key)
    tier.put(entry)
    found = a_file(tier, entry)
    name = os.path.basename(found.path)
    assert name[49:] == suffix
    assert (os.path.realpath(found.path), len(os.fsencode(name)) <= 96) == (os.path.realpath(directory / "bodies" / name), True)
    assert names(directory) == [name]
    assert body_of(found) == entry.body


def test_versions_buckets_and_namespaces_have_files_of_their_own(make: MakeTier, directory: Path) -> None:
    tier, other = make(), disk_tier(directory, namespace="other")
    entries = [an_entry(b"1"), an_entry(b"1", version_id="v1"), an_entry(b"1", bucket="another")]
    for entry in entries:
        tier.put(entry)
    assert other.file(entries[0].object) is None
    assert other.put(entries[0])
    assert len({a_file(tier, entry).path for entry in entries} | {a_file(other, entries[0]).path}) == 4
    other.close()


# -- in use --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["evict", "clear", "replaced", "pressure", "by another tier"])
def test_a_file_in_use_stays_as_it_is_whatever_happens_and_counts(
    make: MakeTier, directory: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3warm.tiers.recent.TRUSTED", 0.0)  # what another tier does is seen a second later
    tier, other = make(budget=4 * MIB), make(budget=4 * MIB)
    entry, newer = an_entry(noise(MIB)), an_entry(noise(MIB, 1), validated_at=NOW + 1)
    tier.put(entry)
    found = a_file(tier, entry)
    inode = os.stat(found.path).st_ino
    if how == "evict":
        tier.evict(entry.object)
    elif how == "clear":
        tier.clear()
    elif how == "replaced":
        assert tier.put(newer)
    elif how == "pressure":
        for number in range(20):
            tier.put(an_entry(noise(MIB, number), key=f"{number}"))
    else:
        other.clear()
        other.evict(entry.object)
        assert other.put(newer)
    assert (body_of(found), os.stat(found.path).st_ino) == (entry.body, inode)
    assert tier.usage().bytes >= MIB, "it counts"
    assert tier.usage().bytes <= tier.usage().budget
    held = tier.get(entry.object)
    assert held == {"pressure": entry, "replaced": newer, "by another tier": newer}.get(how)
    assert orphans(directory) == NOTHING


@pytest.mark.parametrize("how", ["evict", "clear", "replaced"])
def test_what_was_in_use_can_go_once_it_is_released(make: MakeTier, directory: Path, how: str) -> None:
    tier, entry = make(budget=4 * MIB), an_entry(noise(MIB))
    tier.put(entry)
    found, again = a_file(tier, entry), a_file(tier, entry)
    newer = an_entry(noise(MIB, 1), validated_at=NOW + 1)
    if how == "evict":
        tier.evict(entry.object)
    elif how == "clear":
        tier.clear()
    else:
        assert tier.put(newer)
    found.pin.release()
    found.pin.release()
    tier.clear()
    assert body_of(again) == entry.body, "one pin is left, however often the other is released"
    again.pin.release()
    assert os.path.exists(again.path), "it stays as long as there is room"
    tier.clear()
    assert names(directory) == []
    assert tier.usage().bytes < MIB


def test_an_older_file_goes_last_of_all_and_before_a_newcomer_is_refused(make: MakeTier) -> None:
    tier = make(budget=4 * MIB)
    old, new = an_entry(noise(MIB)), an_entry(noise(100_000), validated_at=NOW + 1)
    tier.put(old)
    found = a_file(tier, old)
    tier.put(new)
    found.pin.release()
    for number in range(30):
        assert tier.put(an_entry(noise(300_000, number), key=f"{number}"))
        assert tier.usage().bytes <= 4 * MIB
    assert body_of(found) == old.body, "everything else goes first"
    assert tier.put(an_entry(noise(3 * MIB + 300_000), key="large")), "it goes before a newcomer is turned away"
    assert not os.path.exists(found.path)
    assert tier.usage().bytes <= 4 * MIB


def test_a_newcomer_is_refused_rather_than_that_a_file_in_use_goes(make: MakeTier, directory: Path) -> None:
    journal = Journal()
    tier, old, new = make(budget=4 * MIB, journal=journal), an_entry(noise(2 * MIB)), an_entry(b"new", validated_at=NOW + 1)
    tier.put(old)
    found = a_file(tier, old)
    tier.put(new)
    large = an_entry(noise(3 * MIB), key="large")
    assert not tier.put(large)
    assert body_of(found) == old.body
    found.pin.release()
    assert tier.put(large)
    assert not os.path.exists(found.path)
    assert tier.get(large.object) == large
    assert journal.counters.disk_errors == 0
    assert orphans(directory) == NOTHING


def test_the_budget_holds_beside_files_in_use(make: MakeTier) -> None:
    tier = make(budget=4 * MIB)
    held: list[tuple[Entry, FileEntry]] = []
    for number in range(40):
        entry = an_entry(noise(250_000, number), key=f"{number}.bin")
        if tier.put(entry) and number % 4 == 0 and len(held) < 6:
            held.append((entry, a_file(tier, entry)))
        if number == 20:
            tier.clear()
        assert tier.usage().bytes <= 4 * MIB
        assert all(body_of(found) == entry.body for entry, found in held)
    assert len(held) == 6


def test_the_same_body_that_comes_back_is_found_under_the_same_name(make: MakeTier, directory: Path) -> None:
    tier, entry = make(), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    tier.evict(entry.object)
    assert tier.file(entry.object) is None
    assert tier.put(entry)
    again = a_file(tier, entry)
    assert (again.path, body_of(again), tier.usage().entries) == (found.path, entry.body, 1)
    assert orphans(directory) == NOTHING


def test_a_pin_outlives_the_database_and_its_tier_opens_another(make: MakeTier, directory: Path) -> None:
    tier, entry = make(), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    for path in database_files(str(directory)):
        Path(path).unlink(missing_ok=True)
    assert not tier.put(entry), "it is noticed"
    other = make()
    assert other.put(an_entry(b"another", key="another"))
    assert body_of(found) == entry.body
    assert tier.put(entry)
    assert body_of(found) == entry.body
    assert tier.usage().entries == 2


def test_a_file_that_was_in_use_when_the_database_was_made_anew_can_go_afterwards(make: MakeTier, directory: Path) -> None:
    tier, entry = make(), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    for path in database_files(str(directory)):
        Path(path).unlink(missing_ok=True)
    tier.put(entry)
    newer = an_entry(noise(100_000, 1), validated_at=NOW + 1)
    assert tier.put(newer)
    found.pin.release()
    tier.close()
    reopened = make()
    assert reopened.get(newer.object) == newer
    assert orphans(directory) == NOTHING
    assert not os.path.exists(found.path)


def test_after_the_directory_was_removed_tiers_see_each_others_pins_again(make: MakeTier, directory: Path) -> None:
    tier, other, entry = make(), make(), an_entry(noise(100_000))
    tier.put(entry)
    a_file(tier, entry).pin.release()
    shutil.rmtree(directory)
    assert not tier.put(entry)
    assert tier.put(entry)
    found = a_file(tier, entry)
    other.clear()
    assert body_of(found) == entry.body


# -- what is done to files ----------------------------------------------------------------------------------------------------


def overwrite(path: str, body: bytes) -> None:
    """Write other bytes of the same length, and put everything back that can be put back."""
    status = os.stat(path)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(body)
    os.chmod(path, 0o400)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("verified_by", ["md5", "length"])
def test_a_file_whose_bytes_were_changed_is_noticed_dropped_and_told(make: MakeTier, directory: Path, verified_by: str) -> None:
    journal = Journal()
    body = noise(100_000)
    entry = an_entry(body)._replace(info=Metadata(an_entry(body).etag, 100_000, verified_by=verified_by))
    tier = make(journal=journal)
    tier.put(entry)
    found = a_file(tier, entry)
    found.pin.release()
    overwrite(found.path, body[:-1] + bytes([body[-1] ^ 1]))
    assert tier.file(entry.object) is None
    assert journal.corrupted == [entry.object]
    assert (names(directory), tier.usage().entries) == ([], 0)
    assert tier.put(entry)
    assert body_of(a_file(tier, entry)) == body


def test_a_file_that_is_damaged_while_it_is_used_is_found_by_nobody_else(make: MakeTier, directory: Path) -> None:
    journal = Journal()
    tier, entry = make(journal=journal), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    overwrite(found.path, noise(100_000, 1))
    assert tier.file(entry.object) is None
    assert tier.get(entry.object) is None
    assert journal.corrupted == [entry.object]
    assert orphans(directory) == NOTHING
    assert tier.put(entry)
    assert body_of(a_file(tier, entry)) == entry.body


def test_a_file_that_was_cut_short_is_damaged(make: MakeTier) -> None:
    journal = Journal()
    tier, entry = make(journal=journal), an_entry(noise(100_000))
    tier.put(entry)
    os.chmod(path := a_file(tier, entry).path, 0o600)
    os.truncate(path, 99_999)
    assert tier.file(entry.object) is None
    assert journal.corrupted == [entry.object]


@pytest.mark.parametrize("how", ["touched", "made writable", "made over"])
def test_a_file_that_was_only_touched_is_summed_once_and_sealed_again(
    make: MakeTier, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    journal, summed = Journal(), 0

    def counted(row: rows.Row, descriptor: int) -> None:
        nonlocal summed
        summed += 1
        check_touched(row, descriptor)

    monkeypatch.setattr(files_module, "check_touched", counted)
    tier, entry = make(journal=journal), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    assert summed == 0, "it was sealed when it was written"
    if how == "touched":
        os.utime(found.path)
    elif how == "made writable":
        os.chmod(found.path, 0o666)
    else:
        os.unlink(found.path)
        Path(found.path).write_bytes(entry.body)
    for _ in range(3):
        again = a_file(tier, entry)
        assert (again.path, body_of(again)) == (found.path, entry.body)
        assert stat.S_IMODE(os.stat(again.path).st_mode) == 0o400
    assert summed == 1
    assert journal.corrupted == []


@pytest.mark.parametrize("size", [100, 100_000], ids=["from its row", "a file at once"])
@pytest.mark.parametrize("used", ["as a file", "as bytes"])
def test_a_file_that_was_touched_is_dropped_where_its_etag_is_no_md5(
    make: MakeTier, directory: Path, size: int, used: str
) -> None:
    journal, body = Journal(), noise(size)
    entry = an_entry(body)._replace(info=Metadata(an_entry(body).etag, size, verified_by="length"))
    tier = make(journal=journal)
    assert tier.put(entry)
    found = a_file(tier, entry)
    assert (body_of(found), tier.get(entry.object)) == (body, entry)
    os.utime(found.path)
    assert (tier.file(entry.object) if used == "as a file" else tier.get(entry.object)) is None
    assert journal.corrupted == [entry.object]
    assert orphans(directory) == NOTHING
    assert tier.put(entry)
    assert tier.get(entry.object) == entry


@pytest.mark.parametrize("planted", ["nothing", "link", "fifo", "directory"])
def test_a_file_that_was_removed_under_us_is_not_held_any_more(
    make: MakeTier, directory: Path, tmp_path: Path, planted: str
) -> None:
    tier, entry = make(), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    found.pin.release()
    os.unlink(found.path)
    (tmp_path / "victim").write_bytes(entry.body)
    if planted == "link":
        os.symlink(tmp_path / "victim", found.path)
    elif planted == "fifo":
        os.mkfifo(found.path)
    elif planted == "directory":
        os.mkdir(found.path)
    assert tier.file(entry.object) is None
    tier.evict(entry.object)
    assert tier.put(entry)
    again = a_file(tier, entry)
    assert (body_of(again), again.path) == (entry.body, found.path)
    assert not os.path.islink(again.path)
    assert (tmp_path / "victim").read_bytes() == entry.body


def test_a_compressed_file_that_is_damaged_is_dropped_when_it_is_unfolded(make: MakeTier, directory: Path) -> None:
    journal = Journal()
    tier, entry = make(journal=journal), an_entry(hexed(400_000))
    tier.put(entry)
    (name,) = names(directory)
    stored = (directory / "bodies" / name).read_bytes()
    overwrite(str(directory / "bodies" / name), stored[:1000] + bytes([stored[1000] ^ 1]) + stored[1001:])
    assert tier.file(entry.object) is None
    assert journal.corrupted == [entry.object]
    assert (names(directory), os.listdir(directory / "staging")) == ([], [])


# -- no room -------------------------------------------------------------------------------------------------------------------


def test_no_room_names_the_files_in_use_and_loses_nothing(make: MakeTier, directory: Path) -> None:
    tier = make(budget=4 * MIB)
    entries = [an_entry(noise(MIB, number), key=f"{number}.bin") for number in range(2)]
    packed = an_entry(hexed(2 * MIB), key="packed.txt", validated_at=NOW)
    found = []
    for entry in entries:
        assert tier.put(entry)
        found.append(a_file(tier, entry))
    assert tier.put(small := an_entry(b"small", key="small"))
    assert tier.put(packed), "compressed it fits"
    with pytest.raises(NoRoom, match=r"packed\.txt does not fit") as caught:
        tier.file(packed.object)
    error = caught.value
    assert (error.size, error.budget) == (2 * MIB, 4 * MIB)
    assert sorted(error.pinned) == [(entry.object, MIB) for entry in entries]
    assert tier.get(packed.object) == packed, "what is held stays"
    assert tier.get(small.object) == small
    assert orphans(directory) == NOTHING
    for entry, one in zip(entries, found, strict=True):
        one.pin.release()
        tier.evict(entry.object)
    assert body_of(a_file(tier, packed)) == packed.body
    assert tier.usage().bytes <= 4 * MIB


def test_a_body_is_not_evicted_to_make_room_for_itself(make: MakeTier) -> None:
    tier = make(budget=4 * MIB)
    packed = an_entry(hexed(2 * MIB), key="packed.txt")
    assert tier.put(packed)
    for number in range(5):
        assert tier.put(an_entry(noise(400_000, number), key=f"{number}"))
    assert body_of(a_file(tier, packed)) == packed.body


def test_a_full_disk_leaves_it_as_it_was(make: MakeTier, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    tier, entry = make(journal=journal), an_entry(hexed(400_000))
    tier.put(entry)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert tier.file(entry.object) is None
    assert journal.counters.disk_errors == 1
    assert orphans(directory) == NOTHING
    assert tier._shelf is not None
    assert tier._shelf.room.staged_bytes == 0
    assert tier.get(entry.object) == entry
    assert body_of(a_file(tier, entry)) == entry.body


def test_many_threads_get_one_file_of_a_compressed_body(make: MakeTier, directory: Path) -> None:
    tiers, entry = [make(), make()], an_entry(hexed(400_000))
    tiers[0].put(entry)
    start, found = threading.Barrier(8), []

    def work(number: int) -> None:
        start.wait()
        found.append(tiers[number % 2].file(entry.object))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.path for one in found if one is not None} == {str(directory / "bodies" / names(directory)[0])}
    assert all(one is not None and body_of(one) == entry.body for one in found)
    assert len(names(directory)) == 1


def test_a_file_of_another_object_is_never_handed_out(make: MakeTier) -> None:
    tier, entry = make(), an_entry(noise(100_000))
    tier.put(entry)
    assert tier.file(ObjectKey("bucket", "key", "version")) is None
    assert tier.file(ObjectKey("bucket", "ke", None)) is None


def test_a_closed_tier_hands_out_nothing_and_its_files_can_go(make: MakeTier, directory: Path) -> None:
    tier, entry = make(), an_entry(noise(100_000))
    tier.put(entry)
    found = a_file(tier, entry)
    tier.close()
    found.pin.release()
    assert tier.file(entry.object) is None
    with pytest.raises(NoRoom, match="cannot be used now"):
        tier.download(entry.object, at_any_cost=True)
    make().clear()
    assert names(directory) == []
