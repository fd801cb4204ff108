"""How objects are asked for, and the hit path: everything that a fresh object in memory costs its caller."""

from __future__ import annotations

from s3warm.keys import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from typing import Any

    from s3warm.entries import Entry
    from s3warm.keys import Missing
    from s3warm.tiers.base import Slot

__all__ = ["Front"]


class Front:
    """`get` with its hit path, written once: it is `Cache.get`, and bound to the default cache it is `s3warm.get`."""

    _slots: Mapping[str, Mapping[Any, Slot]]
    _clock: Callable[[], float]
    _look: Callable[[float], object]  # see `Ledger.look`
    _prolong: Callable[[Any], object]  # see `HotTier.prolong`

    def get(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
    ) -> bytes:
        """The body of an object, as it is stored: from memory, from /tmp, or from S3.

        Args:
            bucket: name of the bucket, or one `"s3://bucket/key"`, taken literally, as the only positional argument.
            key: key of the object.
            version_id: one version of it; a pinned version never expires.
            ttl: the age in seconds (or a `timedelta`) that this call accepts, in place of the cache's own TTL. 0 asks S3 now and
                never answers with a stale copy.

        Returns:
            The bytes. As long as the object is fresh in memory it is the same bytes object each time.

        Raises:
            ObjectNotFoundError: there is no such object (404).
            AccessDeniedError: S3 denied access (403).
            OriginUnavailableError: S3 cannot be reached, and no copy may stand in.
            ObjectTooLargeError: the function has not enough memory left for the body; nothing of it was downloaded.
            IntegrityError: the body arrived damaged, repeatedly.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object, or the TTL is negative.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b'{"dark": true}'}):
            ...     s3warm.get("cfg", "flags.json")
            ...     s3warm.get("s3://cfg/flags.json", ttl=60)
            b'{"dark": true}'
            b'{"dark": true}'
        """
        if ttl is None and version_id is None:
            try:
                slot = self._slots[bucket][key]
            except (KeyError, TypeError):  # TypeError: not hashable, and refused in words below
                pass
            else:
                if slot.validated_at <= self._clock() < slot.deadline:
                    slot.hits += 1
                    return slot.body
                if slot.validated_at <= (now := self._clock()) < slot.expires_at:
                    # The first hit of a second: the memory is looked at, which may evict this very slot, and the way is free again.
                    self._look(now)
                    self._prolong(slot)
                    slot.hits += 1
                    return slot.body
        return self._read(bucket, key, version_id, ttl).body

    def entry(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
    ) -> Entry:
        """Like `get`, with the object's metadata and whether the answer is stale.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     s3warm.entry("cfg", "flags.json").verified_by
            'md5'
        """
        return self._read(bucket, key, version_id, ttl)

    def _read(self, bucket: str, key: str | Missing, version_id: str | None, ttl: float | timedelta | None) -> Entry:
        """What is not on the hit path."""
        raise NotImplementedError
