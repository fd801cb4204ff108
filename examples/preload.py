"""A Lambda handler to copy: what every invocation needs is brought in init, several objects at a time; what one event needs, within its time.

It needs the variable `BUCKET` and a role with `s3:GetObject` and, for the pattern, `s3:ListBucket` on that bucket. What init has no time
for is in the log, and is brought by the first invocation that asks for it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import s3warm

BUCKET = os.environ["BUCKET"]


def model() -> Any:
    """A file for `onnxruntime`, `numpy` and the like; the same one each time, until the object changes."""
    return s3warm.path(BUCKET, "model.bin")


def rules() -> Any:
    """The bodies by URI; as a function, so that a listing that fails does not make init fail."""
    return s3warm.get_many(s3warm.glob(f"s3://{BUCKET}/rules/*.json"))


print(s3warm.preload((BUCKET, "config.json"), model, rules))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """An event is `{"products": ["0041", "0042"]}`."""
    with s3warm.deadline(context):
        config = json.loads(s3warm.get(BUCKET, "config.json"))
        uris = [f"s3://{BUCKET}/products/{product}.json" for product in event["products"]]
        products = [json.loads(body) for body in s3warm.get_many(uris).values()]
    prices = [round(product["price"] * (1 - config["discount"]), 2) for product in products]
    return {"prices": prices, "model_bytes": model().stat().st_size}
