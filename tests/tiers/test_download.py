"""Downloads: room before the first byte, every byte once, nothing lost that was finished, and nothing left of what was not."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.entries import Entry, Metadata
from s3warm.errors import DiskUnavailableError, OriginUnavailableError
from s3warm.keys import ObjectKey
from s3warm.metrics import Counters
from s3warm.origin import transfer
from s3warm.origin.base import NoRoom, NotModified, TransportError
from s3warm.origin.fetch import ConditionalFetch
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import database, download
from s3warm.tiers import row as rows
from s3warm.tiers.pins import Pins
from tests.support.entries import NOW, an_entry, noise, text
from tests.support.orphans import NOTHING, orphans
from tests.support.supplier import shrink
from tests.support.tiers import MIB, Journal, disk_tier

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Protocol

    from s3warm.entries import FileEntry
    from s3warm.origin.base import Request
    from s3warm.tiers.disk import DiskTier
    from s3warm.tiers.download import Download

    class MakeTier(Protocol):
        def __call__(self, *, budget: int = ..., journal: Journal | None = ...) -> DiskTier: ...


KEY = ObjectKey("bucket", "net.onnx")
URI = "s3://bucket/net.onnx"
PART, CHUNK = 100_000, 30_000  # bytes
BODY = noise(350_000)  # four parts, of which the last is short
TIMES = NOW, NOW + 300

LOADED = (transfer, download)  # what is imported later would know other parts


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=PART, chunk=CHUNK)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make(directory: Path) -> Iterator[MakeTier]:
    """Tiers on one directory; in the end every file is a row's, and every row's file is there."""
    made: list[DiskTier] = []

    def make(*, budget: int = 4 * MIB, journal: Journal | None = None) -> DiskTier:
        made.append(disk_tier(directory, budget=budget, journal=journal))
        return made[-1]

    yield make
    for tier in made:
        tier.close()
    assert orphans(directory) == NOTHING


def info_of(body: bytes = BODY, *, verified_by: str = "md5") -> Metadata:
    return an_entry(body).info._replace(verified_by=verified_by)


def entry_of(body: bytes = BODY, at: float = NOW, *, verified_by: str = "md5") -> Entry:
    return Entry(KEY, info_of(body, verified_by=verified_by), at, at + 300, body)


def parts_of(body: bytes) -> range:
    return range(-(-len(body) // PART))


def fill(sink: Download, body: bytes = BODY, parts: Collection[int] | None = None, *, verified_by: str = "md5") -> list[int]:
    """Begin, and write these parts, or all that are missing; returns those that were there."""
    ready = sorted(sink.begin(info_of(body, verified_by=verified_by)))
    for part in parts_of(body) if parts is None else parts:
        if part not in ready:
            for start in range(part * PART, min((part + 1) * PART, len(body)), CHUNK):
                piece = body[start : min(start + CHUNK, (part + 1) * PART)]
                buffer = sink.buffer(start, len(piece))
                buffer[:] = piece
                sink.write(buffer, start)
            sink.finished(part)
    return ready


def a_file(tier: DiskTier) -> FileEntry:
    found = tier.file(KEY)
    assert found is not None
    return found


def body_of(found: FileEntry) -> bytes:
    return Path(found.path).read_bytes()


def names(directory: Path, folder: str) -> list[str]:
    return sorted(os.listdir(directory / folder))


def fetch(s3: FakeS3, sink: Download, connections: int = 1) -> Metadata:
    incoming = ConditionalFetch(s3, Counters(), sleep=lambda _: None).fetch(KEY, if_none_match=None)
    assert not isinstance(incoming, NotModified)
    with contextlib.closing(incoming):
        return incoming.save(sink, connections * CHUNK, lambda *_: None)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, times: int) -> Callable[[], int]:
    """Let a call of the system fail so often; how often it was called."""
    real, calls = getattr(os, name), 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(os, name, call)
    return lambda: calls


# -- from the first byte to the last --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verified_by", ["md5", "length"])
@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 350_000])
def test_what_was_written_becomes_the_file_and_what_the_tier_holds(
    make: MakeTier, directory: Path, size: int, verified_by: str
) -> None:
    tier, body = make(), noise(size)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        assert fill(sink, body, verified_by=verified_by) == []
        found = sink.publish(info_of(body, verified_by=verified_by), *TIMES, current=True)
    assert (found.object, found.info, found.validated_at, found.expires_at) == entry_of(body, verified_by=verified_by)[:4]
    assert body_of(found) == body
    assert found.path.endswith(".onnx")
    assert stat.S_IMODE(os.stat(found.path).st_mode) == 0o400
    assert tier.get(KEY) == entry_of(body, verified_by=verified_by)
    assert (a_file(tier).path, tier.usage().entries) == (found.path, 1)
    tier.clear()
    assert body_of(found) == body, "it came pinned"
    assert names(directory, "staging") == []


def test_it_counts_from_its_first_byte_on_and_is_nobody_elses_to_read(make: MakeTier, directory: Path) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        before = tier.usage().bytes
        sink.begin(info_of())
        assert tier.usage().bytes >= before + len(BODY)
        (name,) = names(directory, "staging")
        status = os.stat(directory / "staging" / name)
        assert (status.st_size, status.st_blocks * 512 >= len(BODY), stat.S_IMODE(status.st_mode)) == (len(BODY), True, 0o600)
        assert orphans(directory) == NOTHING
        assert (tier.get(KEY), tier.file(KEY), tier.describe(KEY)) == (None, None, None)
    assert tier.usage().entries == 0


@pytest.mark.parametrize("parts", [[], [0], [3, 1]])
def test_close_keeps_finished_parts_and_nothing_of_one_without_any(make: MakeTier, directory: Path, parts: list[int]) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, parts=parts)
        sink.write(memoryview(b"half"), 2 * PART)
    sink.close()
    assert (len(names(directory, "staging")), tier.usage().entries) == ((1, 1) if parts else (0, 0))
    assert orphans(directory) == NOTHING
    with contextlib.closing(make().download(KEY, at_any_cost=True)) as again:
        assert fill(again) == sorted(parts)
        assert body_of(again.publish(info_of(), *TIMES, current=True)) == BODY


def test_reset_leaves_nothing_and_it_can_begin_again(make: MakeTier, directory: Path) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, noise(350_000, 1), verified_by="length")
        sink.reset()
        assert (names(directory, "staging"), tier.usage().entries) == ([], 0)
        assert fill(sink, verified_by="length") == []
        sink.publish(info_of(verified_by="length"), *TIMES, current=True)
    assert tier.get(KEY) == entry_of(verified_by="length")


def test_reading_what_is_not_there_is_no_room(make: MakeTier) -> None:
    with contextlib.closing(make().download(KEY, at_any_cost=True)) as sink:
        sink.begin(info_of())
        with pytest.raises(NoRoom, match="cut off"):
            sink.read(len(BODY), 1)


# -- room ----------------------------------------------------------------------------------------------------------------------


def fillers(tier: DiskTier, count: int, size: int) -> list[Entry]:
    entries = [an_entry(noise(size, number), key=f"filler {number}") for number in range(count)]
    for entry in entries:
        assert tier.put(entry)
    return entries


def test_room_is_made_before_the_first_byte(make: MakeTier) -> None:
    tier, body = make(), noise(3 * MIB)
    entries = fillers(tier, 12, 250_000)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        sink.begin(info_of(body))
        assert tier.usage().bytes <= 4 * MIB
        assert 0 < sum(tier.get(entry.object) is not None for entry in entries) < 12
        fill(sink, body)
        assert tier.usage().bytes <= 4 * MIB
        found = sink.publish(info_of(body), *TIMES, current=True)
    assert (body_of(found), tier.usage().bytes <= 4 * MIB) == (body, True)


def test_a_body_without_room_is_refused_with_what_is_in_use_and_nothing_goes_for_it(make: MakeTier, directory: Path) -> None:
    tier = make()
    (held, *others) = fillers(tier, 4, 500_000)
    pinned = tier.file(held.object)
    assert pinned is not None
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        with pytest.raises(NoRoom, match="does not fit") as caught:
            sink.begin(info_of(noise(3_700_000)))
        assert (caught.value.size, caught.value.budget, caught.value.pinned) == (3_700_000, 4 * MIB, ((held.object, 500_000),))
        assert all(tier.get(entry.object) == entry for entry in others)
        assert sink.begin(info_of()) == frozenset(), "something smaller fits"
    assert names(directory, "staging") == []


def many_small(tier: DiskTier) -> list[Entry]:
    """Rows that are hit often, and worth far more for a byte than something large."""
    entries = [an_entry(noise(1_000, number), key=f"small {number}") for number in range(400)]
    for entry in entries:
        tier.put(entry)
    for entry in entries * 3:
        tier.get(entry.object)
    return entries


def test_only_at_any_cost_it_takes_the_place_of_what_is_worth_much_more(make: MakeTier) -> None:
    tier = make()
    small = many_small(tier)
    with contextlib.closing(tier.download(KEY, at_any_cost=False)) as sink, pytest.raises(NoRoom):
        sink.begin(info_of(noise(3_600_000)))
    assert all(tier.get(entry.object) is not None for entry in small)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        sink.begin(info_of(noise(3_600_000)))
    assert 0 < sum(tier.get(entry.object) is not None for entry in small) < 400


def test_the_budget_holds_from_the_first_byte_on_where_many_rows_go_for_it(make: MakeTier) -> None:
    tier = make()
    many_small(tier)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        sink.begin(info_of(noise(3_600_000)))
        assert tier.usage().bytes <= 4 * MIB


def test_what_was_cut_off_goes_first_and_one_under_way_not_at_all(make: MakeTier, directory: Path) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as cut_off:
        fill(cut_off, noise(MIB), parts=[0])
    under_way = tier.download(ObjectKey("bucket", "under way"), at_any_cost=True)
    fill(under_way, parts=[0])
    entries = fillers(tier, 5, 500_000)
    assert all(tier.get(entry.object) == entry for entry in entries), "it went before they did"
    assert len(names(directory, "staging")) == 1
    fillers(tier, 20, 500_000)
    tier.clear()
    assert tier.usage().entries == 1
    under_way.close()
    with contextlib.closing(tier.download(ObjectKey("bucket", "under way"), at_any_cost=True)) as again:
        assert fill(again) == [0]
        assert body_of(again.publish(info_of(), *TIMES, current=True)) == BODY


@pytest.mark.parametrize("how", ["evict", "clear"])
def test_what_was_cut_off_is_forgotten_with_its_object(make: MakeTier, directory: Path, how: str) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, parts=[0])
    tier.evict(KEY) if how == "evict" else tier.clear()
    assert (names(directory, "staging"), tier.usage().entries) == ([], 0)


# -- going on -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["etag", "size", "no etag", "file gone", "file cut", "row gone"])
def test_it_starts_over_where_what_is_left_is_not_of_this_body(make: MakeTier, directory: Path, change: str) -> None:
    tier, body = make(), BODY
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, noise(350_000, 1) if change == "etag" else BODY, parts=[0, 1])
    (name,) = names(directory, "staging")
    if change == "file gone":
        (directory / "staging" / name).unlink()
    elif change == "file cut":
        os.truncate(directory / "staging" / name, 349_999)
    elif change == "row gone":
        with contextlib.closing(sqlite3.connect(directory / database.DATABASE, isolation_level=None)) as connection:
            connection.execute("DELETE FROM Cache")
    info = info_of(body)
    if change == "size":
        body = BODY[:300_000]
        info = info._replace(size=300_000)
    elif change == "no etag":
        info = info._replace(etag="")
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        assert sink.begin(info) == frozenset()
        (again,) = names(directory, "staging")
        assert (directory / "staging" / again).read_bytes() == bytes(info.size), "nothing of the other one"
    assert names(directory, "staging") == []


@pytest.mark.parametrize("etag", [None, '"opaque-4"'], ids=["md5", "multipart"])
@pytest.mark.parametrize("connections", [1, 4])
def test_only_missing_parts_are_asked_for_after_a_cut_off(make: MakeTier, connections: int, etag: str | None) -> None:
    tier, s3 = make(), FakeS3()
    s3.put(URI, BODY, **({} if etag is None else {"etag": etag}))

    def cut(request: Request) -> None:
        if request.span is not None and request.span[0] == 3 * PART:
            raise TransportError("cut off")

    s3.before_answer = cut
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink, pytest.raises(OriginUnavailableError):
        fetch(s3, sink, connections=2)  # so that one of them has finished a part before it comes to the last
    text_of_row = tier._store.text(rows.partial_keys(tier._shelf.row_key(KEY))[0])  # type: ignore[union-attr]
    finished = int(rows.unpack(text_of_row).finished, 16)
    missing = [part for part in parts_of(BODY) if not finished >> part & 1]
    assert 3 in missing
    assert len(missing) < 4
    s3.before_answer = None
    s3.requests.clear()
    with contextlib.closing(make().download(KEY, at_any_cost=True)) as sink:
        info = fetch(s3, sink, connections)
        found = sink.publish(info, *TIMES, current=True)
    whole, *ranged = s3.requests
    asked = ([0] if 0 in missing else []) + sorted(request.span[0] // PART for request in ranged if request.span)
    assert (whole.span, asked) == (None, missing)
    assert (body_of(found), info.verified_by) == (BODY, "md5" if etag is None else "length")
    assert body_of(a_file(tier)) == BODY


def test_another_etag_after_a_cut_off_is_another_download(make: MakeTier, directory: Path) -> None:
    tier, s3 = make(), FakeS3({URI: noise(350_000, 1)})
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, noise(350_000, 1), parts=[0, 1, 2])
    s3[URI] = BODY
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        found = sink.publish(fetch(s3, sink, 4), *TIMES, current=True)
    assert (body_of(found), len(s3.requests)) == (BODY, 4)
    assert names(directory, "staging") == []


def test_parts_that_were_damaged_on_disk_are_brought_again(make: MakeTier, directory: Path) -> None:
    tier, s3 = make(), FakeS3({URI: BODY})
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, parts=[0, 1])
    (name,) = names(directory, "staging")
    with open(directory / "staging" / name, "r+b") as file:
        file.write(b"damaged")
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        found = sink.publish(fetch(s3, sink, 4), *TIMES, current=True)
    assert body_of(found) == BODY


def test_parts_are_noted_after_one_could_not_be(make: MakeTier, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, parts=[0])
        with monkeypatch.context() as patch:
            patch.setattr(tier._store, "replace_text", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("locked")))
            sink.finished(1)
        sink.finished(2)
        sink.finished(3)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as again:
        assert {0, 2, 3} <= again.begin(info_of())


KILLED = """
import os, random, signal, sys, threading
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.download import Download

