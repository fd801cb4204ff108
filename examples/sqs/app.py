"""A Lambda handler to copy: orders from a queue, priced by objects in S3; an order that cannot be priced goes back alone.

A message is `{"order": "A1", "products": ["0041", "0042"]}`. The products of a message come several at a time, and serve all messages that
have them. A message that fails is reported (`ReportBatchItemFailures`): the queue delivers it again, and after the fifth time puts it
aside. So it goes, too, for an order with a product that is not known yet while S3 is down. One line of the log has the metrics.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import s3warm

BUCKET = os.environ["BUCKET"]

logger = logging.getLogger(__name__)
metrics = s3warm.emf.metrics("orders")
s3warm.configure(on_event=metrics.on_event)  # for how long S3 took


def total(order: dict[str, Any]) -> float:
    """The sum of an order."""
    uris = [f"s3://{BUCKET}/products/{product}.json" for product in order["products"]]
    found = s3warm.get_many(uris)
    return round(sum(float(json.loads(found[uri])["price"]) for uri in uris), 2)


@metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The answer names the messages that have failed; the queue deletes all others."""
    failed = []
    with s3warm.deadline(context, reserve=1):
        for record in event["Records"]:
            try:
                order = json.loads(record["body"])
                print(f"order {order['order']}: {total(order)}")  # here you would store it
            except Exception:
                logger.exception("message %s", record["messageId"])
                failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
