"""Bodies as they come: records in JSON, which zstd makes 3 to 4 times smaller, and weights, which nothing makes smaller."""

from __future__ import annotations

import json
import random
from typing import NamedTuple

__all__ = ["KIB", "MIB", "Body", "bodies", "json_like", "noise"]

KIB, MIB = 1024, 1024 * 1024
SIZES = ((64 * KIB, "64K"), (MIB, "1M"), (16 * MIB, "16M"))
_WORDS = ("alpha", "beta", "gamma", "delta", "checkout", "search", "profile", "basket", "rollout", "control")


class Body(NamedTuple):
    """A body and what tables call it."""

    name: str
    data: bytes


def bodies() -> list[Body]:
    """Both kinds in all sizes, the same in each run."""
    text, packed = json_like(SIZES[-1][0]), noise(SIZES[-1][0])
    return [
        *(Body(f"JSON {name}", text[:size]) for size, name in SIZES),
        *(Body(f"packed {name}", packed[:size]) for size, name in SIZES),
    ]


def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(7).randbytes(size)


def json_like(size: int) -> bytes:
    """Records with names, numbers and identifiers."""
    draw = random.Random(7)
    lines: list[bytes] = []
    length = 0
    while length < size:
        record = {
            "id": f"{draw.getrandbits(48):012x}",
            "name": f"{draw.choice(_WORDS)}-{draw.choice(_WORDS)}",
            "enabled": draw.random() < 0.5,
            "weight": round(draw.random(), 4),
            "segments": draw.sample(_WORDS, 3),
            "updated_at": 1_700_000_000 + draw.randrange(10_000_000),
        }
        lines.append(json.dumps(record).encode() + b"\n")
        length += len(lines[-1])
    return b"".join(lines)[:size]
