"""The exceptions of s3warm: few, and each one asks for another action of the caller.

Every message names the object and says what to do. The origin's own exception is the `__cause__`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3warm.keys import ObjectKey
    from s3warm.report import PreloadReport

__all__ = [
    "AccessDeniedError",
    "ConfigurationError",
    "DiskUnavailableError",
    "FleetUnavailableError",
    "IntegrityError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "OriginUnavailableError",
    "PreloadError",
    "S3WarmError",
    "TransformError",
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

    Also a `FileNotFoundError`, so that code which was written for files goes on working.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({}):
        ...     try:
        ...         s3warm.get("cfg", "flags.json")
        ...     except FileNotFoundError as error:
        ...         error
        ObjectNotFoundError('s3://cfg/flags.json does not exist; check the key')
    """


class AccessDeniedError(S3WarmError, PermissionError):
    """S3 says `AccessDenied` (403). It is evicted from every tier; without `s3:ListBucket` a missing key looks the same.

    Also a `PermissionError`.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}) as s3:
        ...     s3.denied.add("s3://cfg/flags.json")
        ...     try:
        ...         s3warm.get("cfg", "flags.json")
        ...     except s3warm.AccessDeniedError as error:
        ...         error.key, isinstance(error, PermissionError)
        ('flags.json', True)
    """


class OriginUnavailableError(S3WarmError, ConnectionError):
    """S3 could not be asked, or could not answer, and no copy was fresh or stale enough to serve.

    Also a `ConnectionError`. The origin's own error is the `__cause__`.

    Attributes:
        outage: False where the trouble is this object's own (it is archived, say) and the endpoint is well.
        late: True where the caller's own `deadline` ended it.
        silence: seconds for which S3 had not answered by then.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3() as s3:
        ...     s3.down = True
        ...     try:
        ...         s3warm.get("cfg", "flags.json")
        ...     except s3warm.OriginUnavailableError as error:
        ...         error.outage, error.late, isinstance(error, ConnectionError)
        (True, False, True)
    """

    outage = True
    late = False
    silence = 0.0


def twin(error: S3WarmError, addition: str = "") -> S3WarmError:
    """The same error to be raised once more, elsewhere or later: without the traceback, whose frames hold bodies, and the cause.

    Example:
        >>> str(twin(S3WarmError("s3://cfg/flags.json: gone", bucket="cfg"), " (a moment ago)"))
        's3://cfg/flags.json: gone (a moment ago)'
    """
    copy = type(error)(f"{error}{addition}", bucket=error.bucket, key=error.key)
    if isinstance(error, OriginUnavailableError) and isinstance(copy, OriginUnavailableError):
        copy.outage = error.outage
    return copy


def late(where: ObjectKey, message: str) -> OriginUnavailableError:
    """The error for a caller who has no more time to wait, which says nothing of S3."""
    error = OriginUnavailableError(message, bucket=where.bucket, key=where.key)
    error.outage, error.late = False, True
    return error


class ObjectTooLargeError(S3WarmError):
    """The object does not fit into what the function has left. Its body is not downloaded, where S3 tells its length beforehand.

    Of `get`, the memory; of `path`, `as_file` and `tree`, the disk budget beside the files that are in use.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://models/net.onnx": bytes(2**20)}, disk_budget="512KiB"):
        ...     try:
        ...         s3warm.path("models", "net.onnx")
        ...     except s3warm.ObjectTooLargeError as error:
        ...         print(str(error)[:51])
        s3://models/net.onnx has 1,048,576 bytes (1.0 MiB),
    """

    @classmethod
    def of(cls, where: ObjectKey, size: int, largest: int) -> ObjectTooLargeError:
        """The error for an object of `size` bytes where there is memory for `largest`."""
        return cls(
            f"{where} has {size:,} bytes ({size / 2**20:.1f} MiB), the function has {largest:,} ({largest / 2**20:.1f} MiB) left "
            "for it; use path() for a file or open() for a stream of it, which need no memory for the whole, or give it more memory",
            bucket=where.bucket,
            key=where.key,
        )

    @classmethod
    def beside(cls, where: ObjectKey, size: int, budget: int, pinned: Sequence[tuple[ObjectKey, int]]) -> ObjectTooLargeError:
        """The error for an object of `size` bytes that the disk budget cannot take beside the files that are in use."""
        files = ", ".join(f"{held} ({bytes_held / 2**20:,.1f} MiB)" for held, bytes_held in pinned)
        beside = f" beside the files that are in use: {files}" if files else ""
        advice = "path() or open() its objects one by one" if where.tree else "open() streams it"
        if any(held == where for held, _ in pinned):
            advice = "its older version is in use, and there is no room for both: release() it first"
        elif files:
            advice = "release() what is not needed, or use as_file() for what is needed for one event only"
        return cls(
            f"{where} has {size:,} bytes ({size / 2**20:,.1f} MiB), which do not fit into the disk budget of {budget:,} "
            f"({budget / 2**20:,.1f} MiB){beside}; {advice}, or raise disk_budget, or give the function more ephemeral storage",
            bucket=where.bucket,
            key=where.key,
        )


