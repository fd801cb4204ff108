"""The contract of `Tier`, the same tests for every tier."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import fakeredis
import pytest

from s3warm.tiers.dialing import dial
from tests.support.entries import NOW, an_entry, noise, text
from tests.support.threads import PATIENCE
from tests.support.tiers import MIB, Journal, disk_tier, memory_tier, shared_tier
from tests.support.valkey import ValkeyServer, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3warm.tiers.disk import DiskTier
    from s3warm.tiers.memory import MemoryTier
    from s3warm.tiers.shared import SharedTier

    AnyTier = MemoryTier | DiskTier | SharedTier

    class MakeTier(Protocol):
        def __call__(self, *, budget: int = ..., journal: Journal = ...) -> AnyTier: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    absent = missing()
    if absent is not None:
        pytest.skip(f"no server here: {absent}")
    with ValkeyServer(tmp_path_factory.mktemp("server")) as server:
        yield server


def tiers(request: pytest.FixtureRequest, directory: Path) -> Iterator[MakeTier]:
    """What makes tiers of the kind that is the fixture's parameter. A server's bounds single bodies by the budget: it has no other."""
    made: list[AnyTier] = []
    told = Journal()

    def make(*, budget: int = 64 * MIB, journal: Journal = told) -> AnyTier:
        apart = directory / f"cache{len(made)}"
        if request.param == "memory":
            made.append(memory_tier(budget=budget, journal=journal))
        elif request.param == "disk":
            made.append(disk_tier(apart, budget=budget, journal=journal))
        else:
            if request.param == "shared, fake":
                client = fakeredis.FakeRedis()
            else:
                url = request.getfixturevalue("server").url
                client = dial(url, connect_timeout=PATIENCE, timeout=PATIENCE, largest=64 * MIB)
            made.append(shared_tier(client, largest=budget, namespace=str(apart), journal=journal))
        return made[-1]

    yield make
    for tier in made:
        tier.close()
    assert (told.failed, told.corrupted) == ([], []), "no test here gives a tier any trouble"


@pytest.fixture(params=["memory", "disk", "shared, fake", pytest.param("shared", marks=pytest.mark.e2e)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeTier]:
    """Every tier."""
    yield from tiers(request, tmp_path)


@pytest.fixture(params=["memory", "disk"])
def make_own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeTier]:
    """Tiers whose room is this process's to give, and to count: that of a server is bounded by its own `maxmemory`."""
    yield from tiers(request, tmp_path)


