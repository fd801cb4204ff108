"""Connections that are dialled, kept while they are idle, and used again."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time

from s3warm.origin.base import KEPT, Late, TransportError
from s3warm.origin.failures import UNREACHED
from s3warm.origin.wire import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext
    from typing import Any

__all__ = ["AGENT", "Answer", "Connections", "tls_context"]

AGENT = "user-agent: s3warm\r\naccept-encoding: identity\r\n"  # lines of each request; not signed: proxies may change them

CONNECT_TIMEOUT = 2.0  # seconds, for TCP and once more for TLS
_IDLE = 60.0  # seconds; after more, a thaw included, whatever lies between has forgotten the connection or soon will

_AMAZON = (
    "ce5e74ef.0",
    "09789157.0",
)  # OpenSSL's hashes of the subjects of Amazon Root CA 1 and Starfield Services Root CA - G2
_PIECE = 16 * 1024  # bytes of a body that is read whole

_tls: SSLContext | None = None


class Answer:
    """An answer on its connection; see `Response`. `done` is told when the connection has nothing more to bring."""

    def __init__(
        self, status: int, headers: dict[str, str], connection: Connection, done: Callable[[Connection], object]
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers
        self.code = ""
        self.cause: BaseException | None = None
        self.deadline = connection.until
        self._done = done
        self._connection: Connection | None = connection
        if connection.over:
            self._let_go(connection)

    def readinto(self, buffer: memoryview) -> int:
        """See `Response.readinto`."""
        connection = self._connection
        if connection is None:
            return 0
        connection.until = self.deadline
        count = connection.readinto(buffer)
        if connection.over:
            self._let_go(connection)
        return count

    def read(self, most: int) -> bytes:
        """The body, or as much of it as was wanted at most."""
        body, piece = bytearray(), memoryview(bytearray(min(most, _PIECE)))
        while len(body) < most and (count := self.readinto(piece[: most - len(body)])):
            body += piece[:count]
        return bytes(body)

    def close(self) -> None:
        """See `Response.close`."""
        connection = self._connection
        if connection is not None:
            connection.drain()
            self._let_go(connection)

    def _let_go(self, connection: Connection) -> None:
        self._connection = None
        self._done(connection)


class Connections:
    """Sends requests over connections of its own; any number of threads at once."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept = kept
        self.renew()

    def ask(
        self, scheme: str, host: str, port: int, request: bytes, deadline: float | None = None, *, body: bytes = b""
    ) -> Answer:
        """The answer to a GET, or to a PUT.

        A kept connection may die the moment it is used: as they are idempotent, it is sent once more then on a new one, unless a part of an
        answer has come (RFC 9110, section 9.2.2).

        Raises:
            TransportError: there is none.
            Late: there is none before the deadline.
        """
        if deadline is not None and time.monotonic() >= deadline:
            raise Late
        place = scheme, host, port
        connection = self._take(place)
        if connection is not None:
            try:
                return self._asked(place, connection, request, deadline, body)
            except TransportError as error:
                if connection.answered or not error.transient:
                    raise
        return self._asked(place, self._new(place, deadline), request, deadline, body)

    def renew(self) -> None:
        """See `Requests.renew`."""
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._idle: dict[tuple[str, str, int], list[tuple[Connection, float]]] = {}
        self._count = 0

    def close(self) -> None:
        """Close what is idle; what is in use is closed by its user."""
        self._mind_forks()
        with self._lock:
            idle, self._idle, self._count = self._idle, {}, 0
        for connections in idle.values():
            for connection, _ in connections:
                connection.close()

    def _asked(
        self, place: tuple[str, str, int], connection: Connection, request: bytes, deadline: float | None, body: bytes
    ) -> Answer:
        try:
            status, headers = connection.ask(request, deadline, body)
        except BaseException:
            connection.close()
            raise
        return Answer(status, headers, connection, lambda connection: self._give_back(place, connection))

    def _take(self, place: tuple[str, str, int]) -> Connection | None:
        """The connection that was used last, if its peer has neither closed it nor said anything unasked."""
        self._mind_forks()
        while True:
            with self._lock:
                idle = self._idle.get(place)
                if not idle:
                    return None
                connection, since = idle.pop()
                self._count -= 1
            if 0 <= time.time() - since < _IDLE and not _readable(connection.socket):
                return connection
            connection.close()

    def _give_back(self, place: tuple[str, str, int], connection: Connection) -> None:
        self._mind_forks()
        if connection.reusable and connection.pid == self._pid:
            with self._lock:
                if self._count < self._kept:
                    self._idle.setdefault(place, []).append((connection, time.time()))
                    self._count += 1
                    return
        connection.close()

    def _mind_forks(self) -> None:
        """A forked child leaves its parent's connections alone: answers would reach the wrong process."""
        if self._pid != os.getpid():
            left = self._idle
            self.renew()
            for connections in left.values():
                for connection, _ in connections:
                    connection.close()  # the child's descriptor: nothing is sent

    def _new(self, place: tuple[str, str, int], deadline: float | None) -> Connection:
        scheme, host, port = place
        context = tls_context() if scheme == "https" else None
        if deadline is None or ":" in host or host[-1].isdigit():
            return _dialled(host, port, context, deadline)
        from s3warm.origin.intime import in_time  # a look-up of a name has no time-out

        def keep(connection: Connection) -> None:
            connection.reusable = True
            self._give_back(place, connection)

        return in_time(lambda: _dialled(host, port, context, deadline), deadline, keep)


