"""What the fake S3 of `s3warm.testing` answers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3warm.origin.base import Listed

__all__ = ["FakeAnswer", "FakePage"]


class FakeAnswer:
    """One answer of the fake; see `Response`."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, code: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.code = code
        self.cause: BaseException | None = None
        self.deadline: float | None = None
        self._position = 0

    def readinto(self, buffer: memoryview) -> int:
        """See `Response.readinto`."""
        chunk = self.body[self._position : self._position + len(buffer)]
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        """See `Response.close`."""


class FakePage:
    """One page of a listing; see `Page`."""

    headers: Mapping[str, str] = {}
    cause: BaseException | None = None

    def __init__(self, status: int, code: str, objects: list[Listed], prefixes: list[str], token: str) -> None:
        self.status = status
        self.code = code
        self.objects = objects
        self.prefixes = prefixes
        self.token = token
