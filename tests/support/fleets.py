"""Environments of one fleet, over a fake S3 or a server's, that share a Valkey or Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fakeredis

from s3warm import Cache
from s3warm.testing import FakeCache, FakeS3

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm.beyond import Beyond
    from s3warm.revalidation import Revalidation
    from s3warm.settings import Settings

SECRET = "the secret that tests share"


class FleetCache(FakeCache):
    """One environment: the fake's requests and clock, and a server that may be real."""

    def __init__(self, s3: FakeS3, server: Any, **options: Any) -> None:
        self._server = server
        super().__init__(s3, **{"namespace": "fleet", "shared_secret": SECRET, **options})

    def _fleet(self, settings: Settings, **parts: Any) -> Callable[[Revalidation], Beyond]:
        return Cache._fleet(self, settings, **{**parts, "shared_client": self._server})


class FakeFleet:
    """Several environments over one fake S3 and one server in memory."""

    def __init__(self, objects: dict[str, bytes] | None = None, **options: Any) -> None:
        self.s3 = FakeS3(objects)
        self.state = fakeredis.FakeServer()
        self.options = options
        self.caches: list[FleetCache] = []

    def client(self) -> Any:
        """A client of the server."""
        return fakeredis.FakeRedis(server=self.state)

    def cache(self, **options: Any) -> FleetCache:
        """One more environment."""
        self.caches.append(FleetCache(self.s3, self.client(), **{"ttl": 60.0, **self.options, **options}))
        return self.caches[-1]

    def statuses(self) -> list[int]:
        """How S3 answered since the last time."""
        found = [request.status for request in self.s3.requests]
        self.s3.requests.clear()
        return found

    def close(self) -> None:
        """Close all of them."""
        for cache in self.caches:
            cache.close()
