"""A put on disk: s3warm beside raw writes and `diskcache.Cache`. Each write replaces what the one before has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import peers
from tests.bench.bodies import bodies
from tests.bench.interleave import calls
from tests.bench.on_disk import compare
from tests.bench.report import Report
from tests.bench.subject import an_entry
from tests.bench.throughput import against, rates, shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.bodies import Body
    from tests.bench.interleave import Candidate
    from tests.bench.on_disk import Places

__all__ = ["run"]

ROUNDS = 9
WRITE = "raw file write"
COMPRESSED = "zstd 1 + raw file write"
PLAIN = "diskcache, defaults"
BY_HAND = "diskcache + zstd 1 by hand"
TIER = "s3warm, the tier's put"


def run(directory: str) -> Report:
    """Measure, and show throughput, its share of compression and a raw write, and s3warm's lead."""
    measured = bodies()
    compared = compare(directory, measured, _candidates, rounds=ROUNDS)
    tables = [
        rates(f"Disk write: MB/s of uncompressed data (medians of {ROUNDS} rounds)", compared, measured),
        shares(f"Disk write: throughput as a share of {COMPRESSED}", compared, COMPRESSED),
        against("Disk write: s3warm's tier, times as fast as", compared, TIER, (WRITE, COMPRESSED, PLAIN, BY_HAND)),
    ]
    return Report(tables, {name: comparison.to_json() for name, comparison in compared.items()})


def _candidates(body: Body, places: Places) -> list[Candidate]:
    import zstandard

    name, data = body
    path, plain, by_hand, _ = places
    tier, entry = places.tier, an_entry(data, name)
    # With a checksum, as s3warm writes frames.
    compress = zstandard.ZstdCompressor(level=1, write_checksum=True).compress
    assert tier.put(entry)
    ways: dict[str, Callable[[], object]] = {
        WRITE: lambda: peers.write_file(path, data),
        COMPRESSED: lambda: peers.write_file(f"{path}.zst", compress(data)),
        PLAIN: lambda: plain.set(name, data),
        BY_HAND: lambda: by_hand.set(name, compress(data)),
        TIER: lambda: tier.put(entry),
    }
    return [calls(title, way) for title, way in ways.items()]
