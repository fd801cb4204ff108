"""A hit in memory, 1 KiB: s3warm beside a bare dict and the caches that people use in handlers. And one among a million entries."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import s3warm
from s3warm.default import making
from tests.bench import million, peers
from tests.bench.bodies import KIB, noise
from tests.bench.interleave import interleave, statement
from tests.bench.report import Line, Report, Table, number
from tests.bench.subject import BUCKET, KEY, OfflineCache, an_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.interleave import Candidate, Comparison

__all__ = ["run"]

ROUNDS = 41
TURN = 0.01
BASE = "D[bucket, key]"
EMPTY = "(an empty loop)"
OURS = "s3warm.get(bucket, key)"
CACHED = "cachetools @cached(TTLCache, lock)"
PROVIDER = "Powertools BaseProvider.get"
OUR_OTHERS = ("Cache.get(bucket, key)", 's3warm.get("s3://bucket/key")')


def run(directory: str) -> Report:
    """Measure, and show what each costs and how far s3warm is ahead."""
    body = noise(KIB)
    with _default_cache("16MiB") as cache:
        _put(cache, body)
        compared = interleave(_candidates(body, cache), rounds=ROUNDS, turn=TURN)
    # A tenth of it is needed. A budget is no reservation.
    with _default_cache("4GiB") as cache:
        among_many = million.compare(cache)
    lines = [
        Line("s3warm.get beside D[bucket, key], 1 KiB", compared.ratio(OURS, BASE), "at most", 4, "×"),
        Line(
            "s3warm.get, times as fast as cachetools @cached(TTLCache, lock)",
            compared.ratio(CACHED, OURS),
            "at least",
            4.5,
            "×",
        ),
        Line("s3warm.get, times as fast as Powertools' BaseProvider.get", compared.ratio(PROVIDER, OURS), "at least", 7, "×"),
        Line(
            "s3warm.get beside D[bucket, key], 1,000,000 entries, random keys",
            among_many.ratio(million.OURS, million.BASE),
            "at most",
            4,
            "×",
        ),
    ]
    figures = {"one": compared.to_json(), "million": among_many.to_json()}
    return Report([_one_table(compared), _million_table(among_many)], figures, lines)


def _one_table(compared: Comparison) -> Table:
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
    return Table(title, ("", "ns", "±", "× base", "× s3warm.get"), rows)


def _million_table(compared: Comparison) -> Table:
    rows = [
        (name, number(timing.median), f"{timing.spread:.1%}", number(compared.ratio(name, million.BASE)))
        for name, timing in compared.timings.items()
    ]
    title = (
        f"Memory hit, {million.ENTRIES:,} entries, random keys (medians of {million.ROUNDS} rounds; the loop is in each figure)"
    )
    return Table(title, ("", "ns", "±", "× base"), rows)


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
        statement(CACHED, "get(bucket, key)", get=cached, **names),
        statement(PROVIDER, "get(key)", get=provider, **names),
        statement("Powertools get_parameter", "get(key)", get=get_parameter, **names),
        statement(OURS, "s3warm.get(bucket, key)", s3warm=s3warm, **names),
        statement(OUR_OTHERS[0], "cache.get(bucket, key)", cache=cache, **names),
        statement(OUR_OTHERS[1], "s3warm.get(uri)", s3warm=s3warm, uri=f"s3://{BUCKET}/{KEY}"),
    ]


@contextlib.contextmanager
def _default_cache(memory_budget: str) -> Iterator[OfflineCache]:
    """s3warm's default cache, on the real clock, with nothing but memory."""
    cache = OfflineCache(memory_budget=memory_budget, disk_budget=0)
    with making(OfflineCache, cache):
        yield cache


def _put(cache: OfflineCache, body: bytes) -> None:
    cache._memory.put(an_entry(body))
    assert s3warm.get(BUCKET, KEY) is body
    assert s3warm.get(f"s3://{BUCKET}/{KEY}") is body
