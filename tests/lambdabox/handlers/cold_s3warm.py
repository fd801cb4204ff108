"""How long s3warm takes to be imported, and to answer from /tmp in a new process. Seconds of the wall clock."""

from __future__ import annotations

import time
from typing import Any

_begin = time.perf_counter()
import s3warm  # noqa: E402

_imported = time.perf_counter() - _begin


def handler(event: dict[str, Any], context: Any) -> dict[str, float]:
    begin = time.perf_counter()
    s3warm.get(event["bucket"], event["key"])
    return {"import": _imported, "first_get": time.perf_counter() - begin, "disk_hits": s3warm.stats().disk_hits}
