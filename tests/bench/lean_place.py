"""The environment in which s3warm's own client serves a bucket, as in Lambda: nothing but region, credentials and the endpoint."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["BUCKET", "like_lambda", "variables"]

BUCKET = "bench-bucket"
_OURS = ("AWS_", "S3WARM_")
_OTHERS = (
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "HOME",  # there may be a configuration in it
    "PYTHONDONTWRITEBYTECODE",  # a Lambda package has its bytecode with it
)


def variables(endpoint: str, environ: Mapping[str, str] = os.environ, **more: str) -> dict[str, str]:
    """An environment like this one, in which both boto3 and the small client ask `endpoint`; `more` is set besides."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_OURS) and name.upper() not in _OTHERS}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret" * 7,
        "AWS_SESSION_TOKEN": "token" * 150,  # as long as a role's
        **more,
    }


@contextlib.contextmanager
def like_lambda(endpoint: str) -> Iterator[None]:
    """This process has that environment for the length of a block."""
    with patch.dict(os.environ, variables(endpoint), clear=True):
        yield