s3 = FakeS3({"s3://bucket/net.onnx": random.Random(5).randbytes(33 * 2**20)})
cache = FakeCache(s3, directory=sys.argv[1], namespace="x", disk_budget="64MiB")
noted, enough, count = Download.finished, threading.Event(), []

def finished(self, part):
    noted(self, part)
    count.append(part)
    if len(count) >= 2:
        enough.set()

def die(request):
    if request.span is not None and request.span[0] == 32 * 2**20:
        enough.wait(30)
        os.kill(os.getpid(), signal.SIGKILL)

Download.finished = finished
s3.before_answer = die
cache.path("bucket", "net.onnx")
"""


def test_a_killed_process_leaves_what_it_had_finished_to_the_next(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # parts as they are
    done = subprocess.run([sys.executable, "-c", KILLED, str(directory)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert orphans(directory) == NOTHING
    body = noise(33 * MIB, 5)
    s3 = FakeS3({URI: body})
    with FakeCache(s3, directory=directory, namespace="x", disk_budget="64MiB") as cache:
        assert cache.path(URI).read_bytes() == body
        whole, *ranged = s3.requests
        assert whole.span is None
        assert 1 <= len(ranged) <= 7, "of nine parts, at least two were there"
        assert names(directory, "staging") == []
        assert cache.stats().disk_bytes <= 64 * MIB
    assert orphans(directory) == NOTHING


# -- many at once --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False], ids=["one tier", "two tiers"])
def test_two_downloads_of_one_object_do_not_meet(make: MakeTier, directory: Path, same: bool) -> None:
    tier = make()
    other = tier if same else make()
    with (
        contextlib.closing(tier.download(KEY, at_any_cost=True)) as one,
        contextlib.closing(other.download(KEY, at_any_cost=True)) as two,
    ):
        fill(one, parts=[0, 1])
        assert fill(two) == [], "a slot of its own"
        assert len(names(directory, "staging")) == 2
        second = two.publish(info_of(), NOW + 1, NOW + 301, current=True)
        for part in (2, 3):
            piece = memoryview(BODY)[part * PART : (part + 1) * PART]
            one.write(piece, part * PART)
            one.finished(part)
        first = one.publish(info_of(), *TIMES, current=True)
    assert (first.path, body_of(first), body_of(second)) == (second.path, BODY, BODY)
    found = a_file(other)
    assert (found.path, found.validated_at, tier.usage().entries) == (first.path, NOW + 1, 1)
    assert (len(names(directory, "bodies")), names(directory, "staging")) == (1, [])


def test_a_fifth_download_of_one_object_is_one_that_nobody_goes_on_with(make: MakeTier, directory: Path) -> None:
    tier = make()
    with contextlib.ExitStack() as under_way:
        for _ in range(rows.SLOTS):
            fill(under_way.enter_context(contextlib.closing(tier.download(KEY, at_any_cost=True))), parts=[0])
        fifth = under_way.enter_context(contextlib.closing(tier.download(KEY, at_any_cost=True)))
        fill(fifth, parts=[0])
        assert len(os.listdir(directory / "staging")) == rows.SLOTS + 1
        assert orphans(directory) == NOTHING
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as again:
        assert fill(again) == [0]


def test_what_is_not_current_is_a_file_for_its_caller_alone_and_goes_first(make: MakeTier, directory: Path) -> None:
    tier = make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink)
        found = sink.publish(info_of(), *TIMES, current=False)
    assert (tier.file(KEY), tier.get(KEY), body_of(found)) == (None, None, BODY)
    assert tier.usage().bytes >= len(BODY)
    assert orphans(directory) == NOTHING
    found.pin.release()
    entries = fillers(tier, 8, 440_000)
    assert not os.path.exists(found.path)
    assert all(tier.get(entry.object) == entry for entry in entries)


def test_what_is_not_current_is_counted_also_beside_the_same_body_in_its_row(make: MakeTier, directory: Path) -> None:
    tier, body = make(), noise(5_000)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, body)
        tier.put(entry_of(body))  # by a call with ttl=0, say, that was begun later
        found = sink.publish(info_of(body), *TIMES, current=False)
    assert orphans(directory) == NOTHING
    assert body_of(found) == body
    found.pin.release()
    assert (os.path.exists(found.path), tier.get(KEY)) == (False, entry_of(body))


def test_a_body_that_is_turned_away_beside_a_file_in_use_leaves_the_budget_alone(make: MakeTier) -> None:
    """What tells that it is not kept takes room in SQLite's log."""
    tier, budget = make(budget=600_000), 600_000
    tier.put(entry_of())
    held = a_file(tier)
    turned_away = 0
    for number in range(200):
        turned_away += not tier.put(entry_of(noise(5_000 + number, number), NOW + number))
        assert tier.usage().bytes <= budget
    assert turned_away
    assert body_of(held) == BODY


