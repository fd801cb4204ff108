"""The objects below a prefix, page by page."""

from __future__ import annotations

from s3warm import deadlines
from s3warm.errors import ObjectTooLargeError
from s3warm.keys import ObjectKey
from s3warm.origin import failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.origin.base import Listed, Page
    from s3warm.origin.exchange import Exchange
    from s3warm.origin.failures import Failure

__all__ = ["list_prefix", "pages"]


def list_prefix(exchange: Exchange, bucket: str, prefix: str, limit: int) -> list[Listed]:
    """See `Origin.list`."""
    found: list[Listed] = []
    for page in pages(exchange, bucket, prefix, ""):
        found += page.objects
        if len(found) > limit:
            message = f"{ObjectKey(bucket, prefix)} holds more than {limit:,} objects; name a longer prefix"
            raise ObjectTooLargeError(message, bucket=bucket, key=prefix)
    return found


def pages(exchange: Exchange, bucket: str, prefix: str, delimiter: str) -> Iterator[Page]:
    """See `Origin.pages`."""
    place = ObjectKey(bucket, prefix)

    def refused(page: Page) -> Failure | None:
        return None if page.status == 200 else failures.of_page(bucket, prefix, page)

    def send() -> Page:
        return exchange.requests.list(bucket, prefix, token, deadlines.until(), delimiter)

    token = ""
    while True:
        page = exchange.ask(place, send, refused)
        yield page
        token = page.token
        if not token:
            return