def _dialled(host: str, port: int, context: SSLContext | None, deadline: float | None) -> Connection:
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{host} is not found ({error})") from error
    until = _until(deadline)
    failed: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            connected = _connected(socket.socket(family, kind, protocol), address, until)
            return Connection(_secured(connected, host, context, _until(deadline)) if context else connected)
        except OSError as error:
            failed = error
            if time.monotonic() >= until:
                break
    if deadline is not None and time.monotonic() >= deadline:
        raise Late(f"no connection to {host} in the time that was left", waited=deadline - began) from failed
    if isinstance(failed, TimeoutError):
        # Repeating it would keep the handler waiting for as long once more.
        raise TransportError(f"no connection to {host} in time ({failed})", advice=UNREACHED, transient=False) from failed
    raise TransportError(f"no connection to {host}:{port} ({failed!r})") from failed


def _connected(made: socket.socket, address: Any, until: float) -> socket.socket:
    try:
        made.settimeout(_left(until))
        made.connect(address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        made.close()
        raise
    return made


def _secured(connected: socket.socket, host: str, context: SSLContext, until: float) -> socket.socket:
    try:
        connected.settimeout(_left(until))
        # An end without TLS's own end is no end of a body.
        return context.wrap_socket(connected, server_hostname=host, suppress_ragged_eofs=False)
    except BaseException:
        connected.close()
        raise


def _until(deadline: float | None) -> float:
    until = time.monotonic() + CONNECT_TIMEOUT
    return until if deadline is None else min(until, deadline)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _readable(idle: socket.socket) -> bool:
    """Whether anything has come on an idle connection: its end, most likely."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))


def tls_context() -> SSLContext:
    """One for the process, with the certificates that the system trusts. Without any, botocore's."""
    global _tls  # noqa: PLW0603  # one for the process
    if _tls is None:
        import ssl

        folder = ssl.get_default_verify_paths().capath
        if "SSL_CERT_FILE" not in os.environ and folder and all(os.path.exists(f"{folder}/{name}") for name in _AMAZON):
            # It is looked into when a certificate is verified: 0.3 ms. Reading the file of all 140 takes 20, and a small Lambda's share
            # of a processor makes that 300.
            _tls = ssl.create_default_context(capath=folder)
            return _tls
        context = ssl.create_default_context()
        if not context.cert_store_stats()["x509_ca"] and not _files_in(folder):
            from importlib.util import find_spec

            spec = find_spec("botocore")
            for home in (spec and spec.submodule_search_locations) or ():
                with contextlib.suppress(OSError):
                    context.load_verify_locations(os.path.join(home, "cacert.pem"))
        _tls = context
    return _tls


def _files_in(folder: str | None) -> bool:
    """Whether there are any: a folder of certificates is looked into when one is to be verified."""
    try:
        return bool(folder and os.listdir(folder))
    except OSError:
        return False
