"""Entries to put into tiers."""

from __future__ import annotations

import hashlib
import random

from s3warm.entries import Entry, Metadata
from s3warm.keys import ObjectKey

NOW = 1_700_000_000.0


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for one seed."""
    return random.Random(seed).randbytes(size)


def text(size: int) -> bytes:
    """Bytes that compress well."""
    return (b'{"flag": true, "weight": 0.25}\n' * (size // 30 + 1))[:size]


def an_entry(
    body: bytes = b"body",
    *,
    bucket: str = "bucket",
    key: str = "key",
    version_id: str | None = None,
    etag: str | None = None,
    validated_at: float = NOW,
    expires_at: float = NOW + 300,
) -> Entry:
    """An entry whose ETag follows from its body, as S3's does."""
    tag = f'"{hashlib.md5(body).hexdigest()}"' if etag is None else etag
    info = Metadata(tag, len(body), content_type="application/json", user={"owner": "ops"}, verified_by="md5")
    return Entry(ObjectKey(bucket, key, version_id), info, validated_at, expires_at, body)