def test_an_earlier_validation_is_a_file_for_its_caller_and_replaces_no_later_one(make: MakeTier) -> None:
    tier, later = make(), entry_of(noise(200_000, 7), NOW + 10)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink)
        tier.put(later)
        found = sink.publish(info_of(), *TIMES, current=True)
    assert body_of(found) == BODY
    assert tier.get(KEY) == later
    assert body_of(a_file(tier)) == later.body


def test_a_body_that_is_held_already_keeps_its_row(make: MakeTier, directory: Path) -> None:
    tier = make()
    tier.put(entry_of())
    held = a_file(tier)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink)
        found = sink.publish(info_of(), *TIMES, current=False)
    assert (found.path, body_of(found), tier.usage().entries) == (held.path, BODY, 1)
    assert tier.get(KEY) == entry_of()
    assert len(names(directory, "bodies")) == 1


def test_one_who_looks_whether_a_file_is_in_use_is_in_nobodys_way(make: MakeTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """As eviction does, in a transaction."""
    tier, other = make(), make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink)
        first = sink.publish(info_of(), *TIMES, current=True)
    first.pin.release()
    assert other.usage().entries == 1
    hold, looks, tried = Pins.hold, threading.Event(), threading.Event()

    def look() -> None:
        assert other._store is not None
        assert other._pins is not None
        with other._store.writing(), other._pins.alone(os.path.basename(first.path)):
            looks.set()
            tried.wait(0.2)  # who waits for the transaction tries after it

    def held(pins: Pins, name: str) -> bool:
        try:
            return hold(pins, name)
        finally:
            tried.set()

    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink)
        monkeypatch.setattr(Pins, "hold", held)
        thread = threading.Thread(target=look)
        thread.start()
        assert looks.wait(30)
        try:
            assert body_of(sink.publish(info_of(), *TIMES, current=True)) == BODY
        finally:
            thread.join()


