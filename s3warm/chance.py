"""Random numbers from the kernel: forked processes, and the many that are restored from one SnapStart snapshot, must not draw the same.

A generator with a state would have to be seeded anew in each of them; a draw of a microsecond, once a request, need not.
"""

from __future__ import annotations

from random import SystemRandom

__all__ = ["draw"]

draw = SystemRandom().random  # from [0, 1)
