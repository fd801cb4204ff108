"""Whatever somebody makes of the log of what was invalidated, and of the leases: nothing raises, and nothing is served that was not allowed before.

Who can write to the server can take an entry out of the log as well: then what it says is heard of no more than without a fleet, when the TTL is over.
"""

from __future__ import annotations

import json
import os
import random
from types import SimpleNamespace
from typing import Any

import pytest

from s3warm.keys import locate
from s3warm.tiers.leases import LONGEST
from tests.support.counted import CountedFleet
from tests.support.mutations import flipped, lay, odd

MANY = [pytest.param(0, 100), *(pytest.param(number, 1000, marks=pytest.mark.faults) for number in range(1, 4))]
if os.environ.get("SOAK"):
    MANY += [pytest.param(number, 1000, marks=pytest.mark.faults) for number in range(4, 40)]
TTL = 60.0
KEYS = ("a/b.json", "c.json")
UNAUTHENTICATED = {"shared_unauthenticated": True, "shared_secret": None}


def change_log(fleet: CountedFleet, name: str, chance: random.Random) -> None:
    """Something happens to the log."""
    client, sealer = fleet.counted, fleet.caches[0]._beyond.shared._sealer  # type: ignore[attr-defined]
    entries = client.xrange(name) if client.type(name) == b"stream" else []
    what = chance.randrange(8)
    if what == 0:
        lay(client, name, chance.choice((b"x", [b"x"], {b"x"}, {b"h": b"x"})))
    elif what == 1:
        client.delete(name)
    elif not entries:
        client.delete(name)
        client.xadd(name, {"x": "y"})
    elif what == 2:
        client.xdel(name, chance.choice(entries)[0])
    elif what == 3:
        client.xadd(name, chance.choice(entries)[1])  # once more
    elif what == 4:
        fields = chance.choice(entries)[1]
        field = chance.choice(sorted(fields))
        client.xadd(name, {**fields, field: flipped(fields[field] or b"x", chance)})
    elif what == 5:
        client.xadd(name, {chance.choice((b"e", b"s", b"h", b"")): chance.randbytes(chance.randrange(200))})
    elif what == 6:  # what those without a secret can seal
        said = [1.7e9, "b", KEYS[0], None, None]
        said[chance.randrange(5)] = odd(chance)
        text = json.dumps(chance.choice((said, said, odd(chance)))).encode()
        client.xadd(
            name, {"e": text, "s": sealer.sum(text) if fleet.options.get("shared_unauthenticated") else chance.randbytes(32)}
        )
    else:
        client.xtrim(name, maxlen=chance.randrange(3), approximate=False)


@pytest.mark.parametrize("options", [{}, UNAUTHENTICATED], ids=["authenticated", "unauthenticated"])
@pytest.mark.parametrize(("seed", "times"), MANY)
def test_a_log_that_was_tampered_with(options: dict[str, Any], seed: int, times: int) -> None:
    chance = random.Random(f"log {options} {seed}")
    fleet = CountedFleet(ttl=TTL, **options)
    teller, reader = fleet.cache(disk_budget=0), fleet.cache(disk_budget=0)
    name = teller._beyond.shared._sealer.log_name()  # type: ignore[attr-defined]
    written: dict[str, list[tuple[float, bytes]]] = {key: [] for key in KEYS}
    for step in range(times):
        key = chance.choice(KEYS)
        if not step % 3 or not written[key]:
            fleet.s3[f"s3://b/{key}"] = str(step).encode()
            written[key].append((fleet.s3.now, str(step).encode()))
        if chance.random() < 0.5 and fleet.counted.type(name) in (b"stream", b"none"):
            teller.invalidate("b", key, everywhere=True)
        for _ in range(chance.randrange(3)):
            change_log(fleet, name, chance)
        fleet.s3.advance(chance.choice((0, 0.5, 1.5, 20)))
        key = chance.choice([each for each in KEYS if written[each]])
        entry = reader.entry("b", key)
        since = [*(at for at, _ in written[key][1:]), float("inf")]
        ends = dict(zip((body for _, body in written[key]), since, strict=True))
        assert fleet.s3.now < ends[entry.body] + TTL
        assert not entry.stale
    assert reader.stats().shared_refused > 0
    assert reader.stats().shared_errors == reader.stats().errors == 0


def test_what_was_told_is_heard_once_the_log_is_well_again() -> None:
    fleet = CountedFleet({"s3://b/k": b"old"}, ttl=TTL)
    teller, reader = fleet.cache(disk_budget=0), fleet.cache(disk_budget=0)
    name = teller._beyond.shared._sealer.log_name()  # type: ignore[attr-defined]
    reader.get("b", "k")
    lay(fleet.counted, name, b"a string")
    fleet.s3.advance(2)
    reader.get("b", "k")
    fleet.s3["s3://b/k"] = b"new"
    teller.invalidate("b", "k", everywhere=True)
    fleet.s3.advance(1)
    assert reader.get("b", "k") == b"new", "the teller has put a log in the place of what was there"


@pytest.mark.parametrize(
    "lease", [b"", b"in vain", b"x" * 10_000, b"\xff\x00", [b"x"], {b"x"}, {b"h": b"x"}], ids=lambda lease: repr(lease)[:12]
)
@pytest.mark.parametrize("held", [False, True])
def test_a_lease_without_an_end_is_nobodys_and_keeps_nobody_waiting(
    lease: Any, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = CountedFleet({"s3://b/k": b"old"}, ttl=TTL)
    cache = fleet.cache(disk_budget=0)
    monkeypatch.setattr(cache._beyond.leases, "_sleep", lambda _: pytest.fail("somebody waits"))  # type: ignore[attr-defined]
    if held:
        cache.get("b", "k")
        fleet.s3.advance(TTL)
    fleet.s3["s3://b/k"] = b"new"
    lay(fleet.counted, _lease(cache), lease)
    assert cache.get("b", "k") == b"new"
    assert (cache.stats().shared_errors, cache.stats().errors) == (0, 0)


def test_a_lease_that_is_held_by_nobody_who_asks_is_waited_for_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = CountedFleet({"s3://b/k": b"body"}, ttl=TTL)
    cache = fleet.cache(disk_budget=0)
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        fleet.counted.pexpire(_lease(cache), 5000)  # whoever has written it sees to it

    monkeypatch.setattr("s3warm.tiers.leases.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(cache._beyond.leases, "_sleep", sleep)  # type: ignore[attr-defined]
    fleet.counted.set(_lease(cache), b"x" * 24, px=5000)
    assert cache.get("b", "k") == b"body"
    assert LONGEST <= now < LONGEST + 0.1


def _lease(cache: Any) -> str:
    return f"{cache._beyond.shared._sealer.name(locate('b', 'k'))}:lease"
