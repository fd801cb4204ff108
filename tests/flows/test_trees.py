"""Trees through the whole cache: all that lies below a prefix as one directory, against every origin that can do it."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from s3warm import (
    AccessDeniedError,
    DiskUnavailableError,
    Event,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    S3WarmError,
)
from s3warm.origin.base import TransportError
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.base import Turn
from s3warm.tiers.disk import DiskTier
from s3warm.tiers.handing import HandsOutFiles
from s3warm.tiers.landing import Landing
from s3warm.tiers.pins import Pins
from s3warm.tiers.shelf import Shelf
from tests.support.entries import noise, text
from tests.support.orphans import NOTHING, orphans
from tests.support.threads import until, wait, waiting
from tests.support.worlds import FakeWorld, ServerWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s3warm import Cache
    from s3warm.origin.base import Request
    from tests.support.worlds import World

PREFIX = "bert/"
FILES = {
    "config.json": b'{"layers": 12}',
    "empty": b"",
    "shards/deep/2.bin": noise(70_000, 1),
    "shards/1.bin": noise(60_000),
    "vocab.txt": text(50_000),
}
ALL = sorted(PREFIX + name for name in FILES)
LISTING = PREFIX  # as what a listing shows among the requests


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


def plant(world: World, files: Mapping[str, bytes] = FILES) -> str:
    """Write objects below the prefix; its URI."""
    for name, body in files.items():
        world.put(PREFIX + name, body)
    return f"s3://{world.bucket}/{PREFIX}"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def asked(world: World) -> list[str]:
    """The keys of the requests since this was asked last, in the order of keys; a listing shows its prefix."""
    if isinstance(world, FakeWorld):
        keys = [request.uri.split("/", 3)[3] for request in world.s3.requests]
    else:
        assert isinstance(world, ServerWorld)
        assert {exchange.method for exchange in world.proxy.exchanges} <= {"GET"}
        keys = [
            exchange.path.split("/", 2)[2]
            if exchange.path.strip("/") != world.bucket
            else parse_qs(exchange.query)["prefix"][0]
            for exchange in world.proxy.exchanges
        ]
    world.forget()
    return sorted(keys)


def pins(cache: Cache) -> list[int]:
    """How often each file is in use by this cache."""
    tier = cache._files
    assert isinstance(tier, DiskTier)
    return sorted(tier._pins._held.values()) if tier._pins is not None else []


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# -- what S3 says ---------------------------------------------------------------------------------------------------------------


def test_a_tree_has_the_names_and_contents_of_all_objects_by_one_listing_and_one_get_each(world: World) -> None:
    uri = plant(world)
    world.put("bertram", b"beside the prefix")
    cache = world.cache(ttl=60)
    folder = cache.tree(uri)
    assert (folder.is_absolute(), files_of(folder)) == (True, FILES)
    assert asked(world) == sorted([LISTING, *ALL])
    world.now += 59
    for same in (cache.tree(uri), cache.tree(world.bucket, "bert"), cache.tree(f"s3://{world.bucket}/bert")):
        assert same == folder
    assert world.cache(ttl=60).tree(uri) == folder, "also after a crash"
    assert asked(world) == []
    stats = cache.stats()
    assert (stats.misses, stats.disk_hits, stats.errors, stats.origin_requests) == (1, 3, 0, 1 + len(FILES))
    assert stats.origin_bytes == sum(map(len, FILES.values()))
    assert pins(cache) == [1], "one pin a tree, however often"


def test_an_expired_tree_that_is_unchanged_costs_one_listing(world: World) -> None:
    uri = plant(world)
    cache = world.cache(ttl=60)
    folder = cache.tree(uri)
    asked(world)
    for _ in range(2):
        world.now += 60
        for _ in range(2):
            assert cache.tree(uri) == folder
        assert asked(world) == [LISTING]
    assert cache.stats().revalidated == 2
    assert pins(cache) == [1]


def test_a_tree_whose_objects_were_written_again_with_the_same_bytes_is_unchanged(fake: FakeWorld) -> None:
    uri = plant(fake)
    cache = fake.cache(ttl=60)
    folder = cache.tree(uri)
    fake.now += 61
    fake.s3.now = fake.now
    asked(fake)
    plant(fake)
    assert cache.tree(uri) == folder
    assert asked(fake) == [LISTING]


def test_of_a_changed_tree_only_what_changed_is_fetched_and_the_rest_is_linked(world: World) -> None:
    uri = plant(world)
    cache = world.cache(ttl=60)
    older = cache.tree(uri)
    inodes = {name: (older / name).stat().st_ino for name in FILES}
    asked(world)
    world.put(PREFIX + "config.json", b"{}")
    world.put(PREFIX + "shards/3.bin", b"added")
    world.delete(PREFIX + "vocab.txt")
    world.now += 60
    newer = cache.tree(uri)
    assert asked(world) == [LISTING, PREFIX + "config.json", PREFIX + "shards/3.bin"]
    changed = {**FILES, "config.json": b"{}", "shards/3.bin": b"added"}
    del changed["vocab.txt"]
    assert newer != older
    assert (files_of(newer), files_of(older)) == (changed, FILES)
    assert {name for name in FILES if (older / name).stat().st_ino == inodes[name]} == set(FILES), "the older one is as it was"
    assert {name for name in changed if (newer / name).stat().st_nlink == 2} == {"empty", "shards/1.bin", "shards/deep/2.bin"}
    assert (cache.stats().replaced, pins(cache)) == (1, [1])
    world.now += 60
    assert cache.tree(uri) == newer, "links have not made it look changed"
    assert asked(world) == [LISTING]
    assert cache.stats().corrupt == 0


def test_an_older_tree_in_use_stays_whatever_room_is_needed(fake: FakeWorld) -> None:
    uri = plant(fake, {"1": noise(1_000_000), "2": b"one"})
    cache, other = fake.cache(ttl=60, disk_budget="4MiB"), fake.cache(ttl=60, disk_budget="4MiB")
    older = cache.tree(uri)
    fake.put(PREFIX + "2", b"two")
    fake.now += 60
    newer = other.tree(uri)
    other.release(uri)
    fake.put("large", noise(2_500_000, 2))
    cache.path(fake.bucket, "large")
    assert files_of(older) == {"1": noise(1_000_000), "2": b"one"}
    assert not newer.exists(), "nobody used that one"


def test_a_prefix_with_nothing_below_it(world: World) -> None:
    uri = plant(world)
    cache = world.cache(ttl=60)
    folder = cache.tree(uri)
    for name in FILES:
        world.delete(PREFIX + name)
    world.now += 60
    for prefix in (uri, f"s3://{world.bucket}/no/such/"):
        with pytest.raises(ObjectNotFoundError, match=r"there is nothing below s3://.*check the prefix") as caught:
            cache.tree(prefix)
        assert isinstance(caught.value, FileNotFoundError)
        assert (caught.value.bucket, caught.value.key) == (world.bucket, prefix.split("/", 3)[3])
    assert files_of(folder) == FILES, "it is in use"
    world.set_down(True)
    with pytest.raises(OriginUnavailableError):
        cache.tree(uri)
    cache.release(uri)
    cache.clear()
    assert not folder.exists()


def test_a_bucket_that_does_not_exist(world: World) -> None:
    if world.name == "fake":
        pytest.skip("the fake has no buckets")
    with pytest.raises(ObjectNotFoundError, match="there is no bucket 'no-such-bucket-at-all'"):
        world.cache().tree("s3://no-such-bucket-at-all/bert/")


@pytest.mark.parametrize("uri", ["s3://bucket/", "s3://bucket", "bucket/bert/", "s3:///bert/"])
def test_what_is_no_prefix_reaches_nobody(fake: FakeWorld, uri: str) -> None:
    with pytest.raises(ValueError, match="bucket"):
        fake.cache().tree(uri)
    assert asked(fake) == []


def test_a_listing_that_is_denied_names_the_permission(fake: FakeWorld) -> None:
    uri = plant(fake)
    cache = fake.cache(ttl=60)
    folder = cache.tree(uri)
    fake.deny(PREFIX)
    fake.now += 60
    with pytest.raises(AccessDeniedError, match=f"the role needs s3:ListBucket on arn:aws:s3:::{fake.bucket}"):
        cache.tree(uri)
    assert files_of(folder) == FILES, "it is in use"
    fake.s3.denied.clear()
    asked(fake)
    assert cache.tree(uri) != folder, "but it is forgotten"
    assert asked(fake) == sorted([LISTING, *ALL])


def test_a_member_that_is_denied_is_named(fake: FakeWorld) -> None:
    uri = plant(fake)
    fake.deny(PREFIX + "shards/1.bin")
    cache = fake.cache(ttl=60)
    with pytest.raises(AccessDeniedError, match=r"s3:GetObject on arn:aws:s3:::.*/bert/shards/1\.bin") as caught:
        cache.tree(uri)
    assert caught.value.key == PREFIX + "shards/1.bin"
    fake.s3.denied.clear()
    assert files_of(cache.tree(uri)) == FILES


def test_keys_that_stand_for_folders_are_no_files(world: World) -> None:
    uri = plant(world)
    world.put(PREFIX, b"")
    world.put(PREFIX + "shards/", b"")
    world.put(PREFIX + "nothing in it/", b"")
    cache = world.cache()
    assert files_of(cache.tree(uri)) == FILES
    assert asked(world) == sorted([LISTING, *ALL])
    world.put("only/", b"")
    with pytest.raises(ObjectNotFoundError):
        cache.tree(world.bucket, "only/")


CANNOT_BE = {
    "parent": "../evil",
    "parent within": "a/../../evil",
    "parent alone": "..",
    "itself": "./x",
    "absolute": "/etc/passwd",
    "two slashes": "a//x",
    "NUL": "a\0b",
    "256 bytes": "n" * 256,
    "128 letters of two bytes": "ü" * 128,
    "long folder": "n" * 256 + "/x",
    "below a file": "config.json/x",
    "folder with a body": "weights/",
}


@pytest.mark.parametrize("name", CANNOT_BE.values(), ids=CANNOT_BE.keys())
def test_a_key_that_cannot_be_a_file_is_named_and_nothing_is_written(fake: FakeWorld, tmp_path: Path, name: str) -> None:
    uri = plant(fake)
    cache = fake.cache()
    cache.path(uri + "config.json")
    cache.release(uri + "config.json")
    asked(fake)
    before = everything_below(tmp_path)
    fake.put(PREFIX + name, b"evil")
    with pytest.raises(S3WarmError, match="cannot be a tree; fetch its objects by path") as caught:
        cache.tree(uri)
    assert type(caught.value) is S3WarmError
    assert (caught.value.bucket, caught.value.key) == (fake.bucket, PREFIX + name)
    assert f"s3://{fake.bucket}/{PREFIX}{name} " in str(caught.value)
    assert asked(fake) == [LISTING]
    assert everything_below(tmp_path) == before


def test_names_that_are_only_odd_are_names(fake: FakeWorld) -> None:
    odd = [
        "n" * 255,
        "ü" * 127,
        "a b",
        "a+b%20c",
        "...",
        "..a",
        ".hidden",
        "a\\b",
        "line\nbreak",
        "-rf",
        "~",
        "é/è",
        "*",
        "a:b",
    ]
    files = {name: name.encode() for name in odd}
    assert files_of(fake.cache().tree(plant(fake, files))) == files


# -- while it is fetched ------------------------------------------------------------------------------------------------------


def test_an_object_replaced_after_the_listing_is_listed_anew(world: World) -> None:
    uri = plant(world, {"config.json": b"one"})
    calls, first = itertools.count(), 0 if world.name == "fake" else 1  # the fake holds no listings

    def meanwhile() -> None:
        if next(calls) == first:
            world.put(PREFIX + "config.json", b"two")

    world.hold(meanwhile)
    cache = world.cache(ttl=60)
    folder = cache.tree(uri)
    assert files_of(folder) == {"config.json": b"two"}
    assert asked(world) == [LISTING, LISTING, PREFIX + "config.json", PREFIX + "config.json"]
    world.now += 60
    assert cache.tree(uri) == folder, "the ETag is the second listing's"
    assert asked(world) == [LISTING]


def test_an_object_deleted_after_the_listing_is_no_member(fake: FakeWorld) -> None:
    uri = plant(fake)

    def meanwhile(request: Request) -> None:
        fake.s3.before_answer = None
        fake.delete(PREFIX + "vocab.txt")

    fake.s3.before_answer = meanwhile
    folder = fake.cache().tree(uri)
    assert files_of(folder) == {name: body for name, body in FILES.items() if name != "vocab.txt"}
    assert Counter(asked(fake))[LISTING] == 2


def test_a_tree_that_does_not_settle_is_an_error_about_it_alone(fake: FakeWorld) -> None:
    uri = plant(fake, {"config.json": b"one"})
    fake.put("other", b"other")
    cache, bodies = fake.cache(), itertools.count()
    fake.s3.before_answer = lambda _: fake.put(PREFIX + "config.json", b"%d" % next(bodies))
    with pytest.raises(
        OriginUnavailableError, match="changed while it was fetched, and again when it was listed anew"
    ) as caught:
        cache.tree(uri)
    assert (caught.value.key, caught.value.outage) == (PREFIX, False)
    assert asked(fake) == [LISTING, LISTING, PREFIX + "config.json", PREFIX + "config.json"]
    fake.s3.before_answer = None
    assert cache.get(fake.bucket, "other") == b"other"
    assert files_of(cache.tree(uri)) == {"config.json": b"1"}


def test_what_was_fetched_before_the_second_listing_is_not_fetched_again(fake: FakeWorld) -> None:
    uri = plant(fake, {"a.bin": noise(9 * 2**20), "z": b"one", "z.bin": noise(9 * 2**20, 1)})

    def meanwhile(request: Request) -> None:
        if request.object.key.endswith("z.bin"):
            fake.s3.before_answer = None
            fake.put(PREFIX + "z.bin", b"small")

    fake.s3.before_answer = meanwhile
    assert (fake.cache().tree(uri) / "z.bin").read_bytes() == b"small"
    assert Counter(asked(fake))[PREFIX + "a.bin"] == 3


def test_large_members_come_by_parallel_parts(world: World) -> None:
    files = {"1.bin": noise(20 * 2**20), "config.json": b"{}"}
    uri = plant(world, files)
    assert files_of(world.cache().tree(uri)) == files
    assert Counter(asked(world)) == {LISTING: 1, PREFIX + "1.bin": 5, PREFIX + "config.json": 1}


@pytest.mark.parametrize("how", [TransportError("cut"), KeyboardInterrupt()], ids=["S3 gone", "interrupted"])
def test_a_tree_that_was_cut_off_goes_on_at_what_is_missing(fake: FakeWorld, how: BaseException) -> None:
    uri = plant(fake, {**FILES, "1.bin": noise(9 * 2**20), "2.bin": noise(9 * 2**20, 1)})

    def cut(request: Request) -> None:
        if request.object.key == PREFIX + "2.bin":
            raise how

    fake.s3.before_answer = cut
    with pytest.raises((OriginUnavailableError, KeyboardInterrupt)):
        fake.cache().tree(uri)
    asked(fake)
    fake.s3.before_answer = None
    fake.now += 60
    folder = fake.cache().tree(uri)
    assert files_of(folder) == {**FILES, "1.bin": noise(9 * 2**20), "2.bin": noise(9 * 2**20, 1)}
    assert asked(fake) == [LISTING, *[PREFIX + "2.bin"] * 3]


def test_nothing_stays_of_a_tree_of_which_nothing_came(fake: FakeWorld, tmp_path: Path) -> None:
    uri = plant(fake)

    def cut(request: Request) -> None:
        raise TransportError("cut")

    fake.s3.before_answer = cut
    with pytest.raises(OriginUnavailableError):
        fake.cache().tree(uri)
    assert os.listdir(tmp_path / "cache" / "staging") == []


def cut_off_while_linking(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A tree whose second version was killed between a link and its row: the URI, and the first version's directory."""
    uri = plant(world, {"1": b"one", "2": noise(10_000), "3": noise(20_000)})
    older = world.cache(ttl=60).tree(uri)
    world.put(PREFIX + "1", b"new")
    world.now += 60
    finished = Landing.finished

    def killed(landing: Landing, part: int) -> None:
        if part == 2:
            raise KeyboardInterrupt
        finished(landing, part)

    with monkeypatch.context() as patch:
        patch.setattr(Landing, "finished", killed)
        with pytest.raises(KeyboardInterrupt):
            world.cache(ttl=60).tree(uri)
    asked(world)
    return uri, older


