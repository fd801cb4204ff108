"""Whatever somebody without the secret makes of what lies on the server: it is refused and counted, and S3 has the last word.

What is harmless is so because all that counts is authentic: a head without its `t`, or under another one; what is not there; an entry of before,
which has expired. Without authentication whoever can write decides what is served, but nothing raises, and nothing takes more memory than a body may.
"""

from __future__ import annotations

import os
import random
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import zstandard

from s3warm.keys import locate
from s3warm.tiers.sealed import Sealer
from tests.support.counted import CountedFleet
from tests.support.entries import noise, text
from tests.support.mutations import HARMLESS, KINDS, REFUSED, Materials, lay, mutated, resealed

if TYPE_CHECKING:
    from s3warm import Cache
    from tests.support.mutations import Hash

MANY = [pytest.param(0, 1000), *(pytest.param(number, 1000, marks=pytest.mark.faults) for number in range(1, 10))]
if os.environ.get("SOAK"):
    MANY += [pytest.param(number, 1000, marks=pytest.mark.faults) for number in range(10, 100)]

OLD = {"a.json": text(3000), "b.bin": noise(700, 1), "c.txt": b"old"}
NEW = {"a.json": text(3500), "b.bin": noise(700, 2), "c.txt": b"new!"}


class Laid(NamedTuple):
    """A fleet, and for each of its objects what is needed to change what the server has of it."""

    fleet: CountedFleet
    found: dict[str, Materials]

    def change(self, key: str, value: Any) -> None:
        """Let the server have something else of it."""
        lay(self.fleet.counted, name(self.fleet.caches[0], key), value)


def laid(**options: Any) -> Laid:
    """The server has the new objects, fresh, and it had the old ones, which have expired."""
    fleet = CountedFleet({f"s3://b/{key}": body for key, body in OLD.items()}, **options)
    writer = fleet.cache(memory_budget=0, disk_budget=0)
    older = {key: read(fleet, writer, key) for key in OLD}
    fleet.s3.advance(100)
    for key, body in NEW.items():
        fleet.s3[f"s3://b/{key}"] = body
    current = {key: read(fleet, writer, key) for key in NEW}
    strangers = [
        found(fleet, **options, namespace="another"),
        found(fleet, **{**options, "shared_secret": "another secret, as long"}),
    ]
    if "shared_unauthenticated" in options:
        strangers.pop()
    others = [*strangers, read(fleet, writer, "c.txt", version_id="v1")]
    stranger = Sealer(writer._beyond.shared._sealer.namespace, b"" if "shared_unauthenticated" in options else b"a guess")  # type: ignore[attr-defined]
    materials = {
        key: Materials(current[key], older[key], [*others, *(current[other] for other in NEW if other != key)], stranger)
        for key in NEW
    }
    return Laid(fleet, materials)


def found(fleet: CountedFleet, **options: Any) -> Hash:
    """What another fleet on the server has of the same object."""
    return read(fleet, fleet.cache(memory_budget=0, disk_budget=0, **options), "a.json")


def read(fleet: CountedFleet, cache: Cache, key: str, **terms: Any) -> Hash:
    """What the server has of an object once it was asked for."""
    before = set(fleet.counted.keys("s3warm:*}"))
    cache.get("b", key, ttl=0, **terms)
    (found,) = set(fleet.counted.keys("s3warm:*}")) - before or {name(cache, key).encode()}
    return dict(fleet.counted.hgetall(found))


def name(cache: Cache, key: str) -> str:
    """What an object is called on the server."""
    called: str = cache._beyond.shared._sealer.name(locate("b", key))  # type: ignore[attr-defined]
    return called


@pytest.mark.parametrize(("seed", "times"), MANY)
def test_what_nobody_with_the_secret_wrote_is_refused_and_counted(seed: int, times: int) -> None:
    chance, it = random.Random(f"authenticated {seed}"), laid()
    reader = it.fleet.cache(memory_budget=0, disk_budget=0)
    met: Counter[str] = Counter()
    for _ in range(times):
        key = chance.choice(sorted(NEW))
        change = mutated(it.found[key], chance)
        it.change(key, change.value)
        before = reader.stats()
        assert reader.get("b", key) == NEW[key], change
        refused = (reader.stats() - before).shared_refused
        assert (refused > 0) == (change.verdict == REFUSED), change
        met[change.kind] += 1
    assert reader.stats().shared_errors == 0, "each one was looked at"
    assert reader.stats().errors == 0
    assert set(met) == set(KINDS)


