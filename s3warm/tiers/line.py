"""How a connection to a Valkey or Redis server is made, name look-up, TLS and log-in in time; what is said on it, `s3warm.tiers.clients` knows."""

from __future__ import annotations

import time

from s3warm.origin.base import Late, TransportError
from s3warm.record import NamedTuple
from s3warm.tiers.addresses import Addresses
from s3warm.tiers.bounded import BoundedSocket, Until

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from ssl import SSLContext
    from typing import Protocol

    class Login(Protocol):
        """Who asks: what redis-py calls a credential provider."""

        def get_credentials(self, deadline: float | None = None) -> tuple[str, ...]:
            """What follows AUTH, by the deadline on the monotonic clock; raises `TransportError` if there is nothing."""
            ...


__all__ = ["Bounds", "Line", "Password"]


class Bounds(NamedTuple):
    """What a connection may take."""

    connect_timeout: float  # seconds
    timeout: float  # seconds
    largest: int  # bytes of a value

    @property
    def connecting(self) -> float:
        """Seconds until a new connection can be used: name, TCP, TLS, AUTH and SELECT together."""
        return self.connect_timeout + self.timeout


class Password:
    """A user and a password, or a password alone. Nothing of it is ever printed."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def get_credentials(self, deadline: float | None = None) -> tuple[str, ...]:
        """What follows AUTH."""
        return self._words


class Line:
    """What all connections of a client share.

    Args:
        bounds: what each may take.
        login: who asks; None: whoever comes is let in.
        context: for TLS; None: none.
    """

    def __init__(self, bounds: Bounds, login: Login | None, context: SSLContext | None) -> None:
        self.bounds = bounds
        self.until = Until()
        self._login = login
        self._context = context
        self._addresses = Addresses()

    def connected(self, host: str, port: int) -> tuple[BoundedSocket, Password | None]:
        """A new connection, and what it is to log in with, which ends by the same deadline.

        Raises:
            OSError: it cannot be made, or not in time.
        """
        now = time.monotonic()
        deadline = min(now + self.bounds.connecting, self.until.at)
        login = None if self._login is None else Password(*_asked(self._login, deadline))
        sock = self._addresses.connected(host, port, min(now + self.bounds.connect_timeout, deadline))
        if self._context is not None:
            sock = _wrapped(sock, self._context, host, deadline)
        timeout, largest = self.bounds.timeout, self.bounds.largest
        return BoundedSocket(sock, timeout=timeout, largest=largest, deadline=deadline, until=self.until), login


def _asked(login: Login, deadline: float) -> tuple[str, ...]:
    """What follows AUTH, with errors that redis-py takes for those of a connection."""
    try:
        return login.get_credentials(deadline)
    except Late as late:
        raise TimeoutError(str(late)) from late
    except TransportError as error:
        raise OSError(f"{error}; {error.advice}" if error.advice else str(error)) from error


def _wrapped(sock: socket.socket, context: SSLContext, host: str, deadline: float) -> socket.socket:
    """The socket after its TLS handshake, the whole of which the time-out bounds."""
    try:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("there was no time left for the TLS handshake")
        sock.settimeout(left)
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
