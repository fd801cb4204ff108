"""What a memory hit pays for a shared tier: nothing, but for the one call a second that reads what others have invalidated."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from tests.bench.bodies import KIB, json_like
from tests.bench.interleave import calls, interleave, statement
from tests.bench.report import Table, number
from tests.bench.subject import BUCKET, KEY, OfflineCache, an_entry

if TYPE_CHECKING:
    from typing import Any

    from tests.bench.interleave import Candidate

__all__ = ["measure", "table"]

ROUNDS = 25
HIT, HIT_SHARED = "a hit, without a shared tier", "a hit, with one"
LOOK, LOOK_SHARED = "the look of each second, without", "the look of each second, with one"


def measure(url: str) -> Any:
    """Nanoseconds; see `Comparison.to_json`."""
    options: dict[str, Any] = {"memory_budget": "64MiB", "disk_budget": 0, "namespace": "bench"}
    with (
        OfflineCache(**options) as alone,
        OfflineCache(shared_url=url, shared_secret="secret of the bench", **options) as joined,
    ):
        assert alone._look == alone._ledger.look
        compared = interleave([*_candidates(alone, HIT, LOOK), *_candidates(joined, HIT_SHARED, LOOK_SHARED)], rounds=ROUNDS)
        assert joined.stats().shared_errors == 0
    return compared.to_json()


def table(figures: Any) -> Table:
    """For the terminal, with what a look a second takes of a core."""
    rows = [
        (
            name,
            number(figure["median_ns"]),
            f"{figure['spread']:.1%}",
            "" if "look" not in name else f"{figure['median_ns'] / 1e7:.4f}",
        )
        for name, figure in figures.items()
    ]
    return Table(f"Memory hits of a cache in a fleet (medians of {ROUNDS} rounds)", ("", "ns", "±", "% of each second"), rows)


def _candidates(cache: OfflineCache, hit: str, look: str) -> list[Candidate]:
    cache._memory.put(an_entry(json_like(KIB)))
    assert cache.get(BUCKET, KEY)
    seconds = itertools.count(int(time.time()))  # each look comes a second after the one before
    return [
        statement(hit, "get(bucket, key)", get=cache.get, bucket=BUCKET, key=KEY),
        calls(look, lambda: cache._look(float(next(seconds)))),
    ]
