"""How many bytes each tier may hold, from what the environment has.

Sizes are bytes; a setting is None (choose), a number of bytes, or a share of what there is (`Share`).
"""

from __future__ import annotations

from s3warm.record import NamedTuple

__all__ = [
    "DISK_SHARE",
    "MEMORY_FLOOR",
    "MEMORY_RESERVE",
    "MEMORY_SHARE",
    "Budget",
    "Share",
    "disk_budget",
    "largest_memory_object",
    "memory_budget",
]

MIB = 2**20

MEMORY_SHARE = 0.25
MEMORY_RESERVE = 64 * MIB  # for the handler's own work, beside what it holds when the cache is made
MEMORY_FLOOR = 4 * MIB
DISK_SHARE = 0.8


class Share(NamedTuple):
    """A budget given in percent: `Share(0.25)` is a quarter of what there is."""

    fraction: float


class Budget(NamedTuple):
    """A number of bytes and, in words, what it was chosen from."""

    bytes: int
    origin: str


def memory_budget(setting: int | Share | None, *, limit: int, source: str, rss: int, concurrency: int) -> Budget:
    """The memory tier's budget.

    Args:
        setting: what the user asked for.
        limit: memory of the whole environment.
        source: where `limit` was read, for the explanation.
        rss: what the process holds already, and what will be imported.
        concurrency: processes that share the limit.

    Example:
        >>> memory_budget(None, limit=512 * MIB, source="512 MB", rss=50 * MIB, concurrency=1).bytes // MIB
        128
    """
    if isinstance(setting, int):
        return Budget(setting, "as set")
    divided = f", divided by {concurrency} processes" if concurrency > 1 else ""
    if isinstance(setting, Share):
        return Budget(int(limit * setting.fraction) // concurrency, f"{setting.fraction:.0%} of {source}{divided}")
    quarter = int(limit * MEMORY_SHARE)
    half_of_rest = (limit - rss - MEMORY_RESERVE) // 2
    chosen = max(MEMORY_FLOOR, min(quarter, half_of_rest))
    if chosen == quarter:
        reason = f"{MEMORY_SHARE:.0%} of {source}"
    elif chosen == half_of_rest:
        reason = f"half of what is left of {source} beside {rss // MIB} MiB in use and {MEMORY_RESERVE // MIB} MiB in reserve"
    else:
        reason = f"the floor, as {source} leaves no more beside {rss // MIB} MiB in use"
    return Budget(chosen // concurrency, reason + divided)


def disk_budget(setting: int | Share | None, *, free: int, held: int) -> Budget:
    """The disk tier's budget, one for all processes on the directory: a share of what is free and what it holds already."""
    there_is = free + held
    words = f"{free // MIB} MiB free + {held // MIB} MiB held by the cache"
    if isinstance(setting, int):
        # More than there is cannot be kept; without this a fixed budget would end in ENOSPC.
        return Budget(min(setting, there_is), "as set" if setting <= there_is else f"as set, cut to {words}")
    fraction = DISK_SHARE if setting is None else setting.fraction
    return Budget(int(there_is * fraction), f"{fraction:.0%} of {words}")


def largest_memory_object(setting: int | Share | None, budget: int) -> int:
    """The largest body that the memory tier admits; half of the budget by default, as a guard only."""
    if isinstance(setting, int):
        return min(setting, budget)
    return int(budget * (0.5 if setting is None else setting.fraction))
