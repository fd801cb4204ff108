"""What tests with several threads wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm import Cache

PATIENCE = 30.0  # seconds


def wait(event: threading.Event) -> None:
    """Until it has happened."""
    assert event.wait(timeout=PATIENCE)


def until(holds: Callable[[], bool]) -> None:
    """Until something that has no event of its own is so."""
    for _ in range(int(PATIENCE / 0.01)):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"it did not come to pass within {PATIENCE:.0f} s")


def waiting(cache: Cache) -> int:
    """Threads that wait for a flight."""
    flights = [flight for under_way in cache._flights._flights.values() for flight in under_way]
    return sum(len(vars(flight.done)["_cond"]._waiters) for flight in flights if flight.done is not None)
