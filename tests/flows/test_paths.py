"""Files and streams of objects through the whole cache, against every origin that can do it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import (
    AccessDeniedError,
    DiskUnavailableError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
)
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.disk import DiskTier
from s3warm.tiers.download import Download
from tests.support.entries import noise, text
from tests.support.orphans import NOTHING, orphans
from tests.support.threads import until, wait, waiting
from tests.support.worlds import FakeWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm import Cache
    from s3warm.entries import Metadata
    from tests.support.worlds import World

KEY = "models/net.onnx"
OLD, NEW = noise(100_000), noise(120_000, 1)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeWorld]:
    """For what only the fake can do."""
    made = FakeWorld(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_orphans(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Every file is a row's, whatever a test has done."""
    yield
    if (tmp_path / "cache" / "bodies").exists():
        assert orphans(tmp_path / "cache") == NOTHING


def asked(world: World) -> list[int]:
    """The statuses of the requests since this was asked last."""
    statuses = [seen.status for seen in world.seen()]
    world.forget()
    return statuses


def pins(cache: Cache) -> list[int]:
    """How often each file is in use by this cache."""
    tier = cache._files
    assert isinstance(tier, DiskTier)
    return sorted(tier._pins._held.values()) if tier._pins is not None else []


# -- what S3 says ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [OLD, text(200_000), b"", noise(9 * 2**20)], ids=["noise", "text", "empty", "in parts"])
def test_a_fresh_file_is_there_without_a_request(world: World, body: bytes) -> None:
    world.put(KEY, body)
    cache = world.cache(ttl=60)
    path = cache.path(world.bucket, KEY)
    assert (path.read_bytes(), path.suffix, path.is_absolute()) == (body, ".onnx", True)
    assert set(asked(world)) <= {200, 206}
    world.now += 59
    assert cache.path(f"s3://{world.bucket}/{KEY}") == path
    with cache.as_file(world.bucket, KEY) as same, cache.open(world.bucket, KEY) as file:
        assert (same, file.read()) == (path, body)
    assert world.cache(ttl=60).path(world.bucket, KEY) == path, "also after a crash"
    assert asked(world) == []
    stats = cache.stats()
    assert (stats.misses, stats.disk_hits, stats.memory_hits, stats.errors) == (1, 3, 0, 0)


