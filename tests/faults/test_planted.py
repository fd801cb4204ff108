"""A directory that is damaged, or in which something was planted: nothing of it is executed, escapes, allocates or is served.

Each planting begins with a warm directory. After it all of the cache is used, twice, as two new processes would. `KINDS` has what is
planted. A failure names its seed; `PLANTED_SEED=<seed>` repeats that planting alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3warm import ObjectTooLargeError, OriginUnavailableError, S3WarmError
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers import database, opening
from tests.faults.planted import KINDS, Site, Victim
from tests.faults.tried import SOAK, note
from tests.support.entries import noise, text

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and modes of files, which Windows has not")

PLANTINGS = 2000 if SOAK else 150
MEMORY = 48 * 2**20  # bytes beside what was held before; the largest body has 3 MB, and the memory tier 8 MiB
BUCKET = "bucket"
KEPT = "kept.onnx"
BODIES = {
    "inline": b"small",
    "inline.json": text(5_000),
    "file.bin": noise(100_000),
    "file.json": text(3_000_000),
    KEPT: noise(60_000, 1),
    "../../etc/passwd": noise(50_000, 2),
    "tree/a": b"member",
    "tree/sub/b.bin": noise(40_000, 3),
}
TREE = {"a": BODIES["tree/a"], "sub/b.bin": BODIES["tree/sub/b.bin"]}
CUT_OFF = {"cut/a": b"a" * 1000, "cut/b": b"b"}
# In place of rows and files of the directory comes last: what is planted before must not go through a link itself.
LAST = ("odd_schema", "linked_twice", "something_else", "gone", "open_to_all")


def an_s3() -> FakeS3:
    return FakeS3({f"s3://{BUCKET}/{key}": body for key, body in (BODIES | CUT_OFF).items()})


def a_cache(s3: FakeS3, path: Path) -> FakeCache:
    return FakeCache(s3, directory=path, namespace="planted", disk_budget="64MiB", memory_budget="8MiB", ttl=3600)


def warm(s3: FakeS3, path: Path) -> None:
    """Let the directory hold all forms of what it can hold: rows with and without files, a tree, and half of another."""
    with a_cache(s3, path) as cache:
        for key in BODIES:
            cache.get(BUCKET, key)
        cache.path(BUCKET, KEPT)
        cache.tree(BUCKET, "tree")
        s3.before_answer = lambda request: setattr(s3, "down", request.object.key == "cut/b")
        with pytest.raises(OriginUnavailableError):
            cache.tree(BUCKET, "cut")
        s3.before_answer, s3.down = None, False
    s3.advance(100)  # S3 is asked again


def members(folder: Path) -> dict[str, bytes]:
    return {str(place.relative_to(folder)): place.read_bytes() for place in folder.rglob("*") if not place.is_dir()}


def fetched(cache: FakeCache, way: str, key: str) -> bytes:
    if way == "get":
        return cache.get(BUCKET, key)
    if way == "path":
        return cache.path(BUCKET, key).read_bytes()
    if way == "as_file":
        with cache.as_file(BUCKET, key) as path:
            return path.read_bytes()
    with cache.open(BUCKET, key) as file:
        return file.read()


class Use:
    """All that a process does with a cache. Errors of s3warm's own are answers too: there is no disk, or a row claims more than there is memory."""

    def __init__(self, cache: FakeCache, seen: Counter[str], chance: random.Random) -> None:
        self._cache = cache
        self._seen = seen
        self._chance = chance

    def all(self) -> None:
        cache, chance = self._cache, self._chance
        keys = list(BODIES)
        chance.shuffle(keys)
        for key in keys:
            way = chance.choice(["get", "path", "open", "as_file"])
            with self._answer(way):
                assert fetched(cache, way, key) == BODIES[key], (way, key)
        for prefix, wanted in (("tree", TREE), ("cut", {key[4:]: body for key, body in CUT_OFF.items()})):
            with self._answer("tree"):
                assert members(cache.tree(BUCKET, prefix)) == wanted, prefix
        cache.explain(BUCKET, KEPT)
        cache.stats()
        cache.budgets()
        cache.release_all()
        cache.invalidate(BUCKET, keys[0])
        if chance.random() < 0.3:
            cache.clear()
        for key in keys[:4]:
            with self._answer("get"):
                assert cache.get(BUCKET, key) == BODIES[key], ("get", key)

    @contextlib.contextmanager
    def _answer(self, way: str) -> Iterator[None]:
        try:
            yield
            self._seen["right"] += 1
        except S3WarmError as error:
            if way == "get" and not isinstance(error, ObjectTooLargeError):
                raise
            self._seen[type(error).__name__] += 1


def own_files(path: Path) -> Iterator[tuple[Path, int]]:
    """What lies in the directory, with its mode; links of both kinds aside, whose modes are the victim's."""
    for place in (path, *sorted(path.rglob("*"))):
        status = place.lstat()
        if stat.S_ISDIR(status.st_mode) or (status.st_nlink == 1 and not stat.S_ISLNK(status.st_mode)):
            yield place, stat.S_IMODE(status.st_mode)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raises AssertionError if Python holds too much more than before at any moment."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak / 2**20:.0f} MiB"


