"""The memory tier's own promises: what it counts is what the process grows by, and hits repair the order."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from tests.support.entries import NOW, an_entry, noise
from tests.support.tiers import Journal, memory_tier

GROWTH = """
import gc, sys
from s3warm import machine
from s3warm.entries import Entry, Metadata
from s3warm.keys import ObjectKey
from tests.support.tiers import memory_tier

size, count = int(sys.argv[1]), int(sys.argv[2])
tier = memory_tier(budget=4 * 2**30)

def put(number):
    info = Metadata(f'"{number:032x}"', size, None, 1.6e9 + number, "application/json", None, None, None, "md5")
    key = ObjectKey("bucket", f"a/prefix/object-{number:08d}.json")
    tier.put(Entry(key, info, 1.7e9 + number / 1000, 1.7e9 + 300 + number / 1000, bytes([number % 256]) * size))

for number in range(20):
    put(number)
tier.clear()
gc.collect()
counted, held = tier.usage().bytes, machine.anonymous_memory()
for number in range(count):
    put(number)
gc.collect()
print(tier.usage().bytes - counted, machine.anonymous_memory() - held)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/statm to see what the process grows by")
@pytest.mark.parametrize(("size", "count"), [(20, 100_000), (1_000, 50_000), (100_000, 1_000), (1_000_000, 150)])
def test_what_is_counted_is_what_the_process_grows_by(size: int, count: int) -> None:
    """Within 10 %, in a fresh process."""
    command = [sys.executable, "-c", GROWTH, str(size), str(count)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    counted, grown = map(int, printed.split())
    assert counted == pytest.approx(grown, rel=0.10)


def test_user_metadata_and_versions_are_counted() -> None:
    tier = memory_tier()
    tier.put(an_entry(key="key1"))
    one = tier.usage().bytes
    tier.put(an_entry(key="key2"))
    plain = tier.usage().bytes - one
    entry = an_entry(key="key3", version_id="v" * 200)
    tier.put(entry._replace(info=entry.info._replace(user={"name": "x" * 1000})))
    assert tier.usage().bytes - one - plain >= plain + 1_200


def test_an_object_that_is_hit_outlives_those_that_are_not() -> None:
    journal = Journal()
    tier = memory_tier(budget=300_000, journal=journal)
    hot = an_entry(noise(10_000), key="hot")
    tier.put(hot)
    for number in range(200):
        tier.hit(hot.object)
        tier.put(an_entry(noise(10_000, number), key=str(number)))
    assert tier.get(hot.object) == hot
    assert len(journal.evicted) > 150


def test_an_object_that_nobody_wants_any_more_ages_out() -> None:
    tier = memory_tier(budget=300_000)
    once_hot = an_entry(noise(10_000), key="once hot")
    tier.put(once_hot)
    for _ in range(10_000):
        tier.hit(once_hot.object)
    for number in range(2_000):
        tier.put(an_entry(noise(10_000, number), key=str(number)))
    assert tier.get(once_hot.object) is None


def test_one_large_object_does_not_empty_the_tier() -> None:
    tier = memory_tier(budget=1_000_000, largest=500_000)
    small = [an_entry(noise(1_000, number), key=str(number)) for number in range(100)]
    for entry in small:
        tier.put(entry)
    assert not tier.put(an_entry(noise(500_001), key="too large"))
    assert all(tier.get(entry.object) for entry in small)


def test_hits_survive_eviction_and_refresh_in_the_count() -> None:
    tier = memory_tier()
    entry = an_entry()
    tier.put(entry)
    for _ in range(5):
        tier.hit(entry.object)
    tier.refresh(entry.object, entry.etag, NOW + 1, NOW + 2)
    tier.hit(entry.object)
    tier.evict(entry.object)
    tier.put(entry)
    tier.hit(entry.object)
    assert tier.hits() == 7


def test_removed_entries_do_not_pile_up_in_the_order() -> None:
    tier = memory_tier()
    for number in range(5_000):
        tier.put(an_entry(validated_at=NOW + number))
    assert len(tier._order._heap) < 100
    assert tier.usage().entries == 1


def test_what_goes_is_counted_however_it_goes() -> None:
    tier = memory_tier(budget=300_000)
    empty = tier.usage().bytes
    tier.put(an_entry(bytes(100_000), key="one"))
    one = tier.freed + tier._held
    assert (tier.freed, one > 100_000 > empty) == (0, True)
    tier.put(an_entry(bytes(100_000), key="one", validated_at=NOW + 1))  # replaced
    assert tier.freed == one
    tier.evict(an_entry(key="one").object)
    assert tier.freed == 2 * one
    for key in ("two", "six", "ten"):  # there is room for two
        tier.put(an_entry(bytes(100_000), key=key))
    assert tier.freed == 3 * one
    tier.put(an_entry(bytes(400_000), key="too large"))
    assert tier.freed == 3 * one
    tier.clear()
    assert tier.freed == 5 * one


def test_a_hit_is_not_lost_while_others_write() -> None:
    import threading

    tier = memory_tier(budget=200_000)
    hot = an_entry(b"hot", key="hot")
    tier.put(hot)
    stop = threading.Event()
    lost: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                slot = tier.slots["bucket"]["hot"]
            except KeyError as error:
                lost.append(error)
            else:
                slot.hits += 1

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(3_000):
        tier.put(an_entry(noise(2_000, number), key=str(number)))
    stop.set()
    reader.join()
    assert lost == []


@pytest.mark.parametrize("refused", ["too large", "over the budget", "older"])
def test_what_is_not_admitted_is_free_at_once(refused: str) -> None:
    """Without waiting for the collector of cycles: it may be half of the function's memory."""
    tier = memory_tier(budget=100_000, largest=50_000)
    body = noise({"too large": 60_000, "over the budget": 49_999_999, "older": 100}[refused])
    if refused == "older":
        tier.put(an_entry(b"newer", validated_at=NOW + 1))
    gc.disable()
    try:
        before = sys.getrefcount(body)
        admitted = tier.put(an_entry(body, validated_at=NOW))
        assert admitted is False
        assert sys.getrefcount(body) == before
    finally:
        gc.enable()
