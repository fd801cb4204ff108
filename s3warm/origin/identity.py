"""What tells the callers of S3 from each other, so that one is not given what another may read."""

from __future__ import annotations

import os

from s3warm import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["client_namespace", "default_namespace", "fleet_namespace"]

_IDENTITY = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "HOME",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


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


def fleet_namespace(named: str | None, client: Any, environ: Mapping[str, str]) -> str | None:
    """Whose entries of a shared tier are whose: those of one name, or of one Lambda function, at one endpoint; None where neither is known.

    A function's name stands for its role. What a client of the user's may read is another matter, unless it has the role's own credentials.
    """
    endpoint = _endpoint(environ)
    if client is not None:
        endpoint = str(getattr(getattr(client, "meta", None), "endpoint_url", ""))
    host = endpoint.partition("://")[2].partition("/")[0].partition(":")[0]
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):  # one S3, whichever of its names a client was made with
        endpoint = "aws"
    if named is not None:
        return f"named {named} at {endpoint}"
    function = environ.get("AWS_LAMBDA_FUNCTION_NAME")
    own = client is None or (client_namespace(client) or "").endswith(" role")
    return f"function {function} in {_region(environ)} at {endpoint}" if function and own else None


def default_namespace(environ: Mapping[str, str]) -> str:
    """The namespace of the default credential chain.

    In Lambda its keys rotate, and always belong to the one role of the function; elsewhere whatever decides whose credentials it
    finds tells accounts apart.
    """
    endpoint, region = _endpoint(environ), _region(environ)
    if machine.in_lambda(environ):
        return f"default {endpoint} {region} role"
    from s3warm.hashing import blake2b

    identity = "\n".join(environ.get(name, "") for name in _IDENTITY)
    return f"default {endpoint} {region} {blake2b(identity.encode(), digest_size=32).hexdigest()}"


def _endpoint(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or "aws"


def _region(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