def plant(tmp: Path, kinds: list[str], chance: random.Random, seen: Counter[str]) -> None:
    """One planting, from a warm directory to the last look at what must not have happened."""
    s3, path, canary = an_s3(), tmp / "cache", tmp / "canary"
    warm(s3, path)
    victim = Victim(tmp / "victim")
    site = Site(path, victim, canary)
    for kind in sorted(kinds, key=lambda kind: LAST.index(kind) if kind in LAST else -1):
        KINDS[kind](site, chance)
    if "open_to_all" not in kinds:
        for place, mode in own_files(path):
            place.chmod(mode & ~0o077)  # so that what is open to others later is what s3warm has made
    before = len(s3.requests)
    with bounded():
        for _ in range(2):
            with a_cache(s3, path) as cache:
                Use(cache, seen, chance).all()
    seen["requests"] += len(s3.requests) - before
    assert not canary.exists()
    victim.check(unread=not site.linked)
    if "open_to_all" not in kinds:
        assert [place for place, mode in own_files(path) if mode & 0o077] == []


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has the directory: a lock that cannot be had will not be."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr(opening, "OPEN_TIMEOUT", 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_is_neither_executed_nor_served(tmp_path: Path, kind: str) -> None:
    """Two of each kind; `make faults` has more."""
    for seed in range(2):
        seen: Counter[str] = Counter()
        plant(tmp_path / str(seed), [kind], random.Random(f"{kind} {seed}"), seen)
        assert seen["right"] >= len(BODIES)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_random_plantings(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    only = os.environ.get("PLANTED_SEED")
    seeds = range(PLANTINGS) if only is None else [int(only)]
    tried: Counter[str] = Counter()
    for seed in seeds:
        chance = random.Random(f"planted {seed}")
        kinds = chance.sample(list(KINDS), chance.choice([1, 1, 2, 3]))
        tried.update(kinds)
        folder = tmp_path / str(seed)
        try:
            plant(folder, kinds, chance, seen)
        except BaseException as error:
            error.add_note(f"PLANTED_SEED={seed} repeats it: {', '.join(kinds)}")
            raise
        shutil.rmtree(folder)
    assert seen["right"]
    errors = {name: count for name, count in seen.items() if name not in ("right", "requests")}
    print(f"{dict(tried)}; {seen}")
    assert len(tried) == len(KINDS) or only is not None
    outcome = f"{seen['right']:,} right answers, {sum(errors.values()):,} errors ({', '.join(sorted(errors)) or 'none'}); nothing planted was executed, served, or followed out of the directory"
    note(
        "planted",
        f"{len(seeds):,} directories with rows and files that somebody else has put there, of {len(KINDS)} kinds",
        outcome,
    )


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o022])
def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Directories 0700, the cache's own files 0600, and files that are handed out, members of trees among them, 0400."""
    before = os.umask(umask)
    try:
        s3, path = an_s3(), tmp_path / "cache"
        warm(s3, path)
        with a_cache(s3, path) as cache:
            Use(cache, Counter(), random.Random(1)).all()
            cache.path(BUCKET, KEPT)
            cache.tree(BUCKET, "tree")
            modes = dict(own_files(path))
    finally:
        os.umask(before)
    published = {place for place in modes if path / "bodies" in place.parents}
    assert len(published) > 3
    for place, mode in modes.items():
        assert mode == (0o700 if place.is_dir() else 0o400 if place in published else 0o600), place


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/" * 1024, ".." * 512, "k\0y", "a\nb", "\U0010ffff" * 256, "é" * 512, "con", "~", "-"]
)
def test_no_key_names_a_place(tmp_path: Path, key: str) -> None:
    s3 = FakeS3({f"s3://{BUCKET}/{key}": noise(50_000)})
    victim = Victim(tmp_path / "victim")
    for _ in range(2):
        with a_cache(s3, tmp_path / "cache") as cache:
            assert cache.get(BUCKET, key) == noise(50_000)
            path = cache.path(BUCKET, key)
            assert path.read_bytes() == noise(50_000)
            assert path.parent == tmp_path / "cache" / "bodies"
            assert path.name.isascii()
    assert len(s3.requests) == 1
    victim.check(unread=True)
    assert sorted(os.listdir(tmp_path)) == ["cache", "victim"]


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/../../b", "/etc/passwd", ".", "..", "a//b", "a\0b", "x" * 300])
def test_no_member_of_a_tree_leaves_it(tmp_path: Path, key: str) -> None:
    s3 = FakeS3({f"s3://{BUCKET}/tree/{key}": b"member", f"s3://{BUCKET}/tree/b": b"b"})
    victim = Victim(tmp_path / "victim")
    with a_cache(s3, tmp_path / "cache") as cache, pytest.raises(S3WarmError):
        cache.tree(BUCKET, "tree")
    victim.check(unread=True)
    assert sorted(os.listdir(tmp_path)) == ["cache", "victim"]
