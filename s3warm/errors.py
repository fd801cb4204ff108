"""The exceptions of s3warm: few, and each one asks for another action of the caller.

Every message names the object and says what to do. The origin's own exception is the `__cause__`.
"""

from __future__ import annotations

__all__ = [
    "AccessDeniedError",
    "ConfigurationError",
    "IntegrityError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "OriginUnavailableError",
    "S3WarmError",
]


class S3WarmError(Exception):
    """Base of all errors that s3warm raises about an object.

    Attributes:
        bucket: name of the bucket, or None where the error is not about an object.
        key: key of the object, or None.

    Example:
        >>> error = S3WarmError("s3://cfg/flags.json: gone", bucket="cfg", key="flags.json")
        >>> error.bucket, error.key, str(error)
        ('cfg', 'flags.json', 's3://cfg/flags.json: gone')
    """

    bucket: str | None
    key: str | None

    def __init__(self, message: str, *, bucket: str | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.bucket = bucket
        self.key = key

    def __str__(self) -> str:
        # OSError, a base of some of these classes, would print its errno form.
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from `args` alone; the keyword arguments travel as state.
        return type(self), self.args, self.__dict__


class ObjectNotFoundError(S3WarmError, FileNotFoundError):
    """S3 says that there is no such object, version or bucket (404). It is evicted from every tier.

    Example:
        >>> issubclass(ObjectNotFoundError, FileNotFoundError)
        True
    """


class AccessDeniedError(S3WarmError, PermissionError):
    """S3 says `AccessDenied` (403). It is evicted from every tier; without `s3:ListBucket` a missing key looks the same.

    Example:
        >>> issubclass(AccessDeniedError, PermissionError)
        True
    """


class OriginUnavailableError(S3WarmError, ConnectionError):
    """S3 could not be asked, or could not answer, and no copy was fresh or stale enough to serve.

    Attributes:
        outage: False where the trouble is this object's own (it is archived, say) and the endpoint is well.

    Example:
        >>> issubclass(OriginUnavailableError, ConnectionError)
        True
    """

    outage = True


class ObjectTooLargeError(S3WarmError):
    """The object does not fit into what the function has left. Its body is not downloaded, where S3 tells its length beforehand."""

    @classmethod
    def of(cls, uri: object, *, bucket: str, key: str, size: int, largest: int) -> ObjectTooLargeError:
        """The error for an object of `size` bytes where there is memory for `largest`."""
        return cls(
            f"{uri} has {size:,} bytes ({size / 2**20:.1f} MiB), the function has {largest:,} ({largest / 2**20:.1f} MiB) left "
            "for it; give the function more memory, or keep the object in smaller parts",
            bucket=bucket,
            key=key,
        )


class IntegrityError(S3WarmError):
    """The bytes that arrived are not those that S3 described (length or checksum), also when asked for again."""


class ConfigurationError(S3WarmError, ValueError):
    """A setting cannot be understood. The message names the setting, its value and what would be accepted."""
