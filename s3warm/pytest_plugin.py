"""The pytest fixture `fake_s3`, found by pytest through the entry point of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.testing import FakeS3


@pytest.fixture(name="fake_s3")
def _fake_s3() -> Iterator[FakeS3]:
    """An empty S3 in memory behind `s3warm.get`; see `s3warm.testing`."""
    from s3warm.testing import fake_s3

    with fake_s3() as s3:
        yield s3
