"""fsspec's own tests of file systems, as far as they read: `get` in all its forms.

`AbstractCopyTests`, `AbstractPutTests`, `AbstractPipeTests` and the one test of `AbstractOpenTests` are about writing, which is refused
(`test_fsspec.py` has each writing method). What the tests of reading set up by writing, `Filled` puts into the bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from s3warm.fsspec import S3WarmFileSystem
from s3warm.testing import FakeCache, FakeS3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Filled(S3WarmFileSystem):
    """The file system, and what fills its bucket behind its back."""

    bucket: FakeS3

    def touch(self, path: str, **_: Any) -> None:  # type: ignore[override]  # it does not refuse
        self.pipe(path, b"")

    def pipe(self, path: str, value: bytes) -> None:  # type: ignore[override]  # it does not refuse
        self.bucket[f"s3://{path}"] = value
        self.invalidate_cache()

    def mkdir(self, path: str, **_: Any) -> None:  # type: ignore[override]  # it does not refuse
        """A bucket has no folders."""

    makedirs = mkdir  # type: ignore[assignment]  # the same

    def rm(self, path: str, **_: Any) -> None:  # type: ignore[override]  # it does not refuse
        for found in self.find(path, refresh=True):
            del self.bucket[f"s3://{found}"]
        self.invalidate_cache()


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]  # fsspec has no types
    @pytest.fixture
    def fs(self) -> Iterator[Filled]:
        s3 = FakeS3()
        with FakeCache(s3) as cache:
            made = Filled(cache=cache)
            made.bucket = s3
            yield made

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self) -> str:
        return "bucket/abstract"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False
