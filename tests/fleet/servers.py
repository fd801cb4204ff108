"""The server that a fleet shares: one in memory, or a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import fakeredis

from s3warm.tiers.dialing import dial

if TYPE_CHECKING:
    from typing import Any

    from tests.support.valkey import ValkeyServer

__all__ = ["InMemory", "Real", "Server"]

# A hundred environments share one interpreter here, and wait for each other as those of Lambda do not: the clock is not to decide.
PATIENCE = 30.0  # seconds


class Server(Protocol):
    """What environments are clients of."""

    def client(self) -> Any:
        """A client of redis-py, for one environment."""
        ...


class InMemory:
    """A server in this process."""

    def __init__(self) -> None:
        self._state = fakeredis.FakeServer()

    def client(self) -> Any:
        """See `Server`."""
        return fakeredis.FakeRedis(server=self._state)

    def kill(self) -> None:
        """It does not answer any more."""
        self._state.connected = False


class Real:
    """A process of its own, which clients reach as those of s3warm do."""

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server

    def client(self) -> Any:
        """See `Server`."""
        return dial(self._server.url, connect_timeout=PATIENCE, timeout=PATIENCE, largest=2**20)

    def kill(self) -> None:
        """See `InMemory.kill`."""
        self._server.kill()
