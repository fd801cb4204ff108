"""How much the memory tier may hold beside a handler that needs memory itself. Bytes throughout."""

from __future__ import annotations

__all__ = ["SMALL", "UNSEEN", "Peak", "Slack", "bound", "for_one_body", "margin"]

MIB = 2**20

# Of such a share: a body of 32 MiB that the handler dropped and the allocator keeps is a quarter of 128 MB, before anybody can look.
SMALL = 512 * MIB
UNSEEN = 4 * MIB  # of small bodies, that may be allocated between two looks
_MARGIN = 16 * MIB  # of 128 MB: page tables, stacks, sockets, what a compression takes, what is allocated between two looks
# A 24th of what the tier holds. The bar for what the process holds is 1.10 of what is live, and malloc_trim leaves 5 % in the tops of arenas.
# A coarser one saves little: whatever it is, what was given back is faulted in again.
_SLACK = 24
_LEAST_SLACK = 4 * MIB
_EPOCH = 300.0  # seconds; the need of the handler in this epoch and in the one before counts


def margin(share: int) -> int:
    """What is to be left free of a process's share."""
    return min(max(_MARGIN, share // 16), share // 4)


def for_one_body(free: int) -> int:
    """What one body may take of what is free; the rest is for its compression and for the handler."""
    return max(0, free) * 3 // 4


def bound(allowed: int, *, own: int, held: int, over: int) -> int:
    """What the tier may hold.

    Args:
        allowed: what the process may use.
        own: the most that everything but the tier took of late.
        held: what the tier holds.
        over: by how much more than allowed is used, or about to be.
    """
    left = allowed - own
    if over > 0:
        # More than is needed now, so that not each body has to wait for the allocator.
        left = min(left, held - over - held // 8)
    return max(0, left)


class Peak:
    """The most that was needed in the last five to ten minutes: a handler that needed it once an invocation will need it again."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._before = self._now = 0

    def of(self, need: int, now: float | None) -> int:
        """The peak, with what is needed now (None: at an unknown time)."""
        if now is not None and not 0 <= now - self._began < _EPOCH:
            self._before = self._now if 0 <= now - self._began < 2 * _EPOCH else 0
            self._began, self._now = now, 0
        self._now = max(self._now, need)
        return max(self._before, self._now)


class Slack:
    """What the allocator keeps of what the tier freed: at most that, and at most what the process has grown by beside the tier since.

    Neither alone would do: freed blocks are mostly used again at once, by a body as large as the one that went, and a process also grows
    by what its handler needs.
    """

    def __init__(self) -> None:
        # When it was given back last: the least that everything but the tier has taken since, and what the tier had freed. None: never.
        self._least: int | None = None
        self._freed = 0

    def is_much(self, beside: int, freed: int, held: int) -> bool:
        """Whether it is worth giving back; 2 to 18 ms, and what is used again is faulted in again (337 µs/MiB).

        Args:
            beside: what everything but the tier takes now.
            freed: what the tier has freed so far.
            held: what it holds.
        """
        least = self._least
        if least is None:
            least, self._freed = beside, freed
        self._least = min(least, beside)
        return min(beside - self._least, freed - self._freed) >= max(_LEAST_SLACK, held // _SLACK)

    def given_back(self, beside: int, freed: int) -> None:
        """There is none now."""
        self._least, self._freed = beside, freed
