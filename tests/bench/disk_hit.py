"""A hit on disk, the pages cached: s3warm beside a raw read, `diskcache.Cache` and a bare decompression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import peers
from tests.bench.bodies import bodies
from tests.bench.environment import huge_pages
from tests.bench.interleave import calls
from tests.bench.on_disk import compare
from tests.bench.report import Line, Report
from tests.bench.subject import BUCKET, an_entry
from tests.bench.throughput import against, rates, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.bench.bodies import Body
    from tests.bench.interleave import Candidate, Comparison
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
SHARES = {"16M": 90, "1M": 65, "64K": 50}  # % of os.read's throughput


def run(directory: str) -> Report:
    """Measure, and show throughput, its share of a raw read, and s3warm's lead."""
    measured = bodies()
    compared = compare(directory, measured, _candidates, rounds=ROUNDS)
    of_what = f"medians of {ROUNDS} rounds, huge pages: {huge_pages()}"
    tables = [
        rates(f"Disk hit: MB/s of uncompressed data ({of_what})", compared, measured),
        shares("Disk hit: throughput as a share of os.read", compared, READ),
        against("Disk hit: s3warm's tier, times as fast as", compared, TIER, (BARE, CHECKED, PLAIN, BY_HAND)),
    ]
    return Report(tables, {name: comparison.to_json() for name, comparison in compared.items()}, _lines(compared))


def _lines(compared: Mapping[str, Comparison]) -> list[Line]:
    return [
        *(
            Line(f"disk hit, packed {size}, of os.read's throughput", share * 100, "at least", bar, "%")
            for size, bar in SHARES.items()
            for share in [compared[f"packed {size}"].ratio(READ, TIER)]
        ),
        Line("disk hit, JSON 16M, beside bare zstd decompression", compared["JSON 16M"].ratio(TIER, BARE), "at most", 1.1, "×"),
    ]


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
