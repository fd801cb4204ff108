"""A TCP server that speaks Redis's protocol as a test tells it to: truly, in drips, or in lies."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[list[bytes], socket.socket], None]

PATIENCE = 30.0  # seconds for what happens at once unless it never does


def ok(command: list[bytes], connection: socket.socket) -> None:
    """What a server says that has nothing: OK to AUTH and the like, nil to GET."""
    connection.sendall(b"$-1\r\n" if command[0] == b"GET" else b"+OK\r\n")


class ScriptedServer:
    """A server on a free port of the loopback.

    Args:
        answer: called with each command and its connection; it sends what it likes, and may close the connection.

    Attributes:
        commands: what has come, in order, with the number of its connection.
        connections: how many have been accepted.
    """

    def __init__(self, answer: Answer = ok) -> None:
        self.answer = answer
        self.commands: list[tuple[int, list[bytes]]] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._gone = threading.Semaphore(0)
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or it would go on to accept
        self._socket.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def hang_up(self) -> None:
        """Close all connections, as a server does that goes away."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def was_left(self) -> None:
        """Wait until a client has closed a connection."""
        assert self._gone.acquire(timeout=PATIENCE), "no client has closed its connection"

    def names(self) -> list[bytes]:
        """The commands' names, in order."""
        return [command[0] for _, command in self.commands]

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            number = self.connections
            self._start(lambda connection=connection, number=number: self._serve(connection, number))  # type: ignore[misc]

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                command = []
                for _ in range(int(line[1:])):
                    length = int(lines.readline()[1:])
                    command.append(lines.read(length + 2)[:-2])
                self.commands.append((number, command))
                self.answer(command, connection)
        self._gone.release()
