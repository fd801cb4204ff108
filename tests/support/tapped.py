"""What stands between a cache and the server of its shared tier: it counts what comes, and answers otherwise when a test wants it to."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from tests.support.scripted import PATIENCE, ScriptedServer

if TYPE_CHECKING:
    from io import BufferedReader
    from types import TracebackType

__all__ = ["Tap", "withheld"]


class Tap(ScriptedServer):
    """A `ScriptedServer` that asks a real one, over a connection of its own for each connection that it has.

    Where the real one cannot be reached, or does not answer, the tap's own connection ends, or waits, likewise.

    Args:
        port: of the real one, on the loopback; may be changed, for connections from then on.
    """

    def __init__(self, port: int) -> None:
        self.real = port
        self._upstream: dict[socket.socket, tuple[socket.socket, BufferedReader]] = {}
        super().__init__(self.ask)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.drop()
        super().__exit__(kind, error, at)

    def drop(self) -> None:
        """End the connections to the real server, and with them the tap's own."""
        for upstream, _ in list(self._upstream.values()):
            with contextlib.suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
        self.hang_up()

    def ask(self, command: list[bytes], connection: socket.socket) -> None:
        """Pass on a command and its answer."""
        connection.sendall(self.answer_of(command, connection))

    def answer_of(self, command: list[bytes], connection: socket.socket) -> bytes:
        """What the real server says, as it says it."""
        if connection not in self._upstream:
            upstream = socket.create_connection(("127.0.0.1", self.real), timeout=PATIENCE)
            self._upstream[connection] = upstream, upstream.makefile("rb")
        upstream, answers = self._upstream[connection]
        words = [b"$%d\r\n%s\r\n" % (len(word), word) for word in command]
        upstream.sendall(b"*%d\r\n" % len(words) + b"".join(words))
        return _whole(answers)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            super()._serve(connection, number)
        finally:
            for each in self._upstream.pop(connection, ()):
                each.close()


def withheld(command: list[bytes], connection: socket.socket) -> None:
    """An answer that does not come before the client has gone: too late, whatever its time-out is."""
    connection.settimeout(PATIENCE)
    connection.recv(1)
    raise OSError("the client has gone")


def _whole(answers: Any) -> bytes:
    """One answer of RESP 2."""
    line: bytes = answers.readline()
    if not line.endswith(b"\r\n"):
        raise OSError("the real server has gone")
    count = int(line[1:]) if line[:1] in b"$*" else -1
    if count < 0:
        return line
    if line[:1] == b"$":
        return line + bytes(answers.read(count + 2))
    return line + b"".join(_whole(answers) for _ in range(count))
