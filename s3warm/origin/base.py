"""Contracts of the origin: `Origin` is what the cache asks, `Requests` the one request that everything is made of."""

from __future__ import annotations

from s3warm.entries import Metadata
from s3warm.keys import ObjectKey
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import RawIOBase
    from typing import Protocol

    class Response(Protocol):
        """An answer of S3, whatever its status. The body must be read or closed."""

        status: int
        headers: Mapping[str, str]  # names in lower case
        code: str  # S3's error code, "" where it gave none
        cause: BaseException | None  # the supplier's own exception for an error status
        deadline: float | None  # of the reads, which may be another one than the request had: see `Request`

        def readinto(self, buffer: memoryview) -> int:
            """Read some of the body into the buffer; 0 at its end.

            Raises:
                TransportError: the body broke off.
                Late: the deadline has passed.
                Damaged: the supplier has found that it is not the body that was described.
            """
            ...

        def close(self) -> None:
            """Give the connection back, or drop it if the body was not read to its end."""
            ...

    class Page(Protocol):
        """A page of a listing, or what S3 answered in its place."""

        status: int
        headers: Mapping[str, str]
        code: str
        cause: BaseException | None
        objects: list[Listed]
        prefixes: list[str]  # what the keys that have the delimiter after the prefix begin with, up to and with it
        token: str  # for the next page; "" at the last one

    class Requests(Protocol):
        """Supplier of requests: boto3, or anything else that can send a GET."""

        retries: bool  # whether the supplier itself repeats requests that failed
        connections: int  # that it can keep for later; of more at a time, some would be dialled anew each time

        def get(self, request: Request) -> Response:
            """Send one GET.

            Raises:
                TransportError: there was no answer.
                Late: there was none in time.
                ValueError: the request cannot be sent as it is.
            """
            ...

        def write(self, upload: Upload) -> Response:
            """Send one PUT.

            Raises:
                TransportError: there was no answer.
                Late: there was none in time.
                ValueError: it cannot be sent as it is.
            """
            ...

        def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Page:
            """Ask for one page of a listing (ListObjectsV2), from the continuation token on; for the deadline see `Request`.

            With a delimiter, keys that have it after the prefix are in `Page.prefixes`, rolled up, and not among the objects.

            Raises:
                TransportError: there was no answer.
                Late: there was none in time.
            """
            ...

        def refresh_credentials(self) -> bool:
            """Get credentials anew; False where that is not this supplier's business."""
            ...

        def renew(self) -> None:
            """This is a forked child: replace locks, leave connections to the parent."""
            ...

        def close(self) -> None:
            """Drop connections."""
            ...

    class Sink(Protocol):
        """Where a transfer puts a body: memory, or a file under construction. Many threads write to it at once."""

        def begin(self, info: Metadata) -> frozenset[int]:
            """Make room for this body, before its first byte is received; whatever another one left is forgotten.

            Returns:
                The numbers of the parts (see `part_length`) that an earlier transfer of the same body has finished.

            Raises:
                NoRoom: there is none.
                ObjectTooLargeError: there never will be.
            """
            ...

        def buffer(self, offset: int, length: int) -> memoryview:
            """Where up to `length` bytes from `offset` are to be received, for the calling thread."""
            ...

        def write(self, piece: memoryview, offset: int) -> None:
            """Keep what has been received into the buffer.

            Raises:
                StartOver: room was lost on the way; the transfer may begin anew.
                NoRoom: the same, again.
            """
            ...

        def finished(self, part: int) -> None:
            """A part is complete: an interrupted transfer need not bring it again."""
            ...

        def read(self, offset: int, length: int) -> memoryview:
            """Up to `length` bytes of what was written, for one thread that follows the writers and sums."""
            ...

        def reset(self) -> None:
            """Nothing of what was written is any good."""
            ...

    class Incoming(Protocol):
        """200: a body that is on its way. It must be closed, read or not.

        Errors of both ways to take it: IntegrityError, OriginUnavailableError, and whatever `Origin.fetch` raises, as an object that
        changes under the transfer is asked for anew.
        """

        info: Metadata  # what S3 said; `verified_by` is what the body will have been checked against
        size: int | None  # bytes; None where S3 does not say

        def read(self, largest: int, progress: Progress) -> Fetched:
            """The body in one allocation.

            Raises:
                ObjectTooLargeError: it has more than `largest` bytes; none of it was read.
            """
            ...

        def save(self, sink: Sink, memory: int, progress: Progress) -> Metadata:
            """The body in a sink, by parallel connections if it is large, with buffers of no more than `memory` bytes (at least one).

            `buffers_within` says how many are of use.

            Raises:
                NoRoom: the sink has none. `read` is still possible.
            """
            ...

        def stream(self) -> RawIOBase:
            """The body as a file that is read by ranged requests pinned to its ETag, past the cache and in bounded memory."""
            ...

        def close(self) -> None:
            """Give the connection back, or drop it if the body was not read to its end."""
            ...

    class Origin(Protocol):
        """Where objects come from."""

        def fetch(self, key: ObjectKey, *, if_none_match: str | None) -> Incoming | NotModified:
            """The object as it is now.

            Args:
                key: the object.
                if_none_match: ETag of a body that the caller holds, for a conditional request.

            Raises:
                ObjectNotFoundError: 404.
                AccessDeniedError: 403 with `AccessDenied`.
                OriginUnavailableError: anything else.
            """
            ...

        def list(self, bucket: str, prefix: str, limit: int) -> list[Listed]:
            """The objects whose keys begin with a prefix, in the order of their keys.

            Raises:
                ObjectTooLargeError: there are more than `limit`.
                AccessDeniedError: the role may not list the bucket.
                ObjectNotFoundError: there is no such bucket.
                OriginUnavailableError: anything else.
            """
            ...

        def pages(self, bucket: str, prefix: str, delimiter: str) -> Iterator[Page]:
            """The pages of a listing to its end, each asked for when it is wanted; for the delimiter see `Requests.list`.

            Raises what `list` raises, but for ObjectTooLargeError.
            """
            ...

        def write(self, upload: Upload) -> Metadata:
            """Write an object, and describe it as it is then.

            Raises:
                AccessDeniedError: the role may not.
                ObjectNotFoundError: there is no such bucket.
                OriginUnavailableError: S3 cannot be reached, or has not answered, and the object may be written all the same.
                IntegrityError: S3 has stored something else.
            """
            ...

        def renew(self) -> None:
            """This is a forked child: replace locks, leave connections to the parent."""
            ...

        def close(self) -> None:
            """Drop connections."""
            ...

    Progress = Callable[[int, int], None]  # bytes so far, bytes in all


__all__ = [
    "BUFFERS",
    "CHUNK",
    "FEW_BUFFERS",
    "KEPT",
    "PART",
    "PER_CONNECTION",
    "Damaged",
    "Fetched",
    "Late",
    "Listed",
    "NoRoom",
    "NotModified",
    "Request",
    "StartOver",
    "TransportError",
    "Upload",
    "buffers_within",
    "part_length",
]

# Bytes of one ranged request for a body of up to 256 MiB. Those for larger ones are twice or four times as long (`part_length`), so that
# 5 GB take no more than 300 of them; AWS recommends 8 to 16 MiB.
PART = 4 * 1024 * 1024
# Bytes that are received at once: urllib3's readinto reads into a buffer of its own first, as large as ours, and both have to stay in
# the processor's cache (with 1 MiB the system time of a transfer was three times as long).
CHUNK = 256 * 1024
PER_CONNECTION = 4 * CHUNK  # bytes of memory: the buffer, urllib3's copy of it, and what TLS takes
BUFFERS = 16 * PER_CONNECTION  # for one object at most: see `buffers_within`
FEW_BUFFERS = 8 * PER_CONNECTION
KEPT = 64  # connections that a supplier keeps for later, at most: sixteen for each of four objects


def part_length(size: int) -> int:
    """Bytes of each part of a body of `size` bytes, but for the last one.

    Example:
        >>> [part_length(size * 2**20) // 2**20 for size in (64, 256, 257, 1024, 5000)]
        [4, 4, 8, 8, 16]
    """
    return PART if size <= 64 * PART else 2 * PART if size <= 256 * PART else 4 * PART


def buffers_within(free: int, size: int) -> int:
    """Bytes of buffers for a body of `size` bytes, where so many are free; each `PER_CONNECTION` of them is a connection.

    At 85 to 90 MB/s a connection, eight fill what a function has, and more of them take turns at Python's lock. Up to 64 parts, where most
    of the time is that to the first bytes, sixteen are quicker, unless the function is small: then its processor has none for more of TLS.
    """
    most = BUFFERS if size <= 64 * PART and free >= 8 * BUFFERS else FEW_BUFFERS
    return max(0, min(free, most))


class Request(NamedTuple):
    """A GET of one object, or of the bytes from the first to the last of `span`.

    `deadline` is a time of `time.monotonic()` after which nobody waits for the answer any more.
    """

    object: ObjectKey
    if_none_match: str | None = None
    if_match: str | None = None
    span: tuple[int, int] | None = None
    deadline: float | None = None


class Upload(NamedTuple):
    """A PUT of one object; `user` are its `x-amz-meta-*` headers without that prefix. For the deadline see `Request`."""

    object: ObjectKey
    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    cache_control: str | None = None
    user: Mapping[str, str] = {}  # nobody changes it
    deadline: float | None = None

    def headers(self) -> list[tuple[str, str]]:
        """What describes the body, names in lower case."""
        named = (
            ("cache-control", self.cache_control),
            ("content-encoding", self.content_encoding),
            ("content-type", self.content_type),
        )
        return [(name, value) for name, value in named if value is not None] + [
            (f"x-amz-meta-{name}", value) for name, value in self.user.items()
        ]


class Fetched(NamedTuple):
    """200: the body, verified, with what S3 said of it."""

    info: Metadata
    body: bytes


class NotModified(NamedTuple):
    """304: the body that the caller holds is the current one. Nothing else may be read from it (Ceph sends no headers)."""

    etag: str


class Listed(NamedTuple):
    """One object of a listing; `last_modified` is in seconds since the epoch, None where the listing does not say."""

    key: str
    etag: str
    size: int
    last_modified: float | None = None


class NoRoom(Exception):
    """A sink cannot take the body: of `size` bytes, where `budget` may be held and `pinned` files, with their sizes, have to stay.

    A `budget` of 0 says that there is no disk at all; the message says why.
    """

    def __init__(self, message: str, *, size: int = 0, budget: int = 0, pinned: tuple[tuple[ObjectKey, int], ...] = ()) -> None:
        super().__init__(message)
        self.size = size
        self.budget = budget
        self.pinned = pinned


class StartOver(Exception):
    """A sink has lost what it held, and may have room when it begins anew."""


class TransportError(Exception):
    """There was no answer, or its body broke off. Raised by suppliers, translated by the fetch.

    Attributes:
        advice: what the user can do, if anything.
        transient: whether asking again may help.
        credentials: whether new credentials may help.
        outage: whether other requests would fail as well.
    """

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        transient: bool = True,
        credentials: bool = False,
        outage: bool = True,
    ) -> None:
        super().__init__(message)
        self.outage = outage
        self.advice = advice
        self.transient = transient
        self.credentials = credentials


class Damaged(TransportError):
    """The supplier has summed the body itself, and found another one than was described."""


class Late(TransportError):
    """The deadline of the request has passed, when S3 had been silent for `waited` seconds."""

    def __init__(self, message: str = "there was no time left to ask S3", *, waited: float = 0.0) -> None:
        super().__init__(message, transient=False, outage=False)
        self.waited = waited
