"""The caches of this process, for its forked children: they hold still meanwhile, and begin anew in the child."""

from __future__ import annotations

import contextlib
import os
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["alive", "leave", "watch"]

# Every cache of this process, for its forked children.
_alive: WeakSet[Any] = WeakSet()


# What goes on in the parent once it has forked.
_held_still: list[Callable[[], None]] = []


def alive() -> list[Any]:
    """Every cache of this process."""
    return list(_alive)


def watch(cache: Any) -> None:
    """One has been made."""
    _alive.add(cache)


def leave(cache: Any) -> None:
    """One was closed."""
    _alive.discard(cache)


def _hold_still() -> None:
    for cache in alive():
        with contextlib.suppress(Exception):  # one cache's trouble is not another's
            go_on = cache.before_fork()
            if go_on is not None:
                _held_still.append(go_on)


def _go_on() -> None:
    while _held_still:
        _held_still.pop()()


def _renew_all() -> None:
    _held_still.clear()
    for cache in alive():
        with contextlib.suppress(Exception):
            cache.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_still, after_in_parent=_go_on, after_in_child=_renew_all)
