"""A Lambda handler to copy: prices a product by a configuration, and looks at a model.

It needs the variable `BUCKET` and a role with `s3:GetObject` on that bucket. There is nothing to set up: s3warm chooses its budgets from
the function's memory and /tmp, and `S3WARM_*` variables change that. An event is `{}`, `{"product": "0042"}` or `{"model": true}`.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import s3warm

BUCKET = os.environ["BUCKET"]


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Each get is answered from memory or /tmp if it can be, and by one GET to S3 if not."""
    config = json.loads(s3warm.get(BUCKET, "config.json"))
    answer = {"revision": config["revision"]}
    if "product" in event:
        product = json.loads(s3warm.get(BUCKET, f"products/{event['product']}.json"))
        answer |= {"name": product["name"], "price": round(product["price"] * (1 - config["discount"]), 2)}
    if event.get("model"):
        model = s3warm.get(BUCKET, "model.bin")  # bytes: wrap them in a memoryview, or in numpy.frombuffer, without a copy
        _, rows, columns = struct.unpack_from("<4sII", model)
        answer |= {"rows": rows, "columns": columns, "model_bytes": len(model)}
    return answer
