"""s3warm as it is measured: the real cache on the real clock, its tiers filled by hand, and nobody to ask when they hold nothing."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from s3warm.entries import Entry, Metadata
from s3warm.factory import Cache
from s3warm.keys import ObjectKey
from s3warm.origin.offline import OfflineRequests

if TYPE_CHECKING:
    from typing import Any

    from s3warm.settings import Settings

__all__ = ["BUCKET", "KEY", "OfflineCache", "an_entry"]

BUCKET, KEY = "my-config", "production/flags.json"
_LIFETIME = 24 * 3600.0


class OfflineCache(Cache):
    """A cache that raises where it would dial."""

    def _supplier(self, client: Any, settings: Settings) -> OfflineRequests:
        return OfflineRequests()


def an_entry(body: bytes, key: str = KEY, bucket: str = BUCKET) -> Entry:
    """An entry as the origin makes it, validated just now and fresh for longer than any bench runs."""
    now = time.time()
    info = Metadata(
        f'"{hashlib.md5(body).hexdigest()}"',
        len(body),
        last_modified=now - 3600,
        content_type="application/json",
        verified_by="md5",
    )
    return Entry(ObjectKey(bucket, key), info, now, now + _LIFETIME, body)