BODIES = {
    "empty": b"",
    "one byte": b"x",
    "small text": text(1000),
    "small noise": noise(1000),
    "inline limit": noise(65536),
    "one over it": noise(65537),
    "large text": text(3_000_000),
    "large noise": noise(3_000_000),
    "middling text": text(200_000),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_what_is_put_is_got_with_all_its_metadata(make: MakeTier, body: bytes) -> None:
    tier = make()
    entry = an_entry(body)
    assert tier.put(entry)
    assert tier.get(entry.object) == entry


def test_nothing_is_held_at_first(make: MakeTier) -> None:
    tier = make()
    assert tier.get(an_entry().object) is None
    assert tier.describe(an_entry().object) is None


SEVERAL = [
    an_entry(b"1"),
    an_entry(b"2", version_id="v2"),
    an_entry(b"3", version_id="v3"),
    an_entry(b"4", bucket="other"),
    an_entry(b"5", key="key/v2"),
    an_entry(b"6", key="../../etc/passwd"),
    an_entry(b"7", key="ключ\x00\n☃" * 20),
]


def test_keys_with_versions_and_other_buckets_are_others(make: MakeTier) -> None:
    tier = make()
    for entry in SEVERAL:
        assert tier.put(entry)
    assert [tier.get(entry.object) for entry in SEVERAL] == SEVERAL


def test_what_is_held_is_counted(make_own: MakeTier) -> None:
    tier = make_own()
    assert tier.usage().entries == 0
    for entry in SEVERAL:
        tier.put(entry)
    tier.put(an_entry(noise(100_000), validated_at=NOW + 1))
    assert tier.usage().entries == len(SEVERAL), "one body for each"
    tier.evict(an_entry().object)
    assert tier.usage().entries == len(SEVERAL) - 1
    tier.clear()
    assert tier.usage().entries == 0


def test_usage_is_within_the_budget(make: MakeTier) -> None:
    tier = make(budget=1_000_000)
    for number in range(4):
        tier.put(an_entry(noise(400_000, number), key=str(number)))
    assert tier.usage().bytes <= tier.usage().budget <= 1_000_000


def test_an_expired_entry_is_still_there_for_its_304(make: MakeTier) -> None:
    tier = make()
    entry = an_entry(validated_at=1.0, expires_at=2.0)
    tier.put(entry)
    assert tier.get(entry.object) == entry


def test_put_replaces_an_earlier_validation_and_never_a_later_one(make: MakeTier) -> None:
    tier = make()
    old, new = an_entry(b"old", validated_at=NOW), an_entry(noise(100_000), validated_at=NOW + 1)
    assert tier.put(old)
    assert tier.put(new)
    assert not tier.put(old)
    assert tier.get(new.object) == new


def test_refresh_moves_the_times_of_the_same_body_only(make: MakeTier) -> None:
    tier = make()
    entry = an_entry()
    tier.put(entry)
    assert tier.refresh(entry.object, entry.etag, NOW + 10, NOW + 20)
    found = tier.get(entry.object)
    assert found == entry._replace(validated_at=NOW + 10, expires_at=NOW + 20)
    assert not tier.refresh(entry.object, '"another"', NOW + 30, NOW + 40)
    assert not tier.refresh(entry.object, entry.etag, NOW + 5, NOW + 99), "an earlier validation"
    assert tier.get(entry.object) == found


def test_refresh_of_nothing_is_false(make: MakeTier) -> None:
    assert not make().refresh(an_entry().object, an_entry().etag, NOW, NOW + 1)


def test_expire_keeps_the_body_and_makes_it_never_fresh(make: MakeTier) -> None:
    tier = make()
    entry = an_entry()
    tier.put(entry)
    tier.expire(entry.object)
    tier.expire(an_entry(key="unknown").object)
    found = tier.get(entry.object)
    assert found is not None
    assert found.body == entry.body
    assert found.expires_at < found.validated_at


def test_evict_and_clear_forget(make: MakeTier) -> None:
    tier = make()
    entries = [an_entry(noise(size, size), key=str(size)) for size in (10, 1000, 100_000)]
    for entry in entries:
        tier.put(entry)
    tier.evict(entries[1].object)
    tier.evict(entries[1].object)
    assert [tier.get(entry.object) is None for entry in entries] == [False, True, False]
    tier.clear()
    assert [tier.get(entry.object) for entry in entries] == [None, None, None]


def test_what_is_larger_than_the_budget_is_not_admitted_and_leaves_nothing_older_behind(make: MakeTier) -> None:
    tier = make(budget=1_000_000)
    small, large = an_entry(b"small"), an_entry(noise(2_000_000), validated_at=NOW + 1)
    assert tier.put(small)
    assert not tier.put(large)
    assert tier.get(large.object) is None, "what is held now would be the older body"
    assert tier.usage().bytes <= tier.usage().budget


@pytest.mark.parametrize(("size", "budget"), [(20, 1_000_000), (2_000, 4_000_000), (40_000, 4_000_000), (150_000, 4_000_000)])
def test_the_budget_holds_whatever_comes(make_own: MakeTier, size: int, budget: int) -> None:
    journal = Journal()
    tier = make_own(budget=budget, journal=journal)
    keys = [an_entry(key=f"{number}").object for number in range(5 * budget // 2 // (size + 400))]
    for number, key in enumerate(keys):
        tier.put(an_entry(noise(size, number), key=key.key))
        assert tier.usage().bytes <= budget
    held = [key for key in keys if tier.get(key) is not None]
    assert len(held) == tier.usage().entries
    assert journal.counters.evictions == len(journal.evicted) > 0
    assert not set(held) & set(journal.evicted)
    assert sum(size for _ in held) > budget * (0.75 if size > 10_000 else 0.01), "the budget is used"


def test_a_newcomer_is_turned_away_rather_than_that_much_more_valuable_ones_go(make_own: MakeTier) -> None:
    tier = make_own(budget=1_000_000)
    # Small objects, each hit often: a millisecond per byte far above that of one large object.
    small = [an_entry(noise(500, number), key=f"small{number}") for number in range(100)]
    for entry in small:
        tier.put(entry)
    for entry in small * 5:
        tier.get(entry.object)
        if hasattr(tier, "hit"):
            tier.hit(entry.object)
    tier.put(an_entry(noise(900_000), key="large"))
    assert sum(tier.get(entry.object) is not None for entry in small) >= 90
    assert tier.usage().bytes <= 1_000_000


def test_describe_tells_how_it_is_held(make: MakeTier) -> None:
    tier = make()
    entry = an_entry(text(10_000))
    tier.put(entry)
    held = tier.describe(entry.object)
    assert held is not None
    assert (held.tier, held.etag, held.size, held.verified_by) == (tier.name, entry.etag, 10_000, "md5")
    assert (held.validated_at, held.expires_at) == (entry.validated_at, entry.expires_at)
    assert held.codec == ("raw" if tier.name == "memory" else "zstd")
    assert held.stored_size == 10_000 if tier.name == "memory" else held.stored_size < 1_000


def test_a_closed_tier_keeps_nothing_and_raises_nothing(make: MakeTier) -> None:
    tier = make()
    tier.put(an_entry())
    tier.close()
    assert not tier.put(an_entry())
    assert tier.get(an_entry().object) is None
    tier.evict(an_entry().object)
    tier.clear()
    assert tier.usage().entries == 0


def test_many_threads_never_see_half_an_entry(make: MakeTier) -> None:
    tier = make(budget=1_500_000)
    bodies = {number: noise(200 + 9_000 * number, number) for number in range(12)}
    by_etag = {an_entry(body).etag: body for body in bodies.values()}
    start = threading.Barrier(8)
    wrong: list[object] = []

    def work(seed: int) -> None:
        start.wait()
        for step in range(150):
            number = (seed * 7 + step * 5) % 12
            key = f"k{(seed + step) % 5}"
            if step % 3:
                found = tier.get(an_entry(key=key).object)
                if found is not None and by_etag.get(found.etag) != found.body:
                    wrong.append(found)
            elif step % 33 == 0:
                tier.evict(an_entry(key=key).object)
            else:
                tier.put(an_entry(bodies[number], key=key, validated_at=NOW + step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert tier.usage().bytes <= tier.usage().budget