# -- put in place of what has been downloaded ----------------------------------------------------------------------------------

KINDS = {
    "noise": (BODY, "raw"),
    "text": (text(350_000), "zstd"),
    "hexed": (noise(175_000).hex().encode(), "zstd"),
}


@pytest.mark.parametrize(("body", "codec"), KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("verified_by", ["md5", "length"])
def test_admit_keeps_it_compressed_where_that_pays(
    make: MakeTier, directory: Path, body: bytes, codec: str, verified_by: str
) -> None:
    tier, entry = make(), entry_of(body, verified_by=verified_by)
    tier.put(entry_of(noise(200_000, 9), NOW - 1))
    with contextlib.closing(tier.download(KEY, at_any_cost=False)) as sink:
        fill(sink, body, verified_by=verified_by)
        sink.admit(entry)
    held = tier.describe(KEY)
    assert held is not None
    assert (held.codec, held.stored_size < len(body), tier.get(KEY)) == (codec, codec == "zstd", entry)
    assert (tier.usage().entries, names(directory, "staging")) == (1, [])
    tier.clear()
    assert names(directory, "bodies") == [], "nobody has it in use"


@pytest.mark.parametrize("body", [kind[0] for kind in KINDS.values()], ids=KINDS.keys())
def test_admit_replaces_no_later_validation(make: MakeTier, body: bytes) -> None:
    tier, later = make(), entry_of(noise(200_000, 9), NOW + 1)
    with contextlib.closing(tier.download(KEY, at_any_cost=False)) as sink:
        fill(sink, body)
        tier.put(later)
        sink.admit(entry_of(body))
    assert tier.get(KEY) == later


@pytest.mark.parametrize(("kind", "call"), [("noise", "rename"), ("hexed", "write")])
def test_admit_that_fails_says_so_that_what_is_older_can_be_evicted(
    make: MakeTier, monkeypatch: pytest.MonkeyPatch, kind: str, call: str
) -> None:
    journal = Journal()
    tier, body = make(journal=journal), KINDS[kind][0]
    tier.put(entry_of(noise(200_000, 9), NOW - 1))
    with contextlib.closing(tier.download(KEY, at_any_cost=False)) as sink:
        fill(sink, body)
        with monkeypatch.context() as patch:
            failing(patch, call, errno.EIO, 100)
            assert not sink.admit(entry_of(body))
    assert journal.counters.disk_errors == 1
    tier.evict(KEY)
    assert tier.get(KEY) is None


@pytest.mark.parametrize("of", ["the current one", "an older one"])
def test_what_is_not_current_and_takes_the_place_of_the_same_body_is_whole(make: MakeTier, directory: Path, of: str) -> None:
    """Two that asked at once: the second file has the name of the first, and its row has to know the new one."""
    journal = Journal()
    tier = make(journal=journal)
    info = info_of(verified_by="length")  # a seal that differs could be made good by nothing
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as first:
        fill(first, verified_by="length")
        held = first.publish(info, *TIMES, current=True)
    if of == "an older one":
        tier.evict(KEY)  # in use, and so it stays
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as second:
        fill(second, verified_by="length")
        found = second.publish(info, *TIMES, current=False)
    assert found.path == held.path
    assert orphans(directory) == NOTHING
    for each in (held, found):
        each.pin.release()
    if of == "the current one":
        assert body_of(a_file(tier)) == BODY
        assert tier.get(KEY) == entry_of(verified_by="length")
    assert journal.counters.corrupt == 0


def test_older_files_that_went_in_vain_leave_no_row(make: MakeTier, directory: Path) -> None:
    """They go before a newcomer is turned away. If that is not enough their rows must not come back without them."""
    tier = make(budget=MIB)
    for body in (noise(100_000, 1), noise(100_000, 2)):  # the first one is in use when it is replaced
        with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
            fill(sink, body)
            found = sink.publish(info_of(body), *TIMES, current=True)
        if body == noise(100_000, 1):
            first = found
    first.pin.release()
    assert len(names(directory, "bodies")) == 2
    other = ObjectKey("bucket", "other.onnx")
    with contextlib.closing(tier.download(other, at_any_cost=False)) as sink, pytest.raises(NoRoom):
        sink.begin(info_of(noise(900_000, 3)))
    assert len(names(directory, "bodies")) == 1
    assert orphans(directory) == NOTHING
    assert tier.usage().entries == 1
    found.pin.release()


# -- trouble -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_disk_that_is_full_once_gets_room_and_another_try(
    make: MakeTier, directory: Path, monkeypatch: pytest.MonkeyPatch, call: str, connections: int
) -> None:
    journal = Journal()
    tier, s3 = make(journal=journal), FakeS3({URI: BODY})
    entries = fillers(tier, 4, 300_000)
    with monkeypatch.context() as patch, contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        calls = failing(patch, call, errno.ENOSPC, 1)
        found = sink.publish(fetch(s3, sink, connections), *TIMES, current=True)
        assert calls() > 1
    assert (body_of(found), body_of(a_file(tier))) == (BODY, BODY)
    assert sum(tier.get(entry.object) is not None for entry in entries) == 2, "as much went as the body takes"
    assert journal.counters.disk_errors == 0
    wholes = [request for request in s3.requests if request.span is None]
    assert len(wholes) == (1 if call == "posix_fallocate" else 2)


