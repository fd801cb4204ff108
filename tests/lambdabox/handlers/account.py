"""An object through s3warm, and what that took."""

from __future__ import annotations

import hashlib
import os
import socket
from typing import Any

import s3warm


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if "gate" in event:  # a port, on which is waited until the test hangs up
        with socket.create_connection(("127.0.0.1", event["gate"])) as gate:
            gate.recv(1)
    before = s3warm.stats()
    bucket, key, ttl = event["bucket"], event["key"], event.get("ttl")
    if event.get("way", "get") == "get":
        body = s3warm.get(bucket, key, ttl=ttl)
    else:
        with s3warm.as_file(bucket, key, ttl=ttl) as path:
            body = path.read_bytes()
    return {
        "pid": os.getpid(),
        "sum": hashlib.sha256(body).hexdigest(),
        "stats": (s3warm.stats() - before)._asdict(),
        "expires_in": s3warm.explain(bucket, key).expires_in,
        "memory_budget": s3warm.budgets().memory.bytes,
        "directory": s3warm.budgets().directory,
    }
