"""A fleet in the middle of a run: environments that go on asking whatever becomes of the server that they share."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from s3warm.testing import FakeS3
from tests.support.fleets import FleetCache

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from s3warm import Stats

__all__ = ["MOMENTS", "TRIES", "FleetRun"]

# Seconds since the trouble began at which all ask. It is tried at 0, then after 1 s, then after 2 s more, and next after 4 s more.
MOMENTS = (0.0, 0.5, 1.0, 2.5, 3.0, 6.5)
TRIES = 3
OVER = 7.0

TTL = 0.75  # of the cache: what was known before is not fresh any more at any second moment


class FleetRun:
    """Environments of one fleet over a fake S3, whose clock stands still unless it is moved.

    Args:
        url: of the server.
        environments: how many.
        timeout: seconds for which a command may be unanswered, and a connection take.
        options: further settings of all.
    """

    def __init__(self, url: str, *, environments: int = 2, timeout: float = 1.0, **options: Any) -> None:
        self.s3 = FakeS3()
        bounds = {"shared_url": url, "shared_timeout": timeout, "shared_connect_timeout": timeout}
        settings = {"ttl": TTL, "disk_budget": 0, **bounds, **options}
        self.caches = [FleetCache(self.s3, None, **settings) for _ in range(environments)]
        self._new = itertools.count()
        self._common = self.write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for cache in self.caches:
            cache.close()

    def write(self) -> str:
        """An object that nobody has asked for yet."""
        uri = f"s3://bucket/{next(self._new)}"
        self.s3[uri] = body_of(uri)
        return uri

    def ask(self) -> None:
        """Each environment asks for what it had before, and for something new, twice; each answer is right."""
        for cache in self.caches:
            for uri in (self._common, self.write(), self.write(), self._common):
                assert cache.get(uri) == body_of(uri)

    def go_through(self) -> None:
        """All moments of a trouble that has begun just now; then it is time to try the server again."""
        begun = self.s3.now
        for moment in MOMENTS:
            self.s3.now = begun + moment
            self.ask()
        self.s3.now = begun + OVER

    def stats(self) -> list[Stats]:
        """Of each environment."""
        return [cache.stats() for cache in self.caches]

    def share(self) -> None:
        """What one fetches now, all have: the tier is used."""
        uri, before, requests = self.write(), self.stats(), len(self.s3.requests)
        for cache in self.caches:
            assert cache.get(uri) == body_of(uri)
        hits = [(now - then).shared_hits for now, then in zip(self.stats(), before, strict=True)]
        assert hits == [0] + [1] * (len(self.caches) - 1)
        assert len(self.s3.requests) == requests + 1


def body_of(uri: str) -> bytes:
    """The body of an object that a run has written."""
    return uri.encode() * 40
