"""A Lambda handler to copy: flags of a configuration file, at most a minute old, and while S3 is down the last ones that were known.

An event is `{"name": "Ada"}`, the file `{"greeting": "hello"}`. It is decoded once for each version of it. When the minute is over
(`S3WARM_TTL` in template.yaml) one request tells whether there is another; what S3 has no time to answer before the invocation ends is
served stale, for up to an hour (`S3WARM_STALE_IF_ERROR`).
"""

from __future__ import annotations

import os
from typing import Any

import s3warm

BUCKET = os.environ["BUCKET"]


@s3warm.inject(flags=f"s3://{BUCKET}/config/flags.json", transform="json")
def handler(event: dict[str, Any], _context: object, flags: dict[str, Any]) -> dict[str, Any]:
    """`flags` comes from S3; whoever calls this in a test may give it."""
    return {"text": f"{flags['greeting']}, {event['name']}"}
