"""A socket whose answers are over in time and fit into memory, whatever the server sends.

A socket's own time-out bounds each read alone: an answer that drips, one byte at a time, has none. And whoever reads an answer of the length
that the server says has to have that much memory.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

__all__ = ["MARGIN", "WHOLE", "BoundedSocket", "TooLargeError", "Until"]

MARGIN = 64 * 1024  # bytes that an answer may have beside the largest value: what frames it, and errors in words
WHOLE = 5  # times the time-out, for one command and its whole answer


class TooLargeError(OSError):
    """An answer has more bytes than any that was asked for."""


class Until(threading.local):
    """Until when all that a thread does by one call has to be over, on the monotonic clock; infinity: no bound but those of each step."""

    at = float("inf")


class BoundedSocket:
    """A connected socket, plain or TLS, as the parsers of redis-py read from it: by `recv`, or by `recv_into`.

    Until `settle` is called all of it is the handshake, which ends at the deadline. From then on each command, which is what is sent before
    something is received again, begins anew: the answer has to begin within the time-out, no gap may be longer, and the whole is over after
    `WHOLE` time-outs. What is asked without waiting (a look whether there is something to read) goes straight to the socket.

    Args:
        sock: connected; with TLS, after its handshake.
        timeout: seconds.
        largest: bytes of an answer, beside `MARGIN`.
        deadline: end of the handshake, on the clock.
        until: the bound of the calling thread.
        clock: monotonic.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        timeout: float,
        largest: int,
        deadline: float,
        until: Until,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._timeout = timeout
        self._most = largest + MARGIN
        self._left = self._most
        self._deadline = deadline
        self._until = until
        self._clock = clock
        self._is_settled = False
        self._is_sending = False
        self._waits = True

    def settle(self) -> None:
        """The handshake is over: what is sent next is a command."""
        self._is_settled = True
        self._is_sending = False

    def settimeout(self, seconds: float | None) -> None:
        """0: do not wait; anything else: wait as long as the bounds allow, which are not the caller's to choose."""
        self._waits = seconds != 0
        if not self._waits:
            self._sock.settimeout(0.0)

    def sendall(self, data: Any) -> None:
        """Send all of it.

        Raises:
            TimeoutError: the server does not take it.
        """
        if not self._is_sending:
            self._is_sending = True
            self._left = self._most
            if self._is_settled:
                self._deadline = self._clock() + WHOLE * self._timeout
        view = memoryview(data).cast("B")
        while view:
            self._sock.settimeout(self._patience())
            view = view[self._sock.send(view) :]

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See `socket.socket.recv`.

        Raises:
            TimeoutError: nothing has come in time.
            TooLargeError: too much has.
        """
        if flags or not self._waits:
            return self._sock.recv(size, flags) if flags else self._sock.recv(size)
        self._sock.settimeout(self._patience())
        data = self._sock.recv(min(size, self._left + 1))
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """See `recv` and `socket.socket.recv_into`."""
        if not self._waits:
            return self._sock.recv_into(buffer, size)
        self._sock.settimeout(self._patience())
        count = self._sock.recv_into(buffer, size)
        self._count(count)
        return count

    def __getattr__(self, name: str) -> Any:
        """Whatever neither waits nor brings bytes is the socket's: fileno, pending, shutdown, close."""
        return getattr(self._sock, name)

    def _count(self, received: int) -> None:
        self._is_sending = False
        self._left -= received
        if self._left < 0:
            raise TooLargeError(f"the server's answer has more than {self._most} bytes")

    def _patience(self) -> float:
        """Seconds until the next byte has to be there."""
        left = min(self._deadline, self._until.at) - self._clock()
        if left <= 0:
            raise TimeoutError("there was no time left")
        return min(left, self._timeout) if self._is_settled else left
