"""Bodies whose length nobody tells before they come: no S3 does that, some gateways do."""

from __future__ import annotations

from s3warm.errors import ObjectTooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.origin.base import Fetched, Incoming, Progress
    from s3warm.tiers.base import Account

__all__ = ["read"]

FIRST = 8 * 2**20  # bytes that memory is made free for, before anything is known


def read(account: Account, incoming: Incoming, progress: Progress) -> Fetched:
    """Such a body, in memory that was made free for it: for some first, and if it is longer for as much as there is.

    Raises:
        ObjectTooLargeError: it is longer than that.
    """
    try:
        with account.buffers(FIRST) as room:
            return incoming.read(room // 2, progress)  # it is twice in memory at the end
    except ObjectTooLargeError:
        with account.buffers(account.largest()) as room:
            return incoming.read(room // 2, progress)
