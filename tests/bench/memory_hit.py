"""A hit in memory, 1 KiB: s3warm beside a bare dict and the caches that people use in handlers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import s3warm
from s3warm.default import making
from tests.bench import peers
from tests.bench.bodies import KIB, noise
from tests.bench.interleave import interleave, statement
from tests.bench.report import Report, Table, number
from tests.bench.subject import BUCKET, KEY, OfflineCache, an_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.interleave import Candidate

__all__ = ["run"]

ROUNDS = 41
TURN = 0.01
BASE = "D[bucket, key]"
EMPTY = "(an empty loop)"
OURS = "s3warm.get(bucket, key)"
OUR_OTHERS = ("Cache.get(bucket, key)", 's3warm.get("s3://bucket/key")')


def run(directory: str) -> Report:
    """Measure, and show what each costs and how far s3warm is ahead."""
    body = noise(KIB)
    with _default_cache(body) as cache:
        compared = interleave(_candidates(body, cache), rounds=ROUNDS, turn=TURN)
    ours = (OURS, *OUR_OTHERS)
    rows = [
        (
            name,
            number(timing.median),
            f"{timing.spread:.1%}",
            number(compared.ratio(name, BASE)),
            "" if name in (*ours, EMPTY) else number(compared.ratio(name, OURS)),
        )
        for name, timing in compared.timings.items()
    ]
    title = f"Memory hit, 1 KiB (medians of {ROUNDS} rounds; the loop itself is in each figure)"
    return Report([Table(title, ("", "ns", "±", "× base", "× s3warm.get"), rows)], compared.to_json())


def _candidates(body: bytes, cache: s3warm.Cache) -> list[Candidate]:
    held = {(BUCKET, KEY): body}
    names = {"bucket": BUCKET, "key": KEY}

    def fetch(bucket: str, key: str) -> bytes:
        return held[bucket, key]

    lru, cached = peers.lru(fetch), peers.cached_with_lock(fetch)
    ttl_cache, lock = peers.ttl_cache(BUCKET, KEY, body)
    provider, get_parameter = peers.powertools_provider(fetch, BUCKET), peers.powertools_get_parameter(fetch, BUCKET)
    for powertools in (provider, get_parameter):
        powertools(KEY, max_age=peers.TTL)  # what is held stays fresh for the whole run; hits give no age
    return [
        statement(EMPTY, "pass"),
        statement(BASE, "D[bucket, key]", D=held, **names),
        statement("functools.lru_cache", "get(bucket, key)", get=lru, **names),
        statement("cachetools TTLCache, item under lock", "with lock: cache[bucket, key]", lock=lock, cache=ttl_cache, **names),
        statement("cachetools @cached(TTLCache, lock)", "get(bucket, key)", get=cached, **names),
        statement("Powertools BaseProvider.get", "get(key)", get=provider, **names),
        statement("Powertools get_parameter", "get(key)", get=get_parameter, **names),
        statement(OURS, "s3warm.get(bucket, key)", s3warm=s3warm, **names),
        statement(OUR_OTHERS[0], "cache.get(bucket, key)", cache=cache, **names),
        statement(OUR_OTHERS[1], "s3warm.get(uri)", s3warm=s3warm, uri=f"s3://{BUCKET}/{KEY}"),
    ]


@contextlib.contextmanager
def _default_cache(body: bytes) -> Iterator[s3warm.Cache]:
    """s3warm's default cache, on the real clock, with the body in memory."""
    cache = OfflineCache(memory_budget="16MiB", disk_budget=0)
    with making(OfflineCache, cache):
        cache._memory.put(an_entry(body))
        assert s3warm.get(BUCKET, KEY) is body
        assert s3warm.get(f"s3://{BUCKET}/{KEY}") is body
        yield cache
