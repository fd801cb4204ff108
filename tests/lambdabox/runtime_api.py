"""A server that speaks Lambda's Runtime API to one runtime process, in threads of this one.

GET  /2018-06-01/runtime/invocation/next
POST /2018-06-01/runtime/invocation/<request id>/response
POST /2018-06-01/runtime/invocation/<request id>/error
POST /2018-06-01/runtime/init/error
GET  /2018-06-01/runtime/restore/next
POST /2018-06-01/runtime/restore/error
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
import time
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lambdabox.errors import HandlerError

if TYPE_CHECKING:
    from io import BufferedReader

_VERSION = "/2018-06-01/runtime/"
_ACCEPTED = b'{"status": "OK"}'


@dataclass(frozen=True)
class Invocation:
    """An event on its way, and what becomes of it."""

    event: bytes
    timeout: float  # seconds, from when the runtime gets it
    arn: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    outcome: Future[bytes] = field(default_factory=Future)

    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.arn,
        }


class RuntimeApi:
    """The API, on a free port of the loopback, for one life of a runtime.

    `ready` is settled when the runtime has initialised: with the time (monotonic) of its first request for an event, or
    with the error that it reports. `fail` settles all that is still open, when the runtime has died.
    """

    def __init__(self) -> None:
        self.ready: Future[float] = Future()
        self._waiting: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._running: dict[str, Invocation] = {}
        self._wanted = threading.Event()  # there was an event to handle
        self._lock = threading.Lock()
        self._dead: Exception | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "{}:{}".format(*self._listener.getsockname())
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="runtime-api", daemon=True).start()

    @property
    def dead(self) -> bool:
        """Whether `fail` was called."""
        return self._dead is not None

    def offer(self, invocation: Invocation) -> None:
        """Give an event to the runtime as soon as it asks for one."""
        with self._lock:
            if self._dead is not None:
                raise self._dead
            self._running[invocation.request_id] = invocation
        self._wanted.set()
        self._waiting.put(invocation)

    def fail(self, error: Exception) -> None:
        """The runtime is dead: nothing that is open will be answered. Ends the server."""
        with self._lock:
            self._dead = error
            open_ones = list(self._running.values())
            self._running.clear()
            connections = list(self._connections)
        _settle(self.ready, error=error)
        for invocation in open_ones:
            _settle(invocation.outcome, error=error)
        self._waiting.put(None)
        self._wanted.set()
        for sock in (self._listener, *connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it, which closes it

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    sock, _ = self._listener.accept()
                except OSError:
                    return
                threading.Thread(target=self._serve, args=(sock,), name="runtime-api", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(sock)
        try:
            with sock, sock.makefile("rb") as stream, contextlib.suppress(OSError, http.client.HTTPException):
                while (request := _request(stream)) is not None:
                    status, headers, body = self._answer(*request)
                    head = [f"HTTP/1.1 {status} {http.client.responses[status]}", f"Content-Length: {len(body)}"]
                    head += [f"{name}: {value}" for name, value in headers.items()]
                    sock.sendall("\r\n".join([*head, "", ""]).encode() + body)  # one segment
        finally:
            with self._lock:
                self._connections.discard(sock)

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        what, _, rest = path.removeprefix(_VERSION).partition("/")
        if (method, what, rest) == ("GET", "invocation", "next"):
            _settle(self.ready, time.monotonic())
            invocation = self._waiting.get()
            if invocation is None:
                self._waiting.put(None)  # for the next that asks
                return 410, {}, b""
            return 200, invocation.headers(), invocation.event
        if (method, what, rest) == ("GET", "restore", "next"):
            # SnapStart: the snapshot is taken now, and restored when there is something to do.
            _settle(self.ready, time.monotonic())
            self._wanted.wait()
            return 200, {}, b""
        if (method, what, rest) == ("POST", "restore", "error"):
            self.fail(_error(body))
            return 202, {}, _ACCEPTED
        if (method, what, rest) == ("POST", "init", "error"):
            _settle(self.ready, error=_error(body))
            return 202, {}, _ACCEPTED
        request_id, _, kind = rest.partition("/")
        with self._lock:
            running = self._running.pop(request_id, None) if method == "POST" and kind in {"response", "error"} else None
        if running is None:
            return 404, {}, b""
        if kind == "error":
            _settle(running.outcome, error=_error(body))
        else:
            _settle(running.outcome, body)
        return 202, {}, _ACCEPTED


def _request(stream: BufferedReader) -> tuple[str, str, bytes] | None:
    """Method, path and body of the next request; None at the end of the connection."""
    start = stream.readline()
    if not start:
        return None
    method, path, _ = start.decode("latin-1").split(" ", 2)
    headers = http.client.parse_headers(stream)
    if "Transfer-Encoding" in headers:
        raise http.client.HTTPException("this server takes no chunked bodies")
    return method, path, stream.read(int(headers.get("Content-Length", 0)))


def _error(body: bytes) -> HandlerError:
    report: dict[str, Any] = json.loads(body)
    return HandlerError(report.get("errorType", ""), report.get("errorMessage", ""), tuple(report.get("stackTrace") or ()))


def _settle(future: Future[Any], result: object = None, *, error: Exception | None = None) -> None:
    """Settle a future, unless it is settled."""
    with contextlib.suppress(Exception):
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