@pytest.mark.parametrize(("seed", "times"), MANY)
def test_who_has_an_expired_copy_is_told_no_lies_either(seed: int, times: int) -> None:
    chance, it = random.Random(f"held {seed}"), laid()
    writer, reader = it.fleet.caches[0], it.fleet.cache(disk_budget=0)
    for step in range(times // 5):
        key = chance.choice(sorted(NEW))
        body = chance.choice((OLD, NEW))[key] + str(step % 2).encode()
        it.fleet.s3.advance(61)  # what the reader has is over, and what the writer brings is fresh
        it.fleet.s3[f"s3://b/{key}"] = body
        current = read(it.fleet, writer, key)
        change = mutated(it.found[key]._replace(current=current), chance)
        it.change(key, change.value)
        assert reader.get("b", key) == body, change
    assert reader.stats().shared_refused > times // 20
    assert reader.stats().shared_errors == reader.stats().errors == 0


@pytest.mark.parametrize(("seed", "times"), MANY)
def test_without_authentication_nothing_raises(seed: int, times: int) -> None:
    chance, it = random.Random(f"unauthenticated {seed}"), laid(shared_unauthenticated=True, shared_secret=None)
    readers = [it.fleet.cache(memory_budget=0, disk_budget=0), it.fleet.cache(disk_budget=0)]
    for _ in range(times):
        key = chance.choice(sorted(NEW))
        it.change(key, mutated(it.found[key], chance).value)
        for reader in readers:
            entry = reader.entry("b", key)
            assert entry.size == len(entry.body) <= 100_000
            assert repr(entry) + repr(entry.metadata) + repr(entry.last_modified)
        it.fleet.s3.advance(chance.choice((0, 0, 1, 61)))
        if not chance.randrange(20):  # a copy from years to come is its reader's as long as it is asked for
            readers[1].clear()
    assert [reader.stats().errors + reader.stats().shared_errors for reader in readers] == [0, 0]


def test_a_frame_of_half_a_gigabyte_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
    it = laid(shared_unauthenticated=True, shared_secret=None)
    reader, size = it.fleet.cache(memory_budget=0, disk_budget=0), 512 * 2**20
    compressor = zstandard.ZstdCompressor().compressobj(size=size)
    frame = b"".join(compressor.compress(bytes(2**20)) for _ in range(512)) + compressor.flush()
    found = it.found["a.json"]

    def huge(row: list[Any]) -> list[Any]:
        return [*row[:3], [row[3][0], size, *row[3][2:]], "zstd", len(frame), *row[6:]]

    it.change("a.json", {**found.current, b"h": resealed(found.stranger, found.current[b"h"], huge, frame), b"b": frame})
    tracemalloc.start()
    try:
        assert reader.get("b", "a.json") == NEW["a.json"]
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("held", [True, False])
def test_what_was_replaced_and_is_put_back_is_served_until_it_expires_and_no_longer(held: bool) -> None:
    fleet = CountedFleet({"s3://b/k": b"old"}, ttl=60.0)
    writer, reader = fleet.cache(), fleet.cache(**({} if held else {"memory_budget": 0}), disk_budget=0)
    writer.get("b", "k")
    older = dict(fleet.counted.hgetall(name(writer, "k")))
    reader.get("b", "k")
    fleet.s3["s3://b/k"] = b"new"
    fleet.s3.advance(30)
    writer.get("b", "k", ttl=0)
    lay(fleet.counted, name(writer, "k"), older)
    fleet.s3.advance(29.5)
    assert reader.get("b", "k") == b"old", "as it would have been without a server"
    fleet.s3.advance(0.5)
    lay(fleet.counted, name(writer, "k"), older)
    assert reader.get("b", "k") == b"new"
    lay(fleet.counted, name(writer, "k"), older)
    assert fleet.cache().get("b", "k") == b"new"


def test_what_is_harmless_is_served_from_the_server_where_it_is_whole() -> None:
    it = laid()
    reader = it.fleet.cache(memory_budget=0, disk_budget=0)
    kinds = ("no time", "another time")
    for kind in kinds:
        value, verdict = KINDS[kind](it.found["a.json"], random.Random(kind))
        it.change("a.json", value)
        assert reader.get("b", "a.json") == NEW["a.json"]
        assert verdict == HARMLESS
    assert (reader.stats().shared_hits, reader.stats().origin_requests) == (len(kinds), 0)
