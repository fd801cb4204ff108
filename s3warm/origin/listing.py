"""The objects below a prefix, page by page."""

from __future__ import annotations

from s3warm import deadlines
from s3warm.errors import ObjectTooLargeError
from s3warm.keys import ObjectKey
from s3warm.origin import failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.origin.base import Listed, Page
    from s3warm.origin.exchange import Exchange
    from s3warm.origin.failures import Failure

__all__ = ["list_prefix"]


def list_prefix(exchange: Exchange, bucket: str, prefix: str, limit: int) -> list[Listed]:
    """See `Origin.list`."""
    place = ObjectKey(bucket, prefix)

    def refused(page: Page) -> Failure | None:
        return None if page.status == 200 else failures.of_page(bucket, prefix, page)

    def send() -> Page:
        return exchange.requests.list(bucket, prefix, token, deadlines.until())

    found: list[Listed] = []
    token = ""
    while True:
        page = exchange.ask(place, send, refused)
        found += page.objects
        if len(found) > limit:
            message = f"{place} holds more than {limit:,} objects; name a longer prefix"
            raise ObjectTooLargeError(message, bucket=bucket, key=prefix)
        token = page.token
        if not token:
            return found
