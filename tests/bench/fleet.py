"""The shared tier: what the fleet has, in a new environment, beside a bare GET of redis-py and beside S3 at 20 ms; what its first use costs;
and what a memory hit pays for being told of what others invalidate.

The server is Debian's redis-server, on the loopback, which S3 (`StaticOrigin`) is as well.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import fleet_first, fleet_look
from tests.bench.bodies import KIB, MIB, json_like, noise
from tests.bench.lean_place import BUCKET, like_lambda
from tests.bench.report import NotMeasured, Report, Table, number
from tests.bench.spent import median, take_turns
from tests.support.static_origin import StaticOrigin
from tests.support.valkey import ValkeyServer, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from s3warm import Cache
    from tests.bench.spent import Prepare, Spent

__all__ = ["run"]

ROUNDS, LATENCY = 9, 0.020
SIZES = ((KIB, "1K", 100), (64 * KIB, "64K", 50), (MIB, "1M", 10))  # and pieces of work in a turn
FROM_S3 = 3  # pieces of work in a turn of 20 ms each

BARE = "redis-py GET, bare"
SHARED = "s3warm, shared hit"
SHARED_TO_DISK = "s3warm, shared hit, kept on disk too"
S3 = "s3warm, S3 at 20 ms"
_KEPT = {"memory_budget": "64MiB", "disk_budget": 0}


class Kind(NamedTuple):
    """Objects of one body."""

    name: str
    body: bytes
    times: int

    @property
    def keys(self) -> list[str]:
        """One for each piece of work, so that every one is asked for for the first time."""
        return [f"{self.name}/{each}" for each in range(self.times)]


def run(directory: str) -> Report:
    """Measure, and show microseconds and ratios."""
    lacking = missing()
    if lacking is not None:
        raise NotMeasured(lacking)
    kinds = [
        Kind(f"{name} {label}", make(size), times)
        for name, make in (("JSON", json_like), ("packed", noise))
        for size, label, times in SIZES
    ]
    with ValkeyServer(os.path.join(directory, "server")) as server, StaticOrigin() as origin, like_lambda(origin.endpoint):
        hits = {kind.name: _hits(Path(directory), kind, server, origin) for kind in kinds}
        first = fleet_first.measure(server.url)
        looks = fleet_look.measure(server.url)
    tables = [_hit_table(hits), fleet_first.table(first), fleet_look.table(looks)]
    figures = {
        "hits": {name: {way: one._asdict() for way, one in costs.items()} for name, costs in hits.items()},
        "first": first,
        "look": looks,
    }
    return Report(tables, figures)


def _hit_table(hits: Mapping[str, Mapping[str, Spent]]) -> Table:
    rows = [
        (
            name,
            *(number(costs[way].wall / 1e3) for way in (BARE, SHARED, SHARED_TO_DISK, S3)),
            number(costs[SHARED].wall / costs[BARE].wall),
            number((costs[SHARED].wall - costs[BARE].wall) / 1e3),
            number(costs[S3].wall / costs[SHARED].wall),
        )
        for name, costs in hits.items()
    ]
    title = f"An object that the fleet has, in a new environment: µs (medians of {ROUNDS} rounds)"
    return Table(title, ("", BARE, SHARED, SHARED_TO_DISK, S3, "× bare", "more than bare", "S3 ×"), rows)


def _hits(directory: Path, kind: Kind, server: ValkeyServer, origin: StaticOrigin) -> dict[str, Spent]:
    """What one piece of work takes in each of the ways."""
    body = directory / "body"
    body.write_bytes(kind.body)
    origin.pace(latency=0.0, rate=None)
    for key in kind.keys:
        origin.put(BUCKET, key, body)
    with contextlib.ExitStack() as stack:

        def cache(**options: Any) -> Cache:
            from s3warm import Cache

            return stack.enter_context(Cache(origin="lean", namespace="bench", ttl=24 * 3600.0, **options))

        def shared(**options: Any) -> Cache:
            return cache(shared_url=server.url, shared_secret="secret of the bench", **options)

        first = shared(**_KEPT)
        for key in kind.keys:
            assert first.get(BUCKET, key) == kind.body
        hit = shared(**_KEPT)
        to_disk = shared(memory_budget="64MiB", disk_budget="256MiB", directory=str(directory / f"disk {kind.name}"))
        distant = cache(**_KEPT)
        bare = _bare(server, first, kind)
        stack.callback(bare.close)
        origin.pace(latency=LATENCY, rate=None)
        ways = {
            BARE: _each(kind.keys, bare.get),
            SHARED: _each_new(kind.keys, hit),
            SHARED_TO_DISK: _each_new(kind.keys, to_disk),
        }
        samples = take_turns(ways, rounds=ROUNDS, times=kind.times)
        few = kind.keys[:FROM_S3]
        samples |= take_turns({S3: _each_new(few, distant)}, rounds=ROUNDS, times=len(few))
        turns = ROUNDS + 1
        for one in (hit, to_disk):
            stats = one.stats()
            assert (stats.shared_hits, stats.misses, stats.shared_errors) == (turns * kind.times, 0, 0), stats
        assert distant.stats().misses == turns * len(few)
    return {way: median(found) for way, found in samples.items()}


def _bare(server: ValkeyServer, filled: Cache, kind: Kind) -> Any:
    """A client of redis-py with nothing around it; by the objects' keys it finds their stored bodies, which lie there once more."""
    import redis

    from s3warm.fleet import Fleet
    from s3warm.keys import ObjectKey

    beyond = filled._beyond
    assert isinstance(beyond, Fleet)
    sealer = beyond.shared._sealer
    client = redis.Redis.from_url(server.url)
    for key in kind.keys:
        body = client.hget(sealer.name(ObjectKey(BUCKET, key)), "b")
        assert body, f"the fleet has no body of {key}"
        client.set(key, body)
    return client


def _each(keys: list[str], get: Callable[[str], object]) -> Prepare:
    def work() -> None:
        for key in keys:
            get(key)

    return lambda _turn: work


def _each_new(keys: list[str], cache: Cache) -> Prepare:
    """Each key for the first time in this environment."""

    def prepare(_turn: int) -> Callable[[], object]:
        for tier in cache._tiers:
            tier.clear()
        return lambda: [cache.get(BUCKET, key) for key in keys]

    return prepare