@pytest.mark.parametrize("fails", [("posix_fallocate", 28), ("pwrite", 28), ("posix_fallocate", 5), ("pwrite", 5)])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_disk_that_fails_is_no_room_and_nothing_is_left(
    make: MakeTier, directory: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, int], connections: int
) -> None:
    journal = Journal()
    tier, s3 = make(journal=journal), FakeS3({URI: BODY})
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        with monkeypatch.context() as patch:
            failing(patch, *fails, 1000)
            with pytest.raises(NoRoom, match="could not be written"):
                fetch(s3, sink, connections)
        assert journal.counters.disk_errors >= 1
    assert (names(directory, "staging"), tier.usage().entries) == ([], 0)
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        assert body_of(sink.publish(fetch(s3, sink, connections), *TIMES, current=True)) == BODY


def test_trouble_with_downloads_is_over_with_the_next_that_works(make: MakeTier, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    tier = make(journal=journal)
    for times in (1, 0):
        with (
            monkeypatch.context() as patch,
            contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink,
            contextlib.suppress(NoRoom),
        ):
            failing(patch, "posix_fallocate", errno.EIO, times)
            fill(sink)
            sink.publish(info_of(), *TIMES, current=True)
        assert list(journal.troubles._open) == ["disk"] * times


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_allocate_will_do(make: MakeTier, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    failing(monkeypatch, "posix_fallocate", code, 100)
    with contextlib.closing(make().download(KEY, at_any_cost=True)) as sink:
        assert fill(sink) == []


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    with contextlib.closing(sqlite3.connect(directory / database.DATABASE, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("step", ["begin", "finished", "publish", "close"])
def test_a_database_that_is_locked_costs_what_it_must(
    make: MakeTier, directory: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.01)
    journal = Journal()
    tier = make(journal=journal)
    assert tier.usage().entries == 0
    sink = tier.download(KEY, at_any_cost=True)
    with contextlib.ExitStack() as stack:
        if step == "begin":
            stack.enter_context(locked(directory))
            with pytest.raises(NoRoom, match="could not be written"):
                sink.begin(info_of())
            sink.close()
        elif step == "finished":
            sink.begin(info_of())
            stack.enter_context(locked(directory))
            sink.finished(0)
            stack.close()
            assert fill(sink, parts=parts_of(BODY)) == []
            assert body_of(sink.publish(info_of(), *TIMES, current=True)) == BODY
        elif step == "publish":
            fill(sink)
            stack.enter_context(locked(directory))
            with pytest.raises(NoRoom):
                sink.publish(info_of(), *TIMES, current=True)
        else:
            sink.begin(info_of())
            stack.enter_context(locked(directory))
            sink.close()
    sink.close()
    assert (journal.counters.disk_errors > 0) == (step != "finished")
    assert orphans(directory) == NOTHING
    if step == "publish":
        with pytest.raises(NoRoom, match="cannot be used now"):
            tier.download(KEY, at_any_cost=True)
    tier._read_only_until = 0.0
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as again:
        assert fill(again) == ([0, 1, 2, 3] if step == "publish" else [])
        assert body_of(again.publish(info_of(), *TIMES, current=True)) == BODY


@pytest.mark.parametrize(
    "reopened",
    [False, True],
    ids=["by itself", "by another"],
)
def test_a_database_that_is_replaced_in_the_middle_ends_the_download(make: MakeTier, directory: Path, reopened: bool) -> None:
    journal = Journal()
    tier, other = make(journal=journal), make()
    with contextlib.closing(tier.download(KEY, at_any_cost=True)) as sink:
        fill(sink, parts=[0])
        for path in database.database_files(str(directory)):
            Path(path).unlink(missing_ok=True)
        if reopened:
            assert other.put(an_entry())
        with pytest.raises(NoRoom):
            sink.publish(info_of(), *TIMES, current=True)
    assert journal.counters.disk_errors == 1
    assert tier.put(an_entry(b"another", key="another")), "the tier goes on with the new one"
    left = names(directory, "staging")
    for name in left:
        (directory / "staging" / name).unlink()
    assert left == []


# -- through the cache ---------------------------------------------------------------------------------------------------------


def test_what_may_not_be_kept_is_a_file_for_its_caller_alone(directory: Path) -> None:
    s3 = FakeS3()
    s3.put(URI, BODY, cache_control="no-store")
    with FakeCache(s3, directory=directory, namespace="x") as cache:
        first, second = cache.path(URI), cache.path(URI)
        assert (first.read_bytes(), second.read_bytes()) == (BODY, BODY)
        assert [(request.status, request.if_none_match) for request in s3.requests if not request.span] == [(200, None)] * 2
        assert cache.explain(URI).tiers == ()
        assert orphans(directory) == NOTHING
        cache.release(URI)
        cache.clear()
        assert names(directory, "bodies") == []


@pytest.mark.parametrize("size", [0, 10, 350_000])
def test_a_body_of_unknown_length_becomes_a_file(directory: Path, size: int) -> None:
    s3 = FakeS3()
    s3.put(URI, noise(size), content_length="")
    with FakeCache(s3, directory=directory, namespace="x") as cache:
        assert cache.path(URI).read_bytes() == noise(size)
        assert cache.path(URI).read_bytes() == noise(size)
        assert len(s3.requests) == 1
    assert orphans(directory) == NOTHING


def test_a_disk_that_is_full_once_under_a_body_of_unknown_length(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FakeS3()
    s3.put(URI, BODY, content_length="")
    failing(monkeypatch, "pwrite", errno.ENOSPC, 1)
    with FakeCache(s3, directory=directory, namespace="x") as cache:
        assert cache.path(URI).read_bytes() == BODY


def test_a_disk_that_stays_full_is_an_error_for_people_and_others_do_without(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = FakeS3({URI: BODY})
    failing(monkeypatch, "posix_fallocate", errno.ENOSPC, 1000)
    with FakeCache(s3, directory=directory, namespace="x") as cache:
        with pytest.raises(DiskUnavailableError, match=r"cannot be kept as a file.*open\(\) and get\(\)"):
            cache.path(URI)
        with cache.open(URI) as file:
            assert file.read() == BODY
        assert cache.get(URI) == BODY
    assert orphans(directory) == NOTHING


def test_bytes_come_all_the_same_where_the_disk_fails(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FakeS3({URI: BODY})
    failing(monkeypatch, "pwrite", errno.EIO, 1000)
    with FakeCache(s3, directory=directory, namespace="x") as cache:
        assert cache.get(URI) == BODY
    assert orphans(directory) == NOTHING


def test_a_large_body_that_was_read_as_bytes_lies_on_disk_once(directory: Path) -> None:
    s3 = FakeS3({URI: BODY})
    with FakeCache(s3, directory=directory, namespace="x") as cache:
        assert cache.get(URI) == BODY
        assert cache.explain(URI).tiers == ("memory", "disk")
        asked = len(s3.requests)
        path = cache.path(URI)
        assert (path.read_bytes(), len(s3.requests)) == (BODY, asked)
    assert names(directory, "bodies") == [path.name]
