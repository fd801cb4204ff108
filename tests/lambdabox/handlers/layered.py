"""s3warm from a layer: what it answers, and where each of its modules came from."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import s3warm


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    body = s3warm.get(event["bucket"], event["key"])
    ours = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] in {"s3warm", "diskcache", "zstandard"}
    }
    return {
        "sha256": hashlib.sha256(body).hexdigest(),
        "folder": os.path.join(os.environ["LAMBDA_TASK_ROOT"], "layer", "python"),
        "files": {name: module.__file__ for name, module in ours.items()},
        **s3warm.stats()._asdict(),
    }
