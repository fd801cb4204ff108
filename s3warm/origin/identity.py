"""What tells one client of the user's from another."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["client_namespace"]


def client_namespace(client: Any) -> str | None:
    """What tells a user's client from others on one directory; None when nothing lasting does.

    The key id of static credentials is hashed, so that it does not lie on disk. Temporary credentials change all the time and
    may belong to anybody: such a client gets a namespace of its own, for this process only.
    """
    try:
        credentials = client._request_signer._credentials  # noqa: SLF001  # botocore has no public way to it
        place = f"{client.meta.endpoint_url} {client.meta.region_name}"
        if credentials is None:
            return f"{place} anonymous"
        if hasattr(credentials, "refresh_needed"):
            return None  # temporary, and looking at them might send a request
        token, key_id = credentials.token, credentials.access_key
    except AttributeError:
        return None  # a stub of the user's
    if token:
        # In Lambda, those of the function's role: the same identity whatever the keys of the day are.
        own = "AWS_LAMBDA_FUNCTION_NAME" in os.environ and key_id == os.environ.get("AWS_ACCESS_KEY_ID")
        return f"{place} role" if own else None
    from s3warm.hashing import blake2b

    return f"{place} {blake2b(key_id.encode(), digest_size=32).hexdigest()}"
