"""The `world` fixture of the flow tests."""

from __future__ import annotations

from tests.flows.conftest import embedded, gateway, needs_server, shared_server, world

__all__ = ["embedded", "gateway", "needs_server", "shared_server", "world"]
