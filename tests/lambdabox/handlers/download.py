"""What this project is there against: a handler that reads a whole object."""

from __future__ import annotations

from typing import Any

import boto3

_client = boto3.client("s3")


def handler(event: dict[str, Any], context: Any) -> int:
    return len(_client.get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read())