class DiskUnavailableError(S3WarmError, OSError):
    """A file was asked for, and there is no directory to put it, or it cannot be written. Also an `OSError`.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://models/net.onnx": b"weights"}, disk_budget=0):
        ...     try:
        ...         s3warm.path("models", "net.onnx")
        ...     except s3warm.DiskUnavailableError as error:
        ...         error.key, isinstance(error, OSError)
        ('net.onnx', True)
    """


class FleetUnavailableError(S3WarmError):
    """`invalidate(..., everywhere=True)` could not tell the fleet: the shared tier does not answer, or takes no writes. Call it again later.

    For this process the object is invalidated all the same. Nothing else raises it: whoever reads is served by S3 then.

    Example:
        >>> import s3warm
        >>> with s3warm.Cache(disk_budget=0, shared_url="redis://127.0.0.1:1", shared_unauthenticated=True, namespace="app") as cache:
        ...     try:
        ...         cache.invalidate("cfg", "flags.json", everywhere=True)
        ...     except s3warm.FleetUnavailableError as error:
        ...         error.key
        'flags.json'
    """


class IntegrityError(S3WarmError):
    """The bytes that arrived are not those that S3 described (length or checksum), also when asked for again.

    With the setting `verify="require"`, also: S3 gives nothing to check the bytes against.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3() as s3:
        ...     version = s3.put("s3://cfg/flags.json", b"{]", etag='"99914b932bd37a50b983c5e7c90ae93b"')  # the MD5 of b"{}"
        ...     try:
        ...         s3warm.get("cfg", "flags.json")
        ...     except s3warm.IntegrityError as error:
        ...         error.key, len(s3.requests)
        ('flags.json', 3)
    """


class TransformError(S3WarmError, ValueError):
    """A body could not be decoded by the `transform` or the `loader` of the call, whose own exception is the `__cause__`.

    Only where there is no value from before: when the object has changed, and what it is now cannot be decoded, that is served on.

    Example:
        >>> issubclass(TransformError, ValueError)
        True
    """


class PreloadError(S3WarmError):
    """`preload(..., strict=True)` has not brought everything. The message names each source that failed or is unfinished, and why.

    Attributes:
        report: what became of all sources, as `preload` returns it otherwise. The first error in it is the `__cause__`.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
        ...     try:
        ...         s3warm.preload("s3://cfg/flags.json", "s3://cfg/flag.json", strict=True)
        ...     except s3warm.PreloadError as error:
        ...         [each.source for each in error.report.failed]
        ['s3://cfg/flag.json']
    """

    report: PreloadReport


class ConfigurationError(S3WarmError, ValueError):
    """A setting cannot be understood. The message names the setting, its value and what would be accepted. Also a `ValueError`.

    Example:
        >>> import s3warm
        >>> try:
        ...     s3warm.Settings(ttl="soon")
        ... except s3warm.ConfigurationError as error:
        ...     print(error)
        ttl='soon' is not understood; accepted: seconds or a timedelta, 0 or more, or None
    """
