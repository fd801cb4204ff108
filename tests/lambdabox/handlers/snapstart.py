"""A function that fills the cache in init, and tells what became of it."""

from __future__ import annotations

import gc
import os
import socket
from typing import Any

import s3warm

_KEYS = ("a", "b")
s3warm.preload(*(f"s3://bucket/{key}" for key in _KEYS))
_model = s3warm.path("bucket", "model")
_before = s3warm.stats()


def _descriptors() -> list[str]:
    """What this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # that of the listing
            continue
    return found


def _connections() -> int:
    return sum(isinstance(each, socket.socket) and each.fileno() >= 0 for each in gc.get_objects())


_seen: dict[str, Any] = {}


def _note() -> None:
    _seen.update(open=_descriptors(), connections=_connections())


# Hooks that are registered before ours run after them, before a snapshot: this one sees what is left.
import snapshot_restore_py  # noqa: E402

_registry = snapshot_restore_py.get_before_snapshot()
_registry.insert(0, (_note, (), {}))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    bodies = {key: s3warm.get("bucket", key).decode() for key in _KEYS}
    path = s3warm.path("bucket", "model")
    return {
        "bodies": bodies,
        "model": path.read_text(),
        "older": _model.read_text(),
        "stats": (s3warm.stats() - _before)._asdict(),
        "seen": _seen,
        "disk": str(s3warm.budgets().disk),
    }
