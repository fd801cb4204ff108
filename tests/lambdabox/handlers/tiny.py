"""Very many very small objects, from a client that answers at once: what is of interest is what the cache takes to keep them."""

from __future__ import annotations

import io
import os
from typing import Any

import s3warm
from tests.lambdabox.objects import BUCKET, Checker

_checker = Checker(os.environ["BODIES"])


class _Client:
    """As much of boto3's client as s3warm uses."""

    def get_object(self, **asked: str) -> dict[str, Any]:
        body, etag = _checker.body(asked["Key"]), f'"{hash(asked["Key"]):x}-2"'
        headers = {"content-length": str(len(body)), "etag": etag, "content-type": "binary/octet-stream"}
        return {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": headers}, "Body": io.BytesIO(body)}


s3warm.configure(client=_Client())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    wrong = [key for key in event["keys"] if not _checker.is_right(key, s3warm.get(BUCKET, key))]
    return {"wrong": wrong, "pid": os.getpid(), **s3warm.stats()._asdict()}
