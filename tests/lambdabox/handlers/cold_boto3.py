"""How long boto3 takes to be imported, to make a client, and to get an object with it. Seconds of the wall clock."""

from __future__ import annotations

import time
from typing import Any

_begin = time.perf_counter()
import boto3  # noqa: E402

_imported = time.perf_counter() - _begin


def handler(event: dict[str, Any], context: Any) -> dict[str, float]:
    begin = time.perf_counter()
    client = boto3.client("s3")
    client.get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read()
    return {"import": _imported, "first_get": time.perf_counter() - begin}