def test_a_tree_that_was_killed_while_it_was_linked_goes_on(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, _ = cut_off_while_linking(fake, monkeypatch)
    assert files_of(fake.cache(ttl=60).tree(uri)) == {"1": b"new", "2": noise(10_000), "3": noise(20_000)}
    assert asked(fake) == [LISTING, PREFIX + "1"]


def test_what_is_linked_is_never_written(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, older = cut_off_while_linking(fake, monkeypatch)
    seen: list[int] = []
    fake.s3.before_answer = lambda _: seen.append((older / "3").stat().st_mtime_ns)
    fake.cache(ttl=60).tree(uri)
    assert (older / "3").stat().st_mtime_ns == seen[0]


# -- use ------------------------------------------------------------------------------------------------------------------------


def test_a_tree_is_read_only_and_private(world: World) -> None:
    files = {name: body for name, body in FILES.items() if "deep" not in name}
    folder = world.cache().tree(plant(world, files))
    modes = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert modes == {**dict.fromkeys(files, 0o400), ".": 0o700, "shards": 0o700}


def test_folders_above_a_folder_are_private_too(fake: FakeWorld) -> None:
    folder = fake.cache().tree(plant(fake, {"a/b/c/file": b"x"}))
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


def linked(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(copy)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def written(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"[" + path.read_bytes()[1:])


TOUCHED: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "written": written,
    "cut": lambda path: os.truncate(path, 3),
    "a link": linked,
    "a folder": replaced_by_a_folder,
}


@pytest.mark.parametrize("touch", TOUCHED.values(), ids=TOUCHED.keys())
def test_a_file_changed_behind_the_caches_back_is_noticed(fake: FakeWorld, touch: Callable[[Path], object]) -> None:
    uri = plant(fake)
    cache = fake.cache()
    folder = cache.tree(uri)
    touch(folder / "config.json")
    asked(fake)
    sound = cache.tree(uri)
    assert (sound != folder, files_of(sound)) == (True, FILES)
    assert asked(fake) == sorted([LISTING, *ALL]), "nothing of it is trusted"
    noticed = touch is not Path.unlink  # what is not there may have been removed by a process that died at it
    assert (cache.stats().corrupt, cache.stats().errors, pins(cache)) == (noticed, 0, [1])
    assert cache.tree(uri) == sound


def test_a_removed_directory_is_noticed(fake: FakeWorld) -> None:
    import shutil

    uri = plant(fake)
    cache = fake.cache()
    shutil.rmtree(cache.tree(uri))
    assert files_of(cache.tree(uri)) == FILES
    cache.clear()  # the row of what was in use


@pytest.mark.parametrize("form", ["s3://{}/bert/", "s3://{}/bert", "{} bert/", "{} bert"])
def test_a_tree_is_released_as_it_was_asked_for_or_otherwise(world: World, form: str) -> None:
    folder = world.cache().tree(plant(world))
    cache = world.caches[-1]  # type: ignore[attr-defined]
    arguments = form.format(world.bucket).split()
    cache.clear()
    assert files_of(folder) == FILES
    for _ in range(2):
        cache.release(*arguments)
    assert pins(cache) == []
    cache.clear()
    assert not folder.exists()


def test_a_tree_and_the_object_of_its_name_are_told_apart(fake: FakeWorld) -> None:
    uri = plant(fake)
    fake.put("bert", b"an object")
    fake.put(PREFIX, b"")
    cache = fake.cache()
    folder = cache.tree(uri)
    assert cache.get(fake.bucket, "bert") == cache.path(fake.bucket, "bert").read_bytes() == b"an object"
    assert cache.get(uri) == cache.path(uri).read_bytes() == b"", "the key that stands for the folder"
    assert cache.tree(uri) == folder
    assert pins(cache) == [1, 1, 1]


def test_a_version_of_an_object_is_no_tree(fake: FakeWorld) -> None:
    uri = plant(fake)
    cache = fake.cache()
    cache.tree(uri)
    cache.release(fake.bucket, "bert", version_id="v1")
    assert pins(cache) == [1]


def test_clear_leaves_a_tree_in_use_and_close_leaves_it_for_the_next(world: World) -> None:
    uri = plant(world)
    cache = world.cache()
    folder = cache.tree(uri)
    cache.clear()
    asked(world)
    assert files_of(folder) == FILES
    newer = cache.tree(uri)
    assert newer != folder
    assert asked(world) == sorted([LISTING, *ALL])
    cache.close()
    other = world.cache()
    assert other.tree(uri) == newer
    assert asked(world) == []
    other.release_all()
    other.clear()
    assert (folder.exists(), newer.exists()) == (False, False)


def test_a_pinned_tree_stays_and_a_released_one_can_go(world: World) -> None:
    uri = plant(world, {"1": noise(1_500_000), "2": b"two"})
    world.put("large", noise(3_000_000, 2))
    cache = world.cache(disk_budget="4MiB")
    folder = cache.tree(uri)
    with pytest.raises(ObjectTooLargeError, match=r"3,000,000 bytes.*4,194,304") as caught:
        cache.path(world.bucket, "large")
    assert f"beside the files that are in use: {uri} (1.4 MiB)" in str(caught.value)
    assert files_of(folder) == {"1": noise(1_500_000), "2": b"two"}
    cache.release(uri)
    assert cache.path(world.bucket, "large").stat().st_size == 3_000_000
    assert not folder.exists()
    assert cache.stats().disk_bytes <= 4 * 2**20
    asked(world)
    with pytest.raises(ObjectTooLargeError, match=r"1,500,003 bytes.*large \(2\.9 MiB\)"):
        cache.tree(uri)
    cache.release(world.bucket, "large")
    assert files_of(cache.tree(uri)) == {"1": noise(1_500_000), "2": b"two"}


def test_a_tree_larger_than_the_budget_is_refused_before_anything_of_it_is_fetched(world: World) -> None:
    uri = plant(world, {"1": noise(3_000_000), "2": noise(3_000_000, 1)})
    cache = world.cache(disk_budget="4MiB")
    with pytest.raises(ObjectTooLargeError, match="6,000,000 bytes") as caught:
        cache.tree(uri)
    assert (caught.value.bucket, caught.value.key) == (world.bucket, PREFIX)
    assert asked(world) == [LISTING]
    assert cache.stats().origin_bytes == 0


def test_the_advice_for_a_tree_that_fits_nowhere_is_one_that_can_be_followed(fake: FakeWorld) -> None:
    uri = plant(fake, {"1": noise(3_000_000), "2": noise(3_000_000, 1)})
    with pytest.raises(ObjectTooLargeError) as caught:
        fake.cache(disk_budget="4MiB").tree(uri)
    assert "open() streams it" not in str(caught.value)


def test_a_new_version_that_is_mostly_links_needs_little_room(fake: FakeWorld) -> None:
    uri = plant(fake, {"1": noise(2_500_000), "2": b"two"})
    cache = fake.cache(ttl=60, disk_budget="4MiB")
    cache.tree(uri)
    fake.put(PREFIX + "2", b"new")
    fake.now += 60
    assert (cache.tree(uri) / "2").read_bytes() == b"new"


def test_more_objects_than_a_tree_may_have(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3warm.trees

    monkeypatch.setattr(s3warm.trees, "LIMIT", len(FILES))
    uri = plant(fake)
    cache = fake.cache()
    cache.tree(uri)
    fake.put(PREFIX + "more", b"")
    with pytest.raises(ObjectTooLargeError, match=f"more than {len(FILES)} objects; name a longer prefix"):
        cache.tree(uri, ttl=0)


def test_1500_objects_are_listed_by_two_pages(fake: FakeWorld) -> None:
    files = {f"{number % 30}/{number}": b"%d" % number for number in range(1500)}
    uri = plant(fake, files)
    cache = fake.cache(ttl=60)
    assert files_of(cache.tree(uri)) == files
    assert Counter(asked(fake)) == {LISTING: 2, **{PREFIX + name: 1 for name in files}}
    fake.put(PREFIX + "7/7", b"new")
    fake.now += 60
    assert (cache.tree(uri) / "7/7").read_bytes() == b"new"
    assert asked(fake) == [LISTING, LISTING, PREFIX + "7/7"]


# -- times ----------------------------------------------------------------------------------------------------------------------


def test_s3_down_with_a_tree_and_without(world: World) -> None:
    uri = plant(world)
    cache = world.cache(ttl=60, stale_if_error=600)
    folder = cache.tree(uri)
    world.set_down(True)
    world.now += 100
    assert cache.tree(uri) == folder
    assert cache.stats().stale_served == 1
    with pytest.raises(OriginUnavailableError):
        cache.tree(uri, ttl=0)
    with pytest.raises(OriginUnavailableError):
        cache.tree(world.bucket, "other/")
    world.now += 600
    with pytest.raises(OriginUnavailableError, match=f"{uri} could not be fetched"):
        cache.tree(uri)
    assert files_of(folder) == FILES
    assert pins(cache) == [1], "nobody else holds on to it"


def test_a_member_that_cannot_be_fetched_leaves_the_tree_as_it_was(fake: FakeWorld) -> None:
    uri = plant(fake)
    cache = fake.cache(ttl=60)
    folder = cache.tree(uri)
    fake.put(PREFIX + "config.json", b"{}")
    fake.put(PREFIX + "vocab.txt", b"new")
    fake.now += 60

    def cut(request: Request) -> None:
        if request.object.key.endswith("vocab.txt"):
            raise TransportError("cut")

    fake.s3.before_answer = cut
    assert cache.tree(uri) == folder
    assert (files_of(folder), cache.stats().stale_served) == (FILES, 1)
    fake.s3.before_answer = None
    fake.now += 60
    asked(fake)
    assert files_of(cache.tree(uri)) == {**FILES, "config.json": b"{}", "vocab.txt": b"new"}
    assert asked(fake) == [LISTING, PREFIX + "vocab.txt"], "what came before is there"


def test_the_ttl_of_a_call(world: World) -> None:
    uri = plant(world)
    cache = world.cache(ttl=60)
    folder = cache.tree(uri)
    asked(world)
    world.now += 30
    assert cache.tree(uri, ttl=31) == folder
    assert asked(world) == []
    assert cache.tree(uri, ttl=30) == cache.tree(uri, ttl=0) == cache.tree(uri, ttl=0) == folder
    assert asked(world) == [LISTING] * 3
    world.put(PREFIX + "config.json", b"{}")
    assert (cache.tree(uri, ttl=0) / "config.json").read_bytes() == b"{}"
    with pytest.raises(ValueError, match="ttl of"):
        cache.tree(uri, ttl=-1)


def test_invalidated_it_is_listed_and_confirmed(world: World) -> None:
    uri = plant(world)
    cache = world.cache()
    folder = cache.tree(uri)
    asked(world)
    cache.invalidate(uri)
    assert cache.tree(uri, ttl=3600) == folder
    assert asked(world) == [LISTING]


def test_explain_knows_trees(fake: FakeWorld) -> None:
    uri = plant(fake)
    cache = fake.cache()
    cache.tree(uri)
    assert cache.explain(uri).tiers == ("disk",)


# -- several at a time -----------------------------------------------------------------------------------------------------


def test_two_caches_on_one_directory_share_trees_and_see_each_others_pins(world: World) -> None:
    uri = plant(world)
    one, two = world.cache(ttl=60), world.cache(ttl=60)
    older = one.tree(uri)
    asked(world)
    assert two.tree(uri) == older
    assert asked(world) == []
    world.put(PREFIX + "config.json", b"{}")
    world.now += 60
    newer = two.tree(uri)
    two.clear()
    assert (files_of(older), (newer / "config.json").read_bytes()) == (FILES, b"{}")
    one.release(uri)
    two.clear()
    assert (older.exists(), newer.exists()) == (False, True)
    assert files_of(newer) == {**FILES, "config.json": b"{}"}, "a link stays when the other one goes"


def test_two_caches_that_want_one_tree_at_the_same_time_fetch_it_once(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, waits = plant(fake), threading.Event()
    count = Pins.count

    def counted(pins: Pins, name: str) -> int:  # asked for by whoever begins to wait
        waits.set()
        return count(pins, name)

    monkeypatch.setattr(Pins, "count", counted)
    fake.s3.before_answer = lambda request: wait(waits) if request.object.key.endswith("vocab.txt") else None
    caches = [fake.cache() for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda cache: cache.tree(uri), caches))
    assert [files_of(folder) for folder in folders] == [FILES, FILES]
    assert asked(fake) == sorted([LISTING, *ALL])


def test_two_caches_that_fetch_one_tree_at_the_same_time_both_have_it(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do who are out of patience."""
    monkeypatch.setattr(HandsOutFiles, "turn", lambda *_: nullcontext(Turn()))
    uri = plant(fake)
    together = threading.Barrier(2)

    def meet(request: Request) -> None:
        if request.object.key.endswith("vocab.txt"):
            together.wait(30)

    fake.s3.before_answer = meet
    caches = [fake.cache() for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda cache: cache.tree(uri), caches))
    assert [files_of(folder) for folder in folders] == [FILES, FILES]
    assert Counter(asked(fake))[LISTING] == 2
    assert fake.cache().tree(uri) in folders


def test_one_download_for_any_number_of_callers(fake: FakeWorld) -> None:
    uri, callers = plant(fake), 8
    cache, go_on = fake.cache(), threading.Event()
    fake.s3.before_answer = lambda _: wait(go_on)
    with ThreadPoolExecutor(callers) as pool:
        answers = [pool.submit(cache.tree, uri) for _ in range(callers)]
        try:
            until(lambda: waiting(cache) == callers - 1)
        finally:
            go_on.set()
        assert len({answer.result() for answer in answers}) == 1
    assert asked(fake) == sorted([LISTING, *ALL])
    assert (cache.stats().coalesced, pins(cache)) == (callers - 1, [1])


CHILD = """
import sys
from s3warm.testing import FakeCache, FakeS3
s3 = FakeS3({f"s3://b/bert/{name}": name.encode() for name in ("1", "x/2")})
cache = FakeCache(s3, directory=sys.argv[1], namespace="x")
folder = cache.tree("s3://b/bert/")
print(folder, len(s3.requests), (folder / "x/2").read_text(), flush=True)
sys.stdin.readline()
"""


def test_another_process_finds_the_tree_and_its_pin_holds(tmp_path: Path) -> None:
    s3 = FakeS3({f"s3://b/bert/{name}": name.encode() for name in ("1", "x/2")})
    with FakeCache(s3, directory=tmp_path / "cache", namespace="x") as cache:
        folder = cache.tree("s3://b/bert/")
        command = [sys.executable, "-W", "error", "-c", CHILD, str(tmp_path / "cache")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline().split() == [str(folder), "0", "x/2"]
            cache.release("s3://b/bert/")
            cache.clear()
            assert files_of(folder) == {"1": b"1", "x/2": b"x/2"}, "the child uses it"
            child.stdin.write("\n")
        assert child.returncode == 0
        cache.clear()
        assert not folder.exists()


def test_progress_counts_up_to_the_whole(fake: FakeWorld) -> None:
    events: list[Event] = []
    uri = plant(fake, {**FILES, "1.bin": noise(9 * 2**20)})
    with FakeCache(fake.s3, on_event=events.append, directory=fake.directory, namespace="flows") as cache:
        cache.tree(uri)
    told = [(event.bytes, event.total) for event in events if event.name == "progress"]
    whole = 9 * 2**20 + sum(map(len, FILES.values()))
    assert told == sorted(told)
    assert (told[-1], {total for _, total in told}) == ((whole, whole), {whole})


# -- no disk, no room ----------------------------------------------------------------------------------------------------------


def test_without_a_disk_there_is_no_tree(fake: FakeWorld) -> None:
    with pytest.raises(DiskUnavailableError, match="disk_budget is 0"):
        fake.cache(disk_budget=0).tree(plant(fake))
    assert asked(fake) == []


def test_disabled_it_is_a_tree_all_the_same_and_listed_each_time(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    uri = plant(fake)
    cache = fake.cache()
    folder = cache.tree(uri)
    asked(fake)
    assert cache.tree(uri) == folder
    assert asked(fake) == [LISTING]
    cache.close()
    assert not folder.exists(), "in a directory of this process alone"


def _no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_for_people(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = plant(fake)
    cache = fake.cache()
    cache.get(uri + "config.json")
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", _no_space)
        with pytest.raises((DiskUnavailableError, OriginUnavailableError)) as caught:
            cache.tree(uri)
    assert caught.type is DiskUnavailableError
    assert files_of(cache.tree(uri)) == FILES


def test_a_disk_that_somebody_else_fills_is_given_what_nobody_uses(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = plant(fake, {"1": b"one", "2.bin": noise(9 * 2**20)})
    fake.put("other", noise(3_000_000))
    cache = fake.cache()
    other = cache.path(fake.bucket, "other")
    cache.release(fake.bucket, "other")
    allocate = os.posix_fallocate

    def full(descriptor: int, offset: int, size: int) -> None:
        if size > 2**20 and other.exists():
            _no_space()
        allocate(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert files_of(cache.tree(uri)) == {"1": b"one", "2.bin": noise(9 * 2**20)}
    assert not other.exists()


def test_a_tree_that_is_listed_anew_has_nothing_of_the_first_listing(fake: FakeWorld) -> None:
    uri = plant(fake, {"1": b"one", "gone/1": b"gone", "name/1": b"folder", "z.bin": noise(9 * 2**20)})

    def meanwhile(request: Request) -> None:
        if request.object.key.endswith("z.bin"):
            fake.s3.before_answer = None
            for name in ("gone/1", "name/1"):
                fake.delete(PREFIX + name)
            fake.put(PREFIX + "name", b"file")
            fake.put(PREFIX + "z.bin", b"small")

    fake.s3.before_answer = meanwhile
    folder = fake.cache().tree(uri)
    assert everything_below(folder) == {"1", "name", "z.bin"}


def test_a_disk_that_takes_no_more_folders_is_an_error_for_people(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = plant(fake)
    cache = fake.cache()
    cache.get(uri + "config.json")
    make = os.mkdir

    def full(path: str, mode: int = 0o777) -> None:
        if path.endswith("shards"):
            _no_space()
        make(path, mode)

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(DiskUnavailableError, match="could not be written"):
        cache.tree(uri)


def test_trouble_with_the_database_is_an_error_for_people(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    uri = plant(fake)
    cache = fake.cache()
    look_up, calls = Shelf.look_up, itertools.count()

    def trouble(*arguments: Any) -> Any:
        if next(calls):
            raise sqlite3.OperationalError("disk I/O error")
        return look_up(*arguments)

    monkeypatch.setattr(Shelf, "look_up", trouble)
    with pytest.raises(DiskUnavailableError):
        cache.tree(uri)
