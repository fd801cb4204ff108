"""Objects through a cache whose clock the event sets, and when the first of them was there."""

from __future__ import annotations

import os
import time
from typing import Any

import s3warm
from tests.lambdabox.objects import BUCKET, Checker

_checker = Checker(os.environ["BODIES"])
_ahead = [0.0]  # seconds, of the cache's clock before the machine's

s3warm.configure(clock=lambda: time.time() + _ahead[0])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    _ahead[0] = event.get("ahead", 0.0)
    wrong, first = [], 0.0
    for key in event["keys"]:
        body = s3warm.get(BUCKET, key)
        first = first or time.monotonic()  # the machine's: it means the same to whoever started this process
        if not _checker.is_right(key, body):
            wrong.append(key)
    return {"wrong": wrong, "first": first, **s3warm.stats()._asdict()}