def test_an_expired_file_that_is_unchanged_is_confirmed_and_stays(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    path = cache.path(world.bucket, KEY)
    inode = path.stat().st_ino
    asked(world)
    for _ in range(2):
        world.now += 60
        for _ in range(2):
            assert cache.path(world.bucket, KEY) == path
    assert asked(world) == [304, 304]
    assert path.stat().st_ino == inode
    assert cache.stats().revalidated == 2
    assert pins(cache) == [1], "one pin an object, however often"


def test_a_changed_object_is_another_file_and_the_older_one_stays_as_it_is(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    older = cache.path(world.bucket, KEY)
    inode = older.stat().st_ino
    world.put(KEY, NEW)
    world.now += 60
    newer = cache.path(world.bucket, KEY)
    assert newer != older
    assert (newer.read_bytes(), older.read_bytes(), older.stat().st_ino) == (NEW, OLD, inode)
    assert cache.stats().replaced == 1
    assert pins(cache) == [1], "only the newer one is in use; the older one stays as long as there is room"
    world.put(KEY, OLD)
    world.now += 60
    assert cache.path(world.bucket, KEY) == older, "and its name when it comes back"
    assert (older.read_bytes(), newer.read_bytes()) == (OLD, NEW)


def test_s3_down_with_a_file_and_without(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60, stale_if_error=600)
    path = cache.path(world.bucket, KEY)
    world.set_down(True)
    world.now += 100
    assert cache.path(world.bucket, KEY) == path
    with cache.open(world.bucket, KEY) as file:
        assert file.read() == OLD
    assert cache.stats().stale_served == 2
    with pytest.raises(OriginUnavailableError):
        cache.path(world.bucket, KEY, ttl=0)
    world.now += 600
    for ask in (cache.path, cache.open):
        with pytest.raises(OriginUnavailableError, match="could not be fetched"):
            ask(world.bucket, KEY)
    with pytest.raises(OriginUnavailableError):
        cache.path(world.bucket, "other")
    assert path.read_bytes() == OLD
    assert pins(cache) == [1], "nobody else holds on to it"


def test_a_deleted_object_is_forgotten_and_its_file_stays_while_it_is_used(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    path = cache.path(world.bucket, KEY)
    cache.get(world.bucket, KEY)
    world.delete(KEY)
    world.now += 60
    with pytest.raises(ObjectNotFoundError):
        cache.path(world.bucket, KEY)
    assert path.read_bytes() == OLD
    assert cache.explain(world.bucket, KEY).tiers == ()
    with pytest.raises(ObjectNotFoundError), cache.as_file(world.bucket, KEY):
        raise AssertionError
    with pytest.raises(ObjectNotFoundError):
        cache.open(world.bucket, KEY)
    cache.release(world.bucket, KEY)
    cache.clear()
    assert not path.exists()
    assert (cache.stats().removed, pins(cache)) == (1, [])


def test_a_forbidden_object_is_forgotten_and_its_file_stays_while_it_is_used(world: World) -> None:
    if world.name == "embedded":
        pytest.skip("moto's server checks no policies unless it is told to for all tests: no AccessDenied to be had")
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    path = cache.path(world.bucket, KEY)
    world.deny(KEY)
    world.now += 60
    for ask in (cache.path, cache.open, cache.get):
        with pytest.raises(AccessDeniedError):
            ask(world.bucket, KEY)
    assert path.read_bytes() == OLD
    assert cache.explain(world.bucket, KEY).tiers == ()


def test_the_ttl_of_a_call(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    path = cache.path(world.bucket, KEY)
    asked(world)
    world.now += 30
    cache.path(world.bucket, KEY, ttl=31)
    assert asked(world) == []
    cache.path(world.bucket, KEY, ttl=30)
    with cache.as_file(world.bucket, KEY, ttl=0) as same, cache.open(world.bucket, KEY, ttl=0):
        assert same == path
    assert asked(world) == [304, 304, 304]
    world.put(KEY, NEW)
    assert cache.path(world.bucket, KEY, ttl=0).read_bytes() == NEW
    assert asked(world) == [200]


def test_a_version_has_a_file_of_its_own_that_never_expires(fake: FakeWorld) -> None:
    uri = f"s3://{fake.bucket}/{KEY}"
    versions = [fake.s3.put(uri, body) for body in (OLD, NEW)]
    cache = fake.cache(ttl=60)
    pinned = cache.path(fake.bucket, KEY, version_id=versions[0])
    assert (pinned.read_bytes(), cache.path(uri).read_bytes()) == (OLD, NEW)
    asked(fake)
    fake.now += 10_000_000
    assert cache.path(uri, version_id=versions[0]) == pinned
    assert asked(fake) == []
    cache.release(uri)
    assert pins(cache) == [1], "the version is an object of its own"
    cache.release(uri, version_id=versions[0])
    assert pins(cache) == []
    with pytest.raises(ObjectNotFoundError):
        cache.path(uri, version_id="v9")


def test_a_clock_set_back_replaces_what_was_validated_later(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    older = cache.path(world.bucket, KEY)
    world.put(KEY, NEW)
    world.now -= 3600
    newer = cache.path(world.bucket, KEY)
    assert (newer.read_bytes(), older.read_bytes()) == (NEW, OLD)
    asked(world)
    assert cache.path(world.bucket, KEY) == newer
    assert cache.get(world.bucket, KEY) == NEW
    assert asked(world) == []


# -- invalidate, clear, close -------------------------------------------------------------------------------------------------


def test_invalidated_it_is_asked_for_and_confirmed(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache()
    path = cache.path(world.bucket, KEY)
    asked(world)
    cache.invalidate(world.bucket, KEY)
    assert cache.path(world.bucket, KEY, ttl=3600) == path
    assert asked(world) == [304]


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@pytest.mark.parametrize("held", [False, True], ids=["cold", "held"])
def test_a_flight_begun_before_stores_nothing_after(world: World, how: str, held: bool) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    if held:
        cache.path(world.bucket, KEY)
        world.put(KEY, NEW)
        world.now += 60
        asked(world)
    body, done = NEW if held else OLD, threading.Event()

    def meanwhile() -> None:
        if not done.is_set():
            done.set()
            cache.invalidate(world.bucket, KEY) if how == "invalidate" else cache.clear()

    world.hold(meanwhile)
    assert cache.path(world.bucket, KEY).read_bytes() == body
    assert asked(world) == [200]
    again = cache.path(world.bucket, KEY)
    assert again.read_bytes() == body
    assert asked(world) == [200], "what was brought meanwhile is nobody else's"
    assert cache.path(world.bucket, KEY) == again
    assert asked(world) == []


def test_clear_leaves_what_is_in_use(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache()
    path = cache.path(world.bucket, KEY)
    with cache.open(world.bucket, KEY) as file:
        cache.clear()
        asked(world)
        assert (path.read_bytes(), file.read()) == (OLD, OLD)
        assert cache.stats().disk_bytes >= len(OLD)
        assert cache.path(world.bucket, KEY).read_bytes() == OLD
        assert asked(world) == [200]
    cache.release(world.bucket, KEY)
    cache.release(world.bucket, KEY)
    cache.clear()
    assert not path.exists()


def test_close_ends_every_use_and_the_files_stay_for_the_next(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache()
    path = cache.path(world.bucket, KEY)
    with cache.as_file(world.bucket, KEY):
        cache.close()
    asked(world)
    with pytest.raises(DiskUnavailableError, match="cannot be kept as a file"):
        cache.path(world.bucket, KEY)
    with cache.open(world.bucket, KEY) as file:
        assert file.read() == OLD, "a closed cache reads through"
    asked(world)
    other = world.cache()
    assert other.path(world.bucket, KEY) == path
    other.release(world.bucket, KEY)
    other.clear()
    assert not path.exists()


# -- use ------------------------------------------------------------------------------------------------------------------------


def test_each_as_file_has_a_pin_of_its_own(fake: FakeWorld) -> None:
    fake.put(KEY, OLD)
    cache = fake.cache()
    with cache.as_file(fake.bucket, KEY) as outer:
        with cache.as_file(fake.bucket, KEY):
            assert pins(cache) == [2]
        with pytest.raises(KeyError), cache.as_file(fake.bucket, KEY):
            raise KeyError
        cache.path(fake.bucket, KEY)
        cache.release(fake.bucket, KEY)
        cache.release(fake.bucket, KEY)
        assert pins(cache) == [1]
        cache.clear()
        assert outer.read_bytes() == OLD
    assert pins(cache) == []
    cache.clear()
    assert not outer.exists()


def test_an_open_file_is_in_use_until_it_is_closed(world: World) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("member", OLD)
    world.put(KEY, archive.getvalue())
    cache = world.cache()
    file = cache.open(world.bucket, KEY)
    assert (file.readable(), file.seekable(), file.writable(), file.closed) == (True, True, False, False)
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    cache.clear()
    assert pins(cache) == [1]
    with zipfile.ZipFile(file) as read:
        assert read.read("member") == OLD
    file.close()
    file.close()
    assert (file.closed, pins(cache)) == (True, [])
    with pytest.raises(ValueError, match="closed"):
        file.read()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_open_file_that_is_forgotten_is_not_in_use(fake: FakeWorld) -> None:
    fake.put(KEY, OLD)
    cache = fake.cache()
    file = cache.open(fake.bucket, KEY)
    assert pins(cache) == [1]
    del file
    assert pins(cache) == []


@pytest.mark.parametrize("mode", ["rb", "r", "w", "r+b", "U"])
def test_open_takes_no_mode(fake: FakeWorld, mode: str) -> None:
    with pytest.raises(TypeError, match=r"takes no mode.*write open\('s3://b/k'\)"):
        fake.cache().open("s3://b/k", mode)
    assert asked(fake) == []


def test_wrong_arguments_reach_nobody_also_before_the_block_is_entered(fake: FakeWorld) -> None:
    cache = fake.cache()
    calls: list[tuple[type[Exception], Callable[[Any], object]]] = [
        (ValueError, lambda ask: ask("")),
        (ValueError, lambda ask: ask("s3://bucket/")),
        (ValueError, lambda ask: ask("bucket", "key", ttl=-1)),
        (TypeError, lambda ask: ask("bucket", b"key")),
        (ValueError, lambda ask: ask("bucket", "key", version_id="")),
    ]
    for kind, call in calls:
        for ask in (cache.path, cache.as_file, cache.open):
            with pytest.raises(kind):
                call(ask)
    assert asked(fake) == []


def test_one_download_for_any_number_of_callers_and_a_pin_for_each(world: World) -> None:
    callers = 32
    world.put(KEY, OLD)
    arrived, go_on, leave = threading.Barrier(callers), threading.Event(), threading.Event()
    inside = threading.Semaphore(0)
    world.hold(lambda: wait(go_on))
    cache = world.cache()

    def call(_: int) -> tuple[Path, bytes]:
        arrived.wait()
        with cache.as_file(world.bucket, KEY) as path:
            inside.release()
            wait(leave)
            return path, path.read_bytes()

    with ThreadPoolExecutor(callers) as pool:
        answers = [pool.submit(call, number) for number in range(callers)]
        try:
            until(lambda: waiting(cache) == callers - 1)
            go_on.set()
            for _ in range(callers):
                assert inside.acquire(timeout=30)
            assert pins(cache) == [callers]
            cache.clear()
        finally:
            go_on.set()
            leave.set()
        results = {answer.result() for answer in answers}
    assert [body for _, body in results] == [OLD]
    assert asked(world) == [200]
    assert (cache.stats().coalesced, pins(cache)) == (callers - 1, [])


def test_two_caches_on_one_directory_see_each_others_pins(world: World) -> None:
    world.put(KEY, OLD)
    one, two = world.cache(ttl=60), world.cache(ttl=60)
    older = one.path(world.bucket, KEY)
    world.put(KEY, NEW)
    world.now += 60
    newer = two.path(world.bucket, KEY)
    two.clear()
    assert (older.read_bytes(), newer.read_bytes()) == (OLD, NEW)
    one.release(world.bucket, KEY)
    two.clear()
    assert (older.exists(), newer.read_bytes()) == (False, NEW)
    one.clear()
    assert newer.read_bytes() == NEW
    two.release(world.bucket, KEY)
    one.clear()
    assert not newer.exists()


FORK = """
import os, sys
from s3warm.testing import FakeCache, FakeS3
s3 = FakeS3({"s3://b/k.bin": b"body", "s3://b/other": b"other"})
cache = FakeCache(s3, directory=sys.argv[1], namespace="x")
path = cache.path("b", "k.bin")
to_child, to_parent = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.write(to_parent[1], b".")
    os.read(to_child[0], 1)
    cache.clear()
    ok = path.read_bytes() == b"body" and cache.path("b", "other").read_bytes() == b"other"
    cache.release("b", "k.bin")
    cache.release("b", "other")
    cache.clear()
    os._exit(0 if ok and not path.exists() else 1)
os.read(to_parent[0], 1)
cache.release("b", "k.bin")
cache.clear()
assert path.exists(), "the child uses it"
os.write(to_child[1], b".")
assert os.waitpid(child, 0)[1] == 0
cache.clear()
assert os.listdir(os.path.join(sys.argv[1], "bodies")) == []
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_a_forked_child_uses_its_parents_files_in_its_own_right(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "cache")], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")
def test_a_forked_child_waits_for_nobody_who_was_asking_for_a_path(fake: FakeWorld) -> None:
    fake.put(KEY, OLD)
    cache = fake.cache()
    with cache._pin_lock:
        cache.renew()
        assert not cache._pin_lock.locked()


# -- beside bytes --------------------------------------------------------------------------------------------------------------


def test_bytes_come_from_a_file_in_use_and_a_file_from_compressed_bytes(world: World) -> None:
    world.put(KEY, OLD)
    world.put("packed.csv", text(3_000_000))
    cache = world.cache(memory_budget=0)
    path = cache.path(world.bucket, KEY)
    cache.get(world.bucket, "packed.csv")
    asked(world)
    assert cache.get(world.bucket, KEY) == OLD
    packed = cache.path(world.bucket, "packed.csv")
    assert (packed.read_bytes(), packed.suffix) == (text(3_000_000), ".csv")
    assert cache.get(world.bucket, "packed.csv") == text(3_000_000)
    assert path.read_bytes() == OLD
    assert asked(world) == []


def test_bytes_are_never_older_than_a_file_that_was_fetched(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache()
    assert cache.get(world.bucket, KEY) == OLD
    world.put(KEY, NEW)
    assert cache.get(world.bucket, KEY) == OLD
    assert cache.path(world.bucket, KEY, ttl=0).read_bytes() == NEW
    asked(world)
    assert cache.get(world.bucket, KEY) == NEW
    world.put(KEY, b"newest")
    assert cache.get(world.bucket, KEY, ttl=0) == b"newest"
    asked(world)
    assert cache.path(world.bucket, KEY).read_bytes() == b"newest"
    assert asked(world) == []


def test_a_confirmed_file_confirms_the_same_bytes_in_memory(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(ttl=60)
    body = cache.get(world.bucket, KEY)
    world.now += 60
    cache.path(world.bucket, KEY)
    assert cache.get(world.bucket, KEY) is body
    assert asked(world) == [200, 304]


def test_bytes_are_never_older_than_a_file_that_was_confirmed(world: World) -> None:
    world.put(KEY, OLD)
    cache, other = world.cache(), world.cache()
    assert cache.get(world.bucket, KEY) == OLD
    world.put(KEY, NEW)
    assert other.path(world.bucket, KEY, ttl=0).read_bytes() == NEW
    asked(world)
    assert cache.path(world.bucket, KEY, ttl=0).read_bytes() == NEW
    assert asked(world) == [304]
    assert cache.get(world.bucket, KEY) == NEW


def test_what_may_not_be_kept_any_more_leaves_nothing_older(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache()
    assert cache.get(world.bucket, KEY) == OLD
    world.put(KEY, NEW, CacheControl="no-store")
    assert cache.path(world.bucket, KEY, ttl=0).read_bytes() == NEW
    assert cache.get(world.bucket, KEY) == NEW


def test_a_file_of_an_object_without_an_etag_is_never_changed(fake: FakeWorld) -> None:
    uri = f"s3://{fake.bucket}/{KEY}"
    fake.s3.put(uri, OLD, etag="")
    cache = fake.cache()
    with cache.as_file(uri) as older:
        fake.s3.put(uri, NEW, etag="")
        with cache.as_file(uri) as newer:
            assert newer.read_bytes() == NEW
            assert older.read_bytes() == OLD


def test_any_number_may_ask_s3_at_once(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.put(KEY, OLD)
    cache, callers = fake.cache(), 5
    begin, begun = Download.begin, threading.Barrier(callers)

    def begin_together(download: Download, info: Metadata) -> frozenset[int]:
        try:
            return begin(download, info)
        finally:
            if not begun.broken:
                begun.wait(30)

    monkeypatch.setattr(Download, "begin", begin_together)
    with ThreadPoolExecutor(callers) as pool:
        answers = [pool.submit(cache.path, fake.bucket, KEY, ttl=0) for _ in range(callers)]
    assert {answer.result().read_bytes() for answer in answers} == {OLD}


# -- no disk, no room ----------------------------------------------------------------------------------------------------------


def test_disabled_it_is_a_file_all_the_same_and_s3_is_asked_each_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    world.put(KEY, OLD)
    cache = world.cache()
    path = cache.path(world.bucket, KEY)
    assert cache.path(world.bucket, KEY) == path
    with cache.open(world.bucket, KEY) as file:
        assert file.read() == OLD
    assert asked(world) == [200, 304, 304]
    world.put(KEY, NEW)
    assert cache.path(world.bucket, KEY).read_bytes() == NEW
    assert path.read_bytes() == OLD
    assert cache.get(world.bucket, KEY) == NEW
    world.set_down(True)
    with pytest.raises(OriginUnavailableError):
        cache.path(world.bucket, KEY)
    assert (cache.stats().disk_bytes, cache.stats().memory_entries) == (0, 0)
    cache.close()
    assert not path.exists(), "in a directory of this process alone"


def test_without_a_disk_there_are_streams_and_no_files(world: World) -> None:
    world.put(KEY, OLD)
    cache = world.cache(disk_budget=0)
    with pytest.raises(DiskUnavailableError, match=r"disk_budget is 0.*open\(\) and get\(\)") as caught:
        cache.path(world.bucket, KEY)
    assert (caught.value.bucket, caught.value.key) == (world.bucket, KEY)
    with pytest.raises(DiskUnavailableError, match=r"open\(\)"), cache.as_file(world.bucket, KEY):
        raise AssertionError
    cache.release(world.bucket, KEY)
    assert asked(world) == []
    with cache.open(world.bucket, KEY) as file:
        assert (file.seek(50_000), file.read(), file.seek(0), file.read(10)) == (50_000, OLD[50_000:], 0, OLD[:10])
    with pytest.raises(ObjectNotFoundError):
        cache.open(world.bucket, "missing")


def test_a_stream_of_unknown_length_is_a_file_or_an_error_for_people(fake: FakeWorld) -> None:
    uri = f"s3://{fake.bucket}/{KEY}"
    fake.s3.put(uri, OLD, content_length="")
    with fake.cache(disk_budget=0).open(uri) as file:
        assert file.read() == OLD


def test_what_is_larger_than_the_budget_beside_files_in_use(world: World) -> None:
    large = noise(3_000_000, 2)
    world.put("large", large)
    world.put(KEY, noise(1_500_000))
    cache = world.cache(disk_budget="4MiB")
    path = cache.path(world.bucket, KEY)
    with pytest.raises(ObjectTooLargeError, match=r"3,000,000 bytes.*4,194,304.*as_file\(\)") as caught:
        cache.path(world.bucket, "large")
    assert f"s3://{world.bucket}/{KEY} (1.4 MiB)" in str(caught.value)
    assert cache.stats().errors == 1
    asked(world)
    with cache.open(world.bucket, "large") as file:
        assert file.read() == large
        assert (file.seek(-10, os.SEEK_END), file.read()) == (2_999_990, large[-10:])
    assert cache.stats().disk_bytes <= 4 * 2**20
    assert path.stat().st_size == 1_500_000
    cache.release(world.bucket, KEY)
    assert cache.path(world.bucket, "large").read_bytes() == large
    world.put("larger", noise(5_000_000))
    cache.release(world.bucket, "large")
    with pytest.raises(ObjectTooLargeError, match=r"4\.0 MiB\); open\(\) streams it"):
        cache.path(world.bucket, "larger")


def test_a_stream_is_of_one_version(world: World) -> None:
    world.put("large", noise(6_000_000))
    with world.cache(disk_budget="4MiB").open(world.bucket, "large") as file:
        assert file.read(10) == noise(6_000_000)[:10]
        world.put("large", noise(6_000_000, 1))
        file.seek(5_000_000)
        with pytest.raises(OriginUnavailableError, match=r"overwritten|changed"):
            file.read(10)


def test_a_new_version_takes_the_room_of_an_older_one_that_nobody_uses(world: World) -> None:
    world.put(KEY, noise(2_500_000))
    cache = world.cache(ttl=60, disk_budget="4MiB")
    with cache.as_file(world.bucket, KEY) as path:
        assert path.stat().st_size == 2_500_000
    world.put(KEY, noise(2_500_000, 1))
    world.now += 60
    with cache.as_file(world.bucket, KEY) as path:
        assert path.read_bytes() == noise(2_500_000, 1)


def test_a_directory_that_was_removed_is_made_anew_by_who_needs_it(fake: FakeWorld) -> None:
    fake.put(KEY, OLD)
    fake.put("other", NEW)
    cache = fake.cache()
    cache.path(fake.bucket, KEY)
    shutil.rmtree(fake.directory)
    assert cache.path(fake.bucket, "other").read_bytes() == NEW


def test_files_of_another_namespace_are_no_ones_business(tmp_path: Path) -> None:
    s3 = FakeS3({"s3://b/k": OLD})
    with (
        FakeCache(s3, directory=tmp_path / "cache", namespace="one") as one,
        FakeCache(s3, directory=tmp_path / "cache", namespace="two") as two,
    ):
        assert one.path("b", "k") != two.path("b", "k")
        one.release_all()
        two.clear()
        assert one.path("b", "k").read_bytes() == OLD
        assert len(s3.requests) == 2
