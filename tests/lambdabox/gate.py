"""Where handlers wait for each other: each connects, and goes on when the test hangs up."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import Self

_PATIENCE = 60.0  # seconds, for runtimes that have yet to start


class Gate:
    """A port of the loopback, at which handlers wait."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def open(self, count: int) -> None:
        """Wait until so many wait here, and let them go on, all at once."""
        with contextlib.ExitStack() as waiting:
            for _ in range(count):
                waiting.enter_context(self._listener.accept()[0])
