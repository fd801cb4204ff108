"""Connections to a host by its name, in time: a time-out of sockets does not bound a name look-up, which may hang for seconds."""

from __future__ import annotations

import socket
import time

from s3warm.origin.base import Late
from s3warm.origin.intime import in_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Found = Sequence[tuple[int, int, int, str, Any]]  # as getaddrinfo gives it

__all__ = ["Addresses"]

KEPT = 60.0  # seconds that addresses are used without another look; one that does not answer is looked up at once


class Addresses:
    """Where hosts are. One that has been found is kept for a minute of the wall clock, as others stand still while Lambda freezes a process.

    A look-up that takes too long goes on in its thread, and what it brings serves the next connection.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[tuple[str, int], tuple[float, Found]] = {}

    def connected(self, host: str, port: int, deadline: float) -> socket.socket:
        """A socket that is connected to the host, by the deadline on the monotonic clock.

        Raises:
            TimeoutError: not in time.
            OSError: it cannot be reached.
        """
        numeric = _numeric(host, port)
        if numeric:
            return _connected(numeric, deadline)
        when, known = self._known.get((host, port), (0.0, ()))
        if known and 0 <= self._clock() - when < KEPT:
            try:
                return _connected(known, deadline)
            except OSError:
                # The name may be another machine's by now, as after a failover.
                self._known.pop((host, port), None)
        return _connected(self._looked_up(host, port, deadline), deadline)

    def _looked_up(self, host: str, port: int, deadline: float) -> Found:
        def look_up() -> Found:
            found: Found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._known[host, port] = self._clock(), found
            return found

        try:
            return in_time(look_up, deadline, drop=lambda _: None)
        except Late:
            raise TimeoutError(f"the name {host} was not looked up in time") from None
        except UnicodeError:
            raise OSError(f"{host} is no name of a host") from None


def _numeric(host: str, port: int) -> Found:
    """The address, if the host is one: nobody needs to be asked."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _connected(addresses: Found, deadline: float) -> socket.socket:
    """Connected to the first address that answers; each has its share of the time that is left."""
    failed: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - number)
        if share <= 0:
            raise TimeoutError("there was no time left to connect") from failed
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.settimeout(share)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed
