"""Contracts of the origin: `Origin` is what the cache asks, `Requests` the one request that everything is made of."""

from __future__ import annotations

from s3warm.entry import Metadata
from s3warm.keys import ObjectKey
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class Response(Protocol):
        """An answer of S3, whatever its status. The body must be read or closed."""

        status: int
        headers: Mapping[str, str]  # names in lower case
        code: str  # S3's error code, "" where it gave none
        cause: BaseException | None  # the supplier's own exception for an error status

        def readinto(self, buffer: memoryview) -> int:
            """Read some of the body into the buffer; 0 at its end.

            Raises:
                TransportError: the body broke off.
            """
            ...

        def close(self) -> None:
            """Give the connection back, or drop it if the body was not read to its end."""
            ...

    class Requests(Protocol):
        """Supplier of requests: boto3, or anything else that can send a GET."""

        retries: bool  # whether the supplier itself repeats requests that failed

        def get(self, request: Request) -> Response:
            """Send one GET.

            Raises:
                TransportError: there was no answer.
                ValueError: the request cannot be sent as it is.
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

    class Origin(Protocol):
        """Where objects come from."""

        def fetch(self, key: ObjectKey, *, if_none_match: str | None, largest: int) -> Fetched | NotModified:
            """The object as it is now, in one request.

            Args:
                key: the object.
                if_none_match: ETag of a body that the caller holds, for a conditional request.
                largest: bytes of the largest body that the caller can take.

            Raises:
                ObjectNotFoundError: 404.
                AccessDeniedError: 403 with `AccessDenied`.
                ObjectTooLargeError: the body has more than `largest` bytes; none of it was read.
                IntegrityError: what arrived is not what S3 described, more than once.
                OriginUnavailableError: anything else.
            """
            ...

        def renew(self) -> None:
            """This is a forked child: replace locks, leave connections to the parent."""
            ...

        def close(self) -> None:
            """Drop connections."""
            ...


__all__ = ["Fetched", "NotModified", "Request", "TransportError"]


class Request(NamedTuple):
    """A GET of one object."""

    object: ObjectKey
    if_none_match: str | None = None


class Fetched(NamedTuple):
    """200: the body, verified, with what S3 said of it."""

    info: Metadata
    body: bytes


class NotModified(NamedTuple):
    """304: the body that the caller holds is the current one. Nothing else may be read from it (Ceph sends no headers)."""

    etag: str


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
