"""How long s3warm takes to be imported, and to bring an object from S3 to a new environment. Seconds of the wall clock."""

from __future__ import annotations

import shutil
import time
from typing import Any

_begin = time.perf_counter()
import s3warm  # noqa: E402

_imported = time.perf_counter() - _begin


def handler(event: dict[str, Any], context: Any) -> dict[str, float]:
    begin = time.perf_counter()
    s3warm.get(event["bucket"], event["key"])
    figures = {"import": _imported, "first_get": time.perf_counter() - begin, "origin_requests": s3warm.stats().origin_requests}
    shutil.rmtree("/tmp/s3warm")  # the next runtime begins with an empty /tmp, as a new environment does
    return figures
