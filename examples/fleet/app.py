"""A Lambda handler to copy: prices that a fleet shares, fresh for a day, and asked for again as soon as they change.

An event is `{"product": "0041"}`. A new environment finds what another one has read in Valkey (`S3WARM_SHARED_URL` in template.yaml), and S3 is
asked when nobody has it. That may be a day old, for the function `Changes` tells the whole fleet of each object that is written or deleted: it
has no code but s3warm's, `s3warm.notifications.handler`, and is fed by the bucket's events, through a queue that brings again what the fleet
could not be told. If Valkey is down, this function goes on without it.
"""

from __future__ import annotations

import os
from typing import Any

import s3warm

BUCKET = os.environ["BUCKET"]


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The price of a product."""
    found = s3warm.get(BUCKET, f"prices/{event['product']}.json", transform="json")
    return {"product": event["product"], "price": found["price"]}
