"""A hit on disk, the pages cached: s3warm beside a raw read, `diskcache.Cache` and a bare decompression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import peers
from tests.bench.bodies import bodies
from tests.bench.interleave import calls
from tests.bench.on_disk import compare
from tests.bench.report import Report
from tests.bench.subject import BUCKET, an_entry
from tests.bench.throughput import against, rates, shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.bodies import Body
    from tests.bench.interleave import Candidate
    from tests.bench.on_disk import Places

__all__ = ["run"]

ROUNDS = 15
READ = "os.read of the whole file"
BARE = "zstd decompression, bare"
CHECKED = "the same with a checksum"
PLAIN = "diskcache, defaults"
BY_HAND = "diskcache + zstd 1 by hand"
TIER = "s3warm, the tier's get"
CACHE = "s3warm, Cache.get"


def run(directory: str) -> Report:
    """Measure, and show throughput, its share of a raw read, and s3warm's lead."""
    measured = bodies()
    compared = compare(directory, measured, _candidates, rounds=ROUNDS)
    tables = [
        rates(f"Disk hit: MB/s of uncompressed data (medians of {ROUNDS} rounds)", compared, measured),
        shares("Disk hit: throughput as a share of os.read", compared, READ),
        against("Disk hit: s3warm's tier, times as fast as", compared, TIER, (BARE, CHECKED, PLAIN, BY_HAND)),
    ]
    return Report(tables, {name: comparison.to_json() for name, comparison in compared.items()})


def _candidates(body: Body, places: Places) -> list[Candidate]:
    import zstandard

    name, data = body
    path, plain, by_hand, cache = places
    tier, entry = places.tier, an_entry(data, name)
    frame = zstandard.ZstdCompressor(level=1).compress(data)
    checked = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data)
    decompress = zstandard.ZstdDecompressor().decompress
    peers.write_file(path, data)
    plain.set(name, data)
    by_hand.set(name, frame)
    assert tier.put(entry)
    found = tier.get(entry.object)
    assert found is not None
    assert found.body == data
    ways: dict[str, Callable[[], object]] = {
        READ: lambda: peers.read_file(path, len(data)),
        BARE: lambda: decompress(frame),
        CHECKED: lambda: decompress(checked),
        PLAIN: lambda: plain.get(name),
        BY_HAND: lambda: decompress(by_hand.get(name)),
        CACHE: lambda: cache.get(BUCKET, name),
    }
    assert all(way() == data for way in ways.values()), f"a candidate returns something else than {name}"
    ways[TIER] = lambda: tier.get(entry.object)
    return [calls(title, way) for title, way in ways.items()]
