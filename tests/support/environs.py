"""Environments of tests: without what the machine that runs them has configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["unconfigure"]

_LEFT_TO_BOTO3 = (
    "AWS_CA_BUNDLE",
    "AWS_PROFILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
)


def unconfigure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables for which the small client leaves a bucket to boto3."""
    for name in _LEFT_TO_BOTO3:
        monkeypatch.delenv(name, raising=False)
