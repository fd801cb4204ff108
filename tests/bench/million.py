"""A million entries in memory, asked for at random: what s3warm's tables cost when no processor's cache holds them, beside a dict's."""

from __future__ import annotations

import gc
import itertools
import random
from typing import TYPE_CHECKING

import s3warm
from s3warm.entries import Entry
from s3warm.keys import ObjectKey
from tests.bench.interleave import Candidate, interleave
from tests.bench.subject import BUCKET, an_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.interleave import Comparison
    from tests.bench.subject import OfflineCache

    Pairs = Sequence[tuple[str, str]]

__all__ = ["BASE", "EMPTY", "ENTRIES", "OURS", "compare"]

ENTRIES = 1_000_000
ROUNDS = 21
TURN = 0.05
EMPTY = "(the loop over the keys)"
BASE = "D[bucket, key]"
OURS = "s3warm.get(bucket, key)"


def compare(cache: OfflineCache) -> Comparison:
    """Fill a dict and the cache, which is s3warm's default, with the same keys and one small body, and read both."""
    keys = [f"production/tenants/{number:07d}/flags.json" for number in range(ENTRIES)]
    body = bytes(16)
    gc.disable()  # nothing of this is garbage
    try:
        held = {(BUCKET, key): body for key in keys}
        _fill(cache, keys, body)
        draw = random.Random(7)
        pairs = [(BUCKET, draw.choice(keys)) for _ in range(ENTRIES)]
    finally:
        gc.enable()
    assert all(s3warm.get(bucket, key) is body for bucket, key in pairs[:10_000])
    return interleave(_candidates(held, pairs), rounds=ROUNDS, turn=TURN)


def _fill(cache: OfflineCache, keys: Sequence[str], body: bytes) -> None:
    _, info, validated_at, expires_at, _, _ = an_entry(body)
    for key in keys:
        assert cache._memory.put(Entry(ObjectKey(BUCKET, key), info, validated_at, expires_at, body))
    assert sum(map(len, cache._memory.slots.values())) == len(keys)


def _candidates(held: dict[tuple[str, str], bytes], pairs: Pairs) -> list[Candidate]:
    get = s3warm.get
    # Each loop goes on where its last turn ended, so that a turn meets new keys. But for the look-up they are alike.
    for_nothing, for_dict, for_s3warm = _endless(pairs), _endless(pairs), _endless(pairs)

    def nothing(times: int) -> None:
        for bucket, key in itertools.islice(for_nothing, times):  # noqa: B007
            pass

    def by_dict(times: int) -> None:
        for bucket, key in itertools.islice(for_dict, times):
            held[bucket, key]

    def by_s3warm(times: int) -> None:
        for bucket, key in itertools.islice(for_s3warm, times):
            get(bucket, key)

    return [Candidate(EMPTY, nothing), Candidate(BASE, by_dict), Candidate(OURS, by_s3warm)]


def _endless(pairs: Pairs) -> Iterator[tuple[str, str]]:
    return itertools.chain.from_iterable(itertools.repeat(pairs))
