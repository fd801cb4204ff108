"""How objects are asked for, and the hit path: everything that a fresh object in memory costs its caller."""

from __future__ import annotations

from s3warm.keys import MISSING, locate
from s3warm.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from typing import Any, Literal, TypeVar, overload

    from s3warm.entries import Entry
    from s3warm.keys import Missing, ObjectKey
    from s3warm.tiers.base import Slot

    T = TypeVar("T")
    Measure = Callable[[Any], int]
    Request = Mapping[str, object]

__all__ = ["Front", "asked"]


class Front:
    """`get` with its hit path, written once: it is `Cache.get`, and bound to the default cache it is `s3warm.get`."""

    _slots: Mapping[str, Mapping[Any, Slot]]
    _values: Mapping[Any, Mapping[str, Mapping[Any, Any]]]  # see `HotTier.values`
    _clock: Callable[[], float]
    _look: Callable[[float], object]  # see `Ledger.look`
    _prolong: Callable[[Any], object]  # see `HotTier.prolong`

    if TYPE_CHECKING:

        @overload
        def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: None = None,
        ) -> bytes: ...
        @overload
        def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: Literal["text"],
            size_of: Callable[[str], int] | None = None,
        ) -> str: ...
        @overload
        def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: Literal["json"],
            size_of: Callable[[Any], int] | None = None,
        ) -> Any: ...
        @overload
        def get(
            self,
            bucket: str,
            key: str | Missing = MISSING,
            *,
            version_id: str | None = None,
            ttl: float | timedelta | None = None,
            request: Request | None = None,
            transform: Callable[[bytes], T],
            size_of: Callable[[T], int] | None = None,
        ) -> T: ...

    # Not by names: a call that fills in four defaults takes a tenth longer than one that finds an empty dict.
    def get(self, bucket: str, key: str | Missing = MISSING, **options: Any) -> Any:  # noqa: D417  # they are `_get`'s
        """The body of an object, as it is stored, or what is made of it: from memory, from /tmp, or from S3.

        A value that `transform` makes is made once and kept, until the object changes: the same one is given to all, so do not change
        it. When a new body cannot be decoded the value of before is served on, with one WARNING. Values count in the memory budget, in
        which the body is then given up, and go from it as bodies do; one that alone is larger than that is kept until another such
        comes. At most four for one object.

        Args:
            bucket: name of the bucket, or one `"s3://bucket/key"`, taken literally, as the only positional argument.
            key: key of the object.
            version_id: one version of it; a pinned version never expires.
            ttl: the age in seconds (or a `timedelta`) that this call accepts, in place of the cache's own TTL. 0 asks S3 now and
                never answers with a stale copy.
            request: what the request says besides: `RequestPayer` (`"requester"`), `ExpectedBucketOwner` (12 digits), `SSECustomerKey`
                (32 bytes). Objects that are asked for in different ways are cached apart. Those with an SSE-C key lie in memory alone, unless
                a rule says `disk=True` (see `Settings.rules`).
            transform: `"json"`, `"text"` (UTF-8), which also undo a gzip that `Content-Encoding` names, or a function of the stored bytes.
                A value is found by its function: define it once, as a lambda in the handler is a new one in each call.
            size_of: tells how many bytes a value takes; without it that is counted on its parts.

        Returns:
            The bytes, or the value. As long as the object is fresh in memory it is the same object each time.

        Raises:
            ObjectNotFoundError: there is no such object (404).
            AccessDeniedError: S3 denied access (403).
            OriginUnavailableError: S3 cannot be reached, and no copy may stand in.
            ObjectTooLargeError: the function has not enough memory left for the body; nothing of it was downloaded.
            IntegrityError: the body arrived damaged, repeatedly.
            TransformError: the body cannot be decoded, and there is no value from before.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object, or the TTL is negative.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b'{"dark": true}'}):
            ...     s3warm.get("cfg", "flags.json")
            ...     s3warm.get("s3://cfg/flags.json", ttl=60)
            ...     s3warm.get("cfg", "flags.json", transform="json")
            b'{"dark": true}'
            b'{"dark": true}'
            {'dark': True}
        """
        if not options:
            try:
                slot = self._slots[bucket][key]
            except (KeyError, TypeError):  # TypeError: not hashable, and refused in words below
                pass
            else:
                if slot.validated_at <= self._clock() < slot.deadline:
                    slot.hits += 1
                    return slot.body
                if self._may_be_prolonged(slot):
                    return slot.body
        return self._get(bucket, key, **options)

    def _get(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
        transform: Any = None,
        size_of: Callable[[Any], int] | None = None,
    ) -> Any:
        """`get`, with its options by their names, which `inspect.signature` finds here."""
        if transform is None:
            if size_of is not None:
                raise TypeError("size_of measures what a transform makes; without one the body's length is known")
            return self._read(*asked(bucket, key, version_id, ttl, request)).body
        if ttl is None and version_id is None and request is None:
            try:
                slot = self._values[transform][bucket][key]
            except (KeyError, TypeError):
                pass
            else:
                if slot.validated_at <= self._clock() < slot.deadline:
                    slot.hits += 1
                    return slot.value
                if self._may_be_prolonged(slot):
                    return slot.value
        return self._value(*asked(bucket, key, version_id, ttl, request), transform, size_of)

    get.__wrapped__ = _get  # type: ignore[attr-defined]
    _get.__qualname__ = get.__qualname__ = "Cache.get"  # for errors of calls

    def _may_be_prolonged(self, slot: Any) -> bool:
        """Whether it is fresh, and only the first hit of a second, at which the memory is looked at; which may evict this very slot."""
        if not slot.validated_at <= (now := self._clock()) < slot.expires_at:
            return False
        self._look(now)
        if now >= slot.expires_at:  # others have just been heard to invalidate it
            return False
        self._prolong(slot)
        slot.hits += 1
        return True

    def entry(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
    ) -> Entry:
        """Like `get`, with the object's metadata and whether the answer is stale. Takes and raises what `get` does.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     s3warm.entry("cfg", "flags.json").verified_by
            'md5'
        """
        return self._read(*asked(bucket, key, version_id, ttl, request))

    def load(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        loader: Callable[[Path], T],
        version_id: str | None = None,
        ttl: float | timedelta | None = None,
        request: Request | None = None,
        size_of: Callable[[T], int] | None = None,
    ) -> T:
        """What `loader` makes of an object's file: an `onnxruntime.InferenceSession`, what `joblib.load` gives, a connection of `sqlite3`.

        Made once and kept, like the values of `get`, until the object changes; its file (see `path`) stays as it is as long as the value
        lives, in memory or with whoever got it; that of a `dict`, a `list` or a `tuple`, whose end cannot be watched, as long as memory has
        it. The loader runs in the thread that asks first, one of `preload` or of `aio` perhaps: a connection of `sqlite3` is for all of them
        with `check_same_thread=False`. A key that ends in a slash names all below it: the loader gets the directory (see `tree`).

        Args:
            bucket: name of the bucket, or one `"s3://bucket/key"`, taken literally, as the only positional argument.
            key: key of the object, or a prefix with its slash.
            loader: a function of a `pathlib.Path`, by which the value is found: define it once.
            version_id: one version of it; a pinned version never expires.
            ttl: the age in seconds (or a `timedelta`) that this call accepts, in place of the cache's own TTL. 0 asks S3 now.
            request: what the request says besides; see `get`.
            size_of: tells how many bytes a value takes; without it, what is counted on its parts, or by how much the process's memory grew.

        Takes and raises what `path` does.

        Raises:
            TransformError: the loader failed, and there is no value from before.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object, or the TTL is negative.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://models/words.txt": b"to be or not to be"}):
            ...     words = s3warm.load("models", "words.txt", loader=lambda path: set(path.read_text().split()))
            >>> sorted(words)
            ['be', 'not', 'or', 'to']
        """
        try:
            plain = ttl is None and version_id is None and request is None
            slot = self._values["path", loader][bucket][key] if plain else None
        except (KeyError, TypeError):
            slot = None
        value: T
        if slot is not None and self._may_be_prolonged(slot):
            value = slot.value
            return value
        where, bound = asked(bucket, key, version_id, ttl, request)
        if where.key.endswith("/"):
            if version_id is not None or request is not None:
                raise ValueError(f"{where} is a tree, which takes neither version_id nor request: they are an object's")
            where = where._replace(tree=True)
        value = self._loaded(where, bound, loader, size_of)
        return value

    def _read(self, where: ObjectKey, bound: float | None) -> Entry:
        """What is not on the hit path; `bound` is the age in seconds that the call accepts."""
        raise NotImplementedError

    def _value(self, where: ObjectKey, bound: float | None, transform: object, size_of: Measure | None) -> Any:
        """The same for a value of `get`."""
        raise NotImplementedError

    def _loaded(self, where: ObjectKey, bound: float | None, loader: object, size_of: Measure | None) -> Any:
        """The same for one of `load`."""
        raise NotImplementedError


def asked(
    bucket: str,
    key: str | Missing,
    version_id: str | None,
    ttl: float | timedelta | None,
    request: Request | None,
) -> tuple[ObjectKey, float | None]:
    """Which object a call asks for, and which age in seconds it accepts.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: an argument cannot name an object, or the TTL is negative.
    """
    where = locate(bucket, key, version_id, request)
    return where, None if ttl is None else seconds(ttl, f"ttl of {where}")
