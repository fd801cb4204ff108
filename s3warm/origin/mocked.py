"""Whether AWS is a mock of moto's, in this process and at this moment."""

from __future__ import annotations

import sys

__all__ = ["is_mocked"]


def is_mocked() -> bool:
    """While moto mocks AWS each test has a world of its own, of which nothing may be remembered for the next one."""
    stubber = sys.modules.get("moto.core.botocore_stubber")
    models = sys.modules.get("moto.core.models")
    return stubber is not None and models is not None and bool(models.botocore_stubber.enabled)
