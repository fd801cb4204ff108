"""What the cache knows of an object: its metadata, and an entry that binds them to a body and a validation."""

from __future__ import annotations

from s3warm.keys import ObjectKey
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Protocol

    class Pin(Protocol):
        """The right to use a file."""

        def release(self) -> None:
            """Give it back; once is enough."""
            ...


__all__ = ["Entry", "FileEntry", "Known", "Metadata"]


class Metadata(NamedTuple):
    """What S3 said of the body when it was fetched. A 304 changes nothing of it: some gateways send no headers there.

    `etag` is opaque and kept with its quotation marks, as S3 sent it; `size` is in bytes, `last_modified` in seconds since
    the epoch; `user` are the `x-amz-meta-*` headers without that prefix. `verified_by` names what the body was
    checked against: `"md5"`, `"crc32"`, `"sha1"`, `"sha256"`, or `"length"` where nothing more could be had. `encryption` is how S3 keeps it, where
    that is another than its own keys' (`"aws:kms"`, `"aws:kms:dsse"`).
    """

    etag: str
    size: int
    version_id: str | None = None
    last_modified: float | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    cache_control: str | None = None
    user: Mapping[str, str] | None = None
    verified_by: str = "length"
    encryption: str | None = None


class FileEntry(NamedTuple):
    """A body in a file that stays as long as its pin is not released; the rest is as an `Entry` has it."""

    object: ObjectKey
    info: Metadata
    validated_at: float
    expires_at: float
    path: str
    pin: Pin
    stale: bool = False

    @property
    def etag(self) -> str:
        """The entity tag, opaque, with its quotation marks."""
        return self.info.etag

    @property
    def size(self) -> int:
        """Length of the body in bytes."""
        return self.info.size


class Known(NamedTuple):
    """An object of which no body is at hand, but what was made of it: a 304 is all that is needed to go on using that."""

    object: ObjectKey
    info: Metadata
    validated_at: float
    expires_at: float
    stale: bool = False

    @property
    def etag(self) -> str:
        """The entity tag, opaque, with its quotation marks."""
        return self.info.etag

    @property
    def size(self) -> int:
        """Length of the body in bytes."""
        return self.info.size


class Entry(NamedTuple):
    """One body with its metadata. Immutable; the body is shared by all who ask for it.

    Attributes:
        object: which object it is; `bucket` and `key` are more handy.
        info: what S3 said of the body; `etag`, `size` and the other properties give it.
        validated_at: when S3 was last asked for it, in seconds since the epoch.
        expires_at: until when it is fresh, in seconds since the epoch; `inf` for a pinned version.
        body: the bytes as they are stored.
        stale: S3 could not be asked in time, and this is an older copy, served within `stale_if_error`, or within
            `stale_while_revalidate` while another one is asking.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
        ...     entry = s3warm.entry("cfg", "flags.json")
        >>> entry.bucket, entry.key, entry.size, entry.stale
        ('cfg', 'flags.json', 2, False)
        >>> entry.etag, entry.verified_by, entry.version_id, entry.last_modified.year
        ('"99914b932bd37a50b983c5e7c90ae93b"', 'md5', None, 2023)
        >>> entry.content_type, dict(entry.metadata)
        ('binary/octet-stream', {})
    """

    object: ObjectKey
    info: Metadata
    validated_at: float
    expires_at: float
    body: bytes
    stale: bool = False

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.object.bucket

    @property
    def key(self) -> str:
        """Key of the object."""
        return self.object.key

    @property
    def version_id(self) -> str | None:
        """The version that S3 served, or None in a bucket without versioning."""
        return self.info.version_id

    @property
    def etag(self) -> str:
        """The entity tag, opaque, with its quotation marks."""
        return self.info.etag

    @property
    def size(self) -> int:
        """Length of the body in bytes."""
        return self.info.size

    @property
    def last_modified(self) -> datetime | None:
        """When the object was written, in UTC."""
        if self.info.last_modified is None:
            return None
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.info.last_modified, UTC)

    @property
    def content_type(self) -> str | None:
        """The `Content-Type` that the object was stored with."""
        return self.info.content_type

    @property
    def metadata(self) -> Mapping[str, str]:
        """The user's own metadata (`x-amz-meta-*`), names in lower case."""
        from types import MappingProxyType

        return MappingProxyType(dict(self.info.user or {}))

    @property
    def verified_by(self) -> str:
        """What the body was verified against: `"md5"`, a checksum's name, or `"length"`."""
        return self.info.verified_by

    def __repr__(self) -> str:
        return f"Entry({str(self.object)!r}, etag={self.etag!r}, size={self.size}, stale={self.stale})"
