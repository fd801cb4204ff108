"""What there is without s3warm: diskcache in /tmp, filled at the first invocation, and when its first item was there."""

from __future__ import annotations

import time
from typing import Any

import diskcache

_cache = diskcache.Cache("/tmp/plain")


def handler(event: dict[str, Any], context: Any) -> dict[str, float]:
    if "fill" in event:
        _cache["item"] = b"x" * event["fill"]
    assert _cache["item"]
    return {"first": time.monotonic()}
