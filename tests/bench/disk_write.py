"""A put on disk: s3warm beside raw writes and `diskcache.Cache`. Each write replaces an older version of the object.

What is new is a file of its own, and the older one is removed: writing over a file, or renaming onto one, makes ext4 find blocks for it at
once (`auto_da_alloc`), which takes several times as long as the write.
"""

from __future__ import annotations

import time
from itertools import cycle
from typing import TYPE_CHECKING

from tests.bench import peers
from tests.bench.bodies import bodies
from tests.bench.interleave import calls
from tests.bench.on_disk import compare
from tests.bench.report import Line, Report
from tests.bench.subject import an_entry
from tests.bench.throughput import against, rates, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.bench.bodies import Body
    from tests.bench.interleave import Candidate, Comparison
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
    return Report(tables, {name: comparison.to_json() for name, comparison in compared.items()}, _lines(compared))


def _lines(compared: Mapping[str, Comparison]) -> list[Line]:
    return [
        *(
            Line(f"disk write, {body}, beside {COMPRESSED}", compared[body].ratio(TIER, COMPRESSED), "at most", 1.15, "×")
            for body in ("JSON 16M", "packed 16M")
        ),
        *(
            Line(
                f"disk write, packed {size}, times as fast as diskcache",
                compared[f"packed {size}"].ratio(PLAIN, TIER),
                "at least",
                5,
                "×",
            )
            for size in ("64K", "16M")
        ),
    ]


def _candidates(body: Body, places: Places) -> list[Candidate]:
    import zstandard

    name, data = body
    path, plain, by_hand, _ = places
    tier = places.tier
    files, frames = peers.Files(path), peers.Files(f"{path}.zst")
    versions = cycle((an_entry(data, name), an_entry(data[1:] + b"x", name)))
    compress = zstandard.ZstdCompressor(level=1).compress

    def put() -> None:
        assert tier.put(next(versions)._replace(validated_at=time.time()))

    put()
    ways: dict[str, Callable[[], object]] = {
        WRITE: lambda: files.write(data),
        COMPRESSED: lambda: frames.write(compress(data)),
        PLAIN: lambda: plain.set(name, data),
        BY_HAND: lambda: by_hand.set(name, compress(data)),
        TIER: put,
    }
    return [calls(title, way) for title, way in ways.items()]
