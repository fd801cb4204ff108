"""The main job: objects through s3warm."""

from __future__ import annotations

import hashlib
from typing import Any

import s3warm


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    return {key: hashlib.sha256(s3warm.get(event["bucket"], key)).hexdigest() for key in event["keys"]}
