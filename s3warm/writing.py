"""`put`: an object is written to S3, and what was written is what everybody here reads from then on."""

from __future__ import annotations

import threading

from s3warm.entries import Entry
from s3warm.errors import AccessDeniedError, ObjectNotFoundError
from s3warm.keys import MISSING, Missing, locate
from s3warm.metrics import Event
from s3warm.origin.base import Upload
from s3warm.rules import freshness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from s3warm.beyond import Beyond
    from s3warm.calls import Calls
    from s3warm.front import Request
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Announcer, Counters
    from s3warm.origin.base import Origin
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import SingleFlight
    from s3warm.tiers.base import Tier

__all__ = ["Writes", "Writing"]

_LARGEST = 5 * 2**30  # bytes of one PUT (https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html)


class Writing:
    """The part of the cache that writes through."""

    _clock: Callable[[], float]
    _counters: Counters
    _announcer: Announcer
    _calls: Calls
    _flights: SingleFlight[Any]
    _origin: Origin
    _revalidation: Revalidation
    _kept_in: tuple[Tier, ...]  # farthest first
    _writes: Writes
    _beyond: Beyond

    def put(
        self,
        bucket: str,
        key: str | bytes | bytearray | memoryview | Missing = MISSING,
        body: bytes | bytearray | memoryview | Missing = MISSING,
        *,
        content_type: str | None = None,
        content_encoding: str | None = None,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request: Request | None = None,
    ) -> Entry:
        """Write an object to S3, by one PUT, and keep it as if it had just been fetched: who reads it here gets what was written.

        Other environments see it when their TTL is over; those of a fleet that hold no copy of their own, at once. Where several threads write one object at the same time S3 is asked which came last.
        A `tree` that it is in, and copies that were asked for with another `request`, follow when their TTL is over. A write that fails leaves
        S3 as it was, or, where the answer is missing, perhaps not: then the copy that is held is revalidated before it is used again. The role
        needs `s3:PutObject`.

        Args:
            bucket: name of the bucket, or one `"s3://bucket/key"`, taken literally; the body is then the second argument.
            key: key of the object.
            body: the bytes, at most 5 GiB.
            content_type: such as `"application/json"`; without it S3 takes `"binary/octet-stream"`.
            content_encoding: such as `"gzip"`, if the body is so encoded.
            cache_control: the object's `Cache-Control`, which this cache honours as well.
            metadata: `x-amz-meta-*` headers, without that prefix.
            request: what the request says besides; see `get`.

        Returns:
            The `Entry` that is kept: its `etag` and `version_id` are those of what was written.

        Raises:
            AccessDeniedError: the role may not write it. What it may read stays.
            ObjectNotFoundError: there is no such bucket.
            OriginUnavailableError: S3 cannot be reached, or has not answered.
            IntegrityError: S3 has stored something else than was sent.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object, or be sent in a header.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3() as s3:
            ...     entry = s3warm.put("cfg", "state.json", b'{"n": 1}', content_type="application/json")
            ...     s3warm.get("cfg", "state.json"), len(s3.requests)
            (b'{"n": 1}', 1)
        """
        if isinstance(body, Missing) and isinstance(key, (bytes, bytearray, memoryview)):
            key, body = MISSING, key
        where = locate(bucket, key, request=request)  # type: ignore[arg-type]  # it says so itself
        if isinstance(body, Missing):
            raise TypeError(f"put of {where} needs a body: bytes, as the last argument")
        if isinstance(body, str):
            raise TypeError(f"the body of {where} must be bytes, not str: encode it, as with text.encode()")
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"the body of {where} must be bytes, not {type(body).__name__}")
        whole = bytes(body)
        if len(whole) > _LARGEST:
            raise ValueError(
                f"the body of {where} has {len(whole):,} bytes, one PUT takes {_LARGEST:,}; use boto3's upload_fileobj"
            )
        user = {str(name).lower(): value for name, value in (metadata or {}).items()}
        named = {"content_type": content_type, "content_encoding": content_encoding, "cache_control": cache_control}
        for name, value in (*((name, value) for name, value in named.items() if value is not None), *user.items()):
            if not _is_header(name, value):
                raise ValueError(f"{name}={value!r} of {where} cannot be sent in a header: that takes printable ASCII")
        upload = Upload(where, whole, content_type, content_encoding, cache_control, user)
        with self._calls.counted:
            write = self._writes.begin(where)
            try:
                return self._written(upload)
            finally:
                if self._writes.end(where, write):
                    for tier in self._kept_in:
                        tier.expire(where)
                    self._beyond.doubt(where)

    def _written(self, upload: Upload) -> Entry:
        where, began = upload.object, self._clock()
        generation = self._beyond.writes(where)
        try:
            info = self._origin.write(upload)
        except (AccessDeniedError, ObjectNotFoundError):
            raise
        except BaseException:  # no answer, another body than was sent, or an interruption
            self._forget(where)
            for tier in self._kept_in:  # it may be written all the same
                tier.expire(where)
            self._beyond.doubt(where)
            raise
        # Whoever was asking meanwhile may have been told of the older body: what they bring is not kept, and what they have kept was
        # asked for before now.
        self._forget(where)
        now = float(self._clock())
        control = freshness.parse_cache_control(info.cache_control)
        entry = Entry(where, info, now, self._revalidation.expiry(where, now, control), upload.body)
        keep = freshness.may_keep(info.etag, control)
        for tier in self._kept_in:
            if not keep or not tier.put(entry):
                tier.evict(where)
        self._beyond.written(entry, generation)
        self._counters.written += 1
        self._announcer.note(Event("written", where.bucket, where.key, info.size, now - began))
        return entry

    def _forget(self, where: ObjectKey) -> None:
        """No flight that has begun stores anything, and S3 is asked for the object the next time."""
        self._flights.forget(where)
        self._revalidation.forget(where)


class Writes:
    """The writes that are under way. Which one of two that overlap came last only S3 can tell: the answers may come in any order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[ObjectKey, list[_Write]] = {}  # guarded by _lock

    def begin(self, where: ObjectKey) -> _Write:
        """One begins."""
        write = _Write()
        with self._lock:
            together = self._under_way.setdefault(where, [])
            together.append(write)
            if len(together) > 1:
                for each in together:
                    each.overlaps = True
        return write

    def end(self, where: ObjectKey, write: _Write) -> bool:
        """It is over, and kept; whether another one was under way meanwhile."""
        with self._lock:
            together = self._under_way[where]
            together.remove(write)
            if not together:
                del self._under_way[where]
            return write.overlaps


class _Write:
    __slots__ = ("overlaps",)

    def __init__(self) -> None:
        self.overlaps = False


def _is_header(name: str, value: object) -> bool:
    is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return is_name and isinstance(value, str) and value.isascii() and value.isprintable()
