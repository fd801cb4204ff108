"""`S3WARM_OFFLINE=1`: a supplier that never dials."""

from __future__ import annotations

from s3warm.origin.base import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.origin.base import Page, Request, Response, Upload

__all__ = ["OfflineRequests"]


class OfflineRequests:
    """Refuses each request, naming the switch."""

    retries = False
    connections = 1

    def get(self, request: Request) -> Response:
        """See `Requests.get`."""
        raise _offline()

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Page:
        """See `Requests.list`."""
        raise _offline()

    def write(self, upload: Upload) -> Response:
        """See `Requests.write`."""
        raise _offline()

    def refresh_credentials(self) -> bool:
        """See `Requests.refresh_credentials`."""
        return False

    def renew(self) -> None:
        """See `Requests.renew`."""

    def close(self) -> None:
        """See `Requests.close`."""


def _offline() -> TransportError:
    return TransportError(
        "S3WARM_OFFLINE=1 is set, so S3 is not asked", advice="unset it, or fill the cache first", transient=False
    )
