"""What the disk benches share: the places that are written to and read, all in one directory, and a run over all bodies."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bench import peers
from tests.bench.interleave import interleave
from tests.bench.subject import OfflineCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3warm.tiers.base import Tier
    from tests.bench.bodies import Body
    from tests.bench.interleave import Candidate, Comparison

__all__ = ["Places", "compare"]

TURN = 0.02


class Places(NamedTuple):
    """A file, two directories of diskcache's, and s3warm with nothing but its disk tier."""

    file: str
    plain: Any
    by_hand: Any
    cache: OfflineCache

    @property
    def tier(self) -> Tier:
        """s3warm's disk tier."""
        tier = self.cache._disk
        assert tier is not None
        return tier


def compare(
    directory: str, bodies: Sequence[Body], candidates: Callable[[Body, Places], list[Candidate]], *, rounds: int
) -> dict[str, Comparison]:
    """Measure one body after the other, the candidates for each of them interleaved."""
    compared: dict[str, Comparison] = {}
    with contextlib.ExitStack() as stack:
        places = Places(
            os.path.join(directory, "file"),
            stack.enter_context(peers.disk_cache(os.path.join(directory, "plain"))),
            stack.enter_context(peers.disk_cache(os.path.join(directory, "by-hand"))),
            stack.enter_context(
                OfflineCache(
                    directory=os.path.join(directory, "s3warm"), memory_budget=0, disk_budget="1GiB", namespace="bench"
                )
            ),
        )
        for body in bodies:
            compared[body.name] = interleave(candidates(body, places), rounds=rounds, turn=TURN)
    return compared
