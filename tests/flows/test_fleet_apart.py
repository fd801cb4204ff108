"""What environments of one fleet have of each other, each with a directory of its own: the server between them is real."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.support.entries import noise, text
from tests.support.worlds import FleetWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3warm import Cache
    from tests.support.valkey import ValkeyServer

pytestmark = pytest.mark.e2e

MIB = 2**20


class Apart(FleetWorld):
    """A world in which no two caches have a directory in common."""

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory, url)
        self._apart = itertools.count()

    def cache(self, **options: object) -> Cache:
        return super().cache(**{"directory": self.directory / str(next(self._apart)), **options})


@pytest.fixture
def world(shared_server: ValkeyServer, tmp_path: Path) -> Iterator[Apart]:
    made = Apart(tmp_path, shared_server.url)
    try:
        yield made
    finally:
        made.close()


FACES: dict[str, Callable[[Cache, str], bytes]] = {
    "get": lambda cache, uri: cache.get(uri),
    "path": lambda cache, uri: cache.path(uri).read_bytes(),
    "value": lambda cache, uri: bytes(cache.get(uri, transform=bytearray)),
}
BODIES = {"empty": b"", "small": b"{}", "text": text(MIB), "noise of 1 MiB": noise(MIB)}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("face", FACES.values(), ids=FACES.keys())
def test_what_one_has_fetched_serves_all(world: Apart, face: Callable[[Cache, str], bytes], body: bytes) -> None:
    world.put("key", body)
    uri = f"s3://{world.bucket}/key"
    first, *others = [world.cache(ttl=60) for _ in range(3)]
    assert face(first, uri) == body
    for other in others:
        for each in FACES.values():
            assert each(other, uri) == body
        assert other.stats().shared_hits == 1
        assert "disk" in other.explain(uri).tiers, "what the fleet has is kept as what comes from S3 is"
    assert [seen.status for seen in world.seen()] == [200]


def test_a_body_that_is_small_when_compressed(world: Apart) -> None:
    world.put("key", text(4 * MIB))
    for cache in [world.cache() for _ in range(3)]:
        assert cache.get(world.bucket, "key") == text(4 * MIB)
    assert [seen.status for seen in world.seen()] == [200]


def test_invalidated_here_alone(world: Apart) -> None:
    world.put("key", b"old")
    bare = {"memory_budget": 0, "disk_budget": 0}
    first, second = (world.cache(**bare) for _ in range(2))
    for cache in (first, second, first):
        assert cache.get(world.bucket, "key") == b"old"
    world.put("key", b"new")
    world.now += 1
    second.invalidate(world.bucket, "key")
    assert first.get(world.bucket, "key") == b"old"
    assert second.get(world.bucket, "key") == b"new"
    assert first.get(world.bucket, "key") == b"new", "what one has learnt, all know"
    assert [(seen.conditional, seen.status) for seen in world.seen()] == [(False, 200), (True, 200)]


@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["shared", "known alone"])
def test_an_expiry_is_one_request_for_all_that_have_the_body(world: Apart, size: int) -> None:
    world.put("key", noise(size))
    caches = [world.cache(ttl=60) for _ in range(3)]
    for cache in caches:
        assert cache.get(world.bucket, "key", ttl=3600) == noise(size)
    fetched = len(world.seen())
    assert fetched == (1 if size < MIB else 3), "a body that is too large each has to fetch"
    for _ in range(3):
        world.forget()
        world.now += 61
        for cache in caches:
            assert cache.get(world.bucket, "key") == noise(size)
        assert [(seen.conditional, seen.status) for seen in world.seen()] == [(True, 304)]
    world.put("key", b"new")
    world.forget()
    world.now += 61
    assert [cache.get(world.bucket, "key") for cache in caches] == [b"new"] * 3
    assert [(seen.conditional, seen.status) for seen in world.seen()] == [(True, 200)]


def test_everywhere(world: Apart) -> None:
    world.put("key", b"old")
    caches = [world.cache(ttl=3600) for _ in range(3)]
    for cache in caches:
        assert cache.get(world.bucket, "key") == b"old"
    world.put("key", b"new")
    world.now += 1
    caches[0].invalidate(world.bucket, "key", everywhere=True)
    world.forget()
    world.now += 1
    assert [cache.get(world.bucket, "key") for cache in caches] == [b"new"] * 3
    assert [seen.status for seen in world.seen()] == [200]
