"""Credentials as boto3's default chain finds them, for what is signed without a client of boto3."""

from __future__ import annotations

from s3warm.origin.base import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["chain_of_credentials"]


def chain_of_credentials() -> Callable[[], tuple[str, str, str]]:
    """What gives access key, secret key and token ("" is none) as boto3 finds them: looked for at the first call, and refreshed.

    The calls raise `TransportError` where there are none.
    """
    found: list[Any] = []

    def current() -> tuple[str, str, str]:
        import boto3
        import botocore.exceptions as failed

        try:
            if not found:
                found.append(boto3.session.Session().get_credentials())
            frozen = None if found[0] is None else found[0].get_frozen_credentials()
        except (failed.BotoCoreError, OSError, ValueError) as error:
            raise TransportError(f"no credentials ({type(error).__name__})", transient=False, credentials=True) from error
        if frozen is None:
            found.clear()
            raise TransportError("no credentials (boto3 finds none)", transient=False, credentials=True)
        return frozen.access_key, frozen.secret_key, frozen.token or ""

    return current
